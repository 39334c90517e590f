package agent_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/deep-sandbox/deep/core/agent"
	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/backend/backendtest"
	"github.com/deep-sandbox/deep/core/internal/replay"
)

func TestMain(m *testing.M) {
	if path := os.Getenv(childVar); path != "" {
		runToBeKilled(path)
	}
	goleak.VerifyTestMain(m)
}

// play starts a strict endpoint that plays steps, and fails the test if the run
// goes another way.
func play(t *testing.T, steps ...replay.Step) agent.Model {
	t.Helper()
	for _, s := range steps {
		s.Reply.FinishReason = "stop"
		if len(s.Reply.ToolCalls) > 0 {
			s.Reply.FinishReason = "tool_calls"
		}
	}
	server, err := replay.Start(&replay.Recording{Name: t.Name(), Steps: steps})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Err(); err != nil {
			t.Error(err)
		}
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	return agent.Model{Name: "recorded", BaseURL: server.BaseURL(), APIKey: server.APIKey(), MaxTries: 1}
}

// A step is made as a sentence: after("x").calls(…), says("…").
func says(text string) replay.Step { return replay.Step{Reply: &replay.Reply{Content: text}} }

func calls(c ...replay.ToolCall) replay.Step {
	return replay.Step{Reply: &replay.Reply{ToolCalls: c}}
}

// after makes a step that wants results which contain these texts, in the order of
// the calls.
func after(step replay.Step, results ...string) replay.Step {
	for _, r := range results {
		step.Expect.Results = append(step.Expect.Results, replay.ResultMatch{Match: replay.Match{Contains: &r}})
	}
	return step
}

func call(tool string, kv ...any) replay.ToolCall {
	args := map[string]any{}
	for i := 0; i < len(kv); i += 2 {
		args[kv[i].(string)] = kv[i+1]
	}
	b, err := json.Marshal(args)
	if err != nil {
		panic(err)
	}
	return replay.ToolCall{Name: tool, Arguments: string(b)}
}

func sh(command string) replay.ToolCall { return call("execute", "command", command) }

// newSandbox makes one in memory.
func newSandbox(t *testing.T) backend.Sandbox {
	t.Helper()
	sb, err := backendtest.NewFake().Create(t.Context(), &backend.CreateRequest{ID: backend.NewID(), Spec: backend.Spec{Ephemeral: true}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sb.Close() })
	return sb
}

func in(sb backend.Sandbox) func(context.Context) (backend.Sandbox, error) {
	return func(context.Context) (backend.Sandbox, error) { return sb, nil }
}

// watched counts what runs in a sandbox, and lets a test stand in the way.
type watched struct {
	backend.Sandbox
	mu       sync.Mutex
	commands []string
	onExec   func(ctx context.Context, command string) error
}

func (w *watched) Exec(ctx context.Context, req *backend.ExecRequest) (*backend.ExecResult, error) {
	w.mu.Lock()
	w.commands = append(w.commands, req.Shell)
	w.mu.Unlock()
	if w.onExec != nil {
		if err := w.onExec(ctx, req.Shell); err != nil {
			return nil, err
		}
	}
	return w.Sandbox.Exec(ctx, req)
}

func (w *watched) ran() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(w.commands, "; ")
}

func newAgent(t *testing.T, config agent.Config) *agent.Agent {
	t.Helper()
	if config.Sandbox == nil {
		config.Sandbox = in(newSandbox(t))
	}
	a, err := agent.New(config)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// ended fails unless a run ended so, and its transcript is one that a strict
// endpoint takes.
func ended(t *testing.T, res *agent.Result, err error, want agent.Status) {
	t.Helper()
	if res.Status != want || res.State.Status != want {
		t.Fatalf("status %s (stored %s), reason %q, error %v; want %s", res.Status, res.State.Status, res.Reason, err, want)
	}
	if failed := want == agent.StatusFailed || want == agent.StatusCancelled; failed != (err != nil) || !errors.Is(err, res.Err) {
		t.Errorf("status %s with error %v, and Err %v", want, err, res.Err)
	}
	if (res.Reason == "") != (want == agent.StatusCompleted) {
		t.Errorf("status %s for the reason %q", want, res.Reason)
	}
	if want != agent.StatusWaiting && len(res.State.Open) > 0 {
		t.Errorf("it ended with open calls: %+v", res.State.Open)
	}
	var open []string
	for i, m := range res.State.Messages {
		if m.Role == agent.RoleTool {
			if len(open) == 0 || open[0] != m.ToolCallID {
				t.Errorf("message %d answers %s; the calls without an answer are %v", i, m.ToolCallID, open)
				return
			}
			open = open[1:]
			continue
		}
		if len(open) > 0 {
			t.Errorf("message %d comes before the answers to %v", i, open)
		}
		for _, c := range m.ToolCalls {
			open = append(open, c.ID)
		}
	}
	if len(open) > 0 && want != agent.StatusWaiting {
		t.Errorf("the transcript ends without an answer to %v", open)
	}
}

// stored returns a state as another process reads it.
func stored(t *testing.T, s *agent.State) *agent.State {
	t.Helper()
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var again agent.State
	if err := json.Unmarshal(b, &again); err != nil {
		t.Fatal(err)
	}
	return &again
}

// answers returns what the tools said, in order.
func answers(s *agent.State) []string {
	var texts []string
	for _, m := range s.Messages {
		if m.Role == agent.RoleTool {
			texts = append(texts, m.Content)
		}
	}
	return texts
}

// A log keeps events.
type eventLog struct{ events []agent.Event }

func (l *eventLog) add(e agent.Event) { l.events = append(l.events, e) }

func (l *eventLog) types() string {
	var types []string
	for _, e := range l.events {
		types = append(types, string(e.Type))
	}
	return strings.Join(types, " ")
}

// endpoint answers requests by hand, one handler a request; the last one repeats.
type endpoint struct {
	mu       sync.Mutex
	handlers []http.HandlerFunc
	bodies   []string
}

func newEndpoint(t *testing.T, handlers ...http.HandlerFunc) (agent.Model, *endpoint) {
	t.Helper()
	e := &endpoint{handlers: handlers}
	server := httptest.NewServer(e)
	t.Cleanup(server.Close)
	return agent.Model{Name: "m", BaseURL: server.URL + "/v1", APIKey: "sk-secret-0123456789", MaxTries: 1}, e
}

func (e *endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	e.mu.Lock()
	h := e.handlers[min(len(e.bodies), len(e.handlers)-1)]
	e.bodies = append(e.bodies, string(body))
	e.mu.Unlock()
	h(w, r)
}

// stream answers with chunks.
func stream(chunks ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for _, c := range chunks {
			fmt.Fprintf(w, "data: %s\n\n", c)
			w.(http.Flusher).Flush()
		}
	}
}

func textChunk(text string) string {
	return fmt.Sprintf(`{"choices":[{"index":0,"delta":{"content":%q}}]}`, text)
}

func callChunk(id, tool, arguments string) string {
	return fmt.Sprintf(`{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":%q,"type":"function","function":{"name":%q,"arguments":%q}}]}}]}`, id, tool, arguments)
}

func finishChunk(reason string) string {
	return fmt.Sprintf(`{"choices":[{"index":0,"delta":{},"finish_reason":%q}]}`, reason)
}

func usageChunk(total int) string {
	return fmt.Sprintf(`{"choices":[],"usage":{"prompt_tokens":%d,"completion_tokens":0,"total_tokens":%[1]d}}`, total)
}

const done = "[DONE]"
