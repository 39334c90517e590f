package guest

import (
	"context"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/deep-sandbox/deep/core/backend"
)

// append adds the content to what is there. It has the path's lock while the
// content comes: an append lands in one piece, and one that fails can be undone.
func (w *writing) append(ctx context.Context) (*backend.WriteFileReply, error) {
	s := w.sandbox
	// Find the file, wait for its turn, find it again.
	var key fileKey
	err := s.files.do(ctx, func() error {
		t, err := w.condition.target(w.path)
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
	var t *target
	err = s.files.do(ctx, func() error {
		t, err = w.condition.target(w.path)
		return err
	})
	if err != nil {
		return nil, err
	}
	if t.old == nil {
		t.close()
		return w.appendToNothing(ctx)
	}
	a := &appending{target: t, fd: -1}
	defer a.close()
	if err := w.addTo(ctx, a); err != nil {
		return nil, s.files.doAnyway(func() error { return a.undo(err) })
	}
	return &backend.WriteFileReply{Size: a.size}, nil
}

// appendToNothing makes the file.
func (w *writing) appendToNothing(ctx context.Context) (*backend.WriteFileReply, error) {
	r, err := w.begin(ctx)
	if r != nil {
		defer func() { _ = w.sandbox.files.doAnyway(r.discard) }()
	}
	if err == nil {
		err = w.copyTo(ctx, r)
	}
	if err != nil {
		return nil, err
	}
	// A command may have made it meanwhile. It is not replaced.
	r.expected.nothing = true
	return w.commit(ctx, r)
}

// addTo writes all of the content to a.
func (w *writing) addTo(ctx context.Context, a *appending) error {
	files := w.sandbox.files
	// What is not to be written is opened in no other way than to be read.
	r := &replacement{target: a.target}
	if err := w.condition.holds(ctx, files, r); err != nil {
		return err
	}
	err := files.do(ctx, func() error {
		if err := a.open(r.expected); err != nil {
			return err
		}
		return a.write(w.buf[:w.n])
	})
	for err == nil && !w.ended {
		if err = w.fill(); err == nil {
			err = files.do(ctx, func() error { return a.write(w.buf[:w.n]) })
		}
	}
	if err != nil {
		return err
	}
	return files.do(ctx, a.commit)
}

// appending is a file that is being appended to. Its methods are for one thread
// with the user's rights at a time.
type appending struct {
	target *target
	fd     int
	old    int64 // its size before
	size   int64 // with what was written
}

func (a *appending) open(expected expectation) error {
	var st unix.Stat_t
	fd, err := a.target.open(unix.O_WRONLY|unix.O_APPEND, &st)
	if err == unix.ETXTBSY {
		return &backend.Error{Kind: backend.ErrConflict, Message: "it is a program that runs", Hint: "end it first, or replace the file as a whole"}
	}
	if err != nil {
		return err
	}
	a.fd = fd
	a.old, a.size = st.Size, st.Size
	return expected.unchanged(a.target)
}

func (a *appending) write(p []byte) error {
	for len(p) > 0 {
		n, err := unix.Write(a.fd, p)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		p = p[n:]
		a.size += int64(n)
	}
	return nil
}

// commit makes it last, and learns the size of the whole.
func (a *appending) commit() error {
	if err := unix.Fsync(a.fd); err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstat(a.fd, &st); err != nil {
		return err
	}
	a.size = max(a.size, st.Size)
	return nil
}

// undo takes away what was written, and returns why: cause, with what it could
// not undo.
func (a *appending) undo(cause error) error {
	if a.fd < 0 || a.size == a.old {
		return cause
	}
	stays := func(why string) error {
		return &backend.Error{Kind: backend.ErrConflict, Err: cause,
			Message: fmt.Sprintf("it failed, and %d bytes of the content stay in the file: %s", a.size-a.old, why)}
	}
	var st unix.Stat_t
	if err := unix.Fstat(a.fd, &st); err != nil {
		return stays(err.Error())
	}
	if st.Size != a.size {
		// What stands behind it is not ours to take.
		return stays("a command writes to it too")
	}
	if err := unix.Ftruncate(a.fd, a.old); err != nil {
		return stays(err.Error())
	}
	return cause
}

func (a *appending) close() {
	if a.fd >= 0 {
		_ = unix.Close(a.fd) // it was synced, or undone
	}
	a.target.close()
}
