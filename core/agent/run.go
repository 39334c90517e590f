package agent

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/deep-sandbox/deep/core/internal/llm"
	"github.com/deep-sandbox/deep/core/tools"
)

// Run does a task. The result is never nil; its Err is returned too. A run that
// waits, or reached a limit, is no error.
func (a *Agent) Run(ctx context.Context, task string) (*Result, error) {
	return a.start(ctx, &State{
		Version: stateVersion,
		Task:    task,
		Messages: []Message{
			{Role: RoleSystem, Content: a.config.Instructions},
			{Role: RoleUser, Content: task},
		},
	})
}

// unknownOutcome is the answer to a call that ran when deep ended.
const unknownOutcome = "Unknown outcome: deep ended while this ran. It was not run again; look at what it did before you repeat it."

// Resume goes on with a run: one that waits, or one that was interrupted, reached
// a limit, failed or was killed. A call that had begun and has no answer is not
// run again: the model hears that its outcome is unknown. The limits count what
// was used before, so that a run which reached one needs a higher one; only
// Limits.Repeats begins anew. The state is not changed; the result has the new
// one.
func (a *Agent) Resume(ctx context.Context, state *State) (*Result, error) {
	if err := state.check(); err != nil {
		return &Result{Status: StatusFailed, Reason: err.Error(), State: state, Err: err}, err
	}
	s := state.clone()
	for i := range s.Open {
		if o := &s.Open[i]; o.Begun && o.Answer == nil {
			text := unknownOutcome
			o.Answer = &text
		}
	}
	if s.Status == StatusLimit {
		s.Repeat = Repeat{} // somebody looked and wants it to go on
	}
	return a.start(ctx, s)
}

func (a *Agent) start(ctx context.Context, s *State) (*Result, error) {
	s.Status, s.Reason, s.Output = StatusRunning, "", ""
	r := &run{Agent: a, state: s}
	r.tools = tools.New(tools.Options{
		Sandbox: r.sandbox, Deny: a.config.DenyTools, ExecuteOutput: a.config.ExecuteOutput,
	}, s.Tools)
	for i := range s.Open {
		o := &s.Open[i]
		o.Asks = a.asks(o.Tool) // the rules of today count
		if o.Begun && o.Answer != nil && *o.Answer == unknownOutcome {
			r.emit(Event{Type: EventAnswer, Call: &o.Call, Text: unknownOutcome, Failed: true})
		}
	}
	client, err := a.config.Model.client(r.retry)
	if err == nil {
		defer client.Close()
		r.client = client
		err = r.loop(ctx)
	}
	return r.end(ctx, err)
}

// run is one Run or Resume.
type run struct {
	*Agent
	client *llm.Client
	tools  *tools.Set

	// mu guards state and the order of saves and events, since calls that only
	// read run side by side.
	mu    sync.Mutex
	state *State

	made lazySandbox
}

// stop ends a loop that did not fail.
type stop struct {
	status Status
	reason string
}

func (s *stop) Error() string { return s.reason }

// loop turns until something ends it. It never returns nil.
func (r *run) loop(ctx context.Context) error {
	for {
		if err := r.settleCalls(ctx); err != nil {
			return err
		}
		if err := r.limits(); err != nil {
			return err
		}
		if err := r.turn(ctx); err != nil {
			return err
		}
	}
}

func over(format string, args ...any) error {
	return &stop{StatusLimit, fmt.Sprintf(format, args...)}
}

// limits ends a run that may not begin another turn.
func (r *run) limits() error {
	s, l := r.state, r.config.Limits
	switch {
	case l.Repeats > 0 && s.Repeat.Count >= l.Repeats:
		return over("the model goes round in circles: it made the same call with the same answer %d times in a row", s.Repeat.Count)
	case l.Turns > 0 && s.Turns >= l.Turns:
		return over("the limit of %s was reached", count(l.Turns, "turn"))
	case l.Tokens > 0 && s.Turns > 0 && !s.Usage.Reported:
		return over("the limit of %d tokens cannot be kept: the model's endpoint does not always report how many it used", l.Tokens)
	case l.Tokens > 0 && s.Usage.Total >= l.Tokens:
		return over("the limit of %d tokens was reached: %d were used", l.Tokens, s.Usage.Total)
	}
	return nil
}

// end records how the run ended.
func (r *run) end(ctx context.Context, err error) (*Result, error) {
	s := r.state
	var st *stop
	switch {
	case errors.As(err, &st):
		s.Status, s.Reason, err = st.status, st.reason, nil
	case ctx.Err() != nil:
		s.Status, s.Reason, err = StatusCancelled, "the run was interrupted", fmt.Errorf("the run was interrupted: %w", context.Cause(ctx))
	default:
		s.Status, s.Reason = StatusFailed, err.Error()
	}
	if s.Status != StatusWaiting {
		r.closeCalls()
	}
	if saveErr := r.save(ctx); saveErr != nil && !errors.Is(err, errSave) {
		err = errors.Join(err, saveErr)
		s.Status, s.Reason = StatusFailed, err.Error()
	}
	res := &Result{
		Status: s.Status, Reason: s.Reason, Output: s.Output, Usage: s.Usage, Turns: s.Turns, ToolCalls: s.ToolCalls,
		Todos: s.Tools.Todos, State: s, Err: err,
	}
	if s.Status == StatusWaiting {
		res.Pending = s.Pending()
	}
	r.emit(Event{Type: EventEnd, Result: res})
	return res, err
}

// errSave marks the failure to record a state.
var errSave = errors.New("the run cannot be recorded, so it does not go on")

// save records the state, also when the run was cancelled.
func (r *run) save(ctx context.Context) error {
	r.state.Tools = r.tools.State()
	if r.config.Save == nil {
		return nil
	}
	if err := r.config.Save(context.WithoutCancel(ctx), r.state); err != nil {
		return fmt.Errorf("%w: %w", errSave, err)
	}
	return nil
}

func (r *run) emit(e Event) {
	if r.config.Events != nil {
		r.config.Events(e)
	}
}

// count is "1 turn", "2 turns".
func count(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}
