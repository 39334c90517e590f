package llm

import (
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestAnswerIsPutTogether(t *testing.T) {
	t.Parallel()
	e := newEndpoint(t, events(
		`{"model":"m-2026","choices":[{"index":0,"delta":{"role":"assistant","content":""}}],"usage":null}`,
		contentChunk("Let me "), contentChunk("look: ü"),
		// Two calls, their pieces interleaved, the second begun first.
		callChunk(1, "call_b", "ls", ""), callChunk(0, "call_a", "read_file", `{"pa`),
		callChunk(1, "", "", `{"path":`), callChunk(0, "", "", `th":"a"}`), callChunk(1, "", "", `"."}`),
		finishChunk("tool_calls"),
		`{"choices":[],"usage":{"prompt_tokens":11,"completion_tokens":7,"total_tokens":18,"prompt_tokens_details":{"cached_tokens":5}}}`,
		done))

	var content string
	arguments := map[int]string{}
	resp, err := e.client(t).Complete(t.Context(), hello, func(d Delta) {
		content += d.Content
		if d.ToolCall != nil {
			arguments[d.ToolCall.Index] += d.ToolCall.Arguments
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	want := &Response{
		Message: Message{Role: RoleAssistant, Content: "Let me look: ü", ToolCalls: []ToolCall{
			{ID: "call_a", Name: "read_file", Arguments: `{"path":"a"}`},
			{ID: "call_b", Name: "ls", Arguments: `{"path":"."}`},
		}},
		Model:        "m-2026",
		FinishReason: "tool_calls",
		Usage:        Usage{Reported: true, Prompt: 11, Completion: 7, Total: 18, Cached: 5},
	}
	if !reflect.DeepEqual(resp, want) {
		t.Errorf("got  %+v\nwant %+v", resp, want)
	}
	if content != want.Message.Content {
		t.Errorf("deltas give %q", content)
	}
	if !reflect.DeepEqual(arguments, map[int]string{0: `{"path":"."}`, 1: `{"path":"a"}`}) {
		t.Errorf("deltas give arguments %v", arguments)
	}

	stored, err := json.Marshal(resp)
	if err != nil {
		t.Fatal(err)
	}
	var again Response
	if err := json.Unmarshal(stored, &again); err != nil || !reflect.DeepEqual(&again, want) {
		t.Errorf("stored and read back (%v): %+v", err, again)
	}
}

func TestHabitsOfOtherServers(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		stream []string
		calls  []ToolCall // ID "*" stands for any
		finish string
	}{
		"every call has index 0": {
			[]string{callChunk(0, "a", "ls", "{}"), callChunk(0, "b", "ls", `{"x":1}`), finishChunk("tool_calls"), done},
			[]ToolCall{{"a", "ls", "{}"}, {"b", "ls", `{"x":1}`}}, "tool_calls"},
		"id and name with every piece": {
			[]string{callChunk(0, "a", "ls", "{"), callChunk(0, "a", "ls", "}"), finishChunk("tool_calls"), done},
			[]ToolCall{{"a", "ls", "{}"}}, "tool_calls"},
		"no ids": {
			[]string{callChunk(0, "", "ls", "{}"), callChunk(1, "", "ls", "{}"), finishChunk("tool_calls"), done},
			[]ToolCall{{"*", "ls", "{}"}, {"*", "ls", "{}"}}, "tool_calls"},
		"calls, and yet stop": {
			[]string{callChunk(0, "a", "ls", "{}"), finishChunk("stop"), done}, []ToolCall{{"a", "ls", "{}"}}, "stop"},
		"no [DONE], comments, own finish reason": {
			[]string{"{\"choices\":[]}\n\n: keep-alive", contentChunk("x"), finishChunk("eos")}, nil, "eos"},
		"usage that would refund tokens": {
			[]string{contentChunk("x"), finishChunk("stop"), `{"choices":[],"usage":{"prompt_tokens":-5,"completion_tokens":1,"total_tokens":-4}}`, done},
			nil, "stop"},
	} {
		t.Run(name, func(t *testing.T) {
			resp, err := newEndpoint(t, events(tc.stream...)).client(t).Complete(t.Context(), hello, nil)
			if err != nil {
				t.Fatal(err)
			}
			got := resp.Message.ToolCalls
			seen := map[string]bool{}
			for i := range got {
				if got[i].ID == "" || seen[got[i].ID] {
					t.Errorf("id %q is empty or repeated", got[i].ID)
				}
				seen[got[i].ID] = true
				if i < len(tc.calls) && tc.calls[i].ID == "*" {
					got[i].ID = "*"
				}
			}
			if !reflect.DeepEqual(got, tc.calls) || resp.FinishReason != tc.finish {
				t.Errorf("got %+v, %s", got, resp.FinishReason)
			}
			if resp.Usage != (Usage{}) {
				t.Errorf("usage made up: %+v", resp.Usage)
			}
		})
	}
}

func TestAnswerCutShortComesWithItsError(t *testing.T) {
	t.Parallel()
	for reason, kind := range map[string]error{"length": ErrLength, "content_filter": ErrFiltered} {
		e := newEndpoint(t, events(contentChunk("half an ans"), finishChunk(reason), done))
		resp, err := e.client(t).Complete(t.Context(), hello, nil)
		if !errors.Is(err, kind) || e.count() != 1 {
			t.Errorf("%s: %v after %d requests", reason, err, e.count())
		}
		if resp == nil || resp.Message.Content != "half an ans" {
			t.Errorf("%s: the part before is lost: %+v", reason, resp)
		}
	}
}

func TestCancelInTheMiddleOfAnAnswer(t *testing.T) {
	t.Parallel()
	e := newEndpoint(t, hang(contentChunk("one"), contentChunk("two")))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, err := e.client(t).Complete(ctx, hello, func(Delta) { cancel() })
	if !errors.Is(err, context.Canceled) || e.count() != 1 {
		t.Errorf("%v after %d requests", err, e.count())
	}
	var failure *Error
	if errors.As(err, &failure) {
		t.Errorf("the caller's own cancel is blamed on the endpoint: %v", err)
	}
}

func TestSlowReaderIsNotASilentEndpoint(t *testing.T) {
	t.Parallel()
	e := newEndpoint(t, answer)
	c := e.client(t, func(c *Config) { c.IdleTimeout = time.Second })
	if _, err := c.Complete(t.Context(), hello, func(Delta) { time.Sleep(1200 * time.Millisecond) }); err != nil {
		t.Error(err)
	}
}

func TestLongAnswerWithinTheLimit(t *testing.T) {
	t.Parallel()
	piece := strings.Repeat("é", 512<<10)
	e := newEndpoint(t, events(contentChunk(piece), contentChunk(piece), contentChunk(piece), finishChunk("stop"), done))
	resp, err := e.client(t).Complete(t.Context(), hello, nil)
	if err != nil || resp.Message.Content != piece+piece+piece {
		t.Errorf("3 MiB answer: %v", err)
	}
}
