package guest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/deep-sandbox/deep/core/backend"
)

// ReadOutput implements backend.Sandbox.
func (s *Sandbox) ReadOutput(ctx context.Context, req *backend.ReadOutputRequest) (*backend.Output, error) {
	const op = "read output"
	e, err := s.execs.find(op, req.ID)
	if err != nil {
		return nil, err
	}
	k := &e.stdout
	switch req.Stream {
	case "", backend.StreamStdout:
	case backend.StreamStderr:
		k = &e.stderr
	default:
		return nil, &backend.Error{Kind: backend.ErrInvalid, Op: op, Path: req.ID,
			Message: "no such stream: " + backend.Printable(string(req.Stream)), Hint: "ask for stdout or stderr"}
	}
	first, end := k.bounds()
	if req.Offset < 0 || req.Offset > end {
		return nil, &backend.Error{Kind: backend.ErrInvalid, Op: op, Path: req.ID,
			Message: fmt.Sprintf("there is no offset %d in the %d bytes that were written", req.Offset, end),
			Hint:    "begin at 0, or where the last read ended"}
	}
	r := &outputReader{ctx: ctx, id: req.ID, kept: k, at: max(req.Offset, first), stop: end, closed: make(chan struct{})}
	if req.Follow {
		r.stop = math.MaxInt64
	}
	return &backend.Output{Offset: r.at, ReadCloser: r}, nil
}

// outputReader reads kept output from one offset to another, or to its end.
type outputReader struct {
	ctx  context.Context
	id   string
	kept *kept

	mu       sync.Mutex // one Read at a time
	at, stop int64
	closing  sync.Once
	closed   chan struct{}
}

// Read implements io.Reader.
func (r *outputReader) Read(p []byte) (int, error) {
	const op = "read output"
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		select {
		case <-r.closed:
			return 0, &backend.Error{Kind: backend.ErrInvalid, Op: op, Path: r.id, Message: "it was closed", Hint: "read the output anew, from the offset where this ended"}
		default:
		}
		if err := r.ctx.Err(); err != nil {
			return 0, failed(op, r.id, err)
		}
		n, first, changed, err := r.kept.readAt(p, r.at, r.stop)
		switch {
		case errors.Is(err, unix.EBADF):
			return 0, &backend.Error{Kind: backend.ErrGone, Op: op, Path: r.id, Message: "the sandbox ended"}
		case err != nil:
			return 0, failed(op, r.id, err)
		case first > r.at:
			return 0, &backend.Error{Kind: backend.ErrConflict, Op: op, Path: r.id,
				Message: fmt.Sprintf("the bytes from %d to %d were dropped for newer output before they were read", r.at, first),
				Hint:    fmt.Sprintf("go on at offset %d", first)}
		case n > 0 || len(p) == 0:
			r.at += int64(n)
			return n, nil
		case changed == nil:
			return 0, io.EOF
		}
		select {
		case <-changed:
		case <-r.closed:
		case <-r.ctx.Done():
		}
	}
}

// Close implements io.Closer.
func (r *outputReader) Close() error {
	r.closing.Do(func() { close(r.closed) })
	return nil
}
