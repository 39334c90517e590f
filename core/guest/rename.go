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
		flags := uint(0)
		if req.NoReplace {
			flags = unix.RENAME_NOREPLACE
		}
		err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, flags)
		if err == nil {
			return nil
		}
		// Which of the two the kernel minds, it does not say.
		about := req.From
		var st unix.Stat_t
		if unix.Lstat(from, &st) == nil {
			about = req.To
		}
		if err == unix.ENOTEMPTY {
			return &backend.Error{Kind: backend.ErrConflict, Op: "rename", Path: about, Message: "a directory that is not empty is in the way",
				Hint: "remove it, or choose another name"}
		}
		if err == unix.EINVAL {
			return &backend.Error{Kind: backend.ErrInvalid, Op: "rename", Path: about, Message: "a directory cannot be moved into itself", Hint: "choose a name outside of it"}
		}
		return failed("rename", about, err)
	})
}
