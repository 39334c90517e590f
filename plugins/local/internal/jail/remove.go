package jail

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/deep-sandbox/deep/core/control"
)

// Prefixes of directories that are on their way in or out, beside those of
// sandboxes.
const (
	PrefixNew  = "new-"
	PrefixDead = "dead-"
)

// Remove removes the sandbox in dir, whose lock the caller holds and in which
// nothing runs any more: its cgroups, and the directory with its private
// workspace. If the sandbox of that lock is no longer there, nothing happens.
func Remove(dir string, lock *os.File) error {
	if ours, err := owns(lock, dir); err != nil || !ours {
		return err
	}
	rec, err := ReadRecord(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrInvalid):
		rec = &Record{} // never finished, or damaged: nothing is known of it
	case err != nil:
		return err
	}
	if err := rec.Guest.Signal(unix.SIGKILL); err != nil {
		return err
	}
	if err := removeCgroups(rec.Cgroups); err != nil {
		return err
	}
	// What may take long first, so that whoever waits for the lock waits for it.
	if err := RemoveTree(filepath.Join(dir, WorkspaceDir)); err != nil {
		return err
	}
	return RemoveTree(dir)
}

// Retire renames a directory to a name by which what cannot be removed now is
// found again, and returns its path then: "" if there is no such directory.
func Retire(dir string) (string, error) {
	parent, name := filepath.Split(dir)
	if strings.HasPrefix(name, PrefixDead) {
		return dir, nil
	}
	dead := filepath.Join(parent, PrefixDead+rand.Text())
	err := os.Rename(dir, dead)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return dead, err
}

// RemoveTree retires a directory of ours and removes it, with all that sandboxed
// code has left in it: no link is followed, none of its directories' modes
// matters, and neither does its depth.
func RemoveTree(dir string) error {
	dead, err := Retire(dir)
	if err != nil || dead == "" {
		return err
	}
	parent, err := os.OpenFile(filepath.Dir(dead), unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = parent.Close() }()
	if err := empty(int(parent.Fd()), filepath.Base(dead)); err != nil {
		return &fs.PathError{Op: "remove", Path: dir, Err: err}
	}
	return nil
}

// empty removes the directory name in parent. Directories in it that are not
// empty are moved up to its own level first: so it takes three descriptors and
// no recursion, however deep the tree is.
func empty(parent int, name string) error {
	top, err := openDir(parent, name)
	if err != nil {
		if errors.Is(err, unix.ENOENT) {
			return nil
		}
		return err
	}
	defer func() { _ = top.Close() }()
	if err := clear(top, top); err != nil {
		return err
	}
	return ignoreMissing(unix.Unlinkat(parent, name, unix.AT_REMOVEDIR))
}

// clear removes what is in dir. Directories that are not empty it moves to top,
// or, if dir is top, clears.
func clear(top, dir *os.File) error {
	for {
		names, err := dir.Readdirnames(1024)
		if len(names) == 0 {
			// At the end: what was moved to top meanwhile may not have been seen.
			if again, seekErr := anything(dir); seekErr != nil || !again {
				return errors.Join(seekErr, ignoreEOF(err))
			}
			continue
		}
		for _, name := range names {
			if err := removeEntry(top, dir, name); err != nil {
				return err
			}
		}
	}
}

// anything rewinds dir and reports whether there is still something in it.
func anything(dir *os.File) (bool, error) {
	if _, err := dir.Seek(0, 0); err != nil {
		return false, err
	}
	names, err := dir.Readdirnames(1)
	if err := ignoreEOF(err); err != nil || len(names) == 0 {
		return false, err
	}
	_, err = dir.Seek(0, 0)
	return true, err
}

func removeEntry(top, dir *os.File, name string) error {
	at := int(dir.Fd())
	err := unix.Unlinkat(at, name, 0)
	if !errors.Is(err, unix.EISDIR) && !errors.Is(err, unix.EPERM) { // POSIX has EPERM for a directory
		return ignoreMissing(err)
	}
	if err := unix.Unlinkat(at, name, unix.AT_REMOVEDIR); err == nil || errors.Is(err, unix.ENOENT) {
		return nil
	} else if errors.Is(err, unix.ENOTDIR) {
		return unix.EPERM
	}
	sub, err := openDir(at, name)
	if err != nil {
		return ignoreMissing(err)
	}
	defer func() { _ = sub.Close() }()
	if dir != top {
		return ignoreMissing(unix.Renameat(at, name, int(top.Fd()), rand.Text()))
	}
	if err := clear(top, sub); err != nil {
		return err
	}
	return ignoreMissing(unix.Unlinkat(at, name, unix.AT_REMOVEDIR))
}

// openDir opens a directory for reading, giving its owner the right to do so and
// to remove what is in it.
func openDir(at int, name string) (*os.File, error) {
	flags := unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC
	if !control.Opened(control.NoFollow) {
		flags |= unix.O_NOFOLLOW
	}
	fd, err := unix.Openat(at, name, flags, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = unix.Close(fd) }()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, err
	}
	if st.Mode&0o700 != 0o700 {
		// By the descriptor: it cannot have become a link to somewhere else.
		if err := os.Chmod(fdPath(fd), 0o700); err != nil {
			return nil, err
		}
	}
	readable, err := unix.Openat(fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(readable), name), nil
}

func ignoreMissing(err error) error {
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}
