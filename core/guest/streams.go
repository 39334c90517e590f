package guest

import (
	"context"
	"io"
	"os"

	"github.com/deep-sandbox/deep/core/backend"
)

// connect makes the pipes, or a terminal, and returns the command's ends of them.
func (x *execution) connect(ctx context.Context, req *backend.ExecRequest) (ends [3]*os.File, err error) {
	defer func() {
		if err != nil {
			x.closeEnds(ends)
			x.disconnect()
		}
	}()
	if req.TTY != nil {
		if x.terminal, err = x.sandbox.openTerminal(ctx, *req.TTY); err != nil {
			return ends, err
		}
		x.stdout = newTerminalPump(x.terminal, x.sink(&x.entry.stdout, req.Stdout))
		x.input = newTerminalInput(x.terminal, req.KeepStdin)
		if req.Stdin == nil && !req.KeepStdin {
			err = x.input.end(ctx)
		}
		return [3]*os.File{x.terminal.slave, x.terminal.slave, x.terminal.slave}, err
	}
	ends[0] = x.sandbox.null
	if x.stdout, ends[1], err = newPump(x.sink(&x.entry.stdout, req.Stdout)); err != nil {
		return ends, err
	}
	if req.Merged() {
		ends[2] = ends[1]
	} else if x.stderr, ends[2], err = newPump(x.sink(&x.entry.stderr, req.Stderr)); err != nil {
		return ends, err
	}
	if req.Stdin != nil || req.KeepStdin {
		x.input, ends[0], err = newInput(req.KeepStdin)
	}
	return ends, err
}

// closeEnds closes what is the command's alone by now.
func (x *execution) closeEnds(ends [3]*os.File) {
	for _, f := range ends {
		if f != nil && f != x.sandbox.null && (x.terminal == nil || f != x.terminal.slave) {
			_ = f.Close()
		}
	}
}

// pumps are those of the command's output: one, where both streams are one.
func (x *execution) pumps() []*pump {
	switch {
	case x.stdout == nil:
		return nil
	case x.stderr == nil:
		return []*pump{x.stdout}
	}
	return []*pump{x.stdout, x.stderr}
}

func (x *execution) disconnect() {
	if x.terminal != nil {
		x.terminal.close()
		return
	}
	for _, p := range x.pumps() {
		_ = p.pipe.Close()
	}
	if x.input != nil {
		x.input.abandon()
	}
}

// sink returns what a pump does with output: count it against the limit, keep it,
// and write it to w.
func (x *execution) sink(k *kept, w io.Writer) func(p []byte) {
	return func(p []byte) {
		p = x.within(p)
		if len(p) == 0 {
			return
		}
		k.write(p)
		if w == nil {
			return
		}
		n, err := w.Write(p)
		if err == nil && n < len(p) {
			err = io.ErrShortWrite
		}
		if err != nil {
			w = nil // it wants no more
			x.mu.Lock()
			if x.writeErr == nil {
				x.writeErr = err
			}
			x.mu.Unlock()
			x.halt(backend.OutcomeCancelled, err)
		}
	}
}

// within returns what of p is within the limit, and halts the command beyond.
func (x *execution) within(p []byte) []byte {
	if x.limit == 0 {
		return p
	}
	x.mu.Lock()
	left := x.limit - x.output
	x.output += int64(len(p))
	x.mu.Unlock()
	if int64(len(p)) < left {
		return p
	}
	x.halt(backend.OutcomeOutputLimited, nil)
	return p[:max(0, left)]
}
