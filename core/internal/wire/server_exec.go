package wire

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/deep-sandbox/deep/core/backend"
	backendv1 "github.com/deep-sandbox/deep/core/proto/backend/v1"
)

// errCancelFrame is the cause of a context that the caller's cancel ended.
var errCancelFrame = errors.New("cancel frame")

func (s *sandboxServer) Exec(stream backendv1.Sandbox_ExecServer) error {
	sb, err := s.sandbox(stream.Context())
	if err != nil {
		return err
	}
	first, err := stream.Recv()
	if err != nil {
		return Error(noStart("exec", err))
	}
	start := first.GetStart()
	if start == nil {
		return Error(noStart("exec", nil))
	}

	ctx, cancel := context.WithCancelCause(stream.Context())
	defer cancel(nil)
	out := &execOutput{stream: stream}
	req := execFromWire(start)
	req.Stdout, req.Stderr = (*stdoutWriter)(out), (*stderrWriter)(out)
	if start.GetMerge() {
		req.Stderr = req.Stdout
	}
	var in *execInput
	if start.GetStdin() {
		in = newExecInput(out)
		req.Stdin = in
		defer in.close(errExecEnded)
	}
	// Ends with the call: Recv fails once the handler has returned.
	go receiveExec(stream, in, cancel)

	res, err := sb.Exec(ctx, req)
	cause := context.Cause(ctx)
	if errors.Is(cause, errCancelFrame) && res != nil && errors.Is(err, context.Canceled) {
		err = nil // as asked for: the result says it
	}
	if e := (*backend.Error)(nil); errors.As(cause, &e) {
		err = e // the caller broke the protocol; that its command was cancelled is for the result to say
	}
	if sendErr := out.finish(res); sendErr != nil {
		err = errors.Join(err, sendErr)
	}
	return Error(err)
}

// errExecEnded is what a read of stdin gets after its command has ended.
var errExecEnded = &backend.Error{Kind: context.Canceled, Op: "exec", Message: "the command has ended"}

// receiveExec takes what the caller sends until the call ends or is cancelled.
func receiveExec(stream backendv1.Sandbox_ExecServer, in *execInput, cancel context.CancelCauseFunc) {
	for {
		msg, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			// Half-closed: no cancel will come, and no more input.
			if in != nil {
				in.close(io.EOF)
			}
			return
		}
		if err == nil {
			err = takeExec(msg, in)
		}
		if err != nil {
			if in != nil {
				in.close(errExecEnded)
			}
			cancel(err)
			return
		}
	}
}

// takeExec handles one message after the first. Its error ends the command.
func takeExec(msg *backendv1.ExecRequest, in *execInput) error {
	invalid := func(message string) error {
		return &backend.Error{Kind: backend.ErrInvalid, Op: "exec", Message: message}
	}
	switch m := msg.GetMessage().(type) {
	case *backendv1.ExecRequest_Cancel:
		return errCancelFrame
	case *backendv1.ExecRequest_Start:
		return invalid("start may come only once")
	case *backendv1.ExecRequest_Stdin:
		switch {
		case in == nil:
			return invalid("input for a command that was started without")
		case len(m.Stdin) > outputFrame:
			return invalid("a message may hold at most 32 KiB of input")
		}
		return in.put(m.Stdin)
	case *backendv1.ExecRequest_StdinEnd:
		if in == nil {
			return invalid("end of input for a command that was started without")
		}
		return in.end()
	default:
		return invalid("a message that says nothing")
	}
}

// execInput is the stdin of a command: a queue of at most stdinWindow bytes.
type execInput struct {
	out *execOutput

	mu       sync.Mutex
	changed  sync.Cond
	queue    [][]byte
	received int64
	taken    int64
	reported int64
	err      error // what comes after the queue
}

func newExecInput(out *execOutput) *execInput {
	in := &execInput{out: out}
	in.changed.L = &in.mu
	return in
}

func (in *execInput) put(p []byte) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.err != nil {
		return &backend.Error{Kind: backend.ErrInvalid, Op: "exec", Message: "input after its end"}
	}
	in.received += int64(len(p))
	// Against what was reported, not what was taken: the caller knows no better.
	if in.received-in.reported > stdinWindow {
		return &backend.Error{Kind: backend.ErrInvalid, Op: "exec", Message: "more than 256 KiB of input that was not confirmed"}
	}
	if len(p) > 0 {
		in.queue = append(in.queue, p)
		in.changed.Broadcast()
	}
	return nil
}

func (in *execInput) end() error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.err != nil {
		return &backend.Error{Kind: backend.ErrInvalid, Op: "exec", Message: "a second end of input"}
	}
	in.err = io.EOF
	in.changed.Broadcast()
	return nil
}

// close ends the input with err, unless it has ended already. A reader gets what
// is queued first, if err is io.EOF.
func (in *execInput) close(err error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if !errors.Is(err, io.EOF) {
		in.queue = nil
	}
	if in.err == nil || errors.Is(in.err, io.EOF) {
		in.err = err
	}
	in.changed.Broadcast()
}

// Read implements io.Reader for the sandbox. It confirms what it hands out, in
// steps of a quarter of the window: the caller is then never held up while there
// is room, and short input costs no message.
func (in *execInput) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	in.mu.Lock()
	for len(in.queue) == 0 && in.err == nil {
		in.changed.Wait()
	}
	if len(in.queue) == 0 {
		defer in.mu.Unlock()
		return 0, in.err
	}
	n := copy(p, in.queue[0])
	if in.queue[0] = in.queue[0][n:]; len(in.queue[0]) == 0 {
		in.queue[0] = nil
		in.queue = in.queue[1:]
	}
	in.taken += int64(n)
	report := int64(0)
	if in.taken-in.reported >= stdinWindow/4 && in.err == nil {
		in.reported, report = in.taken, in.taken
	}
	in.mu.Unlock()
	if report > 0 {
		in.out.confirm(report)
	}
	return n, nil
}

// outputDelay is how long output waits for more, or for the exit, to share a
// message with. A short command then costs one wake-up a hop instead of two.
const outputDelay = time.Millisecond

var outputBuffers = sync.Pool{New: func() any { return new([outputFrame]byte) }}

// execOutput sends what a command writes. A slow caller blocks it, and so the
// command; it holds at most one frame.
type execOutput struct {
	stream backendv1.Sandbox_ExecServer

	mu     sync.Mutex
	buf    *[outputFrame]byte // from outputBuffers while n > 0
	n      int                // bytes in buf
	split  int                // of these, the first are stdout, the rest stderr
	timer  *time.Timer
	armed  bool
	closed bool
	err    error
}

type (
	stdoutWriter execOutput
	stderrWriter execOutput
)

func (w *stdoutWriter) Write(p []byte) (int, error) { return (*execOutput)(w).write(p, false) }
func (w *stderrWriter) Write(p []byte) (int, error) { return (*execOutput)(w).write(p, true) }

func (o *execOutput) write(p []byte, stderr bool) (written int, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for written < len(p) {
		if o.closed {
			return written, errExecEnded
		}
		rest := p[written:]
		if !stderr && o.n > o.split {
			// In one message stdout comes first.
			o.flush(nil)
		}
		if o.n == 0 && len(rest) >= outputFrame {
			o.send(frameOf(rest[:outputFrame], stderr))
			written += outputFrame
		} else {
			written += o.add(rest, stderr)
			if o.n == outputFrame {
				o.flush(nil)
			}
		}
		if o.err != nil {
			return written, o.err
		}
	}
	if o.n > 0 && !o.armed {
		o.armed = true
		if o.timer == nil {
			o.timer = time.AfterFunc(outputDelay, o.flushLater)
		} else {
			o.timer.Reset(outputDelay)
		}
	}
	return written, nil
}

func (o *execOutput) add(p []byte, stderr bool) int {
	if o.buf == nil {
		o.buf = outputBuffers.Get().(*[outputFrame]byte)
	}
	n := copy(o.buf[o.n:], p)
	o.n += n
	if !stderr {
		o.split = o.n
	}
	return n
}

func frameOf(p []byte, stderr bool) *backendv1.ExecReply {
	if stderr {
		return &backendv1.ExecReply{Stderr: p}
	}
	return &backendv1.ExecReply{Stdout: p}
}

func (o *execOutput) flushLater() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.armed = false
	o.flush(nil)
}

// flush sends what is held, and exit with it.
func (o *execOutput) flush(exit *backendv1.ExecResult) {
	if o.n == 0 && exit == nil {
		return
	}
	msg := &backendv1.ExecReply{Exit: exit}
	if o.n > 0 {
		msg.Stdout, msg.Stderr = o.buf[:o.split], o.buf[o.split:o.n]
	}
	o.send(msg)
	if o.buf != nil {
		// Send has marshalled msg, so nobody looks at the buffer any more.
		outputBuffers.Put(o.buf)
		o.buf = nil
	}
	o.n, o.split = 0, 0
}

func (o *execOutput) send(msg *backendv1.ExecReply) {
	if o.err == nil && !o.closed {
		o.err = o.stream.Send(msg)
	}
}

// confirm tells the caller how much input was taken.
func (o *execOutput) confirm(taken int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.send(&backendv1.ExecReply{StdinTaken: taken})
}

// finish sends the rest of the output and how the command ended, if that is
// known. Nothing is sent after it.
func (o *execOutput) finish(res *backend.ExecResult) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.timer != nil {
		o.timer.Stop()
	}
	var exit *backendv1.ExecResult
	if res != nil {
		exit = resultToWire(res)
	}
	o.flush(exit)
	o.closed = true
	return o.err
}
