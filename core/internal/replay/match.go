package replay

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// MismatchError says that a run went another way than the recording.
type MismatchError struct {
	// Recording is the file's name; Step counts from 1.
	Recording string
	Step      int

	// What says which part differs, and how, as in "result 1, of execute, does not contain the recorded text".
	What string

	// Wanted is from the recording, Got from the run. Either may be empty.
	Wanted, Got string
}

// Error is one line; the rest is in [MismatchError.Diff].
func (e *MismatchError) Error() string {
	return fmt.Sprintf("the run left the recording %s at step %d: %s; mend the recording, or what the run did differently",
		e.Recording, e.Step, e.What)
}

// match chooses the step that answers req and checks that it is the recorded way that led there.
func (r *Recording) match(req *request) (int, *MismatchError) {
	turn := 0
	last := -1 // index of the last assistant turn
	for i, m := range req.messages {
		if m.role != "assistant" {
			continue
		}
		if err := r.checkTurn(turn, m); err != nil {
			return 0, err
		}
		turn++
		last = i
	}
	if turn >= len(r.Steps) {
		return 0, r.mismatch(turn, "the request goes past its end", fmt.Sprintf("(the end, after %s)", count(len(r.Steps), "step")), transcript(req.messages[last+1:]))
	}
	return turn, r.checkExpect(turn, req.messages, last)
}

func (r *Recording) mismatch(step int, what, wanted, got string) *MismatchError {
	return &MismatchError{Recording: r.Name, Step: step + 1, What: what, Wanted: wanted, Got: got}
}

// checkTurn checks that an assistant turn in the request is the one this recording gave at that place. Otherwise the run
// belongs to another recording, or the agent tampers with what the model said.
func (r *Recording) checkTurn(turn int, m message) *MismatchError {
	const what = "the assistant's turn in the request is not the recorded one"
	got := renderTurn(m.content, m.toolCalls)
	if turn >= len(r.Steps) {
		return r.mismatch(turn, what, fmt.Sprintf("(the end, after %s)", count(len(r.Steps), "step")), got)
	}
	reply := r.Steps[turn].Reply
	if reply == nil {
		return r.mismatch(turn, what, "(an error, and no turn)", got)
	}
	calls := make([]call, len(reply.ToolCalls))
	for i, c := range reply.ToolCalls {
		calls[i] = call{name: c.Name, arguments: c.Arguments, id: callID(turn, i)}
	}
	if wanted := renderTurn(reply.Content, calls); wanted != got {
		return r.mismatch(turn, what, wanted, got)
	}
	return nil
}

// result is a tool message with the call it answers.
type result struct {
	call
	content string
	taken   bool
}

func (r *Recording) checkExpect(step int, messages []message, last int) *MismatchError {
	expect := r.Steps[step].Expect
	if expect.User != nil {
		user := "(no user message)"
		for _, m := range messages {
			if m.role == "user" {
				user = m.content
			}
		}
		if how, wanted := expect.User.broken(user); how != "" {
			return r.mismatch(step, "the last user message "+how, wanted, user)
		}
	}

	results := lastResults(messages, last)
	for i, want := range expect.Results {
		what := fmt.Sprintf("result %d", i+1)
		if want.Tool != "" {
			what += ", of " + want.Tool + ","
		}
		got := take(results, want.Tool)
		if got == nil {
			_, wanted := want.broken("")
			return r.mismatch(step, what+" is missing", wanted, transcript(messages[last+1:]))
		}
		if how, wanted := want.broken(got.content); how != "" {
			return r.mismatch(step, what+" "+how, wanted, got.content)
		}
	}
	return nil
}

// lastResults gives the results since the last assistant turn, in the order of its calls. That every call has one was
// checked when the request was read.
func lastResults(messages []message, last int) []*result {
	if last < 0 {
		return nil
	}
	var results []*result
	for _, c := range messages[last].toolCalls {
		for _, m := range messages[last+1:] {
			if m.callID == c.id {
				results = append(results, &result{call: c, content: m.content})
			}
		}
	}
	return results
}

// take marks and returns the next result of the tool, or of any if that is empty.
func take(results []*result, tool string) *result {
	for _, r := range results {
		if !r.taken && (tool == "" || r.name == tool) {
			r.taken = true
			return r
		}
	}
	return nil
}

// broken tells how text fails the first condition that it does, and what that asks for; "" if it meets all.
func (m Match) broken(text string) (how, wanted string) {
	switch {
	case m.Equals != nil && text != *m.Equals:
		return "does not equal the recorded text", *m.Equals
	case m.Contains != nil && !strings.Contains(text, *m.Contains):
		return "does not contain the recorded text", *m.Contains
	case m.Matches != nil && !m.Matches.MatchString(text):
		return "does not match the recorded pattern", m.Matches.String()
	}
	return "", ""
}

// callID makes the id of a step's call. Derived, not random, so that any process that plays the recording makes the same.
func callID(step, call int) string { return fmt.Sprintf("call_%d_%d", step+1, call+1) }

// renderTurn gives an assistant turn as text that is equal exactly if the turns are.
func renderTurn(content string, calls []call) string {
	var b strings.Builder
	if content != "" {
		b.WriteString(content + "\n")
	}
	for _, c := range calls {
		fmt.Fprintf(&b, "[%s] %s %s\n", c.id, c.name, canonical(c.arguments))
	}
	return b.String()
}

// canonical makes JSON texts that mean the same the same text; what is not JSON stays.
func canonical(arguments string) string {
	var v any
	dec := json.NewDecoder(strings.NewReader(arguments))
	dec.UseNumber()
	if !json.Valid([]byte(arguments)) || dec.Decode(&v) != nil {
		return arguments
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if enc.Encode(v) != nil {
		return arguments
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// transcript gives messages as text to show what came instead.
func transcript(messages []message) string {
	var b strings.Builder
	for _, m := range messages {
		fmt.Fprintf(&b, "%s: %s\n", m.role, m.content)
	}
	return b.String()
}

func count(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}
