package guest

import (
	"context"

	"golang.org/x/sys/unix"

	"github.com/deep-sandbox/deep/core/backend"
)

// Rename implements backend.Sandbox.
func (s *Sandbox) Rename(ctx context.Context, req *backend.RenameRequest) error {
	from, err := s.abs(req.From)
	if err != nil {
		return failed("rename", req.From, err)
	}
	to, err := s.abs(req.To)
	if err != nil {
		return failed("rename", req.To, err)
	}
	return s.files.do(ctx, func() error {
		fromDir, fromName, err := entryOf(from)
		if err != nil {
			return failed("rename", req.From, err)
		}
		defer func() { _ = unix.Close(fromDir) }()
		toDir, toName, err := entryOf(to)
		if err != nil {
			return failed("rename", req.To, err)
		}
		defer func() { _ = unix.Close(toDir) }()
		flags := uint(0)
		if req.NoReplace {
			flags = unix.RENAME_NOREPLACE
		}
		err = unix.Renameat2(fromDir, fromName, toDir, toName, flags)
		if err == nil {
			return nil
		}
		// Which of the two the kernel minds, it does not say, and it compares their file
		// systems before it looks whether there is anything to move.
		var st unix.Stat_t
		if err := unix.Fstatat(fromDir, fromName, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return failed("rename", req.From, err)
		}
		if err == unix.ENOTEMPTY {
			return &backend.Error{Kind: backend.ErrConflict, Op: "rename", Path: req.To, Message: "a directory that is not empty is in the way",
				Hint: "remove it, or choose another name"}
		}
		if err == unix.EINVAL {
			return &backend.Error{Kind: backend.ErrInvalid, Op: "rename", Path: req.To, Message: "a directory cannot be moved into itself", Hint: "choose a name outside of it"}
		}
		return failed("rename", req.To, err)
	})
}

// entryOf opens the directory a path is in, and returns its last name with the
// slash that may follow it: it is the kernel's to say what that means.
func entryOf(path string) (dir int, name string, err error) {
	parent, name, slash := splitPath(path)
	switch {
	case name == "":
		name = "."
	case slash:
		name += "/"
	}
	dir, err = openAt(unix.AT_FDCWD, parent, unix.O_PATH|unix.O_DIRECTORY, 0)
	return dir, name, err
}
