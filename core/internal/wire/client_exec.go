package wire

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/deep-sandbox/deep/core/backend"
	backendv1 "github.com/deep-sandbox/deep/core/proto/backend/v1"
)

const (
	// cancelPatience is how long beyond its grace a cancelled command's exit is
	// waited for.
	cancelPatience = 10 * time.Second
	// outcomeTimeout bounds the question what became of one whose exit did not
	// come.
	outcomeTimeout = 5 * time.Second
)

var cancelFrame = &backendv1.ExecRequest{Message: &backendv1.ExecRequest_Cancel{Cancel: &backendv1.ExecCancel{}}}

// Exec implements backend.Sandbox. The stream is not tied to ctx: when that ends,
// a cancel is sent, and the result waited for. Stdout and Stderr are written to
// from this goroutine, in the order things came; while a Write hangs Exec does not
// return, but its command is cancelled all the same.
func (c *sandboxClient) Exec(ctx context.Context, req *backend.ExecRequest) (*backend.ExecResult, error) {
	const op = "exec"
	id := orElse(req.ID, backend.NewID())
	if req.KeepStdin {
		return nil, &backend.Error{Kind: backend.ErrInvalid, Backend: string(c.peer), Op: op, Path: id, Message: "KeepStdin is for Start",
			Hint: "give the input as Stdin, or start the command in the background"}
	}
	start := execToWire(req, id)
	msg := &backendv1.ExecRequest{Message: &backendv1.ExecRequest_Start{Start: start}}
	if err := c.checkRequest(op, id, msg, id); err != nil {
		return nil, err
	}
	notRun := func() (*backend.ExecResult, error) {
		return &backend.ExecResult{ID: id, Outcome: backend.OutcomeCancelled}, c.ended(ctx, op, "")
	}
	if ctx.Err() != nil {
		return notRun()
	}
	call, err := detach(ctx, c.with(context.WithoutCancel(ctx)), func(ctx context.Context) (grpc.ClientStream, error) {
		return c.rpc.Exec(ctx)
	})
	if err != nil {
		if ctx.Err() != nil {
			return notRun()
		}
		return nil, c.fail(ctx, op, "", err)
	}
	defer call.close()
	patience := graceOf(req) + cancelPatience
	stop := call.cancelWith(ctx, cancelFrame, patience)
	defer stop()

	r := &execReceiver{peer: c.peer, call: call, req: req, id: id, patience: patience}
	// An error of Send is told by Recv, with its reason.
	_ = call.send(msg)
	if req.Stdin != nil {
		r.stdin = newStdinPump(call)
		go r.stdin.run(req.Stdin, func() { call.cancelNow(cancelFrame, patience) })
		defer r.stdin.stop()
	}
	res, err := r.run()
	torn := call.torn()
	if torn {
		res, err = c.settle(ctx, id, r), nil
	}
	return c.execEnded(ctx, r, torn, res, err)
}

// graceOf returns what the command gets to end in, within reason.
func graceOf(req *backend.ExecRequest) time.Duration {
	if req.Grace == nil {
		return backend.DefaultGrace
	}
	return min(max(*req.Grace, 0), time.Hour)
}

// settle asks what became of a command whose exit did not come in time.
func (c *sandboxClient) settle(ctx context.Context, id string, r *execReceiver) *backend.ExecResult {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), outcomeTimeout)
	defer cancel()
	reply, err := c.Outcome(ctx, &backend.OutcomeRequest{ID: id})
	if err != nil || reply.Result.Outcome == backend.OutcomeRunning {
		return r.unknown(backend.OutcomeUnknown)
	}
	return &reply.Result
}

// execEnded says what Exec returns. err is a *backend.Error or a status. After a
// call was torn down output may be missing, so it is never a success.
func (c *sandboxClient) execEnded(ctx context.Context, r *execReceiver, torn bool, res *backend.ExecResult, err error) (*backend.ExecResult, error) {
	const op = "exec"
	var local error // what this side ended it for
	if r.stdin != nil {
		local = r.stdin.failed()
	}
	if r.writeErr != nil {
		local = r.writeErr
	}
	if err != nil {
		// Not by ctx: its end was told to the sandbox, and this is the answer.
		err = c.fail(context.WithoutCancel(ctx), op, "", err)
		switch {
		case res != nil:
		case errors.Is(err, backend.ErrGone):
			res = r.unknown(backend.OutcomeLost)
		case errors.Is(err, backend.ErrUnavailable):
			res = r.unknown(backend.OutcomeUnknown)
		case (ctx.Err() != nil || local != nil) && errors.Is(err, context.Canceled):
			// The cancel was there before the command had begun.
			res = &backend.ExecResult{ID: r.id, Outcome: backend.OutcomeCancelled}
		}
	}
	ended := torn || res == nil || res.Outcome == backend.OutcomeCancelled || res.Outcome == backend.OutcomeUnknown
	switch {
	case local != nil:
		return res, local
	case ctx.Err() != nil && ended && (err == nil || errors.Is(err, context.Canceled)):
		return res, c.ended(ctx, op, "")
	default:
		return res, err
	}
}

// execReceiver takes what the sandbox sends.
type execReceiver struct {
	peer
	call     *detached
	req      *backend.ExecRequest
	id       string
	patience time.Duration
	stdin    *stdinPump

	stdout, stderr int64
	writeErr       error
}

// run reads to the end of the stream. Its error is a *backend.Error or a status.
func (r *execReceiver) run() (*backend.ExecResult, error) {
	const op = "exec"
	var res *backend.ExecResult
	for {
		msg := new(backendv1.ExecReply)
		err := r.call.stream.RecvMsg(msg)
		if errors.Is(err, io.EOF) {
			if res == nil {
				return nil, r.faulty(op, "it ended without an exit")
			}
			return res, nil
		}
		if err != nil {
			return res, err
		}
		if res != nil {
			return nil, r.faulty(op, "more after the exit")
		}
		if bad := r.check(msg); bad != "" {
			return nil, r.faulty(op, "%s", bad)
		}
		r.write(r.req.Stdout, msg.GetStdout())
		r.write(r.req.Stderr, msg.GetStderr())
		if msg.GetExit() != nil {
			res = resultFromWire(msg.GetExit())
		}
	}
}

// check returns what is wrong with a message, and counts what it holds.
func (r *execReceiver) check(msg *backendv1.ExecReply) string {
	stdout, stderr := int64(len(msg.GetStdout())), int64(len(msg.GetStderr()))
	r.stdout, r.stderr = r.stdout+stdout, r.stderr+stderr
	switch {
	case stdout+stderr == 0 && msg.GetStdinTaken() == 0 && msg.GetExit() == nil:
		return "a message that says nothing"
	case max(stdout, stderr) > outputFrame:
		return "a message with more than 32 KiB of output"
	case r.req.OutputLimit > 0 && r.stdout+r.stderr > r.req.OutputLimit:
		return "more output than the limit asked for"
	case msg.GetStdinTaken() != 0 && (r.stdin == nil || !r.stdin.taken(msg.GetStdinTaken())):
		return "input taken that was not sent"
	case msg.GetExit() == nil:
		return ""
	}
	if bad := badResult(msg.GetExit(), r.id, false); bad != "" {
		return bad
	}
	if msg.GetExit().GetStdoutBytes() < r.stdout || msg.GetExit().GetStderrBytes() < r.stderr {
		return "more output than the exit counts"
	}
	return ""
}

// write hands output over. After an error the rest is dropped, and the command
// cancelled.
func (r *execReceiver) write(w io.Writer, p []byte) {
	if w == nil || len(p) == 0 || r.writeErr != nil {
		return
	}
	n, err := w.Write(p)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	if err != nil {
		r.writeErr = err
		r.call.cancelNow(cancelFrame, r.patience)
	}
}

// unknown is the result of a command whose exit did not come.
func (r *execReceiver) unknown(o backend.Outcome) *backend.ExecResult {
	return &backend.ExecResult{ID: r.id, Outcome: o, StdoutBytes: r.stdout, StderrBytes: r.stderr}
}

// stdinPump copies the input of a command, never more than stdinWindow ahead of
// what the sandbox has confirmed.
type stdinPump struct {
	call *detached

	mu        sync.Mutex
	changed   sync.Cond
	sent      int64
	confirmed int64
	stopped   bool
	err       error
}

func newStdinPump(call *detached) *stdinPump {
	p := &stdinPump{call: call}
	p.changed.L = &p.mu
	return p
}

// run copies until the end of the input or of the command. A Read that hangs is
// left behind when the command ends.
func (p *stdinPump) run(stdin io.Reader, cancel func()) {
	buf := make([]byte, outputFrame)
	for {
		n, err := stdin.Read(buf)
		if n > 0 {
			if !p.reserve(int64(n)) {
				return
			}
			if p.call.send(&backendv1.ExecRequest{Message: &backendv1.ExecRequest_Stdin{Stdin: buf[:n]}}) != nil {
				return // the command has ended
			}
		}
		if errors.Is(err, io.EOF) {
			_ = p.call.send(&backendv1.ExecRequest{Message: &backendv1.ExecRequest_StdinEnd{StdinEnd: &backendv1.ExecStdinEnd{}}})
			return
		}
		if err != nil {
			p.mu.Lock()
			stopped := p.stopped
			if !stopped {
				p.err = err
			}
			p.mu.Unlock()
			if !stopped {
				cancel()
			}
			return
		}
	}
}

// reserve waits until n more bytes may be sent, and reports whether they may.
func (p *stdinPump) reserve(n int64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for !p.stopped && p.sent+n-p.confirmed > stdinWindow {
		p.changed.Wait()
	}
	p.sent += n
	return !p.stopped
}

// taken notes a confirmation, and reports whether it can be true.
func (p *stdinPump) taken(total int64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if total <= p.confirmed || total > p.sent {
		return false
	}
	p.confirmed = total
	p.changed.Broadcast()
	return true
}

func (p *stdinPump) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopped = true
	p.changed.Broadcast()
}

func (p *stdinPump) failed() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}
