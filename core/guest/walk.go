package guest

import (
	"bytes"
	"context"
	"errors"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/deep-sandbox/deep/core/backend"
)

// maxUnreadable bounds how many unreadable paths an answer names.
const maxUnreadable = 100

// tree is a directory whose descendants are visited. Paths in it are relative,
// without a leading slash, "" for itself. Its methods are for one thread.
type tree struct {
	root int
	// room is how long a relative path may be for the whole to be one the kernel
	// takes. What is deeper nobody could name.
	room       int
	unreadable []string
}

// openTree opens the directory at path.
func openTree(path string) (*tree, error) {
	fd, err := openAt(unix.AT_FDCWD, path, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	return &tree{root: fd, room: maxPath - len(path) - 1}, nil
}

func (t *tree) close() { _ = unix.Close(t.root) }

// open opens the directory rel for reading, through a link only if follow. It
// returns -1 without an error for one that has vanished, and for one that cannot
// be read, which it notes.
func (t *tree) open(rel string, follow bool) (int, error) {
	flags := unix.O_RDONLY | unix.O_DIRECTORY
	if !follow && rel != "" {
		flags |= unix.O_NOFOLLOW
	}
	name := rel
	if name == "" {
		name = "."
	}
	fd, err := openAt(t.root, name, flags, 0)
	if err == nil {
		return fd, nil
	}
	return -1, t.passOver(rel, err)
}

// passOver returns nil if err is no reason to give up: rel has vanished, or
// cannot be read, which is noted.
func (t *tree) passOver(rel string, err error) error {
	switch {
	case hasVanished(err):
		return nil
	case isUnreadable(err):
		t.cannotRead(rel)
		return nil
	}
	return err
}

// hasVanished reports whether err, of one file of many, says that it is no longer
// there, or is another kind of file by now.
func hasVanished(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP)
}

// isUnreadable reports whether err, of one file of many, is about that file: /proc,
// /sys and FUSE have files that answer with any errno there is. What the guest
// itself lacks would hold for the next file, too.
func isUnreadable(err error) bool {
	var errno unix.Errno
	return errors.As(err, &errno) && errno != unix.EMFILE && errno != unix.ENFILE && errno != unix.EBADF
}

func (t *tree) cannotRead(rel string) {
	if rel == "" {
		rel = "."
	}
	if len(t.unreadable) < maxUnreadable {
		t.unreadable = append(t.unreadable, rel)
	}
}

// below returns the path of name in rel. ok is false, and rel is noted as not
// searched to its end, where it would be too long.
func (t *tree) below(rel, name string) (path string, ok bool) {
	path = name
	if rel != "" {
		path = rel + "/" + name
	}
	if len(path) > t.room {
		if n := len(t.unreadable); n == 0 || t.unreadable[n-1] != rel {
			t.cannotRead(rel)
		}
		return "", false
	}
	return path, true
}

// names is what a directory holds. A million names take 30 MiB as strings and
// half of that here.
type names struct {
	bytes []byte
	list  []nameAt
}

type nameAt struct {
	offset uint32
	length uint8
	kind   uint8 // d_type
}

func (n *names) name(i int) []byte {
	at := n.list[i]
	return n.bytes[at.offset : at.offset+uint32(at.length)]
}

// read replaces what n holds by the names in dir, sorted so that a walk which
// goes into each directory as it comes meets all paths in their order: a
// directory sorts as if its name ended in a slash.
func (n *names) read(ctx context.Context, dir int) error {
	n.bytes, n.list = n.bytes[:0], n.list[:0]
	err := readDir(ctx, dir, func(name []byte, kind byte) {
		if kind == unix.DT_UNKNOWN {
			kind = kindOf(dir, string(name))
		}
		n.list = append(n.list, nameAt{uint32(len(n.bytes)), uint8(len(name)), kind})
		n.bytes = append(n.bytes, name...)
		n.bytes = append(n.bytes, '/')
	})
	if err != nil {
		return err
	}
	key := func(at nameAt) []byte {
		length := uint32(at.length)
		if at.kind == unix.DT_DIR {
			length++
		}
		return n.bytes[at.offset : at.offset+length]
	}
	slices.SortFunc(n.list, func(a, b nameAt) int { return bytes.Compare(key(a), key(b)) })
	return nil
}

// kindOf asks for the d_type a file system does not tell.
func kindOf(dir int, name string) byte {
	var st unix.Stat_t
	if err := unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return unix.DT_UNKNOWN
	}
	return byte(st.Mode & unix.S_IFMT >> 12)
}

const hintPattern = "as in \"src/**/*.{c,h}\"; a backslash takes the meaning from *, ?, [ and {"

// invalidPattern says what is wrong with a pattern, and where.
func invalidPattern(err error) error {
	return &backend.Error{Kind: backend.ErrInvalid, Message: err.Error(), Hint: hintPattern}
}
