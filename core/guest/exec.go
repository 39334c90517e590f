package guest

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/deep-sandbox/deep/core/backend"
)

// Exec implements backend.Sandbox.
func (s *Sandbox) Exec(ctx context.Context, req *backend.ExecRequest) (*backend.ExecResult, error) {
	const op = "exec"
	if req.KeepStdin {
		return nil, &backend.Error{Kind: backend.ErrInvalid, Op: op, Path: req.ID, Message: "KeepStdin is for Start",
			Hint: "give the input as Stdin, or start the command in the background"}
	}
	x, err := s.begin(ctx, op, req)
	if err != nil {
		return nil, err
	}
	result, err := x.launch(ctx, req)
	if result == nil && err == nil {
		result = x.attend(ctx)
		err = x.err()
	}
	x.settle(result)
	return result, err
}

// begin makes an execution that has its id.
func (s *Sandbox) begin(ctx context.Context, op string, req *backend.ExecRequest) (*execution, error) {
	p, err := s.plan(op, req)
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, failed(op, "", err)
	}
	x := &execution{
		sandbox: s, op: op, plan: p, limit: req.OutputLimit, grace: p.grace,
		stopping: make(chan struct{}), running: make(chan struct{}), dead: make(chan struct{}),
	}
	if err := s.execs.begin(x); err != nil {
		return nil, err
	}
	return x, nil
}

// execution is one command from start to end.
type execution struct {
	sandbox *Sandbox
	op      string
	plan    *plan
	limit   int64
	entry   *knownExec
	// number among all execs; accompanied says that others ran when it began. Both
	// are the registry's.
	number      uint64
	accompanied bool

	// What launch makes, for others once running is closed.
	stdout, stderr *pump // stderr is nil where both are one
	terminal       *terminal
	input          *input
	task           task

	// stopping is closed by the first halt, running when the command runs, dead
	// when it has ended and, if it was halted, everything it started has; reaped
	// says then whether its status is known.
	stopping, running, dead chan struct{}
	reaped                  bool
	// natural is what its end is called unless it was halted.
	natural     backend.Outcome
	oomPossible bool

	// killed: somebody asked for a SIGKILL to it.
	killed atomic.Bool
	// oomKills is the sandbox's when the command began.
	oomKills int64

	mu       sync.Mutex
	started  time.Time // zero until the command runs
	over     bool      // the command ended by itself
	reason   backend.Outcome
	cause    error // goes with reason
	grace    time.Duration
	writeErr error // of the caller's writer
	output   int64 // bytes, where there is a limit
}

// launch starts the command. If it returns neither a result nor an error, the
// command runs.
func (x *execution) launch(ctx context.Context, req *backend.ExecRequest) (*backend.ExecResult, error) {
	program, refused, err := x.lookUp(ctx, req)
	if err != nil {
		return nil, err
	}
	if refused != 0 {
		return x.startFailed(program, refused), nil
	}
	ends, err := x.connect(ctx, req)
	if err != nil {
		return nil, failed(x.op, "", err)
	}
	x.oomKills = x.sandbox.oomKills()
	begin := time.Now()
	t, err := x.sandbox.domain.start(&command{
		program: program, argv: x.plan.argv, env: x.plan.env, dir: x.plan.dir,
		stdio:    [3]uintptr{ends[0].Fd(), ends[1].Fd(), ends[2].Fd()},
		terminal: x.terminal != nil,
	})
	x.closeEnds(ends)
	if err != nil {
		x.disconnect()
		return x.notStarted(program, err)
	}
	x.task = t
	x.mu.Lock()
	x.started = begin
	x.mu.Unlock()
	close(x.running)
	for _, p := range x.pumps() {
		go p.run()
	}
	if req.Stdin != nil {
		go x.feed(req.Stdin)
	}
	return nil, nil
}

// attend waits for the end of the command and of its output.
func (x *execution) attend(ctx context.Context) *backend.ExecResult {
	if x.reaped = x.supervise(ctx, x.task); x.reaped {
		x.natural = backend.OutcomeExit
		if status := x.task.ended().status; status.Signaled() {
			x.natural, x.oomPossible = x.bySignal(status.Signal())
		}
	}
	close(x.dead)
	if x.input != nil {
		x.input.abandon()
	}
	if x.terminal != nil {
		_ = x.terminal.slave.Close()
	}
	for _, p := range x.pumps() {
		p.commandEnded()
	}
	for _, p := range x.pumps() {
		<-p.finished
	}
	return x.result()
}

// settle records how it ended, if it ran.
func (x *execution) settle(result *backend.ExecResult) {
	if result == nil {
		x.sandbox.execs.forget(x)
		return
	}
	x.sandbox.execs.finish(x, *result)
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
		err = failed(x.op, "", err)
	}
	return program, refused, err
}

// halt asks for the end of the command, unless it ended by itself or was halted
// before: the first reason is the one that counts.
func (x *execution) halt(reason backend.Outcome, cause error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.haltLocked(reason, cause)
}

// haltLocked is halt for who holds the lock. It reports whether it was the first.
func (x *execution) haltLocked(reason backend.Outcome, cause error) bool {
	if x.over || x.reason != "" {
		return false
	}
	x.reason, x.cause = reason, cause
	close(x.stopping)
	return true
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
	if stop(t, x.graceLeft) {
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

// graceLeft is the grace of the halt.
func (x *execution) graceLeft() time.Duration {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.grace
}

// err is what kept the guest from running the command to its own end.
func (x *execution) err() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case x.reason == backend.OutcomeLost:
		return &backend.Error{Kind: backend.ErrGone, Op: x.op, Message: "the sandbox ended"}
	case x.cause != nil:
		return failed(x.op, "", x.cause)
	case x.writeErr != nil:
		return failed(x.op, "", x.writeErr)
	}
	return nil
}
