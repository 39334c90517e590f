package guest

import (
	"context"
	"sync"

	"github.com/deep-sandbox/deep/core/backend"
)

// remembered is how many finished execs are kept.
const remembered = 1024

// registry knows every exec that was started, so that none is started twice and
// each can be asked about.
type registry struct {
	spool *spool
	// changed is told when there are more or fewer execs that run.
	changed func(by int)

	mu      sync.Mutex
	execs   map[string]*knownExec
	oldest  []*knownExec // the finished, in the order they came
	running int
	begun   uint64 // execs, ever
	ending  bool
}

// knownExec is an exec as those see it who did not start it. It stays when the exec
// has ended, and holds little.
type knownExec struct {
	id             string
	stdout, stderr kept
	// finished is closed when the result is final.
	finished chan struct{}

	// The registry's lock guards what follows.
	exec   *execution // nil once it has finished
	result backend.ExecResult
	task   task // nil if it did not start
}

func newRegistry(s *spool) *registry {
	return &registry{spool: s, changed: func(int) {}, execs: map[string]*knownExec{}}
}

// begin takes the id of x.
func (r *registry) begin(x *execution) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	id := x.plan.id
	switch {
	case r.ending:
		return &backend.Error{Kind: backend.ErrGone, Op: x.op, Message: "the sandbox is ending"}
	case r.execs[id] != nil:
		return &backend.Error{Kind: backend.ErrExists, Op: x.op, Path: id,
			Message: "an exec of this id was started before", Hint: "ask for its outcome"}
	}
	x.entry = &knownExec{id: id, exec: x, finished: make(chan struct{}), stdout: kept{spool: r.spool}, stderr: kept{spool: r.spool}}
	r.execs[id] = x.entry
	x.accompanied = r.running > 0
	r.running++
	r.begun++
	x.number = r.begun
	r.changed(1)
	return nil
}

// forget gives back the id of x, which ran nothing.
func (r *registry) forget(x *execution) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.execs, x.entry.id)
	r.running--
	// To who has asked meanwhile it is one that was cancelled.
	r.over(x, backend.ExecResult{ID: x.entry.id, Outcome: backend.OutcomeCancelled, Degraded: x.sandbox.info.Degraded})
}

// finish keeps how x ended.
func (r *registry) finish(x *execution, result backend.ExecResult) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.running--
	r.over(x, result)
	r.oldest = append(r.oldest, x.entry)
	if len(r.oldest) > remembered {
		old := r.oldest[0]
		r.oldest[0], r.oldest = nil, r.oldest[1:]
		delete(r.execs, old.id)
		old.stdout.forget()
		old.stderr.forget()
	}
}

func (r *registry) over(x *execution, result backend.ExecResult) {
	e := x.entry
	e.result, e.task, e.exec = result, x.task, nil
	e.stdout.finish()
	e.stderr.finish()
	close(e.finished)
	r.changed(-1)
}

// alone reports whether no other exec ran at any time beside x, which runs.
func (r *registry) alone(x *execution) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !x.accompanied && r.begun == x.number
}

// count is how many execs have not finished.
func (r *registry) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.running
}

// end refuses new execs and returns those that run.
func (r *registry) end() []*execution {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ending = true
	var all []*execution
	for _, e := range r.execs {
		if e.exec != nil {
			all = append(all, e.exec)
		}
	}
	return all
}

// find returns an exec.
func (r *registry) find(op, id string) (*knownExec, error) {
	if !backend.ValidID(id) {
		return nil, &backend.Error{Kind: backend.ErrInvalid, Op: op, Path: id, Message: "no id of an exec", Hint: "give the id that its start told"}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.execs[id]
	if e == nil {
		return nil, &backend.Error{Kind: backend.ErrNotFound, Op: op, Path: id,
			Message: "no exec of this id is known: it was never started, or ended long ago",
			Hint:    "check the id; what an exec changed is in the files, or start it again"}
	}
	return e, nil
}

// findRunning returns an exec that runs, and waits for one that is just being
// started.
func (r *registry) findRunning(ctx context.Context, op, id string) (*execution, error) {
	e, err := r.find(op, id)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	x := e.exec
	r.mu.Unlock()
	if x != nil {
		select {
		case <-x.running:
		case <-e.finished:
			return nil, errEnded(op, id)
		case <-ctx.Done():
			return nil, failed(op, id, ctx.Err())
		}
		select {
		case <-x.dead:
		default:
			return x, nil
		}
	}
	return nil, errEnded(op, id)
}

func errEnded(op, id string) error {
	return &backend.Error{Kind: backend.ErrConflict, Op: op, Path: id, Message: "the command has ended", Hint: "ask for its outcome"}
}

// outcome tells what became of an exec.
func (r *registry) outcome(e *knownExec) *backend.OutcomeReply {
	r.mu.Lock()
	x, result := e.exec, e.result
	r.mu.Unlock()
	if x != nil {
		result = x.soFar()
	}
	return &backend.OutcomeReply{Result: result}
}

// Outcome implements backend.Sandbox.
func (s *Sandbox) Outcome(ctx context.Context, req *backend.OutcomeRequest) (*backend.OutcomeReply, error) {
	const op = "outcome"
	e, err := s.execs.find(op, req.ID)
	if err != nil {
		return nil, err
	}
	if req.Wait {
		select {
		case <-e.finished:
		case <-ctx.Done():
			return nil, failed(op, req.ID, ctx.Err())
		}
	}
	return s.execs.outcome(e), nil
}
