package backendtest

import (
	"context"
	"io"
	"strings"
	"time"

	"github.com/deep-sandbox/deep/core/backend"
)

// timedOut runs a command until its timeout has passed and ready holds: on a busy
// machine a short timeout may pass before the command has come so far.
func (t *T) timedOut(req backend.ExecRequest, ready func(ran) bool) ran {
	for _, timeout := range []time.Duration{400 * time.Millisecond, 3 * time.Second, 30 * time.Second} {
		try := req
		try.Timeout = timeout
		r := t.exec(&try)
		t.must("exec", r.err)
		if r.Outcome != backend.OutcomeTimeout {
			t.Fatalf("outcome %q, exit code %d, stderr %s", r.Outcome, r.ExitCode, short(r.stderr))
		}
		if ready(r) {
			return r
		}
	}
	t.Fatalf("the command did not come far in 30 s")
	panic("unreachable")
}

var stopRules = []Rule{
	{
		Name:     "timeout",
		Sentence: "At its timeout a command is ended; the result says so, with the partial output.",
		Shell:    true,
		run: func(t *T) {
			r := t.timedOut(backend.ExecRequest{Shell: "echo partial; sleep 600", Grace: new(100 * time.Millisecond)}, func(r ran) bool { return r.stdout != "" })
			if r.stdout != "partial\n" {
				t.Errorf("output %q", r.stdout)
			}
			if r.Signal != 0 && r.ExitCode != 128+r.Signal {
				t.Errorf("signal %d with exit code %d", r.Signal, r.ExitCode)
			}
		},
	},
	{
		Name:     "timeout-deaf",
		Sentence: "A command that ignores SIGTERM is killed after the grace.",
		Shell:    true,
		run: func(t *T) {
			r := t.timedOut(backend.ExecRequest{
				Shell: "trap '' TERM; echo deaf; sleep 600; sleep 600", Grace: new(200 * time.Millisecond),
			}, func(r ran) bool { return r.stdout != "" })
			if r.Outcome != backend.OutcomeTimeout || r.Signal != 9 || r.ExitCode != 137 {
				t.Errorf("outcome %q, signal %d, exit code %d", r.Outcome, r.Signal, r.ExitCode)
			}
		},
	},
	{
		Name:     "timeout-not-reached",
		Sentence: "A command that ends before its timeout is not a timeout, though killed by a signal.",
		Shell:    true,
		run: func(t *T) {
			r := t.exec(&backend.ExecRequest{Shell: "kill -9 $$", Timeout: time.Hour})
			t.must("exec", r.err)
			if r.Outcome != backend.OutcomeSignal {
				t.Errorf("outcome %q", r.Outcome)
			}
		},
	},
	{
		Name:     "timeout-in-time",
		Sentence: "Partial output and true status are returned by deadline and grace, though what it started holds its pipes.",
		Shell:    true,
		run: func(t *T) {
			const timeout, grace = 500 * time.Millisecond, 200 * time.Millisecond
			r := t.exec(&backend.ExecRequest{
				Shell: "trap '' TERM; (trap '' TERM; while :; do sleep 1; done) & while :; do sleep 1; done", Timeout: timeout, Grace: new(grace),
			})
			t.must("exec", r.err)
			// The contract says 250 ms more; a busy machine gets 20 s.
			if r.Outcome != backend.OutcomeTimeout || r.Duration < timeout || r.Duration > timeout+grace+20*time.Second {
				t.Errorf("outcome %q after %v", r.Outcome, r.Duration)
			}
		},
	},
	{
		Name:     "timeout-terminates-first",
		Sentence: "At the deadline SIGTERM goes to everything the command started, which has the grace to end by itself.",
		Shell:    true,
		run: func(t *T) {
			dir, started := t.dir(), time.Now()
			const grace = 10 * time.Minute // never needed
			r := t.timedOut(backend.ExecRequest{
				Shell: "sh -c 'trap \"echo child > child; exit 0\" TERM; echo up; while :; do sleep 0.05; done' & " +
					"trap 'wait; echo cleaned; exit 4' TERM; echo up; while :; do sleep 0.05; done",
				Dir: dir, Grace: new(grace),
			}, func(r ran) bool { return strings.Count(r.stdout, "up\n") == 2 })
			if r.Outcome != backend.OutcomeTimeout || !strings.HasSuffix(r.stdout, "cleaned\n") || r.ExitCode != 4 || r.Signal != 0 {
				t.Errorf("outcome %q, exit code %d, signal %d, stdout %q", r.Outcome, r.ExitCode, r.Signal, r.stdout)
			}
			if !t.exists("child") {
				t.Errorf("the child was not told")
			}
			if took := time.Since(started); took >= grace {
				t.Errorf("it waited for the whole grace: %v", took)
			}
		},
	},
	{
		Name:     "deadline",
		Sentence: "When the caller's deadline passes, the error is context.DeadlineExceeded and the result says cancelled.",
		Shell:    true,
		run: func(t *T) {
			ctx, cancel := context.WithTimeout(t.ctx, 700*time.Millisecond)
			defer cancel()
			r := t.execIn(ctx, t.sandbox(), &backend.ExecRequest{Argv: []string{"sleep", "600"}, Timeout: backend.Unlimited, Grace: new(time.Duration)})
			t.wantKind("exec", r.err, context.DeadlineExceeded)
			if r.ExecResult == nil || r.Outcome != backend.OutcomeCancelled {
				t.Errorf("%+v", r.ExecResult)
			}
		},
	},
	{
		Name:     "cancelled-before",
		Sentence: "A command whose context has ended already is not run.",
		Shell:    true,
		run: func(t *T) {
			dir := t.dir()
			ctx, cancel := context.WithCancel(t.ctx)
			cancel()
			r := t.execIn(ctx, t.sandbox(), &backend.ExecRequest{Shell: "echo x > ran", Dir: dir})
			t.wantKind("exec", r.err, context.Canceled)
			if t.exists("ran") {
				t.Errorf("it ran")
			}
		},
	},
	{
		Name:     "cancel-one",
		Sentence: "Cancelling one command leaves concurrent ones untouched.",
		Shell:    true,
		run: func(t *T) {
			ctx, cancel := context.WithCancel(t.ctx)
			defer cancel()
			sb := t.sandbox()
			other := make(chan ran, 1)
			started := make(chan struct{})
			r, w := io.Pipe()
			go func() {
				other <- t.execIn(t.ctx, sb, &backend.ExecRequest{
					Shell: "echo up; cat", Stdin: r, Stdout: onWrite(func(p []byte) error {
						if strings.HasPrefix(string(p), "up") {
							close(started)
						}
						return nil
					}),
				})
			}()
			<-started
			first := t.execIn(ctx, sb, &backend.ExecRequest{
				Shell: "echo up; sleep 600", Timeout: backend.Unlimited, Grace: new(time.Duration),
				Stdout: onWrite(func([]byte) error { cancel(); return nil }),
			})
			t.wantKind("the cancelled one", first.err, context.Canceled)
			w.CloseWithError(io.EOF)
			t.wantExit("the other one", <-other, 0)
		},
	},
	{
		Name:     "background-child",
		Sentence: "A finished command returns at once, though a background child holds its pipes; the child lives on.",
		Shell:    true,
		run: func(t *T) {
			dir, started := t.dir(), time.Now()
			r := t.exec(&backend.ExecRequest{Shell: "(while ! test -e go; do sleep 0.05; done; echo alive > child; sleep 600) & echo done", Dir: dir})
			t.wantExit("exec", r, 0)
			t.wantOutput("exec", r, "done\n")
			if took := time.Since(started); took > time.Minute {
				t.Errorf("it took %v", took)
			}
			t.write("go", "")
			t.eventually("the child lives on", func() bool { return t.exists("child") })
		},
	},
	{
		Name:     "output-limit",
		Sentence: "OutputLimit stops the command; what is over is dropped, and the result says output_limited.",
		Shell:    true,
		run: func(t *T) {
			r := t.exec(&backend.ExecRequest{Argv: []string{"yes"}, OutputLimit: 100_000, Timeout: backend.Unlimited, Grace: new(time.Duration)})
			t.must("exec", r.err)
			if r.Outcome != backend.OutcomeOutputLimited || len(r.stdout) != 100_000 {
				t.Errorf("outcome %q, %d bytes", r.Outcome, len(r.stdout))
			}
		},
	},
	{
		Name:     "output-below-limit",
		Sentence: "A command that stays below OutputLimit ends as it would.",
		Shell:    true,
		run: func(t *T) {
			r := t.exec(&backend.ExecRequest{Shell: "echo out; echo error >&2", OutputLimit: 11})
			t.wantExit("exec", r, 0)
			t.wantOutput("exec", r, "out\n")
		},
	},
	{
		Name:     "destroy-under-exec",
		Sentence: "A command whose sandbox is destroyed ends with ErrGone.",
		Shell:    true,
		run: func(t *T) {
			sb := t.newSandbox(nil)
			up := make(chan struct{})
			done := make(chan ran, 1)
			go func() {
				done <- t.execIn(t.ctx, sb, &backend.ExecRequest{
					Shell: "echo up; sleep 600", Timeout: backend.Unlimited,
					Stdout: onWrite(func([]byte) error { close(up); return nil }),
				})
			}()
			select {
			case <-up:
			case r := <-done:
				t.Fatalf("it ended: %+v, %v", r.ExecResult, r.err)
			}
			t.must("destroy", t.kit.b.Destroy(t.ctx, &backend.DestroyRequest{ID: sb.Info().ID}))
			r := <-done
			t.wantKind("exec", r.err, backend.ErrGone)
			if r.ExecResult != nil && r.Outcome != backend.OutcomeLost {
				t.Errorf("outcome %q", r.Outcome)
			}
		},
	},
}
