package guest

import (
	"context"
	"time"

	"github.com/deep-sandbox/deep/core/backend"
)

// handOver is how long a Kill waits for what a dead command had written to reach
// a caller who reads slowly, or not at all.
const handOver = 250 * time.Millisecond

// Start implements backend.Sandbox.
func (s *Sandbox) Start(ctx context.Context, req *backend.ExecRequest) (*backend.StartReply, error) {
	const op = "start"
	if req.Stdin != nil || req.Stdout != nil || req.Stderr != nil {
		return nil, &backend.Error{Kind: backend.ErrInvalid, Op: op, Path: req.ID,
			Message: "a command in the background has no stream of its caller's",
			Hint:    "use KeepStdin and WriteStdin for its input, and ReadOutput"}
	}
	x, err := s.begin(ctx, op, req)
	if err != nil {
		return nil, err
	}
	result, err := x.launch(ctx, req)
	if result != nil || err != nil {
		x.settle(result)
		if err != nil {
			return nil, err
		}
	} else {
		s.background.Go(func() { x.settle(x.attend(context.Background())) }) //nolint:contextcheck // it outlives the call
	}
	return &backend.StartReply{ID: x.plan.id}, nil
}

// Kill implements backend.Sandbox. What an exec left behind when it ended by
// itself is its too.
func (s *Sandbox) Kill(ctx context.Context, req *backend.KillRequest) (*backend.OutcomeReply, error) {
	const op = "kill"
	e, err := s.execs.find(op, req.ID)
	if err != nil {
		return nil, err
	}
	grace := backend.DefaultGrace
	if req.Grace != nil {
		if grace = *req.Grace; grace < 0 || grace > maxGrace {
			return nil, &backend.Error{Kind: backend.ErrInvalid, Op: op, Path: req.ID, Message: errGrace, Hint: hintGrace}
		}
	}
	s.execs.mu.Lock()
	x := e.exec
	s.execs.mu.Unlock()
	if x != nil {
		x.kill(grace)
		result, err := x.afterDeath(ctx)
		if err != nil {
			return nil, failed(op, req.ID, err)
		}
		if result != nil {
			return &backend.OutcomeReply{Result: *result}, nil
		}
	}
	if err := s.killRest(ctx, e, grace); err != nil {
		return nil, failed(op, req.ID, err)
	}
	return s.execs.outcome(e), nil
}

// kill halts the command as a cancel does. One that is being halted already is
// not given longer than this grace from when that began.
func (x *execution) kill(grace time.Duration) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.haltLocked(backend.OutcomeCancelled, nil) || grace < x.grace {
		x.grace = grace
	}
}

// afterDeath waits for the end of an exec. It returns a result only where that is
// not yet the final one: what the command wrote is not all handed over, but
// nothing of it lives.
func (x *execution) afterDeath(ctx context.Context) (*backend.ExecResult, error) {
	select {
	case <-x.entry.finished:
		return nil, nil
	case <-x.dead:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	patience := time.NewTimer(handOver)
	defer patience.Stop()
	select {
	case <-x.entry.finished:
		return nil, nil
	case <-patience.C:
		return x.result(), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// killRest kills what an exec that ended by itself left behind.
func (s *Sandbox) killRest(ctx context.Context, e *knownExec, grace time.Duration) error {
	s.execs.mu.Lock()
	t := e.task
	s.execs.mu.Unlock()
	if t == nil || !t.alive() {
		return nil
	}
	gone := make(chan bool, 1)
	go func() { gone <- stop(t, func() time.Duration { return grace }) }()
	select {
	case <-gone:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
