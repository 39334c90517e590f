package guest

import (
	"context"
	"errors"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/deep-sandbox/deep/core/backend"
)

// input is our end of a command's standard input. It waits in the poller.
type input struct {
	file     *os.File
	terminal *terminal // of which file is the master; nil for a pipe
	// kept: it is for WriteStdin, and stays open until that closes it.
	kept bool
	// turn is held by the one who writes.
	turn chan struct{}
	// Guarded by turn.
	closed bool
	last   byte // that was typed
}

// newInput returns our end of a pipe, and the command's.
func newInput(kept bool) (*input, *os.File, error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return nil, nil, err
	}
	if err := unix.SetNonblock(fds[1], true); err != nil {
		return nil, nil, errors.Join(err, unix.Close(fds[0]), unix.Close(fds[1]))
	}
	return &input{file: os.NewFile(uintptr(fds[1]), "stdin"), kept: kept, turn: make(chan struct{}, 1)},
		os.NewFile(uintptr(fds[0]), "stdin"), nil
}

// newTerminalInput returns the input of a terminal, at the beginning of a line.
func newTerminalInput(t *terminal, kept bool) *input {
	return &input{file: t.master, terminal: t, kept: kept, turn: make(chan struct{}, 1), last: '\n'}
}

// end says that nothing comes any more.
func (in *input) end(ctx context.Context) error {
	in.closed = true
	if in.terminal == nil {
		return in.file.Close()
	}
	keys, err := in.terminal.end(in.last)
	if err == nil {
		_, err = in.write(ctx, keys)
	}
	return err
}

// abandon wakes who writes: the command has ended. What is left of a terminal
// is its pump's to close.
func (in *input) abandon() {
	if in.terminal == nil {
		_ = in.file.Close()
		return
	}
	_ = in.file.SetWriteDeadline(time.Unix(1, 0))
}

// feed copies r to the command until either has enough.
func (x *execution) feed(r io.Reader) {
	in := x.input
	in.turn <- struct{}{}
	defer func() { <-in.turn }()
	ctx := context.Background() // abandon ends it
	buf := outputBuffers.Get().(*[outputBuffer]byte)
	defer outputBuffers.Put(buf)
	for {
		n, err := r.Read(buf[:])
		if n > 0 {
			if _, writeErr := in.write(ctx, buf[:n]); writeErr != nil {
				return // the command closed it, or has ended
			}
		}
		if err == io.EOF {
			if !in.kept {
				_ = in.end(ctx) // the same
			}
			return
		}
		if err != nil {
			x.halt(backend.OutcomeCancelled, err)
			return
		}
	}
}

// WriteStdin implements backend.Sandbox. A Content whose Read hangs does not keep
// it from returning when ctx or the command ends; the Read is abandoned.
func (s *Sandbox) WriteStdin(ctx context.Context, req *backend.WriteStdinRequest) (*backend.WriteStdinReply, error) {
	const op = "write stdin"
	x, err := s.execs.findRunning(ctx, op, req.ID)
	if err != nil {
		return nil, err
	}
	reply := &backend.WriteStdinReply{}
	conflict := func(message, hint string) (*backend.WriteStdinReply, error) {
		return reply, &backend.Error{Kind: backend.ErrConflict, Op: op, Path: req.ID, Message: message, Hint: hint}
	}
	in := x.input
	if in == nil || !in.kept {
		return conflict("its input was not kept open", "start it with its input kept")
	}
	select {
	case in.turn <- struct{}{}:
	case <-x.dead:
		return reply, errEnded(op, req.ID)
	case <-ctx.Done():
		return reply, failed(op, req.ID, ctx.Err())
	}
	defer func() { <-in.turn }()
	if in.closed {
		return conflict("its input is closed", "start it again to give it more; its outcome and output can still be asked for")
	}
	var failure error
	if req.Content != nil {
		failure, err = x.give(ctx, req.Content, &reply.Written)
	}
	switch {
	case ctx.Err() != nil && (failure != nil || err != nil):
		return reply, failed(op, req.ID, ctx.Err())
	case failure != nil:
		return reply, failed(op, req.ID, failure)
	case errors.Is(err, unix.EPIPE):
		return conflict("the command has closed its input", "it takes no more; ask for its outcome and output")
	case errors.Is(err, os.ErrClosed), errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, unix.EIO):
		return reply, errEnded(op, req.ID)
	case err != nil:
		return reply, failed(op, req.ID, err)
	}
	if req.Close {
		if err := in.end(ctx); err != nil && ctx.Err() != nil {
			return reply, failed(op, req.ID, ctx.Err())
		}
	}
	return reply, nil
}

// give copies content to the command, and counts what it took. failure is that of
// content; err is os.ErrClosed or os.ErrDeadlineExceeded when the command has
// ended.
func (x *execution) give(ctx context.Context, content io.Reader, written *int64) (failure, err error) {
	type piece struct {
		data []byte
		err  error
	}
	pieces, quit := make(chan piece), make(chan struct{})
	defer close(quit)
	go func() {
		// Two: while one is being written the other is filled.
		var bufs [2][outputBuffer]byte
		for i := 0; ; i ^= 1 {
			n, err := content.Read(bufs[i][:])
			select {
			case pieces <- piece{bufs[i][:n], err}:
			case <-quit:
				return
			}
			if err != nil {
				return
			}
		}
	}()
	for {
		select {
		case p := <-pieces:
			if len(p.data) > 0 {
				n, err := x.input.write(ctx, p.data)
				*written += int64(n)
				if err != nil {
					return nil, err
				}
			}
			if p.err == io.EOF {
				return nil, nil
			}
			if p.err != nil {
				return p.err, nil
			}
		case <-x.dead:
			return nil, os.ErrClosed
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// write writes p unless ctx ends first.
func (in *input) write(ctx context.Context, p []byte) (n int, err error) {
	woken := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(woken)
		_ = in.file.SetWriteDeadline(time.Unix(1, 0))
	})
	if n, err = in.file.Write(p); n > 0 {
		in.last = p[n-1]
	}
	if !stop() {
		<-woken
		_ = in.file.SetWriteDeadline(time.Time{})
	}
	return n, err
}
