package guest

import (
	"context"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/deep-sandbox/deep/core/backend"
)

// Exec implements backend.Sandbox.
func (s *Sandbox) Exec(ctx context.Context, req *backend.ExecRequest) (*backend.ExecResult, error) {
	p, err := s.plan(req)
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, failed("exec", "", err)
	}
	x := &execution{sandbox: s, plan: p, limit: req.OutputLimit, stopping: make(chan struct{})}
	if err := s.execs.begin(x); err != nil {
		return nil, err
	}
	result, err := x.run(ctx, req)
	if result == nil {
		s.execs.forget(x)
		return nil, err
	}
	s.execs.finish(x, *result)
	return result, err
}

// execution is one command from start to end.
type execution struct {
	sandbox        *Sandbox
	plan           *plan
	limit          int64
	stdout, stderr *pump // stderr is nil where both are one

	// stopping is closed by the first halt.
	stopping chan struct{}

	mu       sync.Mutex
	started  time.Time // zero until the command runs
	over     bool      // the command ended by itself
	reason   backend.Outcome
	cause    error // goes with reason
	writeErr error // of the caller's writer
	output   int64 // bytes, where there is a limit
}

func (x *execution) run(ctx context.Context, req *backend.ExecRequest) (*backend.ExecResult, error) {
	program, refused, err := x.lookUp(ctx, req)
	if err != nil {
		return nil, err
	}
	if refused != 0 {
		return x.startFailed(program, refused), nil
	}
	stdin, ends, err := x.connect(req)
	if err != nil {
		return nil, failed("exec", "", err)
	}
	begin := time.Now()
	t, err := x.sandbox.domain.start(&command{
		program: program, argv: x.plan.argv, env: x.plan.env, dir: x.plan.dir,
		stdio: [3]uintptr{ends[0].Fd(), ends[1].Fd(), ends[2].Fd()},
	})
	for _, f := range ends {
		if f != x.sandbox.null {
			_ = f.Close()
		}
	}
	if err != nil {
		x.disconnect(stdin)
		return x.notStarted(program, err)
	}
	x.mu.Lock()
	x.started = begin
	x.mu.Unlock()
	for _, p := range x.pumps() {
		go p.run()
	}
	if stdin != nil {
		go x.feed(req.Stdin, stdin)
	}

	reaped := x.supervise(ctx, t)
	if stdin != nil {
		_ = stdin.Close()
	}
	for _, p := range x.pumps() {
		p.commandEnded()
	}
	for _, p := range x.pumps() {
		<-p.finished
	}
	return x.result(t, reaped), x.err()
}

// lookUp finds, with the user's rights, the directory and the program.
func (x *execution) lookUp(ctx context.Context, req *backend.ExecRequest) (program string, refused unix.Errno, err error) {
	err = x.sandbox.files.do(ctx, func() error {
		if err := checkDir(x.plan.dir, req.Dir); err != nil {
			return err
		}
		if x.plan.shell {
			if err := checkShell(); err != nil {
				return err
			}
		}
		program = x.plan.argv[0]
		found, err := findProgram(program, x.plan.path, x.plan.dir)
		if err != nil {
			refused = err.(unix.Errno)
			return nil //nolint:nilerr // a program that cannot start is an answer, not an error
		}
		program = found
		return nil
	})
	if err != nil {
		err = failed("exec", "", err)
	}
	return program, refused, err
}

// connect makes the pipes: our end of stdin, nil if the command has none, and
// the command's ends of all three.
func (x *execution) connect(req *backend.ExecRequest) (stdin *os.File, ends [3]*os.File, err error) {
	ends[0] = x.sandbox.null
	if x.stdout, ends[1], err = newPump(x.sink(req.Stdout)); err != nil {
		return nil, ends, err
	}
	if req.Merged() {
		ends[2] = ends[1]
	} else if x.stderr, ends[2], err = newPump(x.sink(req.Stderr)); err != nil {
		_ = ends[1].Close()
		x.disconnect(nil)
		return nil, ends, err
	}
	if req.Stdin != nil {
		if stdin, ends[0], err = stdinPipe(); err != nil {
			_ = ends[1].Close()
			_ = ends[2].Close()
			x.disconnect(nil)
			return nil, ends, err
		}
	}
	return stdin, ends, nil
}

// pumps are those of the command's output: one, where both streams are one.
func (x *execution) pumps() []*pump {
	if x.stderr == nil {
		return []*pump{x.stdout}
	}
	return []*pump{x.stdout, x.stderr}
}

func (x *execution) disconnect(stdin *os.File) {
	for _, p := range x.pumps() {
		_ = p.pipe.Close()
	}
	if stdin != nil {
		_ = stdin.Close()
	}
}

// sink returns what a pump does with output: count it against the limit and
// write it to w.
func (x *execution) sink(w io.Writer) func(p []byte) bool {
	return func(p []byte) bool {
		p = x.within(p)
		if w == nil || len(p) == 0 {
			return true
		}
		n, err := w.Write(p)
		if err == nil && n < len(p) {
			err = io.ErrShortWrite
		}
		if err != nil {
			x.mu.Lock()
			if x.writeErr == nil {
				x.writeErr = err
			}
			x.mu.Unlock()
			x.halt(backend.OutcomeCancelled, err)
		}
		return err == nil
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

// halt asks for the end of the command, unless it ended by itself or was halted
// before: the first reason is the one that counts.
func (x *execution) halt(reason backend.Outcome, cause error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.over || x.reason != "" {
		return
	}
	x.reason, x.cause = reason, cause
	close(x.stopping)
}

// supervise returns when the command has ended, and, if it was halted, when
// everything it started has. It reports whether its status is known.
func (x *execution) supervise(ctx context.Context, t task) (reaped bool) {
	var deadline <-chan time.Time
	if x.plan.timeout != backend.Unlimited {
		timer := time.NewTimer(x.plan.timeout)
		defer timer.Stop()
		deadline = timer.C
	}
	select {
	case <-t.done():
	case <-x.stopping:
	case <-deadline:
		x.haltUnlessDone(t, backend.OutcomeTimeout, nil)
	case <-ctx.Done():
		x.haltUnlessDone(t, backend.OutcomeCancelled, ctx.Err())
	}
	x.mu.Lock()
	x.over = x.reason == ""
	x.mu.Unlock()
	if x.over {
		return true
	}
	if stop(t, x.plan.grace) {
		<-t.done()
		return true
	}
	select {
	case <-t.done():
		return true
	default:
		return false
	}
}

func (x *execution) haltUnlessDone(t task, reason backend.Outcome, cause error) {
	select {
	case <-t.done():
	default:
		x.halt(reason, cause)
	}
}

// err is what kept the guest from running the command to its own end.
func (x *execution) err() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case x.reason == backend.OutcomeLost:
		return &backend.Error{Kind: backend.ErrGone, Op: "exec", Message: "the sandbox ended"}
	case x.cause != nil:
		return failed("exec", "", x.cause)
	case x.writeErr != nil:
		return failed("exec", "", x.writeErr)
	}
	return nil
}

// feed copies r to the command until either has enough.
func (x *execution) feed(r io.Reader, stdin *os.File) {
	defer func() { _ = stdin.Close() }()
	buf := outputBuffers.Get().(*[outputBuffer]byte)
	defer outputBuffers.Put(buf)
	for {
		n, err := r.Read(buf[:])
		if n > 0 {
			if _, writeErr := stdin.Write(buf[:n]); writeErr != nil {
				return // the command closed it, or has ended
			}
		}
		if err == io.EOF {
			return
		}
		if err != nil {
			x.halt(backend.OutcomeCancelled, err)
			return
		}
	}
}

// stdinPipe returns our end, which waits in the poller, and the command's.
func stdinPipe() (ours, theirs *os.File, err error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return nil, nil, err
	}
	if err := unix.SetNonblock(fds[1], true); err != nil {
		_ = unix.Close(fds[0])
		_ = unix.Close(fds[1])
		return nil, nil, err
	}
	return os.NewFile(uintptr(fds[1]), "stdin"), os.NewFile(uintptr(fds[0]), "stdin"), nil
}
