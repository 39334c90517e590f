package replay_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/deep-sandbox/deep/core/internal/llm"
	"github.com/deep-sandbox/deep/core/internal/replay"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// session is a recording being played, with the client that deep uses for real models.
type session struct {
	*replay.Server
	client  *llm.Client
	retries int
}

func play(t *testing.T, rec *replay.Recording) *session {
	t.Helper()
	server, err := replay.Start(rec)
	if err != nil {
		t.Fatal(err)
	}
	s := &session{Server: server}
	t.Cleanup(func() {
		s.client.Close()
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	s.client, err = llm.New(llm.Config{
		BaseURL: server.BaseURL(), APIKey: server.APIKey(), BackOff: time.Microsecond,
		OnRetry: func(llm.Retry) { s.retries++ },
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func load(t *testing.T, path string) *replay.Recording {
	t.Helper()
	rec, err := replay.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

// parse loads a recording from text.
func parse(t *testing.T, text string) *replay.Recording {
	t.Helper()
	path := filepath.Join(t.TempDir(), "test.json")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return load(t, path)
}

// turn asks the model and, if it calls tools, adds results by name to the conversation.
func (s *session) turn(ctx context.Context, conversation *[]llm.Message, results func(llm.ToolCall) string) (*llm.Response, error) {
	resp, err := s.client.Complete(ctx, llm.Request{Model: "replay", Messages: *conversation}, nil)
	if err != nil {
		return nil, err
	}
	*conversation = append(*conversation, resp.Message)
	for _, c := range resp.Message.ToolCalls {
		*conversation = append(*conversation, llm.Message{Role: llm.RoleTool, ToolCallID: c.ID, Content: results(c)})
	}
	return resp, nil
}

func task(text string) []llm.Message {
	return []llm.Message{{Role: llm.RoleSystem, Content: "be brief"}, {Role: llm.RoleUser, Content: text}}
}

// noteResults are the results testdata/notes.json expects.
func noteResults(c llm.ToolCall) string {
	switch {
	case c.Name == "ls":
		return "a.txt\nü <b>.txt\n"
	case strings.Contains(c.Arguments, "a.txt"):
		return "short\n"
	case c.Name == "read_file":
		return "longerer\n"
	}
	return "Wrote 1 lines to answer"
}

func TestConversation(t *testing.T) {
	t.Parallel()
	s := play(t, load(t, "testdata/notes.json"))
	conversation := task("Tell me which note is longer.")

	var contents, arguments []string
	first, err := s.client.Complete(t.Context(), llm.Request{Model: "any", Messages: conversation}, func(d llm.Delta) {
		if d.ToolCall == nil {
			contents = append(contents, d.Content)
		} else if d.ToolCall.Index == 1 {
			arguments = append(arguments, d.ToolCall.Arguments)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	want := &llm.Response{
		Message: llm.Message{Role: llm.RoleAssistant, Content: "I read both — at once.", ToolCalls: []llm.ToolCall{
			{ID: "call_1_1", Name: "read_file", Arguments: `{"path":"/workspace/a.txt"}`},
			{ID: "call_1_2", Name: "read_file", Arguments: `{"path":"/workspace/ü <b>.txt","limit":9007199254740993}`},
			{ID: "call_1_3", Name: "ls", Arguments: `{}`},
		}},
		Model: "any", FinishReason: "tool_calls",
		Usage: llm.Usage{Reported: true, Prompt: 120, Completion: 40, Total: 160, Cached: 64},
	}
	if !reflect.DeepEqual(first, want) {
		t.Fatalf("got  %+v\nwant %+v", first, want)
	}
	if len(contents) < 3 || len(arguments) < 3 {
		t.Errorf("too few pieces to try a client: %q, %q", contents, arguments)
	}

	again, err := s.client.Complete(t.Context(), llm.Request{Model: "any", Messages: conversation}, nil)
	if err != nil || !reflect.DeepEqual(again, first) {
		t.Errorf("the same request has another answer: %+v, %v", again, err)
	}

	if _, err := s.turn(t.Context(), &conversation, noteResults); err != nil {
		t.Fatal(err)
	}
	second, err := s.turn(t.Context(), &conversation, noteResults)
	if err != nil || s.retries != 2 {
		t.Fatalf("%v after %d retries", err, s.retries)
	}
	if u := second.Usage; !u.Reported || u.Prompt < 50 || u.Completion < 10 {
		t.Errorf("estimated usage is off: %+v", u)
	}
	third, err := s.turn(t.Context(), &conversation, noteResults)
	if err != nil || third.Message.Content != "The second note is longer." || third.FinishReason != "stop" {
		t.Fatalf("%+v, %v", third, err)
	}
	if err := s.Err(); err != nil {
		t.Error(err)
	}
}

func TestResumeFromAnotherProcess(t *testing.T) {
	t.Parallel()
	rec := load(t, "testdata/notes.json")
	conversation := task("Tell me which note is longer.")
	for step := range rec.Steps {
		stored, err := json.Marshal(conversation)
		if err != nil {
			t.Fatal(err)
		}
		conversation = nil
		if err := json.Unmarshal(stored, &conversation); err != nil {
			t.Fatal(err)
		}
		// A new server each time: it can only know from the request where the run stands.
		resp, err := play(t, rec).turn(t.Context(), &conversation, noteResults)
		if err != nil {
			t.Fatalf("step %d: %v", step+1, err)
		}
		if step == 2 && resp.Message.Content != "The second note is longer." {
			t.Errorf("ended with %+v", resp)
		}
	}
}

func TestResultsMayComeInAnyOrder(t *testing.T) {
	t.Parallel()
	s := play(t, load(t, "testdata/notes.json"))
	conversation := task("Tell me which note is longer.")
	if _, err := s.turn(t.Context(), &conversation, noteResults); err != nil {
		t.Fatal(err)
	}
	slices.Reverse(conversation[len(conversation)-3:])
	if _, err := s.turn(t.Context(), &conversation, noteResults); err != nil {
		t.Error(err)
	}
}

func TestFailureOnly(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		failure string
		kind    error
		retries int
		text    string
	}{
		"rate limit": {`{"status": 429, "body": {"error": {"message": "slow"}}}`, llm.ErrRateLimited, 3, "slow"},
		"key":        {`{"status": 401}`, llm.ErrAuth, 0, "recorded failure"},
		"model":      {`{"status": 404, "body": {"error": {"message": "?", "code": "model_not_found"}}}`, llm.ErrModelNotFound, 0, ""},
		"plain text": {`{"status": 502, "body": "bad gateway"}`, llm.ErrServer, 3, "bad gateway"},
	} {
		s := play(t, parse(t, `{"version": 1, "steps": [{"error": `+tc.failure+`}]}`))
		_, err := s.client.Complete(t.Context(), llm.Request{Model: "m", Messages: task("x")}, nil)
		if !errors.Is(err, tc.kind) || !strings.Contains(fmt.Sprint(err), tc.text) || s.retries != tc.retries {
			t.Errorf("%s: %v after %d retries", name, err, s.retries)
		}
		if s.Err() != nil {
			t.Errorf("%s: a failure is no mismatch: %v", name, s.Err())
		}
	}
}

func TestRetryAfterIsSent(t *testing.T) {
	t.Parallel()
	server := play(t, parse(t, `{"version": 1, "steps": [{"error": {"status": 429, "retry_after": 7}}]}`))
	resp := post(t, server.Server, `{"model":"m","messages":[{"role":"user","content":"x"}]}`)
	if resp.status != http.StatusTooManyRequests || resp.header.Get("Retry-After") != "7" {
		t.Errorf("%d %v", resp.status, resp.header)
	}
}

func TestModelThatErrs(t *testing.T) {
	t.Parallel()
	s := play(t, parse(t, `{"version": 1, "steps": [
		{"reply": {"tool_calls": [{"name": "ls", "arguments_text": "{\"path\": "}]}},
		{"reply": {"content": "half a wo", "finish_reason": "length"}}
	]}`))
	conversation := task("x")
	resp, err := s.turn(t.Context(), &conversation, func(llm.ToolCall) string { return "that is no JSON" })
	if err != nil || resp.Message.ToolCalls[0].Arguments != `{"path": ` {
		t.Fatalf("%+v, %v", resp, err)
	}
	if _, err := s.turn(t.Context(), &conversation, nil); !errors.Is(err, llm.ErrLength) {
		t.Errorf("%v", err)
	}
}
