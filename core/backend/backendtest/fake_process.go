package backendtest

import (
	"io"
	"maps"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/deep-sandbox/deep/core/backend"
)

// process is one process of a fake sandbox.
type process struct {
	pid     int
	exec    *execution
	started time.Time
	dead    chan struct{} // closed when a signal ends it

	mu      sync.Mutex
	parent  *process // nil if that has ended
	args    []string
	signal  int // that ended it
	ignored map[int]bool
	traps   map[int]string
	pending []int         // caught and not yet handled
	stopped chan struct{} // nil unless stopped; closed when it goes on
	held    []int         // signals that came meanwhile
	jobs    []*process    // in the background
	over    chan struct{} // closed when it has ended
}

// fork makes a process. In an execution that is being killed it is born dead.
func (x *execution) fork(parent *process, args []string) *process {
	s := &process{
		exec: x, parent: parent, args: args, started: time.Now(), dead: make(chan struct{}), over: make(chan struct{}),
		ignored: map[int]bool{}, traps: map[int]string{},
	}
	if parent != nil {
		parent.mu.Lock()
		maps.Copy(s.ignored, parent.ignored)
		parent.mu.Unlock()
	}
	x.cpu.Add(int64(time.Millisecond))
	m := x.machine
	m.mu.Lock()
	m.lastPID++
	s.pid = m.lastPID
	m.processes[s.pid] = s
	killing := x.killing || m.over()
	m.mu.Unlock()
	if killing {
		s.deliver(int(syscall.SIGKILL))
	}
	return s
}

// exit takes the process from the table; its children are nobody's then.
func (s *process) exit() {
	m := s.exec.machine
	m.mu.Lock()
	delete(m.processes, s.pid)
	var children []*process
	for _, c := range m.processes {
		children = append(children, c)
	}
	m.mu.Unlock()
	for _, c := range children {
		c.mu.Lock()
		if c.parent == s {
			c.parent = nil
		}
		c.mu.Unlock()
	}
	close(s.over)
	s.exec.changed()
}

// deliver sends it a signal.
func (s *process) deliver(sig int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.signal != 0:
	case sig == int(syscall.SIGKILL):
		s.end(sig)
	case sig == int(syscall.SIGCONT):
		if s.stopped != nil {
			close(s.stopped)
			held := s.held
			s.stopped, s.held = nil, nil
			for _, h := range held {
				s.take(h)
			}
		}
	case sig == int(syscall.SIGSTOP):
		s.stop()
	case s.stopped != nil:
		s.held = append(s.held, sig)
	default:
		s.take(sig)
	}
}

// take does with a signal what the process is set to. s.mu is held.
func (s *process) take(sig int) {
	if s.signal != 0 || s.ignored[sig] {
		return
	}
	if s.traps[sig] != "" {
		s.pending = append(s.pending, sig)
		return
	}
	switch syscall.Signal(sig) {
	case syscall.SIGCHLD, syscall.SIGURG, syscall.SIGWINCH:
	case syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU:
		s.stop()
	default:
		s.end(sig)
	}
}

func (s *process) end(sig int) {
	s.signal = sig
	close(s.dead)
	if s.stopped != nil {
		close(s.stopped)
		s.stopped = nil
	}
}

func (s *process) stop() {
	if s.stopped == nil {
		s.stopped = make(chan struct{})
	}
}

// check waits while the process is stopped, and reports whether a signal has
// ended it.
func (s *process) check() (status, bool) {
	for {
		s.mu.Lock()
		sig, stopped := s.signal, s.stopped
		s.mu.Unlock()
		if sig != 0 {
			return signalled(sig), true
		}
		if stopped == nil {
			return status{}, false
		}
		<-stopped
	}
}

// caught returns the script for a signal that came, "" if none did.
func (s *process) caught() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.pending) == 0 {
		return ""
	}
	sig := s.pending[0]
	s.pending = s.pending[1:]
	return s.traps[sig]
}

// interrupted reports whether a signal waits to be handled.
func (s *process) interrupted() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.pending) > 0
}

// ignore makes it ignore signals.
func (s *process) ignore(sigs ...int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sig := range sigs {
		s.ignored[sig] = true
	}
}

// trap sets what it does with a signal: the default, nothing, or a script.
func (s *process) trap(sig int, script *string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.ignored, sig)
	delete(s.traps, sig)
	switch {
	case script == nil:
	case *script == "":
		s.ignored[sig] = true
	default:
		s.traps[sig] = *script
	}
}

func (s *process) addJob(job *process) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.jobs = append(s.jobs, job)
}

// describe says what Processes does.
func (s *process) describe() backend.Process {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := backend.Process{
		PID: s.pid, PPID: 1, Exec: s.exec.id, Args: slices.Clone(s.args), State: "S", Started: s.started, RSS: fakeRSS,
	}
	if s.parent != nil {
		p.PPID = s.parent.pid
	}
	if s.stopped != nil {
		p.State = "T"
	}
	return p
}

// fakeRSS is what every process takes.
const fakeRSS = 1 << 20

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
	self     *process
	dir      string
	env      map[string]string
	in       io.Reader
	out, err io.Writer
	last     int
	lastJob  int
	shellPID int  // what $$ says
	shell    bool // inside a shell
	direct   bool // the next program is run in its stead
}

// fork returns a copy of p in a process of its own; its caller calls exit.
func (p *proc) fork(args []string) *proc {
	c := *p
	c.self = p.self.exec.fork(p.self, args)
	c.env, c.direct = maps.Clone(p.env), false
	c.in, c.out, c.err = reader(p.in, c.self), writer(p.out, c.self), writer(p.err, c.self)
	return &c
}

func (p *proc) args() []string {
	p.self.mu.Lock()
	defer p.self.mu.Unlock()
	return p.self.args
}

// dead reports whether the process has been killed.
func (p *proc) dead() (status, bool) { return p.self.check() }

func (p *proc) sleep(d time.Duration) status {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-p.self.dead:
	}
	st, _ := p.dead()
	return st
}
