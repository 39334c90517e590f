package store

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/internal/procid"
)

// The test program is its own helper: other processes do with a file what
// childVar asks for.
const childVar = "DEEP_STORE_TEST_CHILD"

func TestMain(m *testing.M) {
	if job := os.Getenv(childVar); job != "" {
		if err := child(context.Background(), job, os.Args[1], os.Args[2]); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

const savesEach = 10

// child waits for a line on stdin, so that all begin at once, does its job, tells
// the outcome, and stays until stdin ends.
func child(ctx context.Context, job, path, name string) error {
	in := bufio.NewReader(os.Stdin)
	if _, err := in.ReadString('\n'); err != nil {
		return err
	}
	outcome, err := work(ctx, job, path, name)
	if err != nil {
		return err
	}
	fmt.Println(outcome)
	_, err = io.Copy(io.Discard, in)
	return err
}

func work(ctx context.Context, job, path, name string) (string, error) {
	s, err := Open(ctx, path)
	if err != nil {
		return "", err
	}
	defer s.Close()
	if job == "claim" {
		self, err := procid.Self()
		if err != nil {
			return "", err
		}
		_, err = s.Claim(ctx, "a", self.String(), dead)
		if errors.Is(err, backend.ErrConflict) {
			return "lost", nil
		}
		return "won", err
	}
	if err := s.CreateRun(ctx, &Run{ID: name, Owner: name}); err != nil {
		return "", err
	}
	for i := range savesEach {
		if err := s.SaveRun(ctx, name, name, "running", fmt.Appendf(nil, "%d", i+1)); err != nil {
			return "", err
		}
	}
	return "done", nil
}

func dead(owner string) bool { return procid.Dead(backend.ParseOwner(owner)) }

// A helper is a process at its job.
type helper struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func start(t *testing.T, job, path, name string) *helper {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], path, name)
	cmd.Env = append(os.Environ(), childVar+"="+job)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return &helper{cmd: cmd, in: in, out: bufio.NewReader(out)}
}

func (h *helper) begin(t *testing.T) {
	t.Helper()
	if _, err := io.WriteString(h.in, "begin\n"); err != nil {
		t.Fatal(err)
	}
}

func (h *helper) outcome(t *testing.T) string {
	t.Helper()
	line, err := h.out.ReadString('\n')
	if err != nil {
		t.Fatalf("a helper ended: %v, %q", err, line)
	}
	return strings.TrimSpace(line)
}

// TestSeveralProcesses: all open a file that is not there yet and write to it.
func TestSeveralProcesses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "deep", "state.db")
	const n = 5
	var helpers []*helper
	for i := range n {
		helpers = append(helpers, start(t, "write", path, fmt.Sprint("run", i)))
	}
	for _, h := range helpers {
		h.begin(t)
	}
	for _, h := range helpers {
		if got := h.outcome(t); got != "done" {
			t.Errorf("a helper says %q", got)
		}
	}
	s := open(t, path)
	for i := range n {
		r, err := s.Run(t.Context(), fmt.Sprint("run", i))
		if err != nil {
			t.Error(err)
		} else if string(r.State) != fmt.Sprint(savesEach) {
			t.Errorf("%s: its last state is %q", r.ID, r.State)
		}
	}
}

// TestOneClaims: of processes that want to go on with a run at once, one does. When
// it is killed, the next one can.
func TestOneClaims(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	s := open(t, path)
	if err := s.CreateRun(t.Context(), &Run{ID: "a"}); err != nil {
		t.Fatal(err)
	}
	var helpers []*helper
	for range 6 {
		helpers = append(helpers, start(t, "claim", path, ""))
	}
	for _, h := range helpers {
		h.begin(t)
	}
	var winner *helper
	for _, h := range helpers {
		switch got := h.outcome(t); {
		case got == "won" && winner == nil:
			winner = h
		case got != "lost":
			t.Errorf("a helper says %q", got)
		}
	}
	if winner == nil {
		t.Fatal("none got it")
	}
	_, err := s.Claim(t.Context(), "a", "me", dead)
	if !errors.Is(err, backend.ErrConflict) || !strings.Contains(err.Error(), fmt.Sprintf("(pid %d)", winner.cmd.Process.Pid)) {
		t.Errorf("claim while its owner lives: %v", err)
	}
	if err := winner.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = winner.cmd.Wait()
	if _, err := s.Claim(t.Context(), "a", "me", dead); err != nil {
		t.Errorf("claim after its owner was killed: %v", err)
	}
}
