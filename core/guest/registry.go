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
	mu      sync.Mutex
	execs   map[string]*execution
	results map[string]backend.ExecResult
	oldest  []string // ids of results, in the order they came
	ending  bool
}

func newRegistry() *registry {
	return &registry{execs: map[string]*execution{}, results: map[string]backend.ExecResult{}}
}

// begin takes the id of x.
func (r *registry) begin(x *execution) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, finished := r.results[x.plan.id]
	switch {
	case r.ending:
		return &backend.Error{Kind: backend.ErrGone, Op: "exec", Message: "the sandbox is ending"}
	case finished || r.execs[x.plan.id] != nil:
		return &backend.Error{Kind: backend.ErrExists, Op: "exec", Path: x.plan.id,
			Message: "an exec of this id was started before", Hint: "ask for its outcome"}
	}
	r.execs[x.plan.id] = x
	return nil
}

// forget gives back the id of x, which ran nothing.
func (r *registry) forget(x *execution) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.execs, x.plan.id)
}

// finish keeps how x ended.
func (r *registry) finish(x *execution, result backend.ExecResult) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.execs, x.plan.id)
	r.results[x.plan.id] = result
	r.oldest = append(r.oldest, x.plan.id)
	if len(r.oldest) > remembered {
		delete(r.results, r.oldest[0])
		r.oldest = r.oldest[1:]
	}
}

// running is how many execs have not finished.
func (r *registry) running() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.execs)
}

// end refuses new execs and returns those that run.
func (r *registry) end() []*execution {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ending = true
	var all []*execution
	for _, x := range r.execs {
		all = append(all, x)
	}
	return all
}

// Outcome implements backend.Sandbox.
func (s *Sandbox) Outcome(_ context.Context, req *backend.OutcomeRequest) (*backend.OutcomeReply, error) {
	if !backend.ValidID(req.ID) {
		return nil, &backend.Error{Kind: backend.ErrInvalid, Op: "outcome", Path: req.ID, Message: "no id of an exec"}
	}
	r := s.execs
	r.mu.Lock()
	result, finished := r.results[req.ID]
	x := r.execs[req.ID]
	r.mu.Unlock()
	switch {
	case finished:
	case x != nil:
		result = x.soFar()
	default:
		return nil, &backend.Error{Kind: backend.ErrNotFound, Op: "outcome", Path: req.ID,
			Message: "no exec of this id is known: it was never started, or ended long ago"}
	}
	return &backend.OutcomeReply{Result: result}, nil
}
