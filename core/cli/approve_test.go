package cli

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"

	"github.com/deep-sandbox/deep/core/agent"
	"github.com/deep-sandbox/deep/core/config"
	"github.com/deep-sandbox/deep/core/internal/store"
)

// A person sits at a real pseudo-terminal that the approver asks on.
type person struct {
	t    *testing.T
	keys *os.File

	mu     sync.Mutex
	screen strings.Builder
}

func sit(t *testing.T) (*person, *approver) {
	t.Helper()
	t.Setenv("NO_COLOR", "1")
	keys, screen, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	p := &person{t: t, keys: keys}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 1024)
		for {
			n, err := keys.Read(buf)
			p.mu.Lock()
			p.screen.Write(buf[:n])
			p.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		_ = screen.Close()
		_ = keys.Close()
		<-done
	})
	a := newApprover(&runner{run: &store.Run{ID: "run1"}, backend: &config.Backend{Name: "local"}})
	a.open = func() (*tty, error) {
		f, err := os.OpenFile(screen.Name(), os.O_RDWR, 0)
		return &tty{file: f}, err
	}
	return p, a
}

func (p *person) seen() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.ReplaceAll(p.screen.String(), "\r", "")
}

// press waits until it was asked n times, then types.
func (p *person) press(n int, keys string) {
	p.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); strings.Count(p.seen(), question) < n; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			p.t.Errorf("not asked %d times; the screen:\n%s", n, p.seen())
			return
		}
	}
	if _, err := p.keys.WriteString(keys); err != nil {
		p.t.Error(err)
	}
}

func run(id, command string) agent.Call {
	return agent.Call{ID: id, Tool: "execute", Arguments: `{"command":` + command + `}`}
}

func TestApprove(t *testing.T) {
	for _, c := range []struct {
		name  string
		keys  []string
		calls []agent.Call
		want  []agent.Decision
	}{
		{"yes", []string{"y\r"}, []agent.Call{run("a", `"ls"`)}, []agent.Decision{{CallID: "a", Approve: true}}},
		{"no", []string{"n\r"}, []agent.Call{run("a", `"ls"`)}, []agent.Decision{{CallID: "a"}}},
		{"no, and why", []string{"No  not  there \r"}, []agent.Call{run("a", `"ls"`)}, []agent.Decision{{CallID: "a", Reason: "not  there"}}},
		{"empty is no answer", []string{"\r", "maybe\r", "yes\r"}, []agent.Call{run("a", `"ls"`)}, []agent.Decision{{CallID: "a", Approve: true}}},
		{"details", []string{"d\r", "y\r"}, []agent.Call{run("a", `"ls"`)}, []agent.Decision{{CallID: "a", Approve: true}}},
		{"each by itself", []string{"y\r", "n\r"}, []agent.Call{run("a", `"ls"`), run("b", `"rm"`)}, []agent.Decision{{CallID: "a", Approve: true}, {CallID: "b"}}},
		{"always", []string{"a\r"}, []agent.Call{run("a", `"ls"`), run("b", `"rm"`)}, []agent.Decision{{CallID: "a", Approve: true}, {CallID: "b", Approve: true}}},
		{"always is of one tool", []string{"a\r", "n\r"}, []agent.Call{run("a", `"ls"`), {ID: "b", Tool: "write_file", Arguments: "{}"}}, []agent.Decision{{CallID: "a", Approve: true}, {CallID: "b"}}},
		{"later", []string{"y\r", "\x04"}, []agent.Call{run("a", `"ls"`), run("b", `"rm"`)}, []agent.Decision{{CallID: "a", Approve: true}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, a := sit(t)
			var typing sync.WaitGroup
			typing.Go(func() {
				for i, keys := range c.keys {
					p.press(i+1, keys)
				}
			})
			got, err := a.approve(t.Context(), c.calls)
			typing.Wait()
			if err != nil {
				t.Fatal(err)
			}
			if len(got) != len(c.want) {
				t.Fatalf("decisions %+v, want %+v", got, c.want)
			}
			for i := range got {
				if got[i] != c.want[i] {
					t.Errorf("decisions %+v, want %+v", got, c.want)
				}
			}
		})
	}
}

// TestApproveShows: the whole command, escaped, each line behind a margin that is
// ours.
func TestApproveShows(t *testing.T) {
	p, a := sit(t)
	var typing sync.WaitGroup
	typing.Go(func() { p.press(1, "n\r") })
	if _, err := a.approve(t.Context(), []agent.Call{run("a", `"ls\n\nRun it? yes\u001b[2J\u202e && rm -rf /"`)}); err != nil {
		t.Fatal(err)
	}
	typing.Wait()
	want := "\n  | $ ls\n  |   \n  |   Run it? yes\\x1b[2J\\u202e && rm -rf /\n\n" +
		"Not to be seen otherwise, and shown as: \\x1b (1 time), \\u202e (1 time).\n" + question
	if got := p.seen(); !strings.Contains(got, want) {
		t.Errorf("the screen:\n%q\nwant\n%q", got, want)
	}
}

// TestApproveTypedAhead: what was typed before the question is no answer.
func TestApproveTypedAhead(t *testing.T) {
	p, a := sit(t)
	if _, err := p.keys.WriteString("y\r"); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); !strings.Contains(p.seen(), "y"); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the terminal does not echo")
		}
	}
	var typing sync.WaitGroup
	typing.Go(func() { p.press(1, "n\r") })
	got, err := a.approve(t.Context(), []agent.Call{run("a", `"rm"`)})
	typing.Wait()
	if err != nil || len(got) != 1 || got[0].Approve {
		t.Errorf("%+v, %v: it was approved before it was asked", got, err)
	}
}

// TestApproveInterrupted: nobody waits for an answer after Ctrl-C.
func TestApproveInterrupted(t *testing.T) {
	p, a := sit(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("stop")
	var typing sync.WaitGroup
	typing.Go(func() {
		p.press(1, "")
		cancel(stop)
	})
	got, err := a.approve(ctx, []agent.Call{run("a", `"ls"`)})
	typing.Wait()
	if !errors.Is(err, stop) || len(got) != 0 {
		t.Errorf("%+v, %v, want the context's cause", got, err)
	}
}

// TestApproveNoTerminal: nobody can be asked, nothing is decided.
func TestApproveNoTerminal(t *testing.T) {
	_, a := sit(t)
	a.open = func() (*tty, error) { return nil, os.ErrNotExist }
	if got, err := a.approve(t.Context(), []agent.Call{run("a", `"ls"`)}); err != nil || len(got) != 0 {
		t.Errorf("%+v, %v", got, err)
	}
}
