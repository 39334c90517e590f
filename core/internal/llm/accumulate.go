package llm

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/packages/respjson"
)

// maxToolCalls bounds the calls of one answer.
const maxToolCalls = 128

// errTooLarge is wrapped by every limit the accumulator keeps.
var errTooLarge = errors.New("limit")

// accumulator puts the chunks of a stream together.
type accumulator struct {
	content strings.Builder
	calls   []*partialCall
	current map[int64]int // the endpoint's index to the call in calls that now grows under it
	size    int
	model   string
	finish  string
	usage   Usage
}

type partialCall struct {
	index     int64
	id, name  string
	arguments strings.Builder
}

// started reports whether any part of the answer has come.
func (a *accumulator) started() bool { return a.size > 0 }

// add takes a chunk and passes on what it brings.
func (a *accumulator) add(chunk openai.ChatCompletionChunk, emit func(Delta)) error {
	if wrongType(chunk.JSON.Choices) || wrongType(chunk.JSON.Usage) {
		return errors.New("choices or usage has the wrong type")
	}
	if chunk.Model != "" && a.model == "" {
		a.model = strings.Clone(chunk.Model)
	}
	if chunk.JSON.Usage.Valid() {
		a.usage = usageOf(chunk.Usage) // the last one counts: some servers send a running sum with each chunk
	}
	for _, choice := range chunk.Choices {
		if choice.Index != 0 {
			return fmt.Errorf("choice %d, though one was asked for", choice.Index)
		}
		if err := a.addDelta(choice.Delta, emit); err != nil {
			return err
		}
		if choice.FinishReason != "" {
			a.finish = strings.Clone(choice.FinishReason)
		}
	}
	return nil
}

func (a *accumulator) addDelta(d openai.ChatCompletionChunkChoiceDelta, emit func(Delta)) error {
	if wrongType(d.JSON.Content) || wrongType(d.JSON.ToolCalls) || wrongType(d.JSON.Refusal) {
		return errors.New("content, refusal or tool_calls has the wrong type")
	}
	if d.JSON.FunctionCall.Valid() {
		return errors.New("function_call, which tool_calls replaced in 2023")
	}
	// A refusal is the model's answer like any other; it only comes under another key.
	for _, text := range []string{d.Content, d.Refusal} {
		if text == "" {
			continue
		}
		if err := a.grow(len(text)); err != nil {
			return err
		}
		a.content.WriteString(text)
		emit(Delta{Content: text})
	}
	for _, piece := range d.ToolCalls {
		if err := a.addCall(piece, emit); err != nil {
			return err
		}
	}
	return nil
}

func (a *accumulator) addCall(d openai.ChatCompletionChunkChoiceDeltaToolCall, emit func(Delta)) error {
	if d.Index < 0 || wrongType(d.JSON.Index) {
		return errors.New("a tool call's index is no number")
	}
	if wrongType(d.JSON.Function) || wrongType(d.Function.JSON.Arguments) || wrongType(d.Function.JSON.Name) || wrongType(d.JSON.ID) {
		return errors.New("a tool call's id, name or arguments has the wrong type")
	}
	if err := a.grow(len(d.ID) + len(d.Function.Name) + len(d.Function.Arguments)); err != nil {
		return err
	}
	at, call, err := a.callFor(d)
	if err != nil {
		return err
	}
	// The strings of a chunk are parts of its text. A copy keeps a few letters from holding megabytes.
	if call.id == "" {
		call.id = strings.Clone(d.ID)
	}
	if d.Function.Name != call.name { // some servers repeat the name with each piece
		call.name += d.Function.Name
	}
	call.arguments.WriteString(d.Function.Arguments)
	emit(Delta{ToolCall: &ToolCallDelta{Index: at, ID: d.ID, Name: d.Function.Name, Arguments: d.Function.Arguments}})
	return nil
}

// callFor finds the call a piece belongs to, by index. A new id under a known index begins a new call: there are servers
// that give each of several calls the index 0.
func (a *accumulator) callFor(d openai.ChatCompletionChunkChoiceDeltaToolCall) (int, *partialCall, error) {
	at, known := a.current[d.Index]
	if known && (d.ID == "" || a.calls[at].id == "" || a.calls[at].id == d.ID) {
		return at, a.calls[at], nil
	}
	if len(a.calls) == maxToolCalls {
		return 0, nil, fmt.Errorf("%w: over %d tool calls", errTooLarge, maxToolCalls)
	}
	if a.current == nil {
		a.current = make(map[int64]int)
	}
	at = len(a.calls)
	a.calls = append(a.calls, &partialCall{index: d.Index})
	a.current[d.Index] = at
	return at, a.calls[at], nil
}

func (a *accumulator) grow(n int) error {
	if a.size += n; a.size > maxResponseBytes {
		return fmt.Errorf("%w: over 8 MiB of content and arguments", errTooLarge)
	}
	return nil
}

// response gives the whole answer once the stream has ended.
func (a *accumulator) response() (*Response, error) {
	if a.finish == "" {
		return nil, errors.New("the stream ended before finish_reason, so the answer is not whole")
	}
	r := &Response{
		Message:      Message{Role: RoleAssistant, Content: a.content.String()},
		Model:        a.model,
		FinishReason: a.finish,
		Usage:        a.usage,
	}
	slices.SortStableFunc(a.calls, func(x, y *partialCall) int { return cmp.Compare(x.index, y.index) })
	seen := make(map[string]bool, len(a.calls))
	for _, c := range a.calls {
		switch {
		case c.name == "":
			return nil, errors.New("a tool call without a name")
		case c.id == "":
			c.id = "call_" + rand.Text() // some servers leave it to us; the conversation needs one
		case seen[c.id]:
			return nil, errors.New("two tool calls with the same id")
		}
		seen[c.id] = true
		r.Message.ToolCalls = append(r.Message.ToolCalls, ToolCall{ID: c.id, Name: c.name, Arguments: c.arguments.String()})
	}
	if a.finish == "tool_calls" && len(a.calls) == 0 {
		return nil, errors.New("finish_reason is tool_calls, but there is no tool call")
	}
	return r, nil
}

func usageOf(u openai.CompletionUsage) Usage {
	usage := Usage{
		Reported:   true,
		Prompt:     u.PromptTokens,
		Completion: u.CompletionTokens,
		Total:      u.TotalTokens,
		Cached:     u.PromptTokensDetails.CachedTokens,
	}
	if min(usage.Prompt, usage.Completion, usage.Total, usage.Cached) < 0 {
		return Usage{} // a budget must not grow by what a broken endpoint says
	}
	usage.Total = max(usage.Total, usage.Prompt+usage.Completion)
	return usage
}

// wrongType reports whether a field is there with a value its type cannot hold. The SDK leaves such a field zero and goes
// on, which would make a damaged answer look like a short one.
func wrongType(f respjson.Field) bool {
	return !f.Valid() && f.Raw() != "" && f.Raw() != "null"
}
