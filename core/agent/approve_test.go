package agent_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/deep-sandbox/deep/core/agent"
	"github.com/deep-sandbox/deep/core/backend"
)

// TestApprove: all calls of a turn that need it are asked about at once; what is
// approved runs as it was shown, what is denied does not.
func TestApprove(t *testing.T) {
	sb := &watched{Sandbox: newSandbox(t)}
	var asked [][]agent.Call
	a := newAgent(t, agent.Config{
		Model: play(t,
			calls(sh("echo one"), call("ls"), sh("echo two"), sh("echo three")),
			after(says("done"), "one\n", "The directory is empty.", "Denied by the user: too dangerous", "Denied by the user. This is final")),
		Sandbox: in(sb),
		Approve: func(_ context.Context, calls []agent.Call) ([]agent.Decision, error) {
			asked = append(asked, calls)
			return []agent.Decision{
				{CallID: calls[1].ID, Reason: "too dangerous"}, {CallID: calls[2].ID}, {CallID: calls[0].ID, Approve: true},
			}, nil
		},
	})
	res, err := a.Run(t.Context(), "x")
	ended(t, res, err, agent.StatusCompleted)
	if len(asked) != 1 || len(asked[0]) != 3 || asked[0][1].Tool != "execute" || asked[0][1].Arguments != `{"command":"echo two"}` {
		t.Errorf("asked about %+v", asked)
	}
	if got := sb.ran(); got != "echo one" {
		t.Errorf("it ran %q", got)
	}
	if res.ToolCalls != 4 {
		t.Errorf("%d calls were answered", res.ToolCalls)
	}
}

// TestAskByDefault: what runs commands asks, each by its own name.
func TestAskByDefault(t *testing.T) {
	a := newAgent(t, agent.Config{
		Model:         play(t, calls(sh("echo one"), call("execute_background", "command", "sleep 1000"), call("read_output", "id", "cmd-1"))),
		ApprovedTools: []string{"execute"},
	})
	res, err := a.Run(t.Context(), "x")
	ended(t, res, err, agent.StatusWaiting)
	if len(res.Pending) != 1 || res.Pending[0].Tool != "execute_background" {
		t.Errorf("pending %+v", res.Pending)
	}
}

// TestAskTools: which tools ask is the caller's choice, none of them included.
func TestAskTools(t *testing.T) {
	a := newAgent(t, agent.Config{
		Model:    play(t, calls(sh("echo one")), after(calls(call("write_file", "path", "f", "content", "")), "one"), says("")),
		AskTools: []string{"write_file"},
	})
	res, err := a.Run(t.Context(), "x")
	ended(t, res, err, agent.StatusWaiting)
	if len(res.Pending) != 1 || res.Pending[0].Tool != "write_file" {
		t.Errorf("pending %+v", res.Pending)
	}
	a = newAgent(t, agent.Config{Model: play(t, calls(sh("echo one")), says("done")), AskTools: []string{}})
	res, err = a.Run(t.Context(), "x")
	ended(t, res, err, agent.StatusCompleted)
}

// TestWaiting: with nobody to ask a run waits; other processes decide, in part or
// in whole, and go on, for as many rounds as it takes.
func TestWaiting(t *testing.T) {
	config := agent.Config{
		Model: play(t,
			calls(call("write_file", "path", "f", "content", "x\n"), sh("echo one"), call("read_file", "path", "f"), sh("echo two")),
			after(calls(sh("echo three")), "Wrote 1 line to f", "one\n", "\tx\n", "Denied by the user: not that"),
			after(says("done"), "three\n")),
		Sandbox: in(nil),
	}
	sb := &watched{Sandbox: newSandbox(t)}
	config.Sandbox = in(sb)

	res, err := newAgent(t, config).Run(t.Context(), "x")
	ended(t, res, err, agent.StatusWaiting)
	if ids := pending(res.State); ids != "call_1_2 call_1_4" || len(res.Pending) != 2 {
		t.Errorf("pending %s, %+v", ids, res.Pending)
	}
	// What comes before the first that needs approval has run, so that who decides
	// can look at it; nothing after it has.
	if _, err := sb.Stat(t.Context(), &backend.StatRequest{Path: "f"}); err != nil {
		t.Errorf("the file to look at: %v", err)
	}

	state := stored(t, res.State)
	if err := state.Decide([]agent.Decision{{CallID: "call_1_2", Approve: true}}); err != nil {
		t.Fatal(err)
	}
	res, err = newAgent(t, config).Resume(t.Context(), state)
	ended(t, res, err, agent.StatusWaiting)
	if ids := pending(res.State); ids != "call_1_4" || sb.ran() != "" {
		t.Errorf("after half the decisions: pending %s, it ran %q", ids, sb.ran())
	}

	state = stored(t, res.State)
	if err := state.Decide([]agent.Decision{{CallID: "call_1_4", Reason: "not that"}}); err != nil {
		t.Fatal(err)
	}
	res, err = newAgent(t, config).Resume(t.Context(), state)
	ended(t, res, err, agent.StatusWaiting)
	if ids := pending(res.State); ids != "call_2_1" || sb.ran() != "echo one" {
		t.Errorf("in the second round: pending %s, it ran %q", ids, sb.ran())
	}

	state = stored(t, res.State)
	if err := state.Decide([]agent.Decision{{CallID: "call_2_1", Approve: true}}); err != nil {
		t.Fatal(err)
	}
	res, err = newAgent(t, config).Resume(t.Context(), state)
	ended(t, res, err, agent.StatusCompleted)
	if res.Output != "done" || res.Turns != 3 || res.ToolCalls != 5 || sb.ran() != "echo one; echo three" {
		t.Errorf("result %+v, it ran %q", res, sb.ran())
	}
}

func pending(s *agent.State) string {
	var ids []string
	for _, c := range s.Pending() {
		ids = append(ids, c.ID)
	}
	return strings.Join(ids, " ")
}

// TestWaitingIsNotChangedByLooking: resuming without a decision waits again, and a
// state is not changed by who goes on from it.
func TestWaitingIsNotChangedByLooking(t *testing.T) {
	config := agent.Config{Model: play(t, calls(sh("echo one")), says("done")), Sandbox: in(newSandbox(t))}
	res, err := newAgent(t, config).Run(t.Context(), "x")
	ended(t, res, err, agent.StatusWaiting)
	state := res.State
	again, err := newAgent(t, config).Resume(t.Context(), state)
	ended(t, again, err, agent.StatusWaiting)
	if again.Turns != 1 || pending(again.State) != "call_1_1" {
		t.Errorf("result %+v", again)
	}

	config.ApprovedTools = []string{"execute"} // approved ahead, now
	again, err = newAgent(t, config).Resume(t.Context(), state)
	ended(t, again, err, agent.StatusCompleted)
	if state.Status != agent.StatusWaiting || pending(state) != "call_1_1" || len(state.Messages) != 3 {
		t.Errorf("the state that was gone on from is now %+v", state)
	}
}

// TestStricterOnResume: the rules of who goes on count, not those of before.
func TestStricterOnResume(t *testing.T) {
	config := agent.Config{Model: play(t, calls(sh("echo one"), call("write_file", "path", "f", "content", "x")), says("done")), Sandbox: in(newSandbox(t))}
	res, err := newAgent(t, config).Run(t.Context(), "x")
	ended(t, res, err, agent.StatusWaiting)
	if err := res.State.Decide([]agent.Decision{{CallID: "call_1_1", Approve: true}}); err != nil {
		t.Fatal(err)
	}
	config.AskTools = []string{"execute", "write_file"}
	res, err = newAgent(t, config).Resume(t.Context(), res.State)
	ended(t, res, err, agent.StatusWaiting)
	if ids := pending(res.State); ids != "call_1_2" {
		t.Errorf("pending %s", ids)
	}
}

func TestDecide(t *testing.T) {
	a := newAgent(t, agent.Config{Model: play(t, calls(sh("echo one"), call("ls"), sh("echo two")), says(""))})
	res, err := a.Run(t.Context(), "x")
	ended(t, res, err, agent.StatusWaiting)
	s := res.State
	approve := func(ids ...string) error {
		var d []agent.Decision
		for _, id := range ids {
			d = append(d, agent.Decision{CallID: id, Approve: true})
		}
		return s.Decide(d)
	}
	for _, c := range []struct {
		ids  []string
		kind error
	}{
		{[]string{"call_9"}, backend.ErrNotFound},
		{[]string{"call_1_2"}, backend.ErrNotFound}, // needs none
		{[]string{"call_1_1", "call_9"}, backend.ErrNotFound},
		{[]string{"call_1_1", "call_1_1"}, backend.ErrConflict},
	} {
		err := approve(c.ids...)
		if !errors.Is(err, c.kind) {
			t.Errorf("%v: %v, want %v", c.ids, err, c.kind)
		}
		if errors.Is(err, backend.ErrNotFound) && !strings.Contains(err.Error(), "these wait: call_1_1, call_1_3") {
			t.Errorf("%v: %q does not say which wait", c.ids, err)
		}
	}
	if ids := pending(s); ids != "call_1_1 call_1_3" {
		t.Errorf("a refused decision was kept: pending %s", ids)
	}
	if err := approve("call_1_1"); err != nil {
		t.Fatal(err)
	}
	if err := approve("call_1_1"); !errors.Is(err, backend.ErrNotFound) || !strings.Contains(err.Error(), "these wait: call_1_3") {
		t.Errorf("a second decision: %v", err)
	}
	if err := approve("call_1_3"); err != nil {
		t.Fatal(err)
	}
	if err := approve("call_1_3"); !errors.Is(err, backend.ErrNotFound) || !strings.Contains(err.Error(), "no call waits") {
		t.Errorf("with none waiting: %v", err)
	}
}

// TestApproverFails: no answer is no approval.
func TestApproverFails(t *testing.T) {
	sb := &watched{Sandbox: newSandbox(t)}
	broken := errors.New("the terminal is gone")
	a := newAgent(t, agent.Config{
		Model:   play(t, calls(sh("echo one")), after(says(""), "Not run")),
		Sandbox: in(sb),
		Approve: func(context.Context, []agent.Call) ([]agent.Decision, error) { return nil, broken },
	})
	res, err := a.Run(t.Context(), "x")
	ended(t, res, err, agent.StatusFailed)
	if !errors.Is(err, broken) || sb.ran() != "" {
		t.Errorf("error %v, it ran %q", err, sb.ran())
	}

	ctx, cancel := context.WithCancel(t.Context())
	a = newAgent(t, agent.Config{
		Model:   play(t, calls(sh("echo one")), after(says("on"), "Not run: the run ended before its turn came.")),
		Sandbox: in(sb),
		Approve: func(_ context.Context, calls []agent.Call) ([]agent.Decision, error) {
			cancel()
			return []agent.Decision{{CallID: calls[0].ID, Approve: true}}, nil
		},
	})
	res, err = a.Run(ctx, "x")
	ended(t, res, err, agent.StatusCancelled)
	if sb.ran() != "" {
		t.Errorf("a cancelled run ran %q", sb.ran())
	}
	// The decision is not kept for later, when nobody thinks of it any more.
	res, err = a.Resume(t.Context(), stored(t, res.State))
	ended(t, res, err, agent.StatusCompleted)
	if sb.ran() != "" || res.Output != "on" {
		t.Errorf("gone on with, it ran %q and says %q", sb.ran(), res.Output)
	}
}

// TestPartialApprover: an approver may leave calls undecided.
func TestPartialApprover(t *testing.T) {
	a := newAgent(t, agent.Config{
		Model: play(t, calls(sh("echo one"), sh("echo two")), says("done")),
		Approve: func(_ context.Context, calls []agent.Call) ([]agent.Decision, error) {
			return []agent.Decision{{CallID: calls[0].ID, Approve: true}}, nil
		},
	})
	res, err := a.Run(t.Context(), "x")
	ended(t, res, err, agent.StatusWaiting)
	if ids := pending(res.State); ids != "call_1_2" {
		t.Errorf("pending %s", ids)
	}
}
