package backendtest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/deep-sandbox/deep/core/backend"
)

// keptExecs is how many results a sandbox remembers.
const keptExecs = 1024

func validEnv(k, v string) bool {
	return k != "" && !strings.ContainsAny(k, "=\x00") && strings.IndexByte(v, 0) < 0
}

func checkExec(req *backend.ExecRequest) error {
	const op = "exec"
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

// Exec implements backend.Sandbox.
func (s *fakeSandbox) Exec(ctx context.Context, req *backend.ExecRequest) (*backend.ExecResult, error) {
	const op = "exec"
	if s.over() {
		return nil, fault(backend.ErrGone, op, s.id, "")
	}
	if err := checkExec(req); err != nil {
		return nil, err
	}
	id := cmp.Or(req.ID, backend.NewID())
	if ctx.Err() != nil {
		return &backend.ExecResult{ID: id, Outcome: backend.OutcomeCancelled}, fault(ctx.Err(), op, "", "")
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
	if !s.remember(id) {
		return nil, fault(backend.ErrExists, op, id, "an exec of this id was started before")
	}

	d := newDomain(s.alive, graceOr(req.Grace))
	out := &execOut{domain: d, stdout: req.Stdout, stderr: req.Stderr, limit: req.OutputLimit}
	p := &proc{
		machine: s.machine, domain: d, dir: dir.full, env: s.environment(req.Env), in: strings.NewReader(""),
		out: stream{out, false}, err: stream{out, true},
	}
	if req.Stdin != nil {
		ended := make(chan struct{})
		defer close(ended)
		p.in = pipeStdin(req.Stdin, d, ended)
	}
	timeout := cmp.Or(req.Timeout, s.spec.Timeout)
	deadline := time.AfterFunc(timeout, func() { d.stop(backend.OutcomeTimeout, nil) })
	defer deadline.Stop()
	stop := context.AfterFunc(ctx, func() { d.stop(backend.OutcomeCancelled, nil) })
	defer stop()

	started := time.Now()
	argv := req.Argv
	if req.Shell != "" {
		argv = []string{"/bin/sh", "-c", req.Shell}
	}
	st := p.run(argv)
	res := &backend.ExecResult{ID: id, ExitCode: st.code, Signal: st.signal, StartError: st.startError, Duration: time.Since(started)}
	res.StdoutBytes, res.StderrBytes = out.close()
	if req.Merged() {
		res.StdoutBytes, res.StderrBytes = res.StdoutBytes+res.StderrBytes, 0
	}
	reason, cause := d.finish()
	switch {
	case st.startError != "":
		res.Outcome = backend.OutcomeStartFailed
	case s.over():
		res.Outcome, cause = backend.OutcomeLost, fault(backend.ErrGone, op, s.id, "")
	case reason != "":
		res.Outcome = reason
	case st.signal != 0:
		res.Outcome = backend.OutcomeSignal
	default:
		res.Outcome = backend.OutcomeExit
	}
	s.settled(res)
	if cause == nil && res.Outcome == backend.OutcomeCancelled {
		cause = fault(ctx.Err(), op, "", "")
	}
	return res, cause
}

func graceOr(grace *time.Duration) time.Duration {
	if grace == nil {
		return backend.DefaultGrace
	}
	return *grace
}

func (m *machine) environment(more map[string]string) map[string]string {
	env := map[string]string{"PATH": "/bin", "HOME": "/tmp", "LANG": "C.UTF-8", "TERM": "dumb"}
	maps.Copy(env, m.spec.Env)
	maps.Copy(env, more)
	return env
}

// remember notes that an exec was started, and reports whether its id is new.
func (m *machine) remember(id string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.execs[id] != nil {
		return false
	}
	m.execs[id] = &backend.ExecResult{ID: id, Outcome: backend.OutcomeRunning}
	m.order = append(m.order, id)
	for len(m.order) > keptExecs && m.execs[m.order[0]].Outcome != backend.OutcomeRunning {
		delete(m.execs, m.order[0])
		m.order = m.order[1:]
	}
	return true
}

func (m *machine) settled(res *backend.ExecResult) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.execs[res.ID] = new(*res)
}

// Outcome implements backend.Sandbox.
func (s *fakeSandbox) Outcome(ctx context.Context, req *backend.OutcomeRequest) (*backend.OutcomeReply, error) {
	const op = "outcome"
	if err := s.begin(ctx, op); err != nil {
		return nil, err
	}
	if !backend.ValidID(req.ID) {
		return nil, fault(backend.ErrInvalid, op, req.ID, "not a valid id")
	}
	s.machine.mu.Lock()
	defer s.machine.mu.Unlock()
	res := s.execs[req.ID]
	if res == nil {
		return nil, fault(backend.ErrNotFound, op, req.ID, "no such exec")
	}
	return &backend.OutcomeReply{Result: *res}, nil
}

// domain is everything one exec has started. Ending it ends all of that.
type domain struct {
	grace time.Duration
	term  chan struct{} // closed: SIGTERM was sent
	kill  chan struct{} // closed: SIGKILL was sent

	mu     sync.Mutex
	reason backend.Outcome
	cause  error
	timer  *time.Timer
	killed bool
	main   bool // the command itself has ended
}

// newDomain returns a domain that ends with the sandbox, if not before.
func newDomain(alive context.Context, grace time.Duration) *domain {
	d := &domain{grace: grace, term: make(chan struct{}), kill: make(chan struct{})}
	context.AfterFunc(alive, func() {
		d.stop(backend.OutcomeLost, nil)
		d.killNow()
	})
	return d
}

// stop ends the domain, with grace, for the first reason given. Once the command
// itself has ended, only the end of the sandbox does.
func (d *domain) stop(reason backend.Outcome, cause error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.reason != "" || (d.main && reason != backend.OutcomeLost) {
		return
	}
	d.reason, d.cause = reason, cause
	close(d.term)
	d.timer = time.AfterFunc(d.grace, d.killNow)
}

func (d *domain) killNow() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.killed {
		d.killed = true
		close(d.kill)
	}
}

// finish notes that the command itself has ended. If it was made to, so is
// everything else.
func (d *domain) finish() (backend.Outcome, error) {
	d.mu.Lock()
	d.main = true
	reason, cause := d.reason, d.cause
	d.mu.Unlock()
	if reason != "" {
		d.killNow()
	}
	return reason, cause
}

// execOut hands output over, one write at a time, so that one writer may stand
// for both streams.
type execOut struct {
	domain         *domain
	mu             sync.Mutex
	stdout, stderr io.Writer
	limit          int64
	count          [2]int64
	closed         bool
}

func (o *execOut) close() (stdout, stderr int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	return o.count[0], o.count[1]
}

// stream is one of the two.
type stream struct {
	out    *execOut
	stderr bool
}

var errPipe = errors.New("broken pipe")

func (s stream) Write(p []byte) (int, error) {
	o := s.out
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return 0, errPipe
	}
	w, n := o.stdout, &o.count[0]
	if s.stderr {
		w, n = o.stderr, &o.count[1]
	}
	room := int64(len(p))
	if o.limit > 0 {
		room = max(0, min(room, o.limit-o.count[0]-o.count[1]))
	}
	*n += int64(len(p))
	if room < int64(len(p)) {
		defer o.domain.stop(backend.OutcomeOutputLimited, nil)
	}
	if w == nil || room == 0 {
		return len(p), nil
	}
	if _, err := w.Write(p[:room]); err != nil {
		o.domain.stop(backend.OutcomeCancelled, err)
		return 0, err
	}
	return len(p), nil
}

// pipeStdin copies input into a pipe, which breaks when the command ends or is
// told to.
func pipeStdin(stdin io.Reader, d *domain, ended <-chan struct{}) io.Reader {
	r, w := io.Pipe()
	go func() {
		_, err := io.Copy(w, stdin)
		if err != nil && !errors.Is(err, errPipe) {
			d.stop(backend.OutcomeCancelled, err)
		}
		w.CloseWithError(err)
	}()
	go func() {
		select {
		case <-d.term:
		case <-ended:
		}
		r.CloseWithError(errPipe)
	}()
	return r
}

// status is how a command ended.
type status struct {
	code       int
	signal     int
	startError string
	exit       bool // of the shell that runs it
}

func signalled(n int) status { return status{code: 128 + n, signal: n, exit: true} }

// proc is a running command of a fake sandbox.
type proc struct {
	*machine
	domain     *domain
	dir        string
	env        map[string]string
	in         io.Reader
	out, err   io.Writer
	last       int
	ignoreTerm bool
	shell      bool // inside a shell
}

// dead reports whether the process has been killed.
func (p *proc) dead() (status, bool) {
	select {
	case <-p.domain.kill:
		return signalled(int(syscall.SIGKILL)), true
	default:
	}
	select {
	case <-p.domain.term:
		if !p.ignoreTerm {
			return signalled(int(syscall.SIGTERM)), true
		}
	default:
	}
	return status{}, false
}

func (p *proc) sleep(d time.Duration) status {
	term := p.domain.term
	if p.ignoreTerm {
		term = nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-term:
		return signalled(int(syscall.SIGTERM))
	case <-p.domain.kill:
		return signalled(int(syscall.SIGKILL))
	}
	return status{}
}

// run runs a program: a built-in one, or a script of the tree.
func (p *proc) run(argv []string) status {
	if st, dead := p.dead(); dead {
		return st
	}
	name := argv[0]
	if strings.Contains(name, "/") {
		if dir := path.Dir(name); commands[path.Base(name)] != nil && (dir == "/bin" || dir == "/usr/bin") {
			return commands[path.Base(name)](p, argv)
		}
		return p.script(name, argv)
	}
	for dir := range strings.SplitSeq(p.env["PATH"], ":") {
		if cmd := commands[name]; cmd != nil && (dir == "/bin" || dir == "/usr/bin") {
			return cmd(p, argv)
		}
		full := path.Join(dir, name)
		p.files.mu.Lock()
		at, err := p.files.must("exec", p.dir, full, true)
		p.files.mu.Unlock()
		if err == nil && at.node.typ == backend.TypeRegular && at.node.mode&0o111 != 0 {
			return p.script(full, argv)
		}
	}
	return p.notStarted(127, name, "ENOENT: not found in PATH")
}

func (p *proc) notStarted(code int, name, why string) status {
	if p.shell {
		fmt.Fprintf(p.err, "sh: %s: %s\n", name, why)
		return status{code: code}
	}
	return status{code: code, startError: name + ": " + why}
}

func (p *proc) script(name string, argv []string) status {
	p.files.mu.Lock()
	at, err := p.files.must("exec", p.dir, name, true)
	p.files.mu.Unlock()
	switch {
	case errors.Is(err, backend.ErrNotFound):
		return p.notStarted(127, name, "ENOENT: no such file or directory")
	case err != nil:
		return p.notStarted(126, name, "EACCES: "+err.Error())
	case at.node.typ != backend.TypeRegular || at.node.mode&0o111 == 0:
		return p.notStarted(126, name, "EACCES: permission denied")
	}
	body, ok := strings.CutPrefix(string(at.node.data), "#!/bin/sh\n")
	if !ok {
		return p.notStarted(126, name, "ENOEXEC: exec format error")
	}
	return commands["sh"](p, []string{"sh", "-c", body})
}
