package agent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"sync"

	"github.com/deep-sandbox/deep/core/internal/llm"
)

// sideBySide bounds how many calls of a turn run at once.
const sideBySide = 4

// readers change nothing, so that their order does not matter.
var readers = []string{"ls", "read_file", "glob", "grep", "read_todos"}

// settleCalls sees to it that every open call has its answer: decisions first,
// then the calls in their order. Nothing of a turn runs before all of it is
// decided, so that the order is the model's.
func (r *run) settleCalls(ctx context.Context) error {
	if len(r.state.Open) == 0 {
		return nil
	}
	if err := r.decide(ctx); err != nil {
		return err
	}
	open := r.state.Open
	for i := 0; i < len(open); {
		n := 1
		for n < sideBySide && i+n < len(open) && reads(open[i:i+n+1]) {
			n++
		}
		if err := r.callAll(ctx, open[i:i+n]); err != nil {
			return err
		}
		i += n
	}
	r.answered()
	return r.save(ctx)
}

// reads reports whether all calls only read.
func reads(calls []OpenCall) bool {
	return !slices.ContainsFunc(calls, func(o OpenCall) bool { return !slices.Contains(readers, o.Tool) })
}

// decide asks for what is not decided yet.
func (r *run) decide(ctx context.Context) error {
	pending := r.state.Pending()
	if len(pending) > 0 && r.config.Approve != nil {
		decisions, err := r.config.Approve(ctx, pending)
		if err != nil {
			return err
		}
		if err := r.state.Decide(decisions); err != nil {
			return err
		}
		if err := r.save(ctx); err != nil {
			return err
		}
	}
	for i := range r.state.Open {
		if o := &r.state.Open[i]; o.Decision != nil && o.Answer == nil {
			r.emit(Event{Type: EventApproval, Call: &o.Call, Decision: o.Decision})
		}
	}
	if n := len(r.state.Pending()); n > 0 {
		return &stop{StatusWaiting, "it waits for a decision on its calls"}
	}
	return nil
}

// callAll runs calls side by side and waits for all.
func (r *run) callAll(ctx context.Context, calls []OpenCall) error {
	errs := make([]error, len(calls))
	var wg sync.WaitGroup
	for i := range calls {
		wg.Go(func() { errs[i] = r.call(ctx, &calls[i]) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// call runs one call and keeps its answer.
func (r *run) call(ctx context.Context, o *OpenCall) error {
	if o.Answer != nil {
		return nil
	}
	if o.Decision != nil && !o.Decision.Approve {
		text := "Denied by the user; do not try it again in another way."
		if o.Decision.Reason != "" {
			text += " Reason: " + o.Decision.Reason
		}
		return r.finish(ctx, o, Event{Type: EventAnswer, Call: &o.Call, Text: text, Failed: true})
	}
	if err := ctx.Err(); err != nil {
		return err // not begun: a resumed run begins it
	}
	if err := r.begin(ctx, o); err != nil {
		return err
	}
	answer, err := r.tools.Call(ctx, o.Tool, json.RawMessage(o.Arguments))
	e := Event{Type: EventAnswer, Call: &o.Call, Text: answer.Text, Failed: answer.Failed, Truncated: answer.Truncated, Exec: execOf(answer.Exec)}
	if err != nil {
		e.Failed = true
		e.Text = "Interrupted: this did not come to its end, and what it did until then is unknown."
	}
	if saveErr := r.finish(ctx, o, e); err == nil {
		err = saveErr
	}
	return err
}

// begin records that a call is about to run.
func (r *run) begin(ctx context.Context, o *OpenCall) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	o.Begun = true
	if err := r.save(ctx); err != nil {
		o.Begun = false
		return err
	}
	r.emit(Event{Type: EventCall, Call: &o.Call})
	return nil
}

// finish records a call's answer.
func (r *run) finish(ctx context.Context, o *OpenCall, e Event) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	o.answer(e.Text)
	err := r.save(ctx)
	r.emit(e)
	if o.Tool == "write_todos" && !e.Failed {
		r.emit(Event{Type: EventPlan, Todos: r.state.Tools.Todos})
	}
	return err
}

func (o *OpenCall) answer(text string) { o.Answer = &text }

// answered moves the answers into the transcript, in the order of the calls.
func (r *run) answered() {
	s := r.state
	for _, o := range s.Open {
		s.Messages = append(s.Messages, Message{Role: llm.RoleTool, ToolCallID: o.ID, Content: *o.Answer})
		s.ToolCalls++
		sum := sha256.Sum256([]byte(o.Tool + "\x00" + o.Arguments + "\x00" + *o.Answer))
		if key := hex.EncodeToString(sum[:]); key == s.Repeat.Key {
			s.Repeat.Count++
		} else {
			s.Repeat = Repeat{Key: key, Count: 1}
		}
	}
	s.Open = nil
}
