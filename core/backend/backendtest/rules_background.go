package backendtest

import (
	"context"
	"errors"
	"io"
	"strings"
	"syscall"
	"time"

	"github.com/deep-sandbox/deep/core/backend"
)

var backgroundRules = []Rule{
	{
		Name:     "background-start",
		Sentence: "Background: Start returns the exec's id at once, while the command runs; status and wait go by that id.",
		Shell:    true,
		run: func(t *T) {
			sb, id := t.sandbox(), backend.NewID()
			t.start(sb, &backend.ExecRequest{ID: id, Shell: "cat; exit 7", KeepStdin: true, Dir: t.dir()})
			r, err := sb.Outcome(t.ctx, &backend.OutcomeRequest{ID: id})
			t.must("outcome", err)
			if r.Result.ID != id || r.Result.Outcome != backend.OutcomeRunning {
				t.Errorf("while it runs: %+v", r.Result)
			}
			_, err = sb.WriteStdin(t.ctx, &backend.WriteStdinRequest{ID: id, Close: true})
			t.must("close its input", err)
			if got := t.ended(sb, id); got.Outcome != backend.OutcomeExit || got.ExitCode != 7 || got.Duration <= 0 {
				t.Errorf("at its end: %+v", got)
			}
		},
	},
	{
		Name:     "background-runs-like-exec",
		Sentence: "A command in the background has the directory, environment and empty stdin of any other.",
		Shell:    true,
		run: func(t *T) {
			sb := t.sandbox()
			id := t.start(sb, &backend.ExecRequest{Shell: `cat; pwd; echo "$W"; exit 3`, Env: map[string]string{"W": "word"}, Dir: t.dir()})
			if r := t.ended(sb, id); r.Outcome != backend.OutcomeExit || r.ExitCode != 3 {
				t.Errorf("%+v", r)
			}
			want := sb.Info().Workspace + "/" + t.dir() + "\nword\n"
			if got, _ := t.kept(sb, &backend.ReadOutputRequest{ID: id}); got != want {
				t.Errorf("output %s, want %s", short(got), short(want))
			}
		},
	},
	{
		Name:     "background-not-started",
		Sentence: "A background command that cannot be started has that for an outcome: 127 or 126 with a reason.",
		Shell:    true,
		run: func(t *T) {
			sb := t.sandbox()
			t.write("data", "no program")
			for name, code := range map[string]int{"no-such-program-here": 127, "./data": 126} {
				r := t.ended(sb, t.start(sb, &backend.ExecRequest{Argv: []string{name}, Dir: t.dir()}))
				if r.Outcome != backend.OutcomeStartFailed || r.ExitCode != code || r.StartError == "" {
					t.Errorf("%s: %+v", name, r)
				}
			}
		},
	},
	{
		Name:     "background-refused",
		Sentence: "What Exec refuses Start refuses, and streams of the caller's too.",
		run: func(t *T) {
			refuse := func(what string, kind error, req *backend.ExecRequest) {
				_, err := t.sandbox().Start(t.ctx, req)
				t.wantKind(what, err, kind)
			}
			refuse("neither argv nor shell", backend.ErrInvalid, &backend.ExecRequest{})
			refuse("a negative timeout", backend.ErrInvalid, &backend.ExecRequest{Argv: []string{"true"}, Timeout: -1})
			refuse("a stdin", backend.ErrInvalid, &backend.ExecRequest{Argv: []string{"true"}, Stdin: strings.NewReader("x")})
			refuse("a stdout", backend.ErrInvalid, &backend.ExecRequest{Argv: []string{"true"}, Stdout: io.Discard})
			refuse("a stderr", backend.ErrInvalid, &backend.ExecRequest{Argv: []string{"true"}, Stderr: io.Discard})
			refuse("a missing directory", backend.ErrNotFound, &backend.ExecRequest{Argv: []string{"true"}, Dir: t.path("missing")})
		},
	},
	{
		Name:     "background-id-twice",
		Sentence: "An id is started once, in the background too; the first is left alone.",
		Shell:    true,
		run: func(t *T) {
			sb, id := t.sandbox(), backend.NewID()
			req := func() *backend.ExecRequest {
				return &backend.ExecRequest{ID: id, Shell: "echo line >> ran; cat", KeepStdin: true, Dir: t.dir()}
			}
			t.start(sb, req())
			_, err := sb.Start(t.ctx, req())
			t.wantKind("start again", err, backend.ErrExists)
			again := req()
			again.KeepStdin = false
			t.wantKind("exec again", t.exec(again).err, backend.ErrExists)
			_, err = sb.WriteStdin(t.ctx, &backend.WriteStdinRequest{ID: id, Close: true})
			t.must("close its input", err)
			if r := t.ended(sb, id); r.Outcome != backend.OutcomeExit {
				t.Errorf("the first: %+v", r)
			}
			t.wantContent("ran", "line\n")
		},
	},
	{
		Name:     "background-outlives-call",
		Sentence: "A background command is bound to no caller: it outlives the end of the context that started it.",
		Shell:    true,
		run: func(t *T) {
			sb := t.sandbox()
			ctx, cancel := context.WithCancel(t.ctx)
			r, err := sb.Start(ctx, &backend.ExecRequest{Argv: []string{"cat"}, KeepStdin: true, Timeout: backend.Unlimited})
			cancel()
			t.must("start", err)
			t.later(func() { t.kill(sb, r.ID) })
			_, err = sb.WriteStdin(t.ctx, &backend.WriteStdinRequest{ID: r.ID, Content: strings.NewReader("alive"), Close: true})
			t.must("write stdin", err)
			if got := t.ended(sb, r.ID); got.Outcome != backend.OutcomeExit || got.StdoutBytes != 5 {
				t.Errorf("%+v", got)
			}
		},
	},
	{
		Name:     "background-by-later-handle",
		Sentence: "Status, output, stdin, signal and wait of a background command work from any later connection.",
		Shell:    true,
		run: func(t *T) {
			sb := t.sandbox()
			id := t.start(sb, &backend.ExecRequest{Shell: "trap 'echo caught' USR1; echo up; while :; do sleep 0.05; done", Timeout: backend.Unlimited})
			reader := t.start(sb, &backend.ExecRequest{Argv: []string{"cat"}, KeepStdin: true})
			later, err := t.kit.b.Open(t.ctx, &backend.OpenRequest{ID: sb.Info().ID})
			t.must("open", err)
			defer func() { t.must("close", later.Close()) }()
			t.printed(later, id, "up\n")
			t.must("signal", later.Signal(t.ctx, &backend.SignalRequest{ID: id, Signal: int(syscall.SIGUSR1)}))
			t.printed(later, id, "caught\n")
			_, err = later.WriteStdin(t.ctx, &backend.WriteStdinRequest{ID: reader, Content: strings.NewReader("typed"), Close: true})
			t.must("write stdin", err)
			if r := t.ended(later, reader); r.Outcome != backend.OutcomeExit || r.StdoutBytes != 5 {
				t.Errorf("wait: %+v", r)
			}
			k, err := later.Kill(t.ctx, &backend.KillRequest{ID: id})
			t.must("kill", err)
			if k.Result.Outcome != backend.OutcomeCancelled {
				t.Errorf("kill: %+v", k.Result)
			}
		},
	},
	{
		Name:     "background-outlives-connection",
		Sentence: "When a connection is lost, a background command that was started over it goes on.",
		Shell:    true, Another: true,
		run: func(t *T) {
			sb, id := t.sandbox(), backend.NewID()
			other := t.another()
			theirs, err := other.Open(t.ctx, &backend.OpenRequest{ID: sb.Info().ID})
			t.must("open", err)
			_, err = theirs.Start(t.ctx, &backend.ExecRequest{ID: id, Argv: []string{"cat"}, KeepStdin: true, Timeout: backend.Unlimited})
			t.must("start", err)
			t.later(func() { t.kill(sb, id) })
			t.must("shut the other down", other.Shutdown(t.ctx))
			_, err = sb.WriteStdin(t.ctx, &backend.WriteStdinRequest{ID: id, Content: strings.NewReader("alive"), Close: true})
			t.must("write stdin", err)
			if r := t.ended(sb, id); r.Outcome != backend.OutcomeExit || r.StdoutBytes != 5 {
				t.Errorf("%+v", r)
			}
		},
	},
	{
		Name:     "background-timeout",
		Sentence: "A background command is ended at its timeout, and its outcome says so.",
		Shell:    true,
		run: func(t *T) {
			sb := t.sandbox()
			id := t.start(sb, &backend.ExecRequest{Argv: []string{"sleep", "600"}, Timeout: 100 * time.Millisecond, Grace: new(time.Duration)})
			if r := t.ended(sb, id); r.Outcome != backend.OutcomeTimeout {
				t.Errorf("%+v", r)
			}
		},
	},
	{
		Name:     "background-output-limit",
		Sentence: "A cap that stops a background command is typed output_limited.",
		Shell:    true,
		run: func(t *T) {
			sb := t.sandbox()
			id := t.start(sb, &backend.ExecRequest{Argv: []string{"yes"}, OutputLimit: 100_000, Timeout: backend.Unlimited, Grace: new(time.Duration)})
			if r := t.ended(sb, id); r.Outcome != backend.OutcomeOutputLimited {
				t.Errorf("%+v", r)
			}
			if got, _ := t.kept(sb, &backend.ReadOutputRequest{ID: id}); len(got) != 100_000 {
				t.Errorf("%d bytes are kept of 100000", len(got))
			}
		},
	},
	{
		Name:     "wait-cancelled",
		Sentence: "Whoever waits for an exec may stop waiting; the exec goes on.",
		Shell:    true,
		run: func(t *T) {
			sb := t.sandbox()
			id := t.start(sb, &backend.ExecRequest{Argv: []string{"sleep", "600"}, Timeout: backend.Unlimited})
			ctx, cancel := context.WithTimeout(t.ctx, 50*time.Millisecond)
			defer cancel()
			_, err := sb.Outcome(ctx, &backend.OutcomeRequest{ID: id, Wait: true})
			t.wantKind("wait", err, context.DeadlineExceeded)
			r, err := sb.Outcome(t.ctx, &backend.OutcomeRequest{ID: id})
			t.must("outcome", err)
			if r.Result.Outcome != backend.OutcomeRunning {
				t.Errorf("afterwards: %+v", r.Result)
			}
		},
	},
	{
		Name:     "stdin-in-pieces",
		Sentence: "Stdin of a background command is exact, in as many pieces as the caller likes, and ends when it says so.",
		Shell:    true,
		run: func(t *T) {
			sb := t.sandbox()
			id := t.start(sb, &backend.ExecRequest{Argv: []string{"cat"}, KeepStdin: true})
			pieces := []string{"", "\x00\xff\r\n", string(noise(300_000)), "\xef\xbb\xbf", "end"}
			for _, p := range pieces {
				r, err := sb.WriteStdin(t.ctx, &backend.WriteStdinRequest{ID: id, Content: strings.NewReader(p)})
				t.must("write stdin", err)
				if r.Written != int64(len(p)) {
					t.Errorf("%d bytes taken of %d", r.Written, len(p))
				}
			}
			_, err := sb.WriteStdin(t.ctx, &backend.WriteStdinRequest{ID: id, Close: true})
			t.must("close", err)
			if r := t.ended(sb, id); r.Outcome != backend.OutcomeExit || r.ExitCode != 0 {
				t.Errorf("%+v", r)
			}
			if got, _ := t.kept(sb, &backend.ReadOutputRequest{ID: id}); got != strings.Join(pieces, "") {
				t.Errorf("%d bytes came back, or others", len(got))
			}
		},
	},
	{
		Name:     "stdin-waits",
		Sentence: "WriteStdin waits while the command does not read, and stops waiting when its context ends.",
		Shell:    true,
		run: func(t *T) {
			sb := t.sandbox()
			id := t.start(sb, &backend.ExecRequest{Argv: []string{"sleep", "600"}, KeepStdin: true, Timeout: backend.Unlimited})
			ctx, cancel := context.WithTimeout(t.ctx, 200*time.Millisecond)
			defer cancel()
			// Far above what any pipe and its transport hold.
			_, err := sb.WriteStdin(ctx, &backend.WriteStdinRequest{ID: id, Content: io.LimitReader(zeroes{}, 64<<20)})
			t.wantKind("write stdin", err, context.DeadlineExceeded)
		},
	},
	{
		Name:     "stdin-refused",
		Sentence: "Input for a command whose input is closed, or that has ended, is ErrConflict; for one that never was ErrNotFound.",
		Shell:    true,
		run: func(t *T) {
			sb := t.sandbox()
			give := func(id string) error {
				_, err := sb.WriteStdin(t.ctx, &backend.WriteStdinRequest{ID: id, Content: strings.NewReader("x")})
				return err
			}
			sleeping := &backend.ExecRequest{Argv: []string{"sleep", "600"}, Timeout: backend.Unlimited}
			t.wantKind("not kept", give(t.start(sb, sleeping)), backend.ErrConflict)
			closed := t.start(sb, &backend.ExecRequest{Argv: []string{"sleep", "600"}, Timeout: backend.Unlimited, KeepStdin: true})
			_, err := sb.WriteStdin(t.ctx, &backend.WriteStdinRequest{ID: closed, Close: true})
			t.must("close", err)
			t.wantKind("closed", give(closed), backend.ErrConflict)
			over := t.start(sb, &backend.ExecRequest{Argv: []string{"true"}, KeepStdin: true})
			t.ended(sb, over)
			t.wantKind("ended", give(over), backend.ErrConflict)
			t.wantKind("never was", give(backend.NewID()), backend.ErrNotFound)
		},
	},
	{
		Name:     "stdin-content-fails",
		Sentence: "An error of the content reader is returned; the input stays open.",
		Shell:    true,
		run: func(t *T) {
			sb := t.sandbox()
			id := t.start(sb, &backend.ExecRequest{Argv: []string{"cat"}, KeepStdin: true})
			broken := errors.New("reader broke")
			_, err := sb.WriteStdin(t.ctx, &backend.WriteStdinRequest{ID: id, Content: failing{broken}, Close: true})
			if !errors.Is(err, broken) {
				t.Errorf("%v, want %v", err, broken)
			}
			_, err = sb.WriteStdin(t.ctx, &backend.WriteStdinRequest{ID: id, Content: strings.NewReader("more"), Close: true})
			t.must("write stdin", err)
			if r := t.ended(sb, id); r.Outcome != backend.OutcomeExit || r.StdoutBytes != 4 {
				t.Errorf("%+v", r)
			}
		},
	},
}

// another returns a second way to the backend.
func (t *T) another() backend.Backend {
	b, err := t.kit.opts.Another(t.ctx)
	t.must("another", err)
	t.later(func() {
		if err := b.Shutdown(context.WithoutCancel(t.ctx)); err != nil {
			t.Errorf("shut the other down: %v", err)
		}
	})
	return b
}
