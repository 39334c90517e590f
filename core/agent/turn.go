package agent

import (
	"context"
	"crypto/rand"
	"slices"

	"github.com/deep-sandbox/deep/core/internal/llm"
)

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
	if resp != nil {
		s.spend(resp.Usage)
	}
	if err != nil {
		r.keepPart(resp)
		return err
	}
	m := resp.Message
	m.ToolCalls = distinct(m.ToolCalls, s.Messages)
	s.Messages = append(s.Messages, m)
	for _, c := range m.ToolCalls {
		s.Open = append(s.Open, OpenCall{
			Call: Call{ID: c.ID, Tool: c.Name, Arguments: c.Arguments}, Asks: r.asks(c.Name),
		})
	}
	if len(s.Open) == 0 {
		s.Output = m.Content
	}
	r.emit(Event{Type: EventMessage, Text: m.Content, Usage: &resp.Usage})
	if err := r.save(ctx); err != nil {
		return err
	}
	if len(s.Open) == 0 {
		return &stop{status: StatusCompleted}
	}
	return nil
}

// keepPart keeps what came of an answer that was cut short. Its calls are not
// whole and must not run; what is not run has no place in the transcript.
func (r *run) keepPart(resp *llm.Response) {
	if resp == nil {
		return
	}
	if resp.Message.Content != "" {
		r.state.Output = resp.Message.Content
		r.state.Messages = append(r.state.Messages, Message{Role: RoleAssistant, Content: resp.Message.Content})
	}
	r.emit(Event{Type: EventMessage, Text: resp.Message.Content, Usage: &resp.Usage})
}

func (r *run) request() llm.Request {
	req := llm.Request{
		Model: r.config.Model.Name, Messages: r.state.Messages,
		MaxTokens: r.config.Model.MaxOutputTokens, Temperature: r.config.Model.Temperature,
	}
	for _, t := range r.tools.Specs() {
		req.Tools = append(req.Tools, llm.Tool{Name: t.Name, Description: t.Description, Parameters: t.Parameters})
	}
	return req
}

func (r *run) retry(retry llm.Retry) {
	r.emit(Event{Type: EventRetry, Text: retry.Err.Error(), Retry: &Retry{
		Try: retry.Try, MaxTries: retry.MaxTries, WaitMS: retry.Wait.Milliseconds(),
	}})
}

// distinct returns calls whose ids tell them apart in the whole transcript: an
// answer must not go to another call, nor a decision to one that was not shown.
// Some servers count from zero in each answer. They keep nothing of a
// conversation, so that another id is as good to them.
func distinct(calls []llm.ToolCall, before []Message) []llm.ToolCall {
	seen := map[string]bool{}
	for _, m := range before {
		for _, c := range m.ToolCalls {
			seen[c.ID] = true
		}
	}
	calls = slices.Clone(calls)
	for i := range calls {
		if c := &calls[i]; seen[c.ID] {
			c.ID = "call_" + rand.Text()
		}
		seen[calls[i].ID] = true
	}
	return calls
}

// spend counts a turn. What was used is reported if all of it was.
func (s *State) spend(u Usage) {
	s.Usage = Usage{
		Reported:   u.Reported && (s.Usage.Reported || s.Turns == 0),
		Prompt:     s.Usage.Prompt + u.Prompt,
		Completion: s.Usage.Completion + u.Completion,
		Total:      s.Usage.Total + u.Total,
		Cached:     s.Usage.Cached + u.Cached,
	}
	s.Turns++
}
