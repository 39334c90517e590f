package agent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
)

// sideBySide bounds how many calls of a turn run at once.
const sideBySide = 4

// readers change nothing, so that their order does not matter.
var readers = []string{"ls", "read_file", "glob", "grep", "read_todos"}

// settleCalls sees to it that every open call has its answer. What stands before
// the first that needs a decision runs first, so that who decides can look at it;
// nothing after it does until all are decided, so that the order is the model's.
func (r *run) settleCalls(ctx context.Context) error {
	open := r.state.Open
	if len(open) == 0 {
		return nil
	}
	if err := r.enoughCalls(); err != nil {
		return err
	}
	first := slices.IndexFunc(open, func(o OpenCall) bool { return o.Asks })
	if first < 0 {
		first = len(open)
	}
	if err := r.callAll(ctx, open[:first]); err != nil {
		return err
	}
	if err := r.decide(ctx); err != nil {
		return err
	}
	if err := r.callAll(ctx, open[first:]); err != nil {
		return err
	}
	for i := range open {
		r.watchRepeats(&open[i])
	}
	r.answered()
	return r.save(ctx)
}

// enoughCalls ends a run whose open calls go over the limit, before any runs.
func (r *run) enoughCalls() error {
	limit, want := r.config.Limits.ToolCalls, r.state.ToolCalls
	for _, o := range r.state.Open {
		if o.Answer == nil {
			want++
		}
	}
	if limit > 0 && want > limit {
		return over("the limit of %s was reached", count(limit, "tool call"))
	}
	return nil
}

// callAll runs calls in their order, neighbours that only read side by side.
func (r *run) callAll(ctx context.Context, calls []OpenCall) error {
	for len(calls) > 0 {
		n := 1
		for n < sideBySide && n < len(calls) && reads(calls[:n+1]) {
			n++
		}
		if err := r.callBatch(ctx, calls[:n]); err != nil {
			return err
		}
		calls = calls[n:]
	}
	return nil
}

// reads reports whether all calls only read.
func reads(calls []OpenCall) bool {
	return !slices.ContainsFunc(calls, func(o OpenCall) bool { return !slices.Contains(readers, o.Tool) })
}

// callBatch runs calls side by side and waits for all.
func (r *run) callBatch(ctx context.Context, calls []OpenCall) error {
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
		return r.finish(ctx, o, Event{Type: EventAnswer, Call: &o.Call, Text: denied(o.Decision), Failed: true})
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := r.begin(ctx, o); err != nil {
		return err
	}
	answer, err := r.tools.Call(ctx, o.Tool, json.RawMessage(o.Arguments))
	e := Event{Type: EventAnswer, Call: &o.Call, Text: answer.Text, Failed: answer.Failed, Truncated: answer.Truncated, Exec: execOf(answer.Exec)}
	if err != nil {
		e.Failed, e.Text = true, broken(err)
	}
	if saveErr := r.finish(ctx, o, e); err == nil {
		err = saveErr
	}
	return err
}

// broken is what the model hears of a call that ended with the run.
func broken(err error) string {
	if errors.As(err, new(noSandbox)) {
		return "Not run: there is no sandbox to run it in."
	}
	return "Interrupted: it did not come to its end, and what it did until then is unknown."
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
	o.Answer = &e.Text
	r.state.ToolCalls++
	err := r.save(ctx)
	r.emit(e)
	if o.Tool == "write_todos" && !e.Failed {
		r.emit(Event{Type: EventPlan, Todos: r.state.Tools.Todos})
	}
	return err
}

// watchRepeats counts how often the same call had the same answer in a row.
func (r *run) watchRepeats(o *OpenCall) {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %q", o.Tool, o.Arguments, *o.Answer))
	if key, repeat := hex.EncodeToString(sum[:]), &r.state.Repeat; key == repeat.Key {
		repeat.Count++
	} else {
		*repeat = Repeat{Key: key, Count: 1}
	}
}

// answered moves the answers into the transcript, in the order of the calls.
func (r *run) answered() {
	s := r.state
	for _, o := range s.Open {
		s.Messages = append(s.Messages, Message{Role: RoleTool, ToolCallID: o.ID, Content: *o.Answer})
	}
	s.Open = nil
}

// closeCalls answers what a run that ends leaves open. A strict endpoint refuses
// a transcript in which a call has no answer, and nothing of an old decision may
// run later by surprise.
func (r *run) closeCalls() {
	text := "Not run: the run ended before its turn came."
	if r.state.Status == StatusLimit {
		text = "Not run: " + r.state.Reason + "."
	}
	for i := range r.state.Open {
		if o := &r.state.Open[i]; o.Answer == nil {
			o.Answer = &text
		}
	}
	r.answered()
}
