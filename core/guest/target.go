package guest

import (
	"errors"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/deep-sandbox/deep/core/backend"
)

// maxLinks is how many symbolic links in a row the kernel follows.
const maxLinks = 40

// target is where a write to a path ends up: an entry of a directory that is no
// symbolic link.
type target struct {
	dir  int // descriptor, O_PATH
	name string
	key  fileKey
	// old is what is there, nil if nothing.
	old *unix.Stat_t
}

// findTarget follows the links in the last place of path, as open(2) would for
// writing: a dangling one names the file to make. Directories that miss are
// made, if asked for. The caller closes it.
func findTarget(path string, parents bool) (*target, error) {
	return followTo(path, parents, maxLinks)
}

// followTo is findTarget for at most so many links in the last place; one more
// is ELOOP.
func followTo(path string, parents bool, links int) (*target, error) {
	at := unix.AT_FDCWD
	defer func() {
		if at != unix.AT_FDCWD {
			_ = unix.Close(at)
		}
	}()
	for range links + 1 {
		dirPath, name, slash := splitPath(path)
		if name == "" || name == "." || name == ".." || slash {
			return nil, unix.EISDIR
		}
		dir, err := openAt(at, dirPath, unix.O_PATH|unix.O_DIRECTORY, 0)
		if err == unix.ENOENT && parents {
			dir, err = makeDirs(at, dirPath, 0o755)
		}
		if err != nil {
			return nil, err
		}
		t, link, err := lookAt(dir, name)
		if err != nil {
			return nil, errors.Join(err, unix.Close(dir))
		}
		if t != nil {
			return t, nil
		}
		if at != unix.AT_FDCWD {
			_ = unix.Close(at)
		}
		at, path = dir, link
	}
	return nil, unix.ELOOP
}

// lookAt returns the target name is, or where the link it is leads to.
func lookAt(dir int, name string) (t *target, link string, err error) {
	var st unix.Stat_t
	err = unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW)
	if err != nil && err != unix.ENOENT {
		return nil, "", err
	}
	if err == nil && typeOf(st.Mode) == backend.TypeSymlink {
		link, err = readlinkat(dir, name)
		if err == nil && link == "" {
			err = unix.ENOENT
		}
		return nil, link, err
	}
	t = &target{dir: dir, name: name}
	if err == nil {
		t.old = &st
	}
	var parent unix.Stat_t
	if err := unix.Fstat(dir, &parent); err != nil {
		return nil, "", err
	}
	t.key = fileKey{dev: parent.Dev, ino: parent.Ino, name: name}
	return t, "", nil
}

func (t *target) close() { _ = unix.Close(t.dir) }

// open opens the regular file that is there now, and describes it in st.
func (t *target) open(flags int, st *unix.Stat_t) (int, error) {
	at, err := openStat(t.dir, t.name, unix.O_PATH|unix.O_NOFOLLOW, 0, st)
	if err != nil {
		return -1, err
	}
	defer func() { _ = unix.Close(at) }()
	if err := mustBeRegular(st); err != nil {
		return -1, err
	}
	return reopen(at, flags)
}

// makeDirs makes path and what is missing above it, and returns its descriptor.
func makeDirs(at int, path string, mode uint32) (int, error) {
	cur, err := openAt(at, start(path), unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return -1, err
	}
	for name := range strings.SplitSeq(path, "/") {
		if name == "" || name == "." {
			continue
		}
		next, err := openAt(cur, name, unix.O_PATH|unix.O_DIRECTORY, 0)
		if err == unix.ENOENT {
			next, err = makeDir(cur, name, mode)
		}
		_ = unix.Close(cur)
		if err != nil {
			return -1, err
		}
		cur = next
	}
	return cur, nil
}

func start(path string) string {
	if path[0] == '/' {
		return "/"
	}
	return "."
}

// makeDir makes one directory, or finds the one another made meanwhile.
func makeDir(at int, name string, mode uint32) (int, error) {
	madeErr := unix.Mkdirat(at, name, mode)
	if madeErr != nil && madeErr != unix.EEXIST {
		return -1, madeErr
	}
	fd, err := openAt(at, name, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err == unix.ENOENT && madeErr == unix.EEXIST {
		return -1, &backend.Error{Kind: backend.ErrNotFound, Message: "a symbolic link on the way leads nowhere",
			Hint: "make what it leads to first, or remove the link"}
	}
	if err != nil || madeErr != nil {
		return fd, err
	}
	if mode&0o022 == 0 {
		return fd, nil
	}
	// The umask took these bits.
	if err := unix.Chmod(ownLink(fd), mode); err != nil {
		return -1, errors.Join(err, unix.Close(fd))
	}
	return fd, nil
}
