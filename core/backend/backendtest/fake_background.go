package backendtest

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/deep-sandbox/deep/core/backend"
)

// known returns an exec by its id.
func (s *fakeSandbox) known(ctx context.Context, op, id string) (*execution, error) {
	if err := s.begin(ctx, op); err != nil {
		return nil, err
	}
	if !backend.ValidID(id) {
		return nil, fault(backend.ErrInvalid, op, id, "not a valid id")
	}
	s.machine.mu.Lock()
	defer s.machine.mu.Unlock()
	x := s.execs[id]
	if x == nil {
		return nil, fault(backend.ErrNotFound, op, id, "no such exec")
	}
	return x, nil
}

// Start implements backend.Sandbox.
func (s *fakeSandbox) Start(ctx context.Context, req *backend.ExecRequest) (*backend.StartReply, error) {
	const op = "start"
	if req.Stdin != nil || req.Stdout != nil || req.Stderr != nil {
		return nil, fault(backend.ErrInvalid, op, req.ID, "a command in the background has no stream of its caller's")
	}
	x, err := s.beginExec(ctx, op, req)
	if err != nil {
		return nil, err
	}
	done := s.calling()
	go func() {
		defer done()
		x.run(req.Timeout)
	}()
	return &backend.StartReply{ID: x.id}, nil
}

// Outcome implements backend.Sandbox.
func (s *fakeSandbox) Outcome(ctx context.Context, req *backend.OutcomeRequest) (*backend.OutcomeReply, error) {
	const op = "outcome"
	x, err := s.known(ctx, op, req.ID)
	if err != nil {
		return nil, err
	}
	if req.Wait {
		if err := s.await(ctx, op, x); err != nil {
			return nil, err
		}
	}
	return x.outcome(), nil
}

func (x *execution) outcome() *backend.OutcomeReply {
	x.machine.mu.Lock()
	defer x.machine.mu.Unlock()
	r := x.result
	if r.Outcome == backend.OutcomeRunning {
		r.Duration = time.Since(x.began)
		x.machine.spool.mu.Lock()
		r.StdoutBytes, r.StderrBytes = x.kept[0].end, x.kept[1].end
		x.machine.spool.mu.Unlock()
	}
	return &backend.OutcomeReply{Result: r}
}

func (s *fakeSandbox) await(ctx context.Context, op string, x *execution) error {
	select {
	case <-x.ended:
	case <-ctx.Done():
		return fault(ctx.Err(), op, x.id, "")
	case <-s.alive.Done():
		return fault(backend.ErrGone, op, s.id, "")
	}
	return nil
}

// running refuses an exec that has ended.
func (x *execution) running(op string) error {
	select {
	case <-x.ended:
		return fault(backend.ErrConflict, op, x.id, "the command has ended")
	default:
		return nil
	}
}

// WriteStdin implements backend.Sandbox.
func (s *fakeSandbox) WriteStdin(ctx context.Context, req *backend.WriteStdinRequest) (*backend.WriteStdinReply, error) {
	const op = "write stdin"
	x, err := s.known(ctx, op, req.ID)
	if err != nil {
		return nil, err
	}
	r := &backend.WriteStdinReply{}
	if err := x.running(op); err != nil {
		return r, err
	}
	if x.stdin == nil {
		return r, fault(backend.ErrConflict, op, req.ID, "it was started without an input that is kept open")
	}
	buf := make([]byte, 32<<10)
	for req.Content != nil {
		n, err := req.Content.Read(buf)
		taken, werr := x.give(buf[:n], ctx.Done())
		r.Written += int64(taken)
		switch {
		case werr != nil && ctx.Err() != nil:
			return r, fault(ctx.Err(), op, req.ID, "")
		case werr != nil:
			return r, fault(backend.ErrConflict, op, req.ID, "the input is closed")
		case err != nil && !errors.Is(err, io.EOF):
			return r, err
		}
		if err != nil {
			break
		}
	}
	if req.Close {
		x.closeStdin()
	}
	return r, nil
}

// Signal implements backend.Sandbox.
func (s *fakeSandbox) Signal(ctx context.Context, req *backend.SignalRequest) error {
	const op = "signal"
	if req.Signal < 1 || req.Signal > 64 {
		return fault(backend.ErrInvalid, op, req.ID, "no such signal: %d", req.Signal)
	}
	x, err := s.known(ctx, op, req.ID)
	if err != nil {
		return err
	}
	if err := x.running(op); err != nil {
		return err
	}
	if req.All {
		x.signalAll(req.Signal)
	} else {
		x.main.self.deliver(req.Signal)
	}
	return nil
}

// Kill implements backend.Sandbox.
func (s *fakeSandbox) Kill(ctx context.Context, req *backend.KillRequest) (*backend.OutcomeReply, error) {
	const op = "kill"
	x, err := s.known(ctx, op, req.ID)
	if err != nil {
		return nil, err
	}
	grace := graceOr(req.Grace)
	if grace < 0 || grace > time.Hour {
		return nil, fault(backend.ErrInvalid, op, req.ID, "a grace below zero or above one hour")
	}
	s.machine.mu.Lock()
	x.grace = grace
	s.machine.mu.Unlock()
	x.stop(backend.OutcomeCancelled, nil)
	if err := s.await(ctx, op, x); err != nil {
		return nil, err
	}
	return x.outcome(), nil
}

// Resize implements backend.Sandbox.
func (s *fakeSandbox) Resize(ctx context.Context, req *backend.ResizeRequest) error {
	const op = "resize"
	x, err := s.known(ctx, op, req.ID)
	switch {
	case err != nil:
		return err
	case req.Size.Rows == 0 || req.Size.Cols == 0:
		return fault(backend.ErrInvalid, op, req.ID, "a terminal without a size")
	case x.term == nil:
		return fault(backend.ErrConflict, op, req.ID, "it has no terminal")
	}
	if err := x.running(op); err != nil {
		return err
	}
	x.term.resize(req.Size)
	x.signalAll(int(syscall.SIGWINCH))
	return nil
}

// Processes implements backend.Sandbox.
func (s *fakeSandbox) Processes(ctx context.Context, _ *backend.ProcessesRequest) (*backend.ProcessesReply, error) {
	if err := s.begin(ctx, "processes"); err != nil {
		return nil, err
	}
	s.machine.mu.Lock()
	var all []*process
	for _, p := range s.processes {
		all = append(all, p)
	}
	s.machine.mu.Unlock()
	slices.SortFunc(all, func(a, b *process) int { return a.pid - b.pid })
	r := &backend.ProcessesReply{}
	for _, p := range all {
		r.Processes = append(r.Processes, p.describe())
	}
	return r, nil
}

// Stats implements backend.Sandbox.
func (s *fakeSandbox) Stats(ctx context.Context, _ *backend.StatsRequest) (*backend.Stats, error) {
	if err := s.begin(ctx, "stats"); err != nil {
		return nil, err
	}
	m := s.machine
	m.spool.mu.Lock()
	kept := m.spool.used
	m.spool.mu.Unlock()
	m.mu.Lock()
	defer m.mu.Unlock()
	st := &backend.Stats{
		Uptime: time.Since(m.created), Memory: int64(len(m.processes))*fakeRSS + kept, MemoryLimit: m.memory(), OOMKills: m.oomKills,
		PIDs: int64(len(m.processes)) + 1, PIDsLimit: orDefault(m.spec.PIDs, backend.DefaultPIDs),
		KeptOutput: kept, KeptOutputLimit: m.spool.limit, DiskFree: -1,
	}
	for _, x := range m.execs {
		st.CPUTime += time.Duration(x.cpu.Load())
		if x.result.Outcome == backend.OutcomeRunning {
			st.Execs++
		}
	}
	return st, nil
}

func orDefault(n, def int64) int64 {
	if n == 0 {
		return def
	}
	return n
}

func (m *machine) memory() int64 { return orDefault(m.spec.Memory, backend.DefaultMemory) }

// calling notes that something is in progress, until the returned function is
// called: the sandbox is not idle.
func (m *machine) calling() (done func()) {
	m.busy.Add(1)
	return func() {
		m.used.Store(time.Now().UnixNano())
		m.busy.Add(-1)
	}
}

// expire ends the sandbox when its time is over or nobody has used it for long.
func (m *machine) expire() {
	if m.spec.MaxLifetime > 0 {
		timer := time.AfterFunc(m.spec.MaxLifetime, m.end)
		context.AfterFunc(m.alive, func() { timer.Stop() })
	}
	if m.spec.IdleTimeout > 0 {
		m.used.Store(time.Now().UnixNano())
		m.expireIdle()
	}
}

func (m *machine) expireIdle() {
	left := m.spec.IdleTimeout
	if m.busy.Load() == 0 {
		left -= time.Since(time.Unix(0, m.used.Load()))
	}
	if left <= 0 {
		m.end()
	}
	if m.over() {
		return
	}
	timer := time.AfterFunc(left, m.expireIdle)
	context.AfterFunc(m.alive, func() { timer.Stop() })
}

// activity of a machine.
type activity struct {
	busy atomic.Int64
	used atomic.Int64 // when last, in nanoseconds
}
