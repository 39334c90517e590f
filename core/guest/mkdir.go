package guest

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/deep-sandbox/deep/core/backend"
)

// Mkdir implements backend.Sandbox.
func (s *Sandbox) Mkdir(ctx context.Context, req *backend.MkdirRequest) error {
	return failed("mkdir", req.Path, s.mkdir(ctx, req))
}

func (s *Sandbox) mkdir(ctx context.Context, req *backend.MkdirRequest) error {
	path, err := s.abs(req.Path)
	if err != nil {
		return err
	}
	mode := req.Mode
	switch {
	case mode == 0:
		mode = 0o755
	case mode&^0o1777 != 0:
		return &backend.Error{Kind: backend.ErrInvalid, Message: fmt.Sprintf("mode %#o holds more than permission bits and sticky", mode), Hint: "give one of 0 to 01777"}
	}
	return s.files.do(ctx, func() error {
		fd, err := makeDirs(unix.AT_FDCWD, path, mode)
		if err == nil {
			return unix.Close(fd)
		}
		if errors.Is(err, unix.ENOTDIR) {
			// At the end of the path it is in the way, above it is no way.
			var st unix.Stat_t
			if statAt(unix.AT_FDCWD, strings.TrimRight(path, "/"), 0, &st) == nil {
				return unix.EEXIST
			}
		}
		return err
	})
}
