package agent_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/deep-sandbox/deep/core/agent"
	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/internal/replay"
)

func TestRun(t *testing.T) {
	var log eventLog
	sb := newSandbox(t)
	a := newAgent(t, agent.Config{
		Model: play(t,
			replay.Step{Reply: &replay.Reply{
				Content:   "A plan.",
				ToolCalls: []replay.ToolCall{call("write_todos", "todos", []map[string]any{{"content": "do it", "status": "pending"}})},
				Usage:     &replay.Usage{Prompt: 100, Completion: 10, Cached: 50},
			}},
			after(calls(call("write_file", "path", "hello.sh", "content", "echo hello\n"), sh("sh hello.sh")), "[ ] do it\n"),
			after(replay.Step{Reply: &replay.Reply{Content: "It says hello.", Usage: &replay.Usage{Prompt: 200, Completion: 20}}}, "Wrote 1 line to hello.sh", "hello\n"),
		),
		Sandbox: in(sb), ApprovedTools: []string{"execute"}, Instructions: "Be brief.", Events: log.add,
	})
	res, err := a.Run(t.Context(), "Say hello.")
	ended(t, res, err, agent.StatusCompleted)
	if res.Output != "It says hello." || res.Turns != 3 || res.ToolCalls != 3 || len(res.Pending) != 0 {
		t.Errorf("result %+v", res)
	}
	if u := res.Usage; !u.Reported || u.Total < 330 || u.Prompt < 300 || u.Cached != 50 {
		t.Errorf("usage %+v", u)
	}
	if len(res.Todos) != 1 || res.Todos[0].Content != "do it" {
		t.Errorf("todos %+v", res.Todos)
	}
	ms := res.State.Messages
	if ms[0].Role != agent.RoleSystem || ms[0].Content != "Be brief." || ms[1].Role != agent.RoleUser || ms[1].Content != "Say hello." || res.State.Task != "Say hello." {
		t.Errorf("the transcript begins with %+v, %+v", ms[0], ms[1])
	}
	const want = "turn text message call answer plan turn message call answer call answer turn text message end"
	if got := collapse(log.types()); got != want {
		t.Errorf("events\n%s\nwant\n%s", got, want)
	}
	last := log.events[len(log.events)-1]
	if last.Result != res {
		t.Errorf("the last event has the result %+v", last.Result)
	}
}

// collapse makes one "text" of several: how an answer is cut into pieces is the
// endpoint's matter.
func collapse(types string) string {
	for strings.Contains(types, "text text") {
		types = strings.ReplaceAll(types, "text text", "text")
	}
	return types
}

// TestEventsAsJSON: `deep run --json` prints these, and programs read them.
func TestEventsAsJSON(t *testing.T) {
	var lines []string
	a := newAgent(t, agent.Config{
		Model: play(t, calls(sh("echo hi; exit 3")), says("")),
		Events: func(e agent.Event) {
			if e.Exec != nil {
				e.Exec.ID, e.Exec.DurationMS = "ID", 5
			}
			if e.Usage != nil {
				e.Usage = &agent.Usage{}
			}
			if e.Result != nil {
				r := *e.Result
				r.Usage = agent.Usage{}
				e.Result = &r
			}
			b, err := json.Marshal(e)
			if err != nil {
				t.Error(err)
			}
			lines = append(lines, string(b))
		},
		Approve: func(_ context.Context, calls []agent.Call) ([]agent.Decision, error) {
			return []agent.Decision{{CallID: calls[0].ID, Approve: true}}, nil
		},
	})
	if _, err := a.Run(t.Context(), "x"); err != nil {
		t.Fatal(err)
	}
	const one = `{"id":"call_1_1","tool":"execute","arguments":"{\"command\":\"echo hi; exit 3\"}"}`
	const none = `{"reported":false,"prompt":0,"completion":0,"total":0}`
	want := []string{
		`{"type":"turn","turn":1}`,
		`{"type":"message","usage":` + none + `}`,
		`{"type":"ask","calls":[` + one + `]}`,
		`{"type":"approval","call":` + one + `,"decision":{"call_id":"call_1_1","approve":true}}`,
		`{"type":"call","call":` + one + `}`,
		`{"type":"answer","text":"hi\nCommand failed (exit code 3)\n","call":` + one + `,"failed":true,"exec":{"id":"ID","outcome":"exit","exit_code":3,"duration_ms":5}}`,
		`{"type":"turn","turn":2}`,
		`{"type":"message","usage":` + none + `}`,
		`{"type":"end","result":{"status":"completed","usage":` + none + `,"turns":2,"tool_calls":1}}`,
	}
	if got := strings.Join(lines, "\n"); got != strings.Join(want, "\n") {
		t.Errorf("events\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
}

// TestSandboxIsLazy: a run that needs none makes none, one that does makes one.
func TestSandboxIsLazy(t *testing.T) {
	made := 0
	sb := newSandbox(t)
	make := func(context.Context) (backend.Sandbox, error) { made++; return sb, nil }
	a := newAgent(t, agent.Config{Model: play(t, calls(call("read_todos")), says("done")), Sandbox: make})
	res, err := a.Run(t.Context(), "x")
	ended(t, res, err, agent.StatusCompleted)
	if made != 0 {
		t.Errorf("%d sandboxes were made for a plan", made)
	}
	a = newAgent(t, agent.Config{Model: play(t, calls(call("ls"), call("ls"), call("ls")), calls(call("ls")), says("done")), Sandbox: make})
	res, err = a.Run(t.Context(), "x")
	ended(t, res, err, agent.StatusCompleted)
	if made != 1 {
		t.Errorf("%d sandboxes were made, want 1", made)
	}
}

// gate holds each List until so many are inside.
type gate struct {
	backend.Sandbox
	mu     sync.Mutex
	inside int
	most   int
	open   chan struct{}
	want   int
}

func (g *gate) List(ctx context.Context, req *backend.ListDirRequest) (*backend.ListDirReply, error) {
	g.mu.Lock()
	g.inside++
	g.most = max(g.most, g.inside)
	if g.inside == g.want {
		close(g.open)
	}
	g.mu.Unlock()
	defer func() { g.mu.Lock(); g.inside--; g.mu.Unlock() }()
	select {
	case <-g.open:
		return g.Sandbox.List(ctx, req)
	case <-time.After(time.Minute):
		return nil, errors.New("the others never came")
	}
}

// TestSideBySide: four calls that only read are under way at once, no more, and
// are answered in the order of the calls.
func TestSideBySide(t *testing.T) {
	g := &gate{Sandbox: newSandbox(t), want: 4, open: make(chan struct{})}
	if err := g.Mkdir(t.Context(), &backend.MkdirRequest{Path: "d/sub"}); err != nil {
		t.Fatal(err)
	}
	a := newAgent(t, agent.Config{
		Model: play(t,
			calls(call("ls"), call("ls", "path", "d"), call("ls", "path", "d/sub"), call("ls", "path", "none"), call("ls"), call("ls", "path", "d")),
			after(says("done"), "d/\n", "sub/\n", "The directory is empty.", "none: not found", "d/\n", "sub/\n")),
		Sandbox: in(g),
	})
	res, err := a.Run(t.Context(), "x")
	ended(t, res, err, agent.StatusCompleted)
	if g.most != 4 {
		t.Errorf("%d were under way at once, want 4", g.most)
	}
}

// TestInOrder: what changes something sees what was before it, and is seen by what
// comes after.
func TestInOrder(t *testing.T) {
	a := newAgent(t, agent.Config{
		Model: play(t,
			calls(
				call("read_file", "path", "f"), call("write_file", "path", "f", "content", "one"), call("read_file", "path", "f"),
				call("edit_file", "path", "f", "old_string", "one", "new_string", "two"), call("read_file", "path", "f"),
				sh("echo three > f"), call("read_file", "path", "f"), call("grep", "pattern", "three")),
			after(says("done"), "There is no file f", "Wrote 1 line", "\tone\n", "Replaced 1", "\ttwo\n", "without output", "\tthree\n", "f:1: three")),
		ApprovedTools: []string{"execute"},
	})
	res, err := a.Run(t.Context(), "x")
	ended(t, res, err, agent.StatusCompleted)
}

// TestMistakesAreAnswered: a model that calls what is not there, or wrongly, is
// told and goes on.
func TestMistakesAreAnswered(t *testing.T) {
	a := newAgent(t, agent.Config{
		Model: play(t,
			calls(call("no_such_tool"), call("glob", "pattern", "*"), replay.ToolCall{Name: "ls", Arguments: "{"}, call("ls", "pth", "x")),
			after(says("sorry"), `There is no tool "no_such_tool"`, `There is no tool "glob"`, "not whole JSON", `unknown field "pth"`)),
		DenyTools: []string{"glob"},
	})
	res, err := a.Run(t.Context(), "x")
	ended(t, res, err, agent.StatusCompleted)
}

func TestNew(t *testing.T) {
	good := agent.Config{Model: agent.Model{Name: "m"}, Sandbox: in(nil)}
	for what, change := range map[string]func(*agent.Config){
		"model":                     func(c *agent.Config) { c.Model.Name = "" },
		"sandbox":                   func(c *agent.Config) { c.Sandbox = nil },
		`there is no tool "exec"`:   func(c *agent.Config) { c.AskTools = []string{"exec"} },
		`approve: there is no tool`: func(c *agent.Config) { c.ApprovedTools = []string{"exec"} },
		`deny: there is no tool`:    func(c *agent.Config) { c.DenyTools = []string{"exec"} },
	} {
		c := good
		change(&c)
		if _, err := agent.New(c); !errors.Is(err, backend.ErrInvalid) || !strings.Contains(err.Error(), what) || backend.HintOf(err) == "" {
			t.Errorf("%s: %v", what, err)
		}
	}
	c := good
	c.Model.BaseURL = "ftp://x"
	if _, err := agent.New(c); !errors.Is(err, agent.ErrConfig) {
		t.Errorf("a bad address: %v", err)
	}
	if _, err := agent.New(good); err != nil {
		t.Error(err)
	}
}
