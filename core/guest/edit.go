package guest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/deep-sandbox/deep/core/backend"
)

// Edit implements backend.Sandbox.
func (s *Sandbox) Edit(ctx context.Context, req *backend.EditRequest) (*backend.EditReply, error) {
	reply, err := s.edit(ctx, req)
	return reply, failed("edit", req.Path, err)
}

func (s *Sandbox) edit(ctx context.Context, req *backend.EditRequest) (*backend.EditReply, error) {
	path, err := s.abs(req.Path)
	if err != nil {
		return nil, err
	}
	switch {
	case len(req.Old) == 0:
		return nil, &backend.Error{Kind: backend.ErrInvalid, Message: "the text to find is empty"}
	case bytes.Equal(req.Old, req.New):
		return nil, &backend.Error{Kind: backend.ErrInvalid, Message: "the new text is the old one"}
	}
	// Find the file, wait for its turn, find it again: a waiting edit holds no
	// thread, and sees what the one before it left.
	var key fileKey
	err = s.files.do(ctx, func() error {
		t, err := findTarget(path, false)
		if err != nil {
			return err
		}
		key = t.key
		t.close()
		return nil
	})
	if err != nil {
		return nil, err
	}
	unlock, err := s.locks.lock(ctx, key)
	if err != nil {
		return nil, err
	}
	defer unlock()
	var reply *backend.EditReply
	err = s.files.do(ctx, func() error {
		reply, err = editFile(path, req)
		return err
	})
	return reply, err
}

// editFile does the whole edit, on a thread with the user's rights.
func editFile(path string, req *backend.EditRequest) (*backend.EditReply, error) {
	t, err := findTarget(path, false)
	if err != nil {
		return nil, err
	}
	content, err := readWhole(t)
	if err != nil {
		t.close()
		return nil, err
	}
	replaced, err := matches(content, req)
	if err != nil {
		t.close()
		return nil, err
	}
	r, err := replace(t, 0)
	if err != nil {
		t.close()
		return nil, err
	}
	defer func() { _ = r.discard() }()
	for range replaced {
		i := bytes.Index(content, req.Old)
		if err := r.write(content[:i]); err != nil {
			return nil, err
		}
		if err := r.write(req.New); err != nil {
			return nil, err
		}
		content = content[i+len(req.Old):]
	}
	if err := r.write(content); err != nil {
		return nil, err
	}
	if err := r.commit(); err != nil {
		return nil, err
	}
	return &backend.EditReply{Replaced: replaced, Size: r.size, SHA256: hexSum(r.sum)}, nil
}

// matches returns how many matches are to be replaced.
func matches(content []byte, req *backend.EditRequest) (int, error) {
	if req.IfSHA256 != "" {
		sum := sha256.Sum256(content)
		if hex.EncodeToString(sum[:]) != req.IfSHA256 {
			return 0, &backend.Error{Kind: backend.ErrConflict, Message: "the file is not what it was", Hint: "read it again"}
		}
	}
	n := bytes.Count(content, req.Old)
	switch {
	case n == 0:
		return 0, &backend.Error{Kind: backend.ErrNotFound, Message: "the text to replace is not in the file",
			Hint: "read the file again and copy the text exactly, white space included"}
	case n > 1 && !req.All:
		return 0, &backend.Error{Kind: backend.ErrConflict, Count: n, Message: fmt.Sprintf("the text to replace is in the file %d times", n),
			Hint: "give more of what surrounds it, or ask for all"}
	}
	return n, nil
}

// readWhole reads the file at t, which is to be edited.
func readWhole(t *target) ([]byte, error) {
	if t.old == nil {
		return nil, unix.ENOENT
	}
	if err := mustBeRegular(t.old); err != nil {
		return nil, err
	}
	at, err := openAt(t.dir, t.name, unix.O_PATH|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = unix.Close(at) }()
	var st unix.Stat_t
	if err := unix.Fstat(at, &st); err != nil {
		return nil, err
	}
	if err := mustBeRegular(&st); err != nil {
		return nil, err
	}
	if err := notOurs(at, &st); err != nil {
		return nil, err
	}
	if st.Size > backend.MaxEditSize {
		return nil, &backend.Error{Kind: backend.ErrTooLarge, Message: fmt.Sprintf("%d bytes, above the %d an edit takes", st.Size, backend.MaxEditSize)}
	}
	fd, err := reopen(at, unix.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer func() { _ = unix.Close(fd) }()
	// One byte more, to notice a file that grows.
	content := make([]byte, st.Size+1)
	n := 0
	for n < len(content) {
		m, err := unix.Pread(fd, content[n:], int64(n))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, err
		}
		if m == 0 {
			return content[:n], nil
		}
		n += m
	}
	return nil, &backend.Error{Kind: backend.ErrConflict, Message: "the file grows while it is edited", Hint: "try again when what writes to it has ended"}
}
