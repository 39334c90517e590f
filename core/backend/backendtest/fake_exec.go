package backendtest

import (
	"cmp"
	"context"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/deep-sandbox/deep/core/backend"
)

// keptExecs is how many results a sandbox remembers.
const keptExecs = 1024

func validEnv(k, v string) bool {
	return k != "" && !strings.ContainsAny(k, "=\x00") && strings.IndexByte(v, 0) < 0
}

func checkExec(op string, req *backend.ExecRequest) error {
	invalid := func(format string, args ...any) error { return fault(backend.ErrInvalid, op, "", format, args...) }
	switch {
	case req.ID != "" && !backend.ValidID(req.ID):
		return invalid("not a valid id: %q", req.ID)
	case (len(req.Argv) == 0) == (req.Shell == ""):
		return invalid("exactly one of argv and shell is needed")
	case len(req.Argv) > 0 && req.Argv[0] == "":
		return invalid("an empty program name")
	case req.Timeout < 0:
		return invalid("a negative timeout")
	case req.Grace != nil && (*req.Grace < 0 || *req.Grace > time.Hour):
		return invalid("a grace below zero or above one hour")
	case req.OutputLimit < 0:
		return invalid("a negative output limit")
	case req.TTY != nil && (req.TTY.Rows == 0 || req.TTY.Cols == 0):
		return invalid("a terminal without a size")
	case strings.Contains(req.Shell, "\x00"):
		return invalid("a command with a NUL")
	}
	for _, a := range req.Argv {
		if strings.Contains(a, "\x00") {
			return invalid("an argument with a NUL")
		}
	}
	for k, v := range req.Env {
		if !validEnv(k, v) {
			return invalid("not a variable: %q", k)
		}
	}
	return nil
}

// execution is one exec, from its start on.
type execution struct {
	machine *machine
	id      string
	grace   time.Duration
	limit   int64
	began   time.Time
	cpu     atomic.Int64 // nanoseconds, as if it had used them

	term  *terminal
	stdin *pipe // nil if it has no input that could come later
	main  *proc
	argv  []string
	kept  [2]*keptStream
	pumps []*pump

	wait  chan struct{} // closed, and made anew, when a process has ended; machine.mu
	ended chan struct{} // closed once result is final

	// The machine's lock guards what follows.
	result  backend.ExecResult
	reason  backend.Outcome
	cause   error
	over    bool // the program has ended by itself
	killing bool // whatever it starts is to die at once
	oom     bool
	output  int64
}

// begin makes an execution that is ready to run.
func (s *fakeSandbox) beginExec(ctx context.Context, op string, req *backend.ExecRequest) (*execution, error) {
	if s.over() {
		return nil, fault(backend.ErrGone, op, s.id, "")
	}
	if err := checkExec(op, req); err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, fault(ctx.Err(), op, "", "")
	}
	s.files.mu.Lock()
	dir, err := s.files.must(op, s.files.workspace, cmp.Or(req.Dir, s.files.workspace), true)
	s.files.mu.Unlock()
	switch {
	case err != nil:
		return nil, err
	case dir.node.typ != backend.TypeDirectory:
		return nil, fault(backend.ErrNotDirectory, op, req.Dir, "")
	}
	x := &execution{
		machine: s.machine, id: cmp.Or(req.ID, backend.NewID()), grace: graceOr(req.Grace), limit: req.OutputLimit,
		argv: req.Argv, wait: make(chan struct{}), ended: make(chan struct{}), began: time.Now(),
		kept: [2]*keptStream{s.spool.stream(), s.spool.stream()},
	}
	if req.Shell != "" && s.image.bare {
		return nil, noShell(op)
	}
	if req.Shell != "" {
		x.argv = []string{"/bin/sh", "-c", req.Shell}
	}
	if !s.remember(x) {
		return nil, fault(backend.ErrExists, op, x.id, "an exec of this id was started before")
	}
	x.connect(dir.full, req)
	return x, nil
}

// connect gives it streams and its first process.
func (x *execution) connect(dir string, req *backend.ExecRequest) {
	self := x.fork(nil, x.argv)
	out, errs := newPipe(), newPipe()
	if req.Merged() {
		errs = out
	}
	x.pumps = []*pump{{exec: x, from: out, to: req.Stdout, kept: x.kept[0], done: make(chan struct{})}}
	if errs != out {
		x.pumps = append(x.pumps, &pump{exec: x, from: errs, to: req.Stderr, kept: x.kept[1], done: make(chan struct{})})
	}
	in := newPipe()
	if req.TTY != nil {
		x.term = newTerminal(x, *req.TTY, in, out)
		in.term, out.term = x.term, x.term
	}
	x.main = &proc{
		machine: x.machine, self: self, dir: dir, env: x.machine.environment(req.Env),
		in: end{in, self}, out: end{out, self}, err: end{errs, self},
	}
	switch {
	case req.Stdin != nil || req.KeepStdin:
		x.stdin = in
	case x.term != nil:
		if _, err := x.term.typed([]byte{endOfInput}, nil); err != nil {
			in.finish(err)
		}
	default:
		in.finish(io.EOF)
	}
}

// run runs it to its end.
func (x *execution) run(timeout time.Duration) {
	m := x.machine
	deadline := time.AfterFunc(cmp.Or(timeout, m.spec.Timeout), func() { x.stop(backend.OutcomeTimeout, nil) })
	defer deadline.Stop()
	stop := context.AfterFunc(m.alive, func() { x.stop(backend.OutcomeLost, nil) })
	defer stop()
	for _, p := range x.pumps {
		go p.run()
	}
	started := time.Now()
	st := x.main.run(x.argv)
	if dead, yes := x.main.dead(); yes {
		st = dead
	}
	x.main.self.exit()

	m.mu.Lock()
	x.over = x.reason == ""
	reason := x.reason
	if st.startError == "" && reason != "" {
		x.killing = true
	}
	m.mu.Unlock()
	if !x.over {
		x.killAll()
	}
	x.main.in.(end).abandon(errPipe)
	for _, p := range x.pumps {
		p.from.finish(io.EOF)
		<-p.done
	}
	if len(x.pumps) == 1 {
		x.kept[1].finish()
	}
	x.settle(st, time.Since(started))
}

// settle notes how it ended.
func (x *execution) settle(st status, took time.Duration) {
	m := x.machine
	m.mu.Lock()
	defer m.mu.Unlock()
	r := &x.result
	r.ExitCode, r.Signal, r.StartError, r.Duration = st.code, st.signal, st.startError, took
	r.UserTime, r.MaxRSS = time.Duration(x.cpu.Load()), fakeRSS
	m.spool.mu.Lock()
	r.StdoutBytes, r.StderrBytes = x.kept[0].end, x.kept[1].end
	m.spool.mu.Unlock()
	switch {
	case st.startError != "":
		r.Outcome = backend.OutcomeStartFailed
	case m.over():
		r.Outcome = backend.OutcomeLost
	case x.reason != "":
		r.Outcome = x.reason
	case x.oom:
		r.Outcome = backend.OutcomeOOM
	case st.signal != 0:
		r.Outcome = backend.OutcomeSignal
		r.OOMPossible = st.signal == int(syscall.SIGKILL)
	default:
		r.Outcome = backend.OutcomeExit
	}
	close(x.ended)
}

// Exec implements backend.Sandbox.
func (s *fakeSandbox) Exec(ctx context.Context, req *backend.ExecRequest) (*backend.ExecResult, error) {
	const op = "exec"
	if req.KeepStdin {
		return nil, fault(backend.ErrInvalid, op, req.ID, "KeepStdin is for Start")
	}
	x, err := s.beginExec(ctx, op, req)
	if err != nil {
		return nil, err
	}
	defer s.calling()()
	if req.Stdin != nil {
		go x.feed(req.Stdin)
	}
	stop := context.AfterFunc(ctx, func() { x.stop(backend.OutcomeCancelled, fault(ctx.Err(), op, "", "")) })
	defer stop()
	lost := context.AfterFunc(s.connected, func() {
		x.stop(backend.OutcomeCancelled, fault(backend.ErrUnavailable, op, "", "the connection was closed"))
	})
	defer lost()
	x.run(req.Timeout)
	s.machine.mu.Lock()
	defer s.machine.mu.Unlock()
	if x.result.Outcome == backend.OutcomeLost {
		x.cause = fault(backend.ErrGone, op, s.id, "")
	}
	return new(x.result), x.cause
}

// feed copies the caller's input.
func (x *execution) feed(stdin io.Reader) {
	buf := make([]byte, 32<<10)
	for {
		n, err := stdin.Read(buf)
		if _, werr := x.give(buf[:n], nil); werr != nil {
			return
		}
		switch {
		case errors.Is(err, io.EOF):
			x.closeStdin()
			return
		case err != nil:
			x.stop(backend.OutcomeCancelled, err)
			return
		}
	}
}

// give hands input to the command, or types it.
func (x *execution) give(b []byte, cancelled <-chan struct{}) (int, error) {
	if x.term != nil {
		return x.term.typed(b, cancelled)
	}
	return x.stdin.write(b, cancelled)
}

func (x *execution) closeStdin() {
	if x.term != nil {
		_, _ = x.term.typed([]byte{endOfInput}, nil) // it may have ended
		return
	}
	x.stdin.finish(io.EOF)
}

// within returns what of b is within the limit of the output, and stops the
// command beyond.
func (x *execution) within(b []byte) []byte {
	if x.limit == 0 {
		return b
	}
	x.machine.mu.Lock()
	room := max(0, x.limit-x.output)
	x.output += int64(len(b))
	x.machine.mu.Unlock()
	if int64(len(b)) < room {
		return b
	}
	x.stop(backend.OutcomeOutputLimited, nil)
	return b[:min(room, int64(len(b)))]
}

// stop ends it, with grace, for the first reason given, unless its program has
// ended.
func (x *execution) stop(reason backend.Outcome, cause error) {
	m := x.machine
	m.mu.Lock()
	if x.reason != "" || x.over {
		m.mu.Unlock()
		return
	}
	x.reason, x.cause = reason, cause
	grace := x.grace
	m.mu.Unlock()
	if m.over() || grace == 0 {
		go x.killAll()
		return
	}
	x.signalAll(int(syscall.SIGTERM))
	timer := time.AfterFunc(grace, x.killAll)
	go func() {
		<-x.ended
		timer.Stop()
	}()
}

// alive returns its processes, parents before their children: who is killed with
// what it waits for must not see that end, and end by itself.
func (x *execution) alive() (all []*process, changed <-chan struct{}) {
	m := x.machine
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.processes {
		if s.exec == x {
			all = append(all, s)
		}
	}
	slices.SortFunc(all, func(a, b *process) int { return a.pid - b.pid })
	return all, x.wait
}

func (x *execution) signalAll(sig int) {
	all, _ := x.alive()
	for _, s := range all {
		s.deliver(sig)
	}
}

// killAll returns when nothing of it is left.
func (x *execution) killAll() {
	x.machine.mu.Lock()
	x.killing = true
	x.machine.mu.Unlock()
	for {
		all, changed := x.alive()
		for _, s := range all {
			s.deliver(int(syscall.SIGKILL))
		}
		if len(all) == 0 {
			return
		}
		<-changed
	}
}

// changed wakes killAll.
func (x *execution) changed() {
	x.machine.mu.Lock()
	defer x.machine.mu.Unlock()
	close(x.wait)
	x.wait = make(chan struct{})
}

func graceOr(grace *time.Duration) time.Duration {
	if grace == nil {
		return backend.DefaultGrace
	}
	return *grace
}

func (m *machine) environment(more map[string]string) map[string]string {
	env := map[string]string{"PATH": "/bin"}
	maps.Copy(env, m.image.env)
	maps.Copy(env, map[string]string{"HOME": "/tmp", "LANG": "C.UTF-8", "TERM": "dumb"})
	maps.Copy(env, m.spec.Env)
	maps.Copy(env, more)
	return env
}

// remember notes that an exec was started, and reports whether its id is new.
func (m *machine) remember(x *execution) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.execs[x.id] != nil {
		return false
	}
	x.result = backend.ExecResult{ID: x.id, Outcome: backend.OutcomeRunning}
	m.execs[x.id] = x
	m.order = append(m.order, x.id)
	for len(m.order) > keptExecs && m.execs[m.order[0]].result.Outcome != backend.OutcomeRunning {
		delete(m.execs, m.order[0])
		m.order = m.order[1:]
	}
	return true
}
