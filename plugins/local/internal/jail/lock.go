package jail

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// ErrHeld says that somebody lives who holds the lock.
var ErrHeld = errors.New("the sandbox is held by a living process")

// Lock takes the lock of the sandbox in dir: ErrHeld if somebody has it,
// fs.ErrNotExist if there is no sandbox. It is let go of by closing the file, in
// every process that has it, and so by dying, however that happens.
func Lock(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	if err := lock(f, dir); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// NewLock makes the lock of a new sandbox and takes it.
func NewLock(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	if err := lock(f, dir); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

func lock(f *os.File, dir string) error {
	err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return ErrHeld
	}
	if err != nil {
		return err
	}
	// Whoever held it before may have removed the sandbox meanwhile, and another
	// may be in its place.
	ours, err := owns(f, dir)
	if err == nil && !ours {
		err = fs.ErrNotExist
	}
	return err
}

// owns reports whether f is the lock of the sandbox that is in dir now.
func owns(f *os.File, dir string) (bool, error) {
	ours, err := f.Stat()
	if err != nil {
		return false, err
	}
	there, err := os.Lstat(filepath.Join(dir, lockFile))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && os.SameFile(ours, there), err
}

// Held reports whether somebody holds the lock of the sandbox in dir.
func Held(dir string) (bool, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer func() { _ = f.Close() }()
	// Shared, so that two who ask at once do not take each other for a keeper.
	err = unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return true, nil
	}
	return false, err
}

// HasLock reports whether there is a lock in dir, held or not.
func HasLock(dir string) (bool, error) {
	_, err := os.Lstat(filepath.Join(dir, lockFile))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
