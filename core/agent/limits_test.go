package agent_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/deep-sandbox/deep/core/agent"
	"github.com/deep-sandbox/deep/core/internal/replay"
)

// limited wants a run to end at a limit, and to go on from there with another.
func limited(t *testing.T, config agent.Config, reason string, more agent.Limits) *agent.Result {
	t.Helper()
	sb := newSandbox(t)
	config.Sandbox = in(sb)
	res, err := newAgent(t, config).Run(t.Context(), "x")
	ended(t, res, err, agent.StatusLimit)
	if res.Reason != reason {
		t.Errorf("reason %q, want %q", res.Reason, reason)
	}
	config.Limits = more
	on, err := newAgent(t, config).Resume(t.Context(), stored(t, res.State))
	ended(t, on, err, agent.StatusCompleted)
	return res
}

func TestTurnLimit(t *testing.T) {
	res := limited(t, agent.Config{
		Model:  play(t, calls(call("ls")), calls(call("ls")), calls(call("glob", "pattern", "*")), says("done")),
		Limits: agent.Limits{Turns: 3},
	}, "the limit of 3 turns was reached", agent.Limits{Turns: 4})
	if res.Turns != 3 || res.ToolCalls != 3 {
		t.Errorf("%d turns, %d calls", res.Turns, res.ToolCalls)
	}
}

// TestCallLimit: a turn that would go over it runs none of its calls, one that
// just reaches it runs.
func TestCallLimit(t *testing.T) {
	const reason = "the limit of 3 tool calls was reached"
	res := limited(t, agent.Config{
		Model: play(t,
			calls(call("ls"), call("ls", "path", "x")),
			calls(call("write_file", "path", "a", "content", ""), call("write_file", "path", "b", "content", "")),
			after(calls(call("glob", "pattern", "*")), "Not run: "+reason, "Not run: "+reason),
			after(says("done"), "No files match.")),
		Limits: agent.Limits{ToolCalls: 3},
	}, reason, agent.Limits{ToolCalls: 4})
	if res.Turns != 2 || res.ToolCalls != 2 {
		t.Errorf("%d turns, %d calls", res.Turns, res.ToolCalls)
	}
	a := newAgent(t, agent.Config{Model: play(t, calls(call("ls"), call("ls", "path", "x")), says("done")), Limits: agent.Limits{ToolCalls: 2}})
	res, err := a.Run(t.Context(), "x")
	ended(t, res, err, agent.StatusCompleted)
}

func TestTokenLimit(t *testing.T) {
	spent := func(s replay.Step, prompt, completion int64) replay.Step {
		s.Reply.Usage = &replay.Usage{Prompt: prompt, Completion: completion}
		return s
	}
	limited(t, agent.Config{
		Model:  play(t, spent(calls(call("ls")), 600, 20), spent(calls(call("ls")), 600, 30), says("done")),
		Limits: agent.Limits{Tokens: 1000},
	}, "the limit of 1000 tokens was reached: 1250 were used", agent.Limits{Tokens: 100_000})
}

// TestTokenLimitNeedsUsage: a budget that nobody counts is not a budget.
func TestTokenLimitNeedsUsage(t *testing.T) {
	step := func(id string, more ...string) http.HandlerFunc {
		return stream(append([]string{callChunk(id, "read_todos", "{}"), finishChunk("tool_calls")}, append(more, done)...)...)
	}
	last := stream(textChunk("done"), finishChunk("stop"), done)
	const reason = "the limit of 1000 tokens cannot be kept: the model's endpoint does not always report how many it used"
	for turns, handlers := range map[int][]http.HandlerFunc{
		1: {step("a"), last},
		2: {step("a", usageChunk(10)), step("b"), last},
	} {
		model, _ := newEndpoint(t, handlers...)
		res := limited(t, agent.Config{Model: model, Limits: agent.Limits{Tokens: 1000}}, reason, agent.Limits{})
		if res.Turns != turns || res.Usage.Reported {
			t.Errorf("after %d turns, usage %+v", res.Turns, res.Usage)
		}
	}
}

// TestRoundInCircles: the same call with the same answer, again and again.
func TestRoundInCircles(t *testing.T) {
	stuck := sh("make it work")
	res := limited(t, agent.Config{
		Model:         play(t, calls(stuck), calls(stuck), calls(stuck), calls(call("ls")), says("done")),
		ApprovedTools: []string{"execute"},
		Limits:        agent.Limits{Repeats: 3},
	}, "the model goes round in circles: it made the same call with the same answer 3 times in a row", agent.Limits{Repeats: 3})
	if res.Turns != 3 {
		t.Errorf("it ended after %d turns", res.Turns)
	}
}

// TestNoCircle: calls that differ, or whose answers do, are work.
func TestNoCircle(t *testing.T) {
	a := newAgent(t, agent.Config{
		Model: play(t,
			calls(sh("echo x >> f; cat f")), after(calls(sh("echo x >> f; cat f")), "x\n"), after(calls(sh("echo x >> f; cat f")), "x\nx\n"),
			calls(call("ls")), calls(call("ls", "path", ".")), calls(call("ls")), calls(call("ls", "path", ".")), says("done")),
		ApprovedTools: []string{"execute"},
		Limits:        agent.Limits{Repeats: 2},
	})
	res, err := a.Run(t.Context(), "x")
	ended(t, res, err, agent.StatusCompleted)
}

// TestNoLimits: a negative limit is none.
func TestNoLimits(t *testing.T) {
	var steps []replay.Step
	for range 60 {
		steps = append(steps, calls(call("read_todos"), call("read_todos"), call("read_todos"), call("read_todos")))
	}
	a := newAgent(t, agent.Config{
		Model:  play(t, append(steps, says("done"))...),
		Limits: agent.Limits{Turns: -1, ToolCalls: -1, Repeats: -1},
	})
	res, err := a.Run(t.Context(), "x")
	ended(t, res, err, agent.StatusCompleted)
	if res.ToolCalls != 240 {
		t.Errorf("%d calls", res.ToolCalls)
	}
}

// TestDefaultLimits: a model that never stops is stopped.
func TestDefaultLimits(t *testing.T) {
	model, e := newEndpoint(t, stream(callChunk("a", "read_todos", "{}"), finishChunk("tool_calls"), done))
	res, err := newAgent(t, agent.Config{Model: model}).Run(t.Context(), "x")
	ended(t, res, err, agent.StatusLimit)
	if !strings.Contains(res.Reason, "5 times in a row") || len(e.bodies) != 5 {
		t.Errorf("reason %q after %d requests", res.Reason, len(e.bodies))
	}
	res, err = newAgent(t, agent.Config{Model: model, Limits: agent.Limits{Repeats: -1}}).Run(t.Context(), "x")
	ended(t, res, err, agent.StatusLimit)
	if res.Reason != "the limit of 50 turns was reached" {
		t.Errorf("reason %q", res.Reason)
	}
}
