package agent_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/deep-sandbox/deep/core/agent"
	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/backend/backendtest"
	"github.com/deep-sandbox/deep/core/internal/procid"
	"github.com/deep-sandbox/deep/core/internal/store"
)

// TestSavedBeforeItHappens: a call is on record before it runs, its answer before
// the next one does.
func TestSavedBeforeItHappens(t *testing.T) {
	var last *agent.State
	sb := &watched{Sandbox: newSandbox(t)}
	sb.onExec = func(_ context.Context, command string) error {
		if last == nil || len(last.Open) != 2 {
			t.Fatalf("before %q nothing is on record: %+v", command, last)
		}
		one, two := last.Open[0], last.Open[1]
		if command == "echo one" && (!one.Begun || one.Answer != nil || two.Begun) ||
			command == "echo two" && (one.Answer == nil || !two.Begun || two.Answer != nil) {
			t.Errorf("before %q there is on record: %+v, %+v", command, one, two)
		}
		return nil
	}
	a := newAgent(t, agent.Config{
		Model: play(t, calls(sh("echo one"), sh("echo two")), says("done")), Sandbox: in(sb), ApprovedTools: []string{"execute"},
		Save: func(_ context.Context, s *agent.State) error { last = stored(t, s); return nil },
	})
	res, err := a.Run(t.Context(), "x")
	ended(t, res, err, agent.StatusCompleted)
	if last.Status != agent.StatusCompleted || last.Output != "done" || len(last.Messages) != len(res.State.Messages) {
		t.Errorf("at the end there is on record: %+v", last)
	}
}

// TestSaveFails: what cannot be recorded does not happen.
func TestSaveFails(t *testing.T) {
	full := errors.New("disk full")
	for n := range 6 {
		sb := &watched{Sandbox: newSandbox(t)}
		saves := 0
		a := newAgent(t, agent.Config{
			Model: play(t, calls(sh("echo one")), says("done")), Sandbox: in(sb), ApprovedTools: []string{"execute"},
			Save: func(context.Context, *agent.State) error {
				if saves++; saves > n {
					return full
				}
				return nil
			},
		})
		res, err := a.Run(t.Context(), "x")
		ended(t, res, err, agent.StatusFailed)
		if !errors.Is(err, full) || !strings.Contains(res.Reason, "cannot be recorded") {
			t.Errorf("after %d saves: %v", n, err)
		}
		// The first is before the model is asked, the second after, the third before
		// the call.
		if ran := sb.ran() != ""; ran != (n >= 3) {
			t.Errorf("after %d saves it ran %q", n, sb.ran())
		}
	}
}

// TestSaveOutlivesCancel: the end of a cancelled run is recorded too.
func TestSaveOutlivesCancel(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var last agent.Status
	a := newAgent(t, agent.Config{
		Model: play(t, says("")),
		Save: func(ctx context.Context, s *agent.State) error {
			last = s.Status
			return ctx.Err()
		},
	})
	res, err := a.Run(ctx, "x")
	ended(t, res, err, agent.StatusCancelled)
	if last != agent.StatusCancelled {
		t.Errorf("recorded as %s", last)
	}
}

func TestResumeRefuses(t *testing.T) {
	a := newAgent(t, agent.Config{Model: play(t, says("done"))})
	res, err := a.Run(t.Context(), "x")
	ended(t, res, err, agent.StatusCompleted)
	if _, err := a.Resume(t.Context(), res.State); !errors.Is(err, backend.ErrConflict) {
		t.Errorf("a completed run: %v", err)
	}
	later := stored(t, res.State)
	later.Version++
	if res, err := a.Resume(t.Context(), later); !errors.Is(err, backend.ErrUnsupported) || backend.HintOf(err) == "" || res.Status != agent.StatusFailed {
		t.Errorf("a run of another version: %+v, %v", res, err)
	}
}

// childVar names the store in which a child process records its run.
const childVar = "DEEP_AGENT_TEST_CHILD"

// runToBeKilled is what the child does: a run whose second command never ends.
func runToBeKilled(path string) {
	check := func(err error) {
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	}
	ctx := context.Background()
	s, err := store.Open(ctx, path)
	check(err)
	self, err := procid.Self()
	check(err)
	check(s.CreateRun(ctx, &store.Run{ID: "run", Owner: self.String()}))
	sb, err := backendtest.NewFake().Create(ctx, &backend.CreateRequest{ID: backend.NewID()})
	check(err)
	a, err := agent.New(agent.Config{
		Model:         agent.Model{Name: "m", BaseURL: os.Args[1], APIKey: os.Args[2], MaxTries: 1},
		Sandbox:       in(sb),
		ApprovedTools: []string{"execute"},
		ExecuteOutput: os.Stdout,
		Save: func(ctx context.Context, state *agent.State) error {
			b, err := json.Marshal(state)
			if err != nil {
				return err
			}
			return s.SaveRun(ctx, "run", self.String(), string(state.Status), b)
		},
	})
	check(err)
	_, err = a.Run(ctx, "x")
	check(err)
	os.Exit(0)
}

// TestKilled: a run whose process was killed in the middle of a call goes on in
// another. What had its answer keeps it, what had begun is not repeated, what had
// not begins.
func TestKilled(t *testing.T) {
	model := play(t,
		calls(sh("echo one"), sh("echo begun; sleep 1000"), sh("echo three")),
		after(says("done"), "one\n", "Unknown outcome: deep ended while this ran. It was not run again", "three\n"))
	path := filepath.Join(t.TempDir(), "state.db")
	child := exec.CommandContext(t.Context(), os.Args[0], model.BaseURL, model.APIKey)
	child.Env = append(os.Environ(), childVar+"="+path)
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = child.Process.Kill(); _ = child.Wait() }()
	lines := bufio.NewScanner(out)
	for lines.Scan() && lines.Text() != "begun" {
		if lines.Text() != "one" {
			t.Fatalf("the child says %q", lines.Text())
		}
	}

	s, err := store.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	dead := func(owner string) bool { return procid.Dead(backend.ParseOwner(owner)) }
	if _, err := s.Claim(t.Context(), "run", "me", dead); !errors.Is(err, backend.ErrConflict) {
		t.Fatalf("claim while it runs: %v", err)
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait()
	kept, err := s.Claim(t.Context(), "run", "me", dead)
	if err != nil {
		t.Fatal(err)
	}
	var state agent.State
	if err := json.Unmarshal(kept.State, &state); err != nil {
		t.Fatal(err)
	}
	if kept.Status != "running" || len(state.Open) != 3 {
		t.Errorf("on record as %s with open calls %+v", kept.Status, state.Open)
	}

	sb := &watched{Sandbox: newSandbox(t)}
	res, err := newAgent(t, agent.Config{Model: model, Sandbox: in(sb), ApprovedTools: []string{"execute"}}).Resume(t.Context(), &state)
	ended(t, res, err, agent.StatusCompleted)
	if sb.ran() != "echo three" {
		t.Errorf("gone on with, it ran %q", sb.ran())
	}
}
