package backendtest

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/deep-sandbox/deep/core/backend"
)

var endRules = []Rule{
	{
		Name:     "create-cancelled-late",
		Sentence: "Create is all or nothing: cancelled when it is about to start, it leaves nothing, and the id is free.",
		run: func(t *T) {
			id := backend.NewID()
			ctx, cancel := context.WithCancel(t.ctx)
			defer cancel()
			_, err := t.createWith(ctx, id, nil, func(p backend.Progress) {
				if p.Phase == backend.PhaseStart {
					cancel()
				}
			})
			if err == nil {
				return // it was done before it could be told
			}
			t.wantKind("create", err, context.Canceled)
			t.wantNothing(id)
			_, err = t.create(id, nil)
			t.must("create the same again", err)
		},
	},
	{
		Name:     "destroy-at-once",
		Sentence: "Destroy is idempotent, also when many ask for it at once.",
		run: func(t *T) {
			id := t.newSandbox(nil).Info().ID
			var wg sync.WaitGroup
			for range 5 {
				wg.Go(func() {
					if err := t.kit.b.Destroy(t.ctx, &backend.DestroyRequest{ID: id}); err != nil {
						t.Errorf("destroy: %v", err)
					}
				})
			}
			wg.Wait()
			t.wantNothing(id)
		},
	},
	{
		Name:     "stop-keeps-files",
		Sentence: "Stop keeps files and may be reopened: a sandbox made on the workspace of a stopped one has them.",
		Needs:    backend.CapKeepWorkspace,
		run: func(t *T) {
			name := backend.NewID()
			named := func(s *backend.Spec) { s.Workspace.Name = name }
			sb := t.newSandbox(named)
			_, err := sb.WriteFile(t.ctx, &backend.WriteFileRequest{Path: "kept", Content: strings.NewReader("x")})
			t.must("write", err)
			t.must("stop", t.kit.b.Stop(t.ctx, &backend.StopRequest{ID: sb.Info().ID}))
			again := t.newSandbox(named)
			if got, err := readAll(t.ctx, again, &backend.ReadFileRequest{Path: "kept"}); err != nil || got != "x" {
				t.Errorf("reopened: %q, %v", got, err)
			}
			t.must("destroy the stopped one", t.kit.b.Destroy(t.ctx, &backend.DestroyRequest{ID: sb.Info().ID, KeepWorkspace: true}))
		},
	},
	{
		Name:     "stop-under-exec",
		Sentence: "Stop ends everything that runs: a command in the foreground is ErrGone, one in the background is gone with its sandbox.",
		Shell:    true,
		run: func(t *T) {
			sb := t.newSandbox(nil)
			var out collector
			wait := t.running(t.ctx, sb, &backend.ExecRequest{Shell: "echo up; sleep 600", Timeout: backend.Unlimited, Stdout: &out})
			r, err := sb.Start(t.ctx, &backend.ExecRequest{Argv: []string{"sleep", "600"}, Timeout: backend.Unlimited})
			t.must("start", err)
			t.eventually("it is up", func() bool { return out.holds("up\n") })
			waited := make(chan error, 1)
			go func() {
				_, err := sb.Outcome(t.ctx, &backend.OutcomeRequest{ID: r.ID, Wait: true})
				waited <- err
			}()
			t.must("stop", t.kit.b.Stop(t.ctx, &backend.StopRequest{ID: sb.Info().ID}))
			t.wantKind("exec", wait().err, backend.ErrGone)
			// It may have been told of the end of the command before that of the sandbox.
			if err := <-waited; err != nil {
				t.wantKind("wait", err, backend.ErrGone)
			}
			t.wantGone(sb)
			for what, err := range map[string]error{
				"start":   second(sb.Start(t.ctx, &backend.ExecRequest{Argv: []string{"true"}})),
				"outcome": second(sb.Outcome(t.ctx, &backend.OutcomeRequest{ID: r.ID})),
				"output":  second(sb.ReadOutput(t.ctx, &backend.ReadOutputRequest{ID: r.ID})),
				"stdin":   second(sb.WriteStdin(t.ctx, &backend.WriteStdinRequest{ID: r.ID, Content: strings.NewReader("x")})),
				"signal":  sb.Signal(t.ctx, &backend.SignalRequest{ID: r.ID, Signal: 15}),
				"kill":    second(sb.Kill(t.ctx, &backend.KillRequest{ID: r.ID})),
			} {
				if !errors.Is(err, backend.ErrGone) {
					t.Errorf("%s: %v, want %q", what, err, backend.ErrGone)
				}
			}
		},
	},
	{
		Name:     "idle",
		Sentence: "Idle means: no command running and no call in progress for idle_timeout. A long command is not idle; then the sandbox ends.",
		Shell:    true,
		run: func(t *T) {
			sb := t.newSandbox(func(s *backend.Spec) { s.IdleTimeout = time.Second })
			t.wantExit("a long command", t.execIn(t.ctx, sb, &backend.ExecRequest{Argv: []string{"sleep", "1.5"}}), 0)
			id := sb.Info().ID
			t.eventually("it has ended", func() bool {
				info, err := t.kit.b.Inspect(t.ctx, &backend.InspectRequest{ID: id})
				return errors.Is(err, backend.ErrNotFound) || err == nil && info.State == backend.StateStopped
			})
			_, err := t.kit.b.Open(t.ctx, &backend.OpenRequest{ID: id})
			t.wantKind("open", err, backend.ErrGone)
		},
	},
	{
		Name:     "home-writable",
		Sentence: "HOME is a writable directory, in every sandbox afresh.",
		Shell:    true,
		run: func(t *T) {
			r := t.exec(&backend.ExecRequest{Shell: `echo kept > "$HOME/.of-` + t.rule.Name + `" && cat "$HOME/.of-` + t.rule.Name + `"`})
			t.wantExit("write", r, 0)
			t.wantOutput("write", r, "kept\n")
		},
	},
}

func second[T any](_ T, err error) error { return err }
