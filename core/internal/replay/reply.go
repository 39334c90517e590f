package replay

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
	"unicode/utf8"
)

// reply is a recorded reply on its way out, with what is the same for all chunks of it.
type reply struct {
	*Reply
	id      string
	model   string
	created int64
	calls   []wireCall
	usage   wireUsage
}

func newReply(step int, req *request, recorded *Reply) *reply {
	r := &reply{
		Reply:   recorded,
		id:      fmt.Sprintf("chatcmpl-replay-%d", step+1),
		model:   req.model,
		created: time.Now().Unix(),
	}
	size := len(recorded.Content)
	for i, c := range recorded.ToolCalls {
		r.calls = append(r.calls, wireCall{ID: callID(step, i), Type: "function", Function: wireFunction(c)})
		size += len(c.Name) + len(c.Arguments)
	}
	usage := recorded.Usage
	if usage == nil {
		usage = &Usage{Prompt: tokens(req.size), Completion: tokens(size)}
	}
	r.usage = wireUsage{Prompt: usage.Prompt, Completion: usage.Completion, Total: usage.Prompt + usage.Completion}
	r.usage.Details.Cached = usage.Cached
	return r
}

// tokens estimates a text's length in tokens, at the usual four bytes each.
func tokens(bytes int) int64 { return int64(bytes+3) / 4 }

// whole answers a request that did not ask for a stream.
func (r *reply) whole(w http.ResponseWriter) {
	e := r.envelope("chat.completion", wireChoice{
		Message:      &wireMessage{Role: "assistant", Content: &r.Content, ToolCalls: r.calls},
		FinishReason: &r.FinishReason,
	})
	e.Usage = encode(r.usage)
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(encode(e))
}

// stream answers in server-sent events, cutting texts as finely as a real model does: a client that takes a chunk for the
// whole shall not get away with it.
func (r *reply) stream(w http.ResponseWriter, includeUsage bool) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	out := http.NewResponseController(w)
	send := func(data []byte) {
		fmt.Fprintf(w, "data: %s\n\n", data)
		out.Flush() // a client that is gone ends the handler's context soon enough
	}
	chunk := func(choice wireChoice) {
		e := r.envelope("chat.completion.chunk", choice)
		if includeUsage {
			e.Usage = json.RawMessage("null") // as the protocol has it for all but the last
		}
		send(encode(e))
	}
	delta := func(m wireMessage) { chunk(wireChoice{Delta: &m}) }

	empty := ""
	delta(wireMessage{Role: "assistant", Content: &empty})
	for _, piece := range pieces(r.Content) {
		delta(wireMessage{Content: &piece})
	}
	for i, c := range r.calls {
		first := c
		first.Index, first.Function.Arguments = &i, ""
		delta(wireMessage{ToolCalls: []wireCall{first}})
		for _, piece := range pieces(c.Function.Arguments) {
			delta(wireMessage{ToolCalls: []wireCall{{Index: &i, Function: wireFunction{Arguments: piece}}}})
		}
	}
	chunk(wireChoice{Delta: &wireMessage{}, FinishReason: &r.FinishReason})
	if includeUsage {
		e := r.envelope("chat.completion.chunk")
		e.Usage = encode(r.usage)
		send(encode(e))
	}
	send([]byte("[DONE]"))
}

func (r *reply) envelope(object string, choices ...wireChoice) envelope {
	if choices == nil {
		choices = []wireChoice{} // not null
	}
	return envelope{ID: r.id, Object: object, Created: r.created, Model: r.model, Choices: choices}
}

// pieces cuts text between characters, into a few parts if it is short and into parts of some 48 bytes otherwise.
func pieces(text string) []string {
	size := min(max(len(text)/4, 1), 48)
	var out []string
	for len(text) > 0 {
		n := min(size, len(text))
		for n < len(text) && !utf8.RuneStart(text[n]) {
			n++
		}
		out = append(out, text[:n])
		text = text[n:]
	}
	return out
}

func writeError(w http.ResponseWriter, status int, e errorBody) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(e.json())
}

func writeFailure(w http.ResponseWriter, f *Failure) {
	if f.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.FormatInt(f.RetryAfter, 10))
	}
	if json.Valid([]byte(f.Body)) {
		w.Header().Set("Content-Type", "application/json")
	}
	w.WriteHeader(f.Status)
	_, _ = io.WriteString(w, f.Body)
}
