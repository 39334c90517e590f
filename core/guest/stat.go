package guest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"time"

	"golang.org/x/sys/unix"

	"github.com/deep-sandbox/deep/core/backend"
)

// Stat implements backend.Sandbox.
func (s *Sandbox) Stat(ctx context.Context, req *backend.StatRequest) (*backend.FileInfo, error) {
	info, err := s.stat(ctx, req)
	return info, failed("stat", req.Path, err)
}

func (s *Sandbox) stat(ctx context.Context, req *backend.StatRequest) (*backend.FileInfo, error) {
	path, err := s.abs(req.Path)
	if err != nil {
		return nil, err
	}
	var info backend.FileInfo
	err = s.files.do(ctx, func() error {
		flags := unix.O_PATH
		if !req.Follow {
			flags |= unix.O_NOFOLLOW
		}
		var st unix.Stat_t
		at, err := openStat(unix.AT_FDCWD, path, flags, 0, &st)
		if err != nil {
			return err
		}
		defer func() { _ = unix.Close(at) }()
		info = fileInfo(req.Path, &st)
		if info.Type == backend.TypeSymlink {
			info.Target, err = readlinkat(at, "")
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if !req.SHA256 {
		return &info, nil
	}
	if info.Type != backend.TypeRegular {
		return nil, &backend.Error{Kind: backend.ErrInvalid, Message: "only a regular file has a sum", Hint: "ask without the sum"}
	}
	if err := s.sum(ctx, path, &info); err != nil {
		return nil, err
	}
	return &info, nil
}

// sum fills in SHA256, and the rest again for the file that was summed.
func (s *Sandbox) sum(ctx context.Context, path string, info *backend.FileInfo) error {
	f, err := s.open(ctx, path, info.Path, 0, 0)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	h := sha256.New()
	buf := outputBuffers.Get().(*[outputBuffer]byte)
	defer outputBuffers.Put(buf)
	for {
		n, more, err := f.next(buf[:])
		if err != nil {
			return err
		}
		_, _ = h.Write(buf[:n]) // never fails
		if !more {
			break
		}
	}
	*info = f.info
	info.SHA256 = hexSum(h)
	return nil
}

func hexSum(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil)) }

// fileInfo describes what st says, without the target of a link.
func fileInfo(path string, st *unix.Stat_t) backend.FileInfo {
	info := backend.FileInfo{
		Path: path, Type: typeOf(st.Mode), Mode: st.Mode & 0o7777,
		ModTime: time.Unix(st.Mtim.Unix()),
	}
	if info.Type == backend.TypeRegular {
		info.Size = st.Size
	}
	return info
}

func readlinkat(dir int, name string) (string, error) {
	buf := make([]byte, maxPath+1)
	n, err := unix.Readlinkat(dir, name, buf)
	if err != nil {
		return "", err
	}
	return string(buf[:n]), nil
}
