package tools_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/tools"
)

func TestExecute(t *testing.T) {
	b := newBench(t)
	b.ok("execute", m{"command": "echo out; echo err >&2; echo out"}, "out\nerr\nout\n")
	b.ok("execute", m{"command": "printf x"}, "x\n")
	b.ok("execute", m{"command": "true"}, "Command succeeded without output.\n")
	b.ok("execute", m{"command": `printf 'caf\351'`}, "caf\uFFFD\n")
	b.fails("execute", m{"command": "echo no; exit 3"}, "no\nCommand failed (exit code 3)\n")
	b.fails("execute", m{"command": "kill -15 $$"}, "Command failed (exit code 143): it was killed by signal 15\n")
	b.fails("execute", m{"command": "echo start; sleep 1000", "timeout": 1},
		"start\nCommand failed (exit code 124): it timed out after 1 second; all it had started was ended. Give it a longer timeout, or less to do.\n")
	const usage = "command is required. Usage: execute(command, timeout=120)"
	b.fails("execute", m{}, usage)
	b.fails("execute", m{"command": " \n"}, usage)
	b.fails("execute", m{"command": "true", "timeout": 0}, "timeout is 0; it must be from 1 to 86400 seconds.")
	b.fails("execute", m{"command": "true", "timeout": 86401}, "timeout is 86401; it must be from 1 to 86400 seconds.")
	b.fails("execute", m{"command": "true", "timeout": -5}, "timeout is -5; it must be from 1 to 86400 seconds.")
}

func TestExecuteResultIsTyped(t *testing.T) {
	b := newBench(t)
	a := b.call("execute", m{"command": "exit 3"})
	if a.Exec == nil || a.Exec.ExitCode != 3 || a.Exec.Outcome != backend.OutcomeExit {
		t.Errorf("Exec = %+v", a.Exec)
	}
	if a := b.call("ls", m{}); a.Exec != nil {
		t.Errorf("of ls, Exec = %+v", a.Exec)
	}
}

// recorder keeps what a command was asked to run with, and answers as told.
type recorder struct {
	backend.Sandbox
	req *backend.ExecRequest
	res backend.ExecResult
}

func (r *recorder) Exec(_ context.Context, req *backend.ExecRequest) (*backend.ExecResult, error) {
	r.req = req
	return &r.res, nil
}

// TestExecuteDefaultTimeout: it is the sandbox's, which the operator sets.
func TestExecuteDefaultTimeout(t *testing.T) {
	r := &recorder{Sandbox: newBench(t).sb, res: backend.ExecResult{Outcome: backend.OutcomeTimeout}}
	b := benchOn(t, r)
	b.fails("execute", m{"command": "x"},
		"Command failed (exit code 124): it timed out at the default timeout; all it had started was ended. Give it a longer timeout, or less to do.\n")
	if r.req.Timeout != 0 || r.req.Shell != "x" || r.req.Env != nil || r.req.Stdin != nil {
		t.Errorf("asked for %+v", r.req)
	}
}

func TestExecuteOutcomes(t *testing.T) {
	for want, res := range map[string]backend.ExecResult{
		"Command failed (exit code 127): it could not be started: ENOENT\n": {Outcome: backend.OutcomeStartFailed, ExitCode: 127, StartError: "ENOENT"},
		"Command failed (exit code 137): it was killed by signal 9; it may have run out of memory (limit 1024 MiB)\n": {
			Outcome: backend.OutcomeSignal, ExitCode: 137, Signal: 9, OOMPossible: true,
		},
		"Command failed (exit code 137): it ran out of memory (limit 1024 MiB). Give it less to do at once.\n": {
			Outcome: backend.OutcomeOOM, ExitCode: 137, Signal: 9,
		},
		"Command failed: output limited\n": {Outcome: backend.OutcomeOutputLimited},
		"Command failed: sandbox lost\n":   {Outcome: backend.OutcomeLost},
	} {
		benchOn(t, &recorder{Sandbox: newBench(t).sb, res: res}).fails("execute", m{"command": "x"}, want)
	}
}

// starving is a recorder in a sandbox that kills for want of memory.
type starving struct {
	recorder
	kills int64
}

func (s *starving) Stats(context.Context, *backend.StatsRequest) (*backend.Stats, error) {
	return &backend.Stats{OOMKills: s.kills, MemoryLimit: 64 << 20}, nil
}

// TestExecuteStarved: a shell outlives what it ran, and knows of no memory.
func TestExecuteStarved(t *testing.T) {
	s := &starving{recorder: recorder{Sandbox: newBench(t).sb, res: backend.ExecResult{Outcome: backend.OutcomeExit, ExitCode: 137}}}
	b := benchOn(t, s)
	b.fails("execute", m{"command": "x"}, "Command failed (exit code 137)\n")
	for range 2 {
		s.kills++
		b.fails("execute", m{"command": "x"}, "Command failed (exit code 137): what it ran was killed, for want of memory as it seems (limit 64 MiB)\n")
		b.fails("execute", m{"command": "x"}, "Command failed (exit code 137)\n")
	}
	s.res.ExitCode, s.kills = 1, 9
	b.fails("execute", m{"command": "x"}, "Command failed (exit code 1)\n")
}

// output writes in pieces, as a command does.
type output struct {
	backend.Sandbox
	pieces []string
}

func (o output) Exec(_ context.Context, req *backend.ExecRequest) (*backend.ExecResult, error) {
	for i, p := range o.pieces {
		w := req.Stdout
		if i%2 == 1 {
			w = req.Stderr
		}
		if _, err := w.Write([]byte(p)); err != nil {
			return &backend.ExecResult{Outcome: backend.OutcomeCancelled}, err
		}
	}
	return &backend.ExecResult{Outcome: backend.OutcomeExit}, nil
}

func execute(t *testing.T, pieces ...string) tools.Answer {
	t.Helper()
	return benchOn(t, output{newBench(t).sb, pieces}).call("execute", m{"command": "x"})
}

// TestExecuteCut: both ends are shown, whole lines of them, and what is missing is
// counted to the byte.
func TestExecuteCut(t *testing.T) {
	var pieces []string
	for i := range 10_000 {
		pieces = append(pieces, fmt.Sprintf("line %04d\n", i)) // 10 bytes each
	}
	a := execute(t, pieces...)
	want := "line 0999\n[70010 bytes of output are missing here. To read them, use read_output with id=cmd-1 and offset=10000]\nline 8001\n"
	if !a.Truncated || !strings.HasPrefix(a.Text, "line 0000\n") || !strings.Contains(a.Text, want) || !strings.HasSuffix(a.Text, "line 9999\n") {
		t.Errorf("truncated %v; around the cut: %q", a.Truncated, a.Text[9_980:10_200])
	}
	if len(a.Text) > 31_000 {
		t.Errorf("%d bytes are shown", len(a.Text))
	}
}

// TestExecuteNotCut: what just fits is shown whole, however it came.
func TestExecuteNotCut(t *testing.T) {
	all := strings.Repeat("123456789\n", 3000)
	for _, size := range []int{1, 7, 4096, 32 << 10} {
		var pieces []string
		for rest := all; rest != ""; {
			n := min(size, len(rest))
			pieces, rest = append(pieces, rest[:n]), rest[n:]
		}
		if a := execute(t, pieces...); a.Truncated || a.Text != all {
			t.Errorf("in pieces of %d: %d bytes, truncated %v", size, len(a.Text), a.Truncated)
		}
	}
	if a := execute(t, all+"x"); !a.Truncated {
		t.Error("a byte more is shown whole too")
	}
}

// TestExecuteFlood: without a single line end, in pieces small and large.
func TestExecuteFlood(t *testing.T) {
	a := execute(t, strings.Repeat("é", 5_000_000), "\x00\x1b[2J", strings.Repeat("z", 100_000))
	if !a.Truncated || len(a.Text) > 31_000 || !strings.HasPrefix(a.Text, "éé") || !strings.HasSuffix(a.Text, "zz\n") {
		t.Errorf("truncated %v, %d bytes, ending %q", a.Truncated, len(a.Text), a.Text[len(a.Text)-20:])
	}
}

// TestExecuteOutput: it comes as it is written, and who cannot take it stops the
// command.
func TestExecuteOutput(t *testing.T) {
	sb := newBench(t).sb
	var seen strings.Builder
	set := tools.New(tools.Options{
		Sandbox:       func(context.Context) (backend.Sandbox, error) { return sb, nil },
		ExecuteOutput: &seen,
	}, tools.State{})
	if _, err := set.Call(t.Context(), "execute", args(t, m{"command": `echo a; printf '\377' >&2`})); err != nil {
		t.Fatal(err)
	}
	if seen.String() != "a\n\xff" {
		t.Errorf("seen: %q", seen.String())
	}

	full := errors.New("nobody reads")
	set = tools.New(tools.Options{
		Sandbox:       func(context.Context) (backend.Sandbox, error) { return sb, nil },
		ExecuteOutput: writerFunc(func([]byte) (int, error) { return 0, full }),
	}, tools.State{})
	if _, err := set.Call(t.Context(), "execute", args(t, m{"command": "yes"})); !errors.Is(err, full) {
		t.Errorf("error %v, want %v", err, full)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestExecuteCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	sb := newBench(t).sb
	set := tools.New(tools.Options{
		Sandbox:       func(context.Context) (backend.Sandbox, error) { return sb, nil },
		ExecuteOutput: writerFunc(func(p []byte) (int, error) { cancel(); return len(p), nil }),
	}, tools.State{})
	a, err := set.Call(ctx, "execute", args(t, m{"command": "echo it runs; sleep 1000"}))
	if !errors.Is(err, context.Canceled) || a.Exec == nil || a.Exec.Outcome != backend.OutcomeCancelled {
		t.Errorf("answer %+v, error %v", a, err)
	}
}
