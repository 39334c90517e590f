package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/deep-sandbox/deep/core/agent"
	"github.com/deep-sandbox/deep/core/internal/store"
)

func view(out *bytes.Buffer, flags outputFlags) *runView {
	r := &runner{app: &app{Streams: Streams{Out: out}}, run: &store.Run{ID: "id"}}
	return newRunView(r, &flags, func(error) {})
}

// TestViewFlood: a command's output is shown up to a limit, and its end whole.
func TestViewFlood(t *testing.T) {
	var out bytes.Buffer
	v := view(&out, outputFlags{})
	call := &agent.Call{ID: "a", Tool: "execute", Arguments: `{"command":"yes"}`}
	v.event(agent.Event{Type: agent.EventCall, Call: call})
	w := v.output()
	for range 10_000 {
		fmt.Fprint(w, "no end\x1b\n")
	}
	v.event(agent.Event{Type: agent.EventAnswer, Call: call, Failed: true, Exec: &agent.Exec{Outcome: "timeout", Signal: 15, DurationMS: 1500}})
	lines := strings.Split(out.String(), "\n")
	if len(lines) > shownLines+10 || !strings.Contains(out.String(), "  | no end\\x1b\n") {
		t.Errorf("%d lines:\n%.500s", len(lines), out.String())
	}
	if hidden := (10_000 - shownLines) * len("no end\x1b\n"); !strings.HasSuffix(out.String(), fmt.Sprintf("  | … %d more bytes, which the model got\n  timed out, ended after 1.5s\n", hidden)) {
		t.Errorf("nothing says that there was more:\n…%s", out.String()[max(0, out.Len()-300):])
	}

	out.Reset()
	v.event(agent.Event{Type: agent.EventCall, Call: call})
	w = v.output()
	for range 1000 {
		fmt.Fprint(w, strings.Repeat("x", 1000)) // one line without an end
	}
	v.event(agent.Event{Type: agent.EventAnswer, Call: call, Exec: &agent.Exec{Outcome: "exit"}})
	if out.Len() > shownBytes+1000 {
		t.Errorf("%d bytes of one line are shown", out.Len())
	}
	if !strings.HasSuffix(out.String(), "more bytes, which the model got\n") {
		t.Errorf("nothing says that there was more: …%s", out.String()[out.Len()-100:])
	}
}

// TestViewText: the model's pieces are joined, and lines end where they must.
func TestViewText(t *testing.T) {
	var out bytes.Buffer
	v := view(&out, outputFlags{})
	for _, e := range []agent.Event{
		{Type: agent.EventText, Text: "I wi"}, {Type: agent.EventText, Text: "ll \xe2\x82"}, {Type: agent.EventText, Text: "\xac."},
		{Type: agent.EventMessage, Text: "I will €."},
		{Type: agent.EventRetry, Text: "busy\nreally", Retry: &agent.Retry{Try: 1, MaxTries: 4, WaitMS: 500}},
		{Type: agent.EventCall, Call: &agent.Call{ID: "a", Tool: "ls", Arguments: `{"path":"/w\u001b"}`}},
		{Type: agent.EventAnswer, Call: &agent.Call{ID: "a", Tool: "ls"}, Text: "a\nb"},
		{Type: agent.EventCall, Call: &agent.Call{ID: "b", Tool: "read_file", Arguments: `{"path":`}},
		{Type: agent.EventAnswer, Call: &agent.Call{ID: "b", Tool: "read_file"}, Failed: true, Text: "No such file."},
		{Type: agent.EventEnd, Result: &agent.Result{Status: agent.StatusCompleted, Turns: 1, ToolCalls: 2}},
	} {
		v.event(e)
	}
	want := `I will €.
try 1 of 4 failed, again in 500ms: busy …
ls /w\x1b
  a …
read_file {"path":
  No such file.
completed: 1 turn, 2 tool calls, 0 tokens
`
	if out.String() != want {
		t.Errorf("shown:\n%s\nwant:\n%s", out.String(), want)
	}
}

// TestViewDenied: a call that is not run is named all the same, as when another
// process denied it, or was killed while it ran.
func TestViewDenied(t *testing.T) {
	var out bytes.Buffer
	v := view(&out, outputFlags{})
	call := &agent.Call{ID: "a", Tool: "execute", Arguments: `{"command":"rm x"}`}
	killed := &agent.Call{ID: "b", Tool: "execute", Arguments: `{"command":"sleep 9"}`}
	for _, e := range []agent.Event{
		{Type: agent.EventAnswer, Call: killed, Failed: true, Text: "Unknown outcome."},
		{Type: agent.EventApproval, Call: call, Decision: &agent.Decision{CallID: "a", Reason: "no"}},
		{Type: agent.EventAnswer, Call: call, Failed: true, Text: "Denied."},
	} {
		v.event(e)
	}
	if want := "$ sleep 9\n  Unknown outcome.\n$ rm x\n  denied: no\n"; out.String() != want {
		t.Errorf("shown:\n%s\nwant:\n%s", out.String(), want)
	}
}

// TestViewJSON: one object a line, whatever is in it.
func TestViewJSON(t *testing.T) {
	var out bytes.Buffer
	v := view(&out, outputFlags{json: true})
	v.begin()
	v.event(agent.Event{Type: agent.EventText, Text: "a\nb\x1b\xff"})
	if w := v.output(); w != nil {
		t.Error("output of commands would come between the lines")
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	for _, line := range lines {
		var object map[string]any
		if err := json.Unmarshal([]byte(line), &object); err != nil || object["type"] == nil {
			t.Errorf("%q: %v", line, err)
		}
	}
	if len(lines) != 2 {
		t.Errorf("%d lines, want 2", len(lines))
	}
}

type closedPipe struct{}

func (closedPipe) Write([]byte) (int, error) { return 0, syscall.EPIPE }

// TestViewNobodyReads: the run is stopped when nobody reads what it does.
func TestViewNobodyReads(t *testing.T) {
	var stopped error
	r := &runner{app: &app{Streams: Streams{Out: closedPipe{}}}, run: &store.Run{ID: "id"}}
	v := newRunView(r, &outputFlags{}, func(err error) { stopped = err })
	v.event(agent.Event{Type: agent.EventText, Text: "hello\n"})
	if !errors.Is(stopped, syscall.EPIPE) || !errors.Is(v.err, syscall.EPIPE) {
		t.Errorf("stopped with %v, view has %v", stopped, v.err)
	}
}
