package backendtest_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/backend/backendtest"
)

// made does something to each sandbox that was made.
func made(do func(ctx context.Context, sb backend.Sandbox) error) brokenBackend {
	return brokenBackend{create: func(b backend.Backend, ctx context.Context, req *backend.CreateRequest) (backend.Sandbox, error) {
		sb, err := b.Create(ctx, req)
		if err == nil {
			err = do(ctx, sb)
		}
		return sb, err
	}}
}

// marking leaves a file in each sandbox.
func marking(path string) brokenBackend {
	return made(func(ctx context.Context, sb backend.Sandbox) error {
		_, err := sb.WriteFile(ctx, &backend.WriteFileRequest{Path: path})
		return err
	})
}

// setting gives each command a variable.
func setting(name, value string) brokenBackend {
	return execIn(func(r *backend.ExecRequest) {
		env := map[string]string{name: value}
		for k, v := range r.Env {
			if k != name {
				env[k] = v
			}
		}
		r.Env = env
	})
}

// running runs another program in the place of one.
func running(name string, argv ...string) brokenBackend {
	return execIn(func(r *backend.ExecRequest) {
		if len(r.Argv) > 0 && r.Argv[0] == name {
			r.Argv = argv
		}
	})
}

// noProgram is the error of what cannot do without a program of the image.
func noProgram(op string) error {
	return &backend.Error{Kind: backend.ErrNotFound, Op: op, Message: "there is no " + op}
}

// TestImageFaultsAreFound plants faults in what is made of an image.
func TestImageFaultsAreFound(t *testing.T) {
	t.Parallel()
	areFound(t, []planted{
		{"image-env-below-ours", "the image's is dropped", setting("KEPT", "")},
		{"image-env-below-ours", "the image's wins over the request's", setting("ASKED", "image")},
		{"image-env-below-ours", "the image's wins over the specification's", creating(func(r *backend.CreateRequest) { r.Spec.Env = nil })},
		{"image-env-below-ours", "the image's wins over the defaults", setting("LANG", "image")},
		{"image-home-writable", "HOME is the image's", setting("HOME", "/trap")},
		{"image-home-writable", "HOME is on disk", setting("HOME", "/workspace")},
		{"image-home-writable", "HOME is always the same", marking("/tmp/.mine")},
		{"image-user-not-taken", "commands are root's", running("id", "echo", "0")},
		{"image-volumes-are-tmpfs", "they cannot be written", brokenBackend{sandbox: brokenSandbox{write: func(s backend.Sandbox, ctx context.Context, req *backend.WriteFileRequest) (*backend.WriteFileReply, error) {
			if strings.HasPrefix(req.Path, "/cache/") {
				return nil, &backend.Error{Kind: backend.ErrPermission, Op: "write file", Path: req.Path}
			}
			return s.WriteFile(ctx, req)
		}}}},
		{"image-volumes-are-tmpfs", "they are on disk", running("cat", "true")},
		{"image-volumes-are-tmpfs", "they have no bound", writing(func(_ backend.Sandbox, _ context.Context, req *backend.WriteFileRequest) error {
			req.Content = io.LimitReader(req.Content, 1<<10)
			return nil
		})},
		{"image-volumes-are-tmpfs", "they are always the same", marking("/data/mine")},
		{"image-entrypoint-not-run", "it is run", marking("/tmp/entrypoint-ran")},
		{"image-entrypoint-not-run", "it stays", made(func(ctx context.Context, sb backend.Sandbox) error {
			_, err := sb.Start(ctx, &backend.ExecRequest{Argv: []string{"cat", "-", "/trap/entrypoint"}, KeepStdin: true})
			return err
		})},
		{"image-healthcheck-not-run", "it is run", marking("/tmp/healthcheck-ran")},
		{"image-bare-exec", "every command is a shell's", execIn(func(r *backend.ExecRequest) {
			r.Shell, r.Argv = strings.Join(r.Argv, " "), nil
		})},
		{"image-bare-exec", "every failure is exit code 1", resultOut(func(r *backend.ExecResult) { r.ExitCode = min(r.ExitCode, 1) })},
		{"image-bare-exec", "the environment is not passed", execIn(func(r *backend.ExecRequest) { r.Env = nil })},
		{"image-bare-exec", "input is not passed", execIn(func(r *backend.ExecRequest) { r.Stdin = nil })},
		{"image-bare-no-shell", "it is a program that is missing", execOut(func(r *backend.ExecResult, err error) (*backend.ExecResult, error) {
			if errors.Is(err, backend.ErrNotFound) {
				return &backend.ExecResult{Outcome: backend.OutcomeStartFailed, ExitCode: 127}, nil
			}
			return r, err
		})},
		{"image-bare-no-shell", "there is no way out", execOut(func(r *backend.ExecResult, err error) (*backend.ExecResult, error) {
			return r, altered(err, func(e *backend.Error) { e.Hint = "" })
		})},
		{"image-bare-files", "grep is a program", brokenBackend{sandbox: brokenSandbox{grep: func(backend.Sandbox, context.Context, *backend.GrepRequest) (*backend.GrepReply, error) {
			return nil, noProgram("grep")
		}}}},
		{"image-bare-files", "find is a program", brokenBackend{sandbox: brokenSandbox{glob: func(backend.Sandbox, context.Context, *backend.GlobRequest) (*backend.GlobReply, error) {
			return &backend.GlobReply{}, nil
		}}}},
		{"image-bare-files", "tar is a program", brokenBackend{sandbox: brokenSandbox{get: func(backend.Sandbox, context.Context, *backend.GetArchiveRequest) (io.ReadCloser, error) {
			return io.NopCloser(strings.NewReader("")), nil
		}}}},
		{"image-bare-kill", "one process gets away", brokenBackend{sandbox: brokenSandbox{exec: func(s backend.Sandbox, ctx context.Context, req *backend.ExecRequest) (*backend.ExecResult, error) {
			if _, err := s.Start(ctx, &backend.ExecRequest{Argv: req.Argv, Timeout: backend.Unlimited}); err != nil {
				return nil, err
			}
			return s.Exec(ctx, req)
		}}}},
		{"image-bare-kill", "a timeout is exit code 124", resultOut(func(r *backend.ExecResult) { r.ExitCode = 124 })},
	})
}

// TestLeftIsFound: what Destroy leaves is found at the end.
func TestLeftIsFound(t *testing.T) {
	t.Parallel()
	fake := backendtest.NewFake()
	b := brokenBackend{Backend: fake, destroy: func(backend.Backend, context.Context, *backend.DestroyRequest) error { return nil }}
	results, err := check(t, t.Context(), &b, backendtest.Opts{Only: []string{"exec-env", "nothing-left"}})
	if err != nil {
		t.Fatal(err)
	}
	wantFail(t, results, "nothing-left", "is still there after it was destroyed")
}
