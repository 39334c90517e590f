package agent

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/deep-sandbox/deep/core/backend"
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
			{Role: llm.RoleSystem, Content: a.config.Instructions},
			{Role: llm.RoleUser, Content: task},
		},
	})
}

// Resume goes on with a run: one that waits, or one that was interrupted, reached
// a limit, failed or was killed. A call that had begun and has no answer is not
// run again: the model hears that its outcome is unknown. The state is not
// changed; the result has the new one.
func (a *Agent) Resume(ctx context.Context, state *State) (*Result, error) {
	if err := state.check(); err != nil {
		return &Result{Status: StatusFailed, Reason: err.Error(), State: state, Err: err}, err
	}
	s := state.clone()
	for i := range s.Open {
		if o := &s.Open[i]; o.Begun && o.Answer == nil {
			o.answer("Unknown outcome: deep ended while this ran. It was not run again; look at what it did before you repeat it.")
		}
	}
	return a.start(ctx, s)
}

func (a *Agent) start(ctx context.Context, s *State) (*Result, error) {
	s.Status, s.Reason, s.Output = StatusRunning, "", ""
	r := &run{Agent: a, state: s}
	r.tools = tools.New(tools.Options{
		Sandbox: a.config.Sandbox, Deny: a.config.DenyTools, ExecuteOutput: a.config.ExecuteOutput,
	}, s.Tools)
	err := r.loop(ctx)
	return r.end(ctx, err)
}

// run is one Run or Resume.
type run struct {
	*Agent
	tools *tools.Set

	// mu guards state and the order of saves and events, since calls that only
	// read run side by side.
	mu    sync.Mutex
	state *State
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

// limits ends a run that has used up what it may.
func (r *run) limits() error {
	s, l := r.state, r.config.Limits
	over := func(format string, args ...any) error {
		return &stop{StatusLimit, fmt.Sprintf(format, args...)}
	}
	switch {
	case l.Repeats > 0 && s.Repeat.Count >= l.Repeats:
		return over("the model made the same call with the same answer %d times in a row", s.Repeat.Count)
	case l.Turns > 0 && s.Turns >= l.Turns:
		return over("the limit of %d turns was reached", l.Turns)
	case l.ToolCalls > 0 && s.ToolCalls >= l.ToolCalls:
		return over("the limit of %d tool calls was reached", l.ToolCalls)
	case l.Tokens > 0 && s.Usage.Total >= l.Tokens:
		return over("the limit of %d tokens was reached (%d used)", l.Tokens, s.Usage.Total)
	}
	return nil
}

// turn asks the model once.
func (r *run) turn(ctx context.Context) error {
	s := r.state
	if err := r.save(ctx); err != nil {
		return err
	}
	r.emit(Event{Type: EventTurn, Turn: s.Turns + 1})
	resp, err := r.client.Complete(ctx, r.request(), func(d llm.Delta) {
		if d.Content != "" {
			r.emit(Event{Type: EventText, Text: d.Content})
		}
	})
	if err != nil {
		return err
	}
	if err := distinctIDs(resp.Message.ToolCalls, s.Messages); err != nil {
		return err
	}
	s.Turns++
	s.Usage = add(s.Usage, resp.Usage)
	s.Messages = append(s.Messages, resp.Message)
	for _, c := range resp.Message.ToolCalls {
		s.Open = append(s.Open, OpenCall{
			Call: Call{ID: c.ID, Tool: c.Name, Arguments: c.Arguments}, Asks: r.asks(c.Name),
		})
	}
	r.emit(Event{Type: EventMessage, Text: resp.Message.Content, Usage: &resp.Usage})
	if err := r.save(ctx); err != nil {
		return err
	}
	if len(s.Open) == 0 {
		s.Output = resp.Message.Content
		return &stop{status: StatusCompleted}
	}
	return nil
}

func (r *run) request() llm.Request {
	req := llm.Request{
		Model: r.config.Model.Name, Messages: r.state.Messages, MaxTokens: r.config.Model.MaxOutputTokens,
	}
	for _, t := range r.tools.Specs() {
		req.Tools = append(req.Tools, llm.Tool{Name: t.Name, Description: t.Description, Parameters: t.Parameters})
	}
	return req
}

// distinctIDs refuses calls whose ids do not tell them apart: their answers could
// go to the wrong one, and a decision to another call than was shown.
func distinctIDs(calls []llm.ToolCall, before []Message) error {
	seen := map[string]bool{}
	for _, m := range before {
		for _, c := range m.ToolCalls {
			seen[c.ID] = true
		}
	}
	for _, c := range calls {
		if c.ID == "" || seen[c.ID] {
			return &backend.Error{Kind: backend.ErrUnavailable, Op: "model", Path: c.ID,
				Message: "the model's endpoint gave two tool calls the same id, or none", Hint: "report it to who runs the endpoint"}
		}
		seen[c.ID] = true
	}
	return nil
}

func add(a, b Usage) Usage {
	return Usage{
		Reported: a.Reported || b.Reported,
		Prompt:   a.Prompt + b.Prompt, Completion: a.Completion + b.Completion, Total: a.Total + b.Total, Cached: a.Cached + b.Cached,
	}
}

// end records how the run ended.
func (r *run) end(ctx context.Context, err error) (*Result, error) {
	s := r.state
	var st *stop
	switch {
	case errors.As(err, &st):
		s.Status, s.Reason, err = st.status, st.reason, nil
	case ctx.Err() != nil:
		s.Status, s.Reason = StatusCancelled, "the run was interrupted"
	default:
		s.Status, s.Reason = StatusFailed, err.Error()
	}
	if saveErr := r.save(ctx); saveErr != nil && err == nil {
		s.Status, s.Reason, err = StatusFailed, saveErr.Error(), saveErr
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

// save records the state, also when the run was cancelled.
func (r *run) save(ctx context.Context) error {
	r.state.Tools = r.tools.State()
	if r.config.Save == nil {
		return nil
	}
	if err := r.config.Save(context.WithoutCancel(ctx), r.state); err != nil {
		return fmt.Errorf("the run cannot be recorded, so it does not go on: %w", err)
	}
	return nil
}

func (r *run) emit(e Event) {
	if r.config.Events != nil {
		r.config.Events(e)
	}
}
