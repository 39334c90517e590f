package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/backend/backendtest"
	"github.com/deep-sandbox/deep/core/host"
)

func TestExplain(t *testing.T) {
	engine := &backend.Error{Kind: backend.ErrUnavailable, Backend: "docker", Op: "create", Path: "/x.sock", Message: "no engine", Hint: "start it; then try again"}
	for _, c := range []struct {
		err  error
		want string
	}{
		{errors.New("plain"), "deep: plain\n"},
		{engine, "deep: docker: create: /x.sock: no engine\n      start it; then try again\n"},
		{fmt.Errorf("something may be left behind: %w", engine), "deep: something may be left behind: docker: create: /x.sock: no engine\n      start it; then try again\n"},
		{&usageError{"what", "hint"}, "deep: what\n      hint\n"},
		{&backend.CrashError{Plugin: "x", Reason: "killed by signal 9", Stderr: []string{"one", "two"}}, "deep: plugin x: killed by signal 9\n  | one\n  | two\n"},
		{&host.StartError{Err: engine, Output: []string{"last"}}, "deep: docker: create: /x.sock: no engine\n      start it; then try again\n  | last\n"},
		{errors.New("hostile \x1b]0;\a"), `deep: hostile \x1b]0;\x07` + "\n"},
	} {
		var out bytes.Buffer
		explain(&out, c.err)
		if out.String() != c.want {
			t.Errorf("explained as\n%q, want\n%q", out.String(), c.want)
		}
	}
}

func TestExitCode(t *testing.T) {
	interrupted, cancel := context.WithCancelCause(context.Background())
	cancel(Interrupted{syscall.SIGTERM})
	cancelled := &backend.Error{Kind: context.Canceled, Op: "exec"}
	for _, c := range []struct {
		name   string
		ctx    context.Context
		err    error
		want   int // of a command that fails with 125
		silent bool
	}{
		{"nothing", context.Background(), nil, 0, false},
		{"failure", context.Background(), errors.New("x"), 125, false},
		{"usage", context.Background(), &usageError{}, 125, false},
		{"own code", context.Background(), &exitError{code: 7}, 7, true},
		{"own code and a reason", context.Background(), &exitError{7, errors.New("x")}, 7, false},
		{"interrupted", interrupted, cancelled, 143, true},
		{"interrupted, and more than that", interrupted, errors.New("left behind"), 143, false},
		{"cancelled by nobody", context.Background(), cancelled, 125, false},
		{"closed pipe", context.Background(), fmt.Errorf("write: %w", syscall.EPIPE), 141, true},
	} {
		if got := exitCode(c.ctx, c.err, exitExec); got != c.want {
			t.Errorf("%s: exit code %d, want %d", c.name, got, c.want)
		}
		if c.err != nil && silent(c.ctx, c.err) != c.silent {
			t.Errorf("%s: silent is %v, want %v", c.name, !c.silent, c.silent)
		}
	}
	if got := exitCode(context.Background(), &usageError{}, exitFailed); got != exitUsage {
		t.Errorf("usage: exit code %d, want %d", got, exitUsage)
	}
}

func TestExecCode(t *testing.T) {
	sb, err := backendtest.NewFake().Create(t.Context(), &backend.CreateRequest{ID: backend.NewID()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sb.Close() }()
	for _, c := range []struct {
		res  backend.ExecResult
		want int
	}{
		{backend.ExecResult{Outcome: backend.OutcomeExit, ExitCode: 3}, 3},
		{backend.ExecResult{Outcome: backend.OutcomeSignal, ExitCode: 137, Signal: 9}, 137},
		{backend.ExecResult{Outcome: backend.OutcomeSignal, ExitCode: 137, Signal: 9, OOMPossible: true}, 137},
		{backend.ExecResult{Outcome: backend.OutcomeOOM, ExitCode: 137, Signal: 9}, 137},
		{backend.ExecResult{Outcome: backend.OutcomeStartFailed, ExitCode: 126}, 126},
		{backend.ExecResult{Outcome: backend.OutcomeTimeout, ExitCode: 143}, 124},
		{backend.ExecResult{Outcome: backend.OutcomeLost}, 125},
		{backend.ExecResult{Outcome: backend.OutcomeUnknown}, 125},
		{backend.ExecResult{Outcome: "something of a later deep"}, 125},
	} {
		var out bytes.Buffer
		a := &app{Streams: Streams{Out: &out, Err: &out}, console: newConsole(&out)}
		err := a.execEnded(t.Context(), sb, &c.res, time.Second)
		if got := exitCode(context.Background(), err, exitExec); got != c.want || execCode(&c.res) != c.want {
			t.Errorf("%+v: exit code %d and %d, want %d", c.res, got, execCode(&c.res), c.want)
		}
		if c.want == exitTimeout && !strings.Contains(out.String(), "timed out after 1s, ended after ") {
			t.Errorf("the limit is not named: %q", out.String())
		}
		wantMemory := c.res.OOMPossible || c.res.Outcome == backend.OutcomeOOM
		if said := strings.Contains(out.String(), "out of memory (limit 1024 MiB)\n"); said != wantMemory {
			t.Errorf("%+v: it says %q", c.res, out.String())
		}
		if c.want == 125 && (err == nil || strings.Contains(err.Error(), "exit code")) {
			t.Errorf("%+v: nothing says why: %v", c.res, err)
		}
	}
}
