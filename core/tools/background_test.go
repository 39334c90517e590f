package tools_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/tools"
)

// startBackground starts a command and returns its id.
func (b *bench) startBackground(v any) string {
	b.t.Helper()
	a := b.call("execute_background", v)
	id, ok := strings.CutPrefix(a.Text, "Started ")
	id, _, found := strings.Cut(id, ".")
	if a.Failed || !ok || !found {
		b.t.Fatalf("failed %v: %s", a.Failed, a.Text)
	}
	if a.Exec == nil || a.Exec.ID != id {
		b.t.Errorf("Exec = %+v of %s", a.Exec, id)
	}
	return id
}

// readUntil reads until the answers together hold a text, and returns them.
func (b *bench) readUntil(id, text string) string {
	b.t.Helper()
	var all strings.Builder
	for deadline := time.Now().Add(time.Minute); !strings.Contains(all.String(), text); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.t.Fatalf("never read %q, but\n%s", text, all.String())
		}
		all.WriteString(b.call("read_output", m{"id": id}).Text)
	}
	return all.String()
}

func TestBackground(t *testing.T) {
	b := newBench(t)
	b.ok("execute_background", m{"command": "echo out; echo err >&2; exit 3"},
		"Started cmd-1. Use read_output with id=cmd-1 to see what it prints and how it ends, and kill to end it.\n")
	// Both streams, in the order they came; then only what is new.
	b.ok("read_output", m{"id": "cmd-1", "wait": 60}, "out\nerr\nCommand failed (exit code 3)\n")
	b.ok("read_output", m{"id": "cmd-1"}, "No new output; offset=0 reads from the beginning.\nCommand failed (exit code 3)\n")
	b.ok("read_output", m{"id": "cmd-1", "offset": -1}, "No new output; offset=0 reads from the beginning.\nCommand failed (exit code 3)\n")
	b.ok("read_output", m{"id": "cmd-1", "offset": 0}, "out\nerr\nCommand failed (exit code 3)\n")
	b.ok("read_output", m{"id": "cmd-1", "offset": 4}, "err\nCommand failed (exit code 3)\n")

	id := b.startBackground(m{"command": "true"})
	b.ok("read_output", m{"id": id, "wait": 60}, "No output.\nCommand succeeded.\n")
	id = b.startBackground(m{"command": "sleep 1000", "timeout": 1})
	b.ok("read_output", m{"id": id, "wait": 60},
		"No output.\nCommand failed (exit code 124): it timed out at its timeout; all it had started was ended. Give it a longer timeout, or less to do.\n")
}

// TestBackgroundRuns: it runs on, also beside other commands, and each read tells
// what came since the one before.
func TestBackgroundRuns(t *testing.T) {
	b := newBench(t)
	id := b.startBackground(m{"command": "echo one; cat gate 2>/dev/null; sleep 1000"})
	if seen := b.readUntil(id, "one\n"); !strings.Contains(seen, id+" is running") {
		t.Errorf("read %q", seen)
	}
	b.ok("execute", m{"command": "echo beside"}, "beside\n")
	a := b.call("read_output", m{"id": id, "wait": 1})
	if a.Failed || a.Exec.Outcome != backend.OutcomeRunning || strings.Contains(a.Text, "one") ||
		!strings.HasPrefix(a.Text, "No new output; offset=0 reads from the beginning.\n"+id+" is running") {
		t.Errorf("%+v", a)
	}
	b.ok("kill", m{"id": id}, id+" was ended, with all it had started.\n")
	b.ok("kill", m{"id": id}, id+" was ended, with all it had started.\n")
	b.ok("read_output", m{"id": id, "offset": 0}, "one\nCommand was ended by kill, with all it had started.\n")
}

func TestKillWhatHasEnded(t *testing.T) {
	b := newBench(t)
	id := b.startBackground(m{"command": "exit 3"})
	b.call("read_output", m{"id": id, "wait": 60})
	b.ok("kill", m{"id": id}, id+" had ended before; what it had left running was ended.\nCommand failed (exit code 3)\n")
}

func TestBackgroundMistakes(t *testing.T) {
	b := newBench(t)
	const usage = "command is required. Usage: execute_background(command, timeout=none)"
	b.fails("execute_background", m{}, usage)
	b.fails("execute_background", m{"command": " "}, usage)
	b.fails("execute_background", m{"command": "true", "timeout": 0}, "timeout is 0; it must be from 1 to 86400 seconds.")
	b.fails("read_output", m{}, "id is required. Usage: read_output(id, offset=-1, wait=0)")
	b.fails("read_output", m{"id": "x", "offset": -2}, "offset is -2; it must be 0 or more, or -1 for what is new.")
	b.fails("read_output", m{"id": "x", "wait": 61}, "wait is 61; it must be from 0 to 60 seconds.")
	b.fails("read_output", m{"id": "x", "wait": -1}, "wait is -1; it must be from 0 to 60 seconds.")
	b.fails("kill", m{}, "id is required. Usage: kill(id)")
	const unknown = " in this sandbox. An id is what execute_background answered with; if it was right before the run was interrupted, the command ended with its sandbox: start it again."
	b.fails("read_output", m{"id": "cmd-7", "wait": 60}, "There is no command cmd-7"+unknown)
	b.fails("kill", m{"id": "cmd-7"}, "There is no command cmd-7"+unknown)
	id := b.startBackground(m{"command": "echo 1234"})
	b.call("read_output", m{"id": id, "wait": 60})
	if a := b.call("read_output", m{"id": id, "offset": 6}); !a.Failed || !strings.Contains(a.Text, "5 bytes") {
		t.Errorf("of an offset past the end it says %q", a.Text)
	}
	for _, id := range []string{"", "a/b", "\x1b[2J", strings.Repeat("a", 65)} {
		for _, name := range []string{"read_output", "kill"} {
			if a := b.call(name, m{"id": id}); !a.Failed {
				t.Errorf("%s of %q: %q", name, id, a.Text)
			}
		}
	}
}

// TestBackgroundSurvives: another process goes on reading where this one was, and
// names the next command differently.
func TestBackgroundSurvives(t *testing.T) {
	b := newBench(t)
	id := b.startBackground(m{"command": "echo one; sleep 1000"})
	b.readUntil(id, "one\n")
	stored, err := json.Marshal(b.State())
	if err != nil {
		t.Fatal(err)
	}
	var state tools.State
	if err := json.Unmarshal(stored, &state); err != nil {
		t.Fatal(err)
	}
	b.Set = tools.New(tools.Options{Sandbox: func(context.Context) (backend.Sandbox, error) { return b.sb, nil }}, state)
	if a := b.call("read_output", m{"id": id}); strings.Contains(a.Text, "one") {
		t.Errorf("read again: %q", a.Text)
	}
	if next := b.startBackground(m{"command": "true"}); next == id {
		t.Errorf("two commands are named %s", id)
	}
}

// TestNameTaken: a sandbox may be shared, so that somebody else's command may have
// the name. Ours is run once, under another.
func TestNameTaken(t *testing.T) {
	b := newBench(t)
	for _, id := range []string{"cmd-1", "cmd-2"} {
		if _, err := b.sb.Exec(t.Context(), &backend.ExecRequest{ID: id, Argv: []string{"true"}}); err != nil {
			t.Fatal(err)
		}
	}
	b.ok("execute", m{"command": "echo once"}, "once\n")
	id := b.startBackground(m{"command": "echo ours"})
	b.ok("read_output", m{"id": id, "wait": 60}, "ours\nCommand succeeded.\n")
}

// TestBackgroundRequest: no timeout unless one is given, and it has no input.
func TestBackgroundRequest(t *testing.T) {
	r := &starter{Sandbox: newBench(t).sb}
	b := benchOn(t, r)
	b.startBackground(m{"command": "x"})
	if q := r.req; q.Timeout != backend.Unlimited || q.Shell != "x" || !q.Merge || q.KeepStdin {
		t.Errorf("asked for %+v", q)
	}
	b.startBackground(m{"command": "x", "timeout": 7})
	if r.req.Timeout != 7*time.Second {
		t.Errorf("timeout %v", r.req.Timeout)
	}
	r.outcome = backend.ExecResult{Outcome: backend.OutcomeStartFailed, ExitCode: 126, StartError: "EACCES"}
	b.fails("execute_background", m{"command": "x"}, "Command failed (exit code 126): it could not be started: EACCES\n")
}

// starter keeps what a command was asked to start with.
type starter struct {
	backend.Sandbox
	req     *backend.ExecRequest
	outcome backend.ExecResult
}

func (s *starter) Start(_ context.Context, req *backend.ExecRequest) (*backend.StartReply, error) {
	s.req = req
	return &backend.StartReply{ID: req.ID}, nil
}

func (s *starter) Outcome(_ context.Context, req *backend.OutcomeRequest) (*backend.OutcomeReply, error) {
	s.outcome.ID = req.ID
	return &backend.OutcomeReply{Result: s.outcome}, nil
}

// TestWaitCancelled: whoever ends the run does not wait for the command.
func TestWaitCancelled(t *testing.T) {
	b := newBench(t)
	id := b.startBackground(m{"command": "sleep 1000"})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.Call(ctx, "read_output", args(t, m{"id": id, "wait": 60})); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}
