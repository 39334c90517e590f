package backendtest

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"github.com/deep-sandbox/deep/core/backend"
)

func readAll(ctx context.Context, sb backend.Sandbox, req *backend.ReadFileRequest) (string, error) {
	f, err := sb.ReadFile(ctx, req)
	if err != nil {
		return "", err
	}
	data, err := io.ReadAll(f)
	return string(data), errors.Join(err, f.Close())
}

// ran is what came of a command.
type ran struct {
	*backend.ExecResult
	stdout, stderr string
	err            error
}

// exec runs a command in the shared sandbox and takes its output.
func (t *T) exec(req *backend.ExecRequest) ran { return t.execIn(t.ctx, t.sandbox(), req) }

func (t *T) execIn(ctx context.Context, sb backend.Sandbox, req *backend.ExecRequest) ran {
	var stdout, stderr strings.Builder
	if req.Stdout == nil {
		req.Stdout = &stdout
	}
	if req.Stderr == nil {
		req.Stderr = &stderr
	}
	res, err := sb.Exec(ctx, req)
	return ran{res, stdout.String(), stderr.String(), err}
}

// sh runs a script in the rule's own directory; it must succeed.
func (t *T) sh(script string) ran {
	r := t.exec(&backend.ExecRequest{Shell: script, Dir: t.dir()})
	t.must("sh: "+script, r.err)
	if r.Outcome != backend.OutcomeExit || r.ExitCode != 0 {
		t.Fatalf("sh: %s: %s, exit code %d, stderr %s", script, r.Outcome, r.ExitCode, short(r.stderr))
	}
	return r
}

// wantExit notes a problem unless the command ended by itself with code.
func (t *T) wantExit(what string, r ran, code int) {
	t.must(what, r.err)
	if r.Outcome != backend.OutcomeExit || r.ExitCode != code || r.Signal != 0 || r.StartError != "" {
		t.Errorf("%s: outcome %q, exit code %d, signal %d, start error %q; want an exit with %d",
			what, r.Outcome, r.ExitCode, r.Signal, r.StartError, code)
	}
}

func (t *T) wantOutput(what string, r ran, stdout string) {
	t.must(what, r.err)
	if r.stdout != stdout {
		t.Errorf("%s: output %s, want %s", what, short(r.stdout), short(stdout))
	}
}

// eventually waits until cond holds, and notes a problem if it never does.
func (t *T) eventually(what string, cond func() bool) {
	deadline := time.Now().Add(t.kit.opts.Timeout / 4)
	for !cond() {
		if time.Now().After(deadline) || t.ctx.Err() != nil {
			t.Errorf("never: %s", what)
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// exists reports whether there is a file of that name.
func (t *T) exists(name string) bool {
	_, err := t.sandbox().Stat(t.ctx, &backend.StatRequest{Path: t.path(name)})
	return err == nil
}
