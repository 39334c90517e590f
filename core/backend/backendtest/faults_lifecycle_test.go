package backendtest_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/backend/backendtest"
)

// saying is a backend that says something else of itself.
type saying struct {
	backend.Backend
	describe  func(*backend.Description)
	check     func(*backend.CheckReport)
	configure func(error) error
}

func (s saying) Describe(ctx context.Context) (*backend.Description, error) {
	d, err := s.Backend.Describe(ctx)
	if err == nil && s.describe != nil {
		s.describe(d)
	}
	return d, err
}

func (s saying) Check(ctx context.Context) (*backend.CheckReport, error) {
	r, err := s.Backend.Check(ctx)
	if err == nil && s.check != nil {
		s.check(r)
	}
	return r, err
}

func (s saying) Configure(ctx context.Context, req *backend.ConfigureRequest) error {
	err := s.Backend.Configure(ctx, req)
	if s.configure != nil {
		err = s.configure(err)
	}
	return err
}

// TestBackendFaultsAreFound plants faults in what a backend says of itself.
func TestBackendFaultsAreFound(t *testing.T) {
	t.Parallel()
	// A fake that says it has images takes every name for one.
	images := saying{describe: func(d *backend.Description) { d.Capabilities = slices.Insert(d.Capabilities, 1, backend.CapImages) }}
	for rule, b := range map[string]saying{
		"describe":                   {describe: func(d *backend.Description) { d.Summary = "two\nlines" }},
		"check":                      {check: func(r *backend.CheckReport) { r.Layers[0].Detail = "" }},
		"configure-twice":            {configure: func(error) error { return nil }},
		"image-missing":              images,
		"image-bad-reference":        images,
		"image-registry-unreachable": images,
	} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			b.Backend = backendtest.NewFake()
			err := backendtest.Test(t.Context(), b, backendtest.Opts{Shell: true, Only: []string{rule}})
			var finding *backendtest.Finding
			if !errors.As(err, &finding) {
				t.Errorf("not found; the rule says %v", err)
			}
		})
	}
}

func creating(change func(*backend.CreateRequest)) brokenBackend {
	return brokenBackend{create: func(b backend.Backend, ctx context.Context, req *backend.CreateRequest) (backend.Sandbox, error) {
		r := *req
		change(&r)
		return b.Create(ctx, &r)
	}}
}

// unexamined is a sandbox of which nobody has looked what is in force in it.
type unexamined struct{ backend.Sandbox }

func (s unexamined) Info() backend.SandboxInfo {
	i := s.Sandbox.Info()
	i.Isolation = nil
	return i
}

// TestLifecycleFaultsAreFound plants faults in how sandboxes begin and end.
func TestLifecycleFaultsAreFound(t *testing.T) {
	t.Parallel()
	areFound(t, []planted{
		{"backend-cancelled-before", "a context that has ended is not looked at", brokenBackend{inspect: func(b backend.Backend, ctx context.Context, req *backend.InspectRequest) (*backend.SandboxInfo, error) {
			return b.Inspect(context.WithoutCancel(ctx), req)
		}}},
		{"create-invalid-id", "an id is mended", creating(func(r *backend.CreateRequest) { r.ID = strings.ReplaceAll(r.ID, " ", "-") })},
		{"create-cancelled-late", "a cancelled create leaves its sandbox", brokenBackend{create: func(b backend.Backend, ctx context.Context, req *backend.CreateRequest) (backend.Sandbox, error) {
			sb, err := b.Create(context.WithoutCancel(ctx), req)
			if err == nil && ctx.Err() != nil {
				return nil, &backend.Error{Kind: ctx.Err(), Op: "create"}
			}
			return sb, err
		}}},
		{"destroy-at-once", "the second is refused", brokenBackend{destroy: func(b backend.Backend, ctx context.Context, req *backend.DestroyRequest) error {
			if _, err := b.Inspect(ctx, &backend.InspectRequest{ID: req.ID}); err != nil {
				return err
			}
			return b.Destroy(ctx, req)
		}}},
		{"isolation", "commands are another user", execIn(func(r *backend.ExecRequest) { r.Shell = "echo 0; echo 0; ulimit -c" })},
		{"isolation", "a limit is not applied", creating(func(r *backend.CreateRequest) { r.Spec.PIDs = 0 })},
		{"isolation", "it is forgotten", brokenBackend{open: func(b backend.Backend, ctx context.Context, req *backend.OpenRequest) (backend.Sandbox, error) {
			sb, err := b.Open(ctx, req)
			return unexamined{sb}, err
		}}},
		{"open", "it is another one", brokenBackend{open: func(b backend.Backend, ctx context.Context, req *backend.OpenRequest) (backend.Sandbox, error) {
			if _, err := b.Open(ctx, req); err != nil {
				return nil, err
			}
			return b.Create(ctx, &backend.CreateRequest{ID: backend.NewID()})
		}}},
		{"sandboxes-apart", "all have one workspace", creating(func(r *backend.CreateRequest) { r.Spec.Workspace.Name = "one" })},
		{"spec-env", "the specification wins", execIn(func(r *backend.ExecRequest) { delete(r.Env, "A") })},
		{"spec-workspace-path", "the path is the default", creating(func(r *backend.CreateRequest) { r.Spec.Workspace.Path = "" })},
		{"workspace-removed", "a workspace is kept all the same", brokenBackend{destroy: func(b backend.Backend, ctx context.Context, req *backend.DestroyRequest) error {
			return b.Destroy(ctx, &backend.DestroyRequest{ID: req.ID, KeepWorkspace: true})
		}}},
		{"stop-keeps-files", "stopping is destroying", brokenBackend{stop: func(b backend.Backend, ctx context.Context, req *backend.StopRequest) error {
			return b.Destroy(ctx, &backend.DestroyRequest{ID: req.ID})
		}}},
		{"stop-under-exec", "a command that was stopped has exited", execOut(func(r *backend.ExecResult, _ error) (*backend.ExecResult, error) {
			return r, nil
		})},
		{"idle", "a sandbox lives for ever", creating(func(r *backend.CreateRequest) { r.Spec.IdleTimeout = 0 })},
		{"idle", "a long command is idle", creating(func(r *backend.CreateRequest) { r.Spec.MaxLifetime = time.Second })},
		{"home-writable", "there is no HOME", execIn(func(r *backend.ExecRequest) { r.Env = map[string]string{"HOME": "/bin"} })},
		{"processes-tree", "all are the first one's", listedWith(func(r *backend.ProcessesReply) {
			for i := range r.Processes {
				r.Processes[i].PPID = 1
			}
		})},
	})
}
