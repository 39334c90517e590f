package guest

import (
	"context"
	"errors"
	"path"

	"golang.org/x/sys/unix"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/control"
)

// Remove implements backend.Sandbox.
func (s *Sandbox) Remove(ctx context.Context, req *backend.RemoveRequest) error {
	return failed("remove", req.Path, s.remove(ctx, req))
}

func (s *Sandbox) remove(ctx context.Context, req *backend.RemoveRequest) error {
	full, err := s.abs(req.Path)
	if err != nil {
		return err
	}
	return s.walks.do(ctx, func() error {
		dirPath, name, slash := splitPath(full)
		if name == "" || name == "." || name == ".." {
			// What it names is the end of a walk, not an entry that could go.
			return s.protected(full)
		}
		dir, err := openAt(unix.AT_FDCWD, dirPath, unix.O_PATH|unix.O_DIRECTORY, 0)
		if err != nil {
			return err
		}
		defer func() { _ = unix.Close(dir) }()
		var st unix.Stat_t
		if err := unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return err
		}
		if typeOf(st.Mode) != backend.TypeDirectory {
			if slash {
				return unix.ENOTDIR
			}
			return unix.Unlinkat(dir, name, 0)
		}
		if s.isWorkspace(&st) {
			return errWorkspace()
		}
		if !req.Recursive {
			return unix.Unlinkat(dir, name, unix.AT_REMOVEDIR)
		}
		return removeTree(ctx, dir, name, full)
	})
}

// protected says why a path that ends in no name cannot be removed.
func (s *Sandbox) protected(full string) error {
	var st unix.Stat_t
	if err := statAt(unix.AT_FDCWD, full, 0, &st); err != nil {
		return err
	}
	if s.isWorkspace(&st) {
		return errWorkspace()
	}
	if path.Clean(full) == "/" {
		return &backend.Error{Kind: backend.ErrInvalid, Message: "the root directory is not removed", Hint: "remove what is in it, one by one"}
	}
	return &backend.Error{Kind: backend.ErrInvalid, Message: "name the directory itself, not \".\" or \"..\"", Hint: "end the path in its name"}
}

func errWorkspace() error {
	return &backend.Error{Kind: backend.ErrInvalid, Message: "the workspace itself is not removed", Hint: "remove what is in it"}
}

// isWorkspace reports whether st is the workspace, by whatever path.
func (s *Sandbox) isWorkspace(st *unix.Stat_t) bool {
	var w unix.Stat_t
	return unix.Stat(s.workspace, &w) == nil && w.Dev == st.Dev && w.Ino == st.Ino
}

// level is a directory that is being emptied.
type level struct {
	name     string // in the one above
	dev, ino uint64
}

// maxRounds bounds how often a directory is read again because it was not empty
// after all: something keeps filling it.
const maxRounds = 1000

// removeTree removes the directory name in parent. It goes down and up by one
// descriptor, whatever the depth, and checks on the way up that it comes out
// where it went in. What cannot be removed ends it.
func removeTree(ctx context.Context, parent int, name, full string) error {
	t := &treeRemoval{parent: parent, full: full}
	var err error
	if t.cur, err = enter(parent, name); err != nil {
		return err
	}
	defer func() { _ = unix.Close(t.cur) }()
	l, err := levelOf(t.cur, name)
	if err != nil {
		return err
	}
	t.levels = []level{l}
	for len(t.levels) > 0 {
		sub, err := t.empty(ctx)
		if err == nil && sub != "" {
			err = t.down(sub)
		} else if err == nil {
			err = t.up()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// treeRemoval is where the removal of a tree has come to.
type treeRemoval struct {
	parent int    // of the tree
	full   string // path of the tree, for errors
	cur    int    // directory that is being emptied
	// levels from the tree's root to cur.
	levels []level
	rounds int
}

// failed names what could not be removed: name in cur, or cur itself if empty.
func (t *treeRemoval) failed(name string, err error) error {
	p := t.full
	for _, l := range t.levels[1:] {
		p = path.Join(p, l.name)
	}
	return failed("remove", path.Join(p, name), err)
}

// again is called when a directory is not as it was a moment ago.
func (t *treeRemoval) again() error {
	if t.rounds++; t.rounds > maxRounds {
		return t.failed("", &backend.Error{Kind: backend.ErrConflict,
			Message: "something keeps changing the directory", Hint: "end the command that does, and try again"})
	}
	return nil
}

// down makes the directory sub the one to empty.
func (t *treeRemoval) down(sub string) error {
	next, err := enter(t.cur, sub)
	if err == unix.ENOENT || err == unix.ENOTDIR {
		return t.again()
	}
	if err != nil {
		return t.failed(sub, err)
	}
	l, err := levelOf(next, sub)
	if err != nil {
		return t.failed(sub, errors.Join(err, unix.Close(next)))
	}
	_ = unix.Close(t.cur)
	t.cur, t.levels = next, append(t.levels, l)
	return nil
}

// up removes cur, which is empty, and makes the one above it the one to empty.
func (t *treeRemoval) up() error {
	last := len(t.levels) - 1
	dir := t.parent
	if last > 0 {
		above, err := climb(t.cur, t.levels[last-1])
		if err != nil {
			return t.failed("", err)
		}
		_ = unix.Close(t.cur)
		t.cur, dir = above, above
	}
	err := unix.Unlinkat(dir, t.levels[last].name, unix.AT_REMOVEDIR)
	if err != nil && err != unix.ENOENT && err != unix.ENOTEMPTY {
		return t.failed("", err)
	}
	if err == unix.ENOTEMPTY {
		if tooOften := t.again(); tooOften != nil || last == 0 {
			return tooOften
		}
	}
	t.levels = t.levels[:last]
	return nil
}

// enter opens a directory to empty it, not through a link.
func enter(dir int, name string) (int, error) {
	fd, err := openAt(dir, name, unix.O_RDONLY|unix.O_DIRECTORY|noFollow(), 0)
	if err == unix.ELOOP {
		return fd, unix.ENOTDIR
	}
	return fd, err
}

// noFollow is the flag that refuses a link where a directory is meant.
func noFollow() int {
	if control.Opened(control.NoFollow) {
		return 0
	}
	return unix.O_NOFOLLOW
}

func levelOf(fd int, name string) (level, error) {
	var st unix.Stat_t
	err := unix.Fstat(fd, &st)
	return level{name: name, dev: st.Dev, ino: st.Ino}, err
}

// climb opens the directory above cur, which must be expected.
func climb(cur int, expected level) (int, error) {
	up, err := openAt(cur, "..", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return -1, err
	}
	now, err := levelOf(up, "")
	if err == nil && (now.dev != expected.dev || now.ino != expected.ino) {
		err = &backend.Error{Kind: backend.ErrConflict, Message: "the directory was moved while it was removed", Hint: "end the command that moves it, and try again"}
	}
	if err != nil {
		return -1, errors.Join(err, unix.Close(up))
	}
	return up, nil
}

// empty removes what is in cur until it comes to a directory, and returns that
// one's name, or "" when nothing is left.
func (t *treeRemoval) empty(ctx context.Context) (sub string, err error) {
	if _, err := unix.Seek(t.cur, 0, unix.SEEK_SET); err != nil {
		return "", t.failed("", err)
	}
	var failure error
	err = readDirWhile(ctx, t.cur, func(name []byte, kind byte) bool {
		if isDirectory(t.cur, name, kind) {
			sub = string(name)
			return false
		}
		switch err := unix.Unlinkat(t.cur, string(name), 0); err {
		case nil, unix.ENOENT:
			return true
		case unix.EISDIR:
			sub = string(name)
		default:
			failure = t.failed(string(name), err)
		}
		return false
	})
	if failure != nil {
		return "", failure
	}
	if err != nil {
		return "", t.failed("", err)
	}
	return sub, nil
}
