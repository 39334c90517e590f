package guest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/deep-sandbox/deep/core/backend"
)

const hintEditSize = "change it by a command, as sed"

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
	b := newBatch(req)
	if err := b.check(); err != nil {
		return nil, err
	}
	if err := (condition{sha256: req.IfSHA256}).check(); err != nil {
		return nil, err
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
		reply, err = editFile(path, b, req.IfSHA256)
		return err
	})
	return reply, err
}

// editFile does the whole edit, on a thread with the user's rights.
func editFile(path string, b batch, ifSHA256 string) (*backend.EditReply, error) {
	t, err := findTarget(path, false)
	if err != nil {
		return nil, err
	}
	content, err := readWhole(t)
	if err == nil && ifSHA256 != "" {
		if sum := sha256.Sum256(content); hex.EncodeToString(sum[:]) != ifSHA256 {
			err = errChanged()
		}
	}
	replaced := 0
	if err == nil {
		content, replaced, err = b.apply(content)
	}
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
	if err := r.write(content); err != nil {
		return nil, err
	}
	if err := r.commit(); err != nil {
		return nil, err
	}
	return &backend.EditReply{Replaced: replaced, Size: r.size, SHA256: hexSum(r.sum)}, nil
}

// readWhole reads the file at t, which is to be edited.
func readWhole(t *target) ([]byte, error) {
	if t.old == nil {
		return nil, unix.ENOENT
	}
	if err := mustBeRegular(t.old); err != nil {
		return nil, err
	}
	var st unix.Stat_t
	fd, err := t.open(unix.O_RDONLY, &st)
	if err != nil {
		return nil, err
	}
	defer func() { _ = unix.Close(fd) }()
	if st.Size > backend.MaxEditSize {
		return nil, &backend.Error{Kind: backend.ErrTooLarge, Message: fmt.Sprintf("%d bytes, above the %d an edit takes", st.Size, backend.MaxEditSize), Hint: hintEditSize}
	}
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
