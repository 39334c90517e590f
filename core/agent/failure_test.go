package agent_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/deep-sandbox/deep/core/agent"
	"github.com/deep-sandbox/deep/core/backend"
)

func status(code int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After-Ms", "1")
		w.WriteHeader(code)
		_, _ = w.Write([]byte(body))
	}
}

// firstCall is a turn that leaves something in the transcript.
var firstCall = stream(callChunk("a", "read_todos", "{}"), finishChunk("tool_calls"), done)

// TestModelFails: the run ends with the reason and the remedy; what was done is
// kept, the key is not.
func TestModelFails(t *testing.T) {
	for what, c := range map[string]struct {
		answer http.HandlerFunc
		kind   error
	}{
		"wrong key":          {status(401, `{"error":{"message":"bad key sk-secret-0123456789"}}`), agent.ErrAuth},
		"no such model":      {status(404, `{"error":{"message":"no m","code":"model_not_found"}}`), agent.ErrModelNotFound},
		"refused":            {status(400, `{"error":{"message":"no"}}`), agent.ErrBadRequest},
		"down":               {status(503, "busy"), agent.ErrServer},
		"rate":               {status(429, "slow down"), agent.ErrRateLimited},
		"no stream":          {status(200, "<html>"), agent.ErrNoEndpoint},
		"not JSON":           {stream(`{"choices":`), agent.ErrMalformed},
		"no end":             {stream(textChunk("half")), agent.ErrMalformed},
		"half a call":        {stream(callChunk("b", "", "{"), finishChunk("tool_calls"), done), agent.ErrMalformed},
		"connection breaks":  {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, agent.ErrUnreachable},
		"error in a stream":  {stream(`{"error":{"message":"overloaded"}}`), agent.ErrServer},
		"not what was asked": {stream(`{"choices":[{"index":1,"delta":{"content":"x"}}]}`), agent.ErrMalformed},
	} {
		t.Run(what, func(t *testing.T) {
			model, _ := newEndpoint(t, firstCall, c.answer)
			res, err := newAgent(t, agent.Config{Model: model}).Run(t.Context(), "x")
			ended(t, res, err, agent.StatusFailed)
			var failure *agent.ModelError
			if !errors.Is(err, c.kind) || !errors.As(err, &failure) || failure.Remedy == "" || res.Reason != err.Error() {
				t.Errorf("error %v, reason %q; want %v", err, res.Reason, c.kind)
			}
			if len(answers(res.State)) != 1 || res.Turns != 1 {
				t.Errorf("%d turns, transcript %+v", res.Turns, res.State.Messages)
			}
			b, _ := json.Marshal(res.State)
			if strings.Contains(string(b)+res.Reason, "sk-secret") {
				t.Errorf("the API key is in %s", b)
			}
		})
	}
}

// TestModelComesBack: a failed run goes on from where it was.
func TestModelComesBack(t *testing.T) {
	model, _ := newEndpoint(t, firstCall, status(500, ""), stream(textChunk("done"), finishChunk("stop"), done))
	a := newAgent(t, agent.Config{Model: model})
	res, err := a.Run(t.Context(), "x")
	ended(t, res, err, agent.StatusFailed)
	res, err = a.Resume(t.Context(), stored(t, res.State))
	ended(t, res, err, agent.StatusCompleted)
	if res.Output != "done" || res.Turns != 2 || res.Reason != "" {
		t.Errorf("result %+v", res)
	}
}

func TestRetry(t *testing.T) {
	var log eventLog
	model, e := newEndpoint(t, status(503, "busy"), status(429, "slow"), stream(textChunk("done"), finishChunk("stop"), done))
	model.MaxTries = 3
	res, err := newAgent(t, agent.Config{Model: model, Events: log.add}).Run(t.Context(), "x")
	ended(t, res, err, agent.StatusCompleted)
	if got, want := log.types(), "turn retry retry text message end"; got != want || len(e.bodies) != 3 {
		t.Errorf("events %s, want %s; %d requests", got, want, len(e.bodies))
	}
	if r := log.events[2]; r.Retry == nil || *r.Retry != (agent.Retry{Try: 2, MaxTries: 3, WaitMS: 1}) || !strings.Contains(r.Text, "slow") {
		t.Errorf("event %+v, %+v", r, r.Retry)
	}
}

// TestCutShort: what came of an answer is kept, but no call of it is run: nobody
// knows how it would have gone on.
func TestCutShort(t *testing.T) {
	for reason, kind := range map[string]error{"length": agent.ErrLength, "content_filter": agent.ErrFiltered} {
		sb := &watched{Sandbox: newSandbox(t)}
		model, _ := newEndpoint(t,
			stream(textChunk("I will remove "), callChunk("a", "execute", `{"command":"rm -rf /tmp"}`), finishChunk(reason), usageChunk(70), done),
			stream(textChunk("done"), finishChunk("stop"), done))
		a := newAgent(t, agent.Config{Model: model, Sandbox: in(sb), ApprovedTools: []string{"execute"}})
		res, err := a.Run(t.Context(), "x")
		ended(t, res, err, agent.StatusFailed)
		if !errors.Is(err, kind) || res.Output != "I will remove " || sb.ran() != "" || res.Usage.Total != 70 || res.Turns != 1 {
			t.Errorf("error %v, result %+v, it ran %q", err, res, sb.ran())
		}
		res, err = a.Resume(t.Context(), stored(t, res.State))
		ended(t, res, err, agent.StatusCompleted)
	}
}

// TestSameIDs: some servers count the calls of each answer from zero. A call is
// told from those of before, for decisions and for strict endpoints.
func TestSameIDs(t *testing.T) {
	model, e := newEndpoint(t,
		stream(callChunk("call_0", "ls", "{}"), finishChunk("tool_calls"), done),
		stream(callChunk("call_0", "execute", `{"command":"echo two"}`), finishChunk("tool_calls"), done),
		stream(textChunk("done"), finishChunk("stop"), done))
	a := newAgent(t, agent.Config{Model: model})
	res, err := a.Run(t.Context(), "x")
	ended(t, res, err, agent.StatusWaiting)
	id := res.Pending[0].ID
	if id == "call_0" || id == "" {
		t.Errorf("the second call has the id %q", id)
	}
	if err := res.State.Decide([]agent.Decision{{CallID: id, Approve: true}}); err != nil {
		t.Fatal(err)
	}
	res, err = a.Resume(t.Context(), stored(t, res.State))
	ended(t, res, err, agent.StatusCompleted)
	if n := strings.Count(e.bodies[2], `"`+id+`"`); n != 2 {
		t.Errorf("the id stands %d times in %s", n, e.bodies[2])
	}
}

// TestCancelled: everything stops, and the run can be gone on with.
func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	sb := &watched{Sandbox: newSandbox(t)}
	sb.onExec = func(context.Context, string) error { cancel(); return nil }
	a := newAgent(t, agent.Config{
		Model: play(t,
			calls(sh("sleep 1000"), sh("echo two"), call("ls")),
			after(says("done"), "Interrupted: ", "Not run: ", "Not run: ")),
		Sandbox: in(sb), ApprovedTools: []string{"execute"},
	})
	res, err := a.Run(ctx, "x")
	ended(t, res, err, agent.StatusCancelled)
	if !errors.Is(err, context.Canceled) || res.Reason != "the run was interrupted" || sb.ran() != "sleep 1000" {
		t.Errorf("error %v, reason %q, it ran %q", err, res.Reason, sb.ran())
	}
	sb.onExec = nil
	res, err = a.Resume(t.Context(), stored(t, res.State))
	ended(t, res, err, agent.StatusCompleted)
	if sb.ran() != "sleep 1000" {
		t.Errorf("gone on with, it ran %q", sb.ran())
	}
}

func TestCancelledWhileTheModelSpeaks(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	model, _ := newEndpoint(t, firstCall, func(w http.ResponseWriter, r *http.Request) {
		stream(textChunk("I begin "))(w, r)
		<-r.Context().Done()
	})
	a := newAgent(t, agent.Config{Model: model, Events: func(e agent.Event) {
		if e.Type == agent.EventText {
			cancel()
		}
	}})
	res, err := a.Run(ctx, "x")
	ended(t, res, err, agent.StatusCancelled)
	if !errors.Is(err, context.Canceled) || res.Turns != 1 {
		t.Errorf("error %v, %d turns", err, res.Turns)
	}
}

func TestDeadline(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	model, _ := newEndpoint(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	res, err := newAgent(t, agent.Config{Model: model}).Run(ctx, "x")
	ended(t, res, err, agent.StatusCancelled)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
}

// TestNoSandbox: a sandbox that cannot be had ends the run with its own error.
func TestNoSandbox(t *testing.T) {
	broken := &backend.Error{Kind: backend.ErrUnavailable, Backend: "docker", Message: "no engine", Hint: "start it"}
	a := newAgent(t, agent.Config{
		Model:   play(t, calls(call("ls"), call("write_file", "path", "f", "content", "")), after(says("done"), "Not run: there is no sandbox", "Not run: the run ended")),
		Sandbox: func(context.Context) (backend.Sandbox, error) { return nil, broken },
	})
	res, err := a.Run(t.Context(), "x")
	ended(t, res, err, agent.StatusFailed)
	if !errors.Is(err, broken) || !strings.Contains(res.Reason, "no engine — start it") || backend.HintOf(err) != "start it" {
		t.Errorf("error %v, reason %q", err, res.Reason)
	}
	res, err = a.Resume(t.Context(), stored(t, res.State))
	ended(t, res, err, agent.StatusCompleted)
}

// TestSandboxGoes: one that ends under a call ends the run; it is never replaced
// by a fresh one.
func TestSandboxGoes(t *testing.T) {
	sb := &watched{Sandbox: newSandbox(t)}
	sb.onExec = func(context.Context, string) error { return sb.Close() }
	made := 0
	a := newAgent(t, agent.Config{
		Model:   play(t, calls(sh("echo one"), sh("echo two")), says("")),
		Sandbox: func(context.Context) (backend.Sandbox, error) { made++; return sb, nil }, ApprovedTools: []string{"execute"},
	})
	res, err := a.Run(t.Context(), "x")
	ended(t, res, err, agent.StatusFailed)
	if got := answers(res.State); made != 1 || len(got) != 2 || !strings.HasPrefix(got[0], "Interrupted: ") || !strings.HasPrefix(got[1], "Not run: ") {
		t.Errorf("%d sandboxes, answers %q, error %v", made, got, err)
	}
}
