package backendtest

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"

	"github.com/deep-sandbox/deep/core/backend"
)

// watch makes one call of the backend on behalf of a rule. A panic in it is a
// problem of the rule, in whatever goroutine, and an error to the caller.
func watch[V any](t *T, op string, call func() (V, error)) (v V, err error) {
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		if _, stopped := p.(stopRule); stopped {
			panic(p) // of the rule's own, in a callback
		}
		t.Errorf("%s: panic: %v, at %s", op, p, origin(debug.Stack()))
		err = &backend.Error{Kind: backend.ErrUnavailable, Op: op, Message: fmt.Sprintf("the backend panicked: %v", p)}
	}()
	return call()
}

// supported is watch for an operation of a sandbox that every backend has, or whoever
// declares the capability: that it is not supported is a problem, whatever the
// rule makes of it.
func supported[V any](t *T, op string, needs backend.Capability, call func() (V, error)) (V, error) {
	v, err := watch(t, op, call)
	switch {
	case !errors.Is(err, backend.ErrUnsupported):
	case needs == "":
		t.Errorf("%s is not supported, and no capability makes that right: %v", op, err)
	case slices.Contains(t.kit.caps, needs):
		t.Errorf("%s is not supported, though the backend declares %s: %v", op, needs, err)
	}
	return v, err
}

// done makes a call of one that returns an error alone.
func done(call func() error) func() (struct{}, error) {
	return func() (struct{}, error) { return struct{}{}, call() }
}

// watchedBackend is a backend whose calls are watched.
type watchedBackend struct {
	backend.Backend
	t *T
}

// sandbox watches what Create or Open returned.
func (b *watchedBackend) sandbox(sb backend.Sandbox, err error) (backend.Sandbox, error) {
	if err != nil {
		return nil, err
	}
	if sb == nil {
		b.t.Fatalf("neither a sandbox nor an error was returned")
	}
	return &watchedSandbox{sb, b.t}, nil
}

// Create implements backend.Backend.
func (b *watchedBackend) Create(ctx context.Context, req *backend.CreateRequest) (backend.Sandbox, error) {
	return b.sandbox(watch(b.t, "create", func() (backend.Sandbox, error) { return b.Backend.Create(ctx, req) }))
}

// Open implements backend.Backend.
func (b *watchedBackend) Open(ctx context.Context, req *backend.OpenRequest) (backend.Sandbox, error) {
	return b.sandbox(watch(b.t, "open", func() (backend.Sandbox, error) { return b.Backend.Open(ctx, req) }))
}

// Describe implements backend.Backend.
func (b *watchedBackend) Describe(ctx context.Context) (*backend.Description, error) {
	return watch(b.t, "describe", func() (*backend.Description, error) { return b.Backend.Describe(ctx) })
}

// Check implements backend.Backend.
func (b *watchedBackend) Check(ctx context.Context) (*backend.CheckReport, error) {
	return watch(b.t, "check", func() (*backend.CheckReport, error) { return b.Backend.Check(ctx) })
}

// Inspect implements backend.Backend.
func (b *watchedBackend) Inspect(ctx context.Context, req *backend.InspectRequest) (*backend.SandboxInfo, error) {
	return watch(b.t, "inspect", func() (*backend.SandboxInfo, error) { return b.Backend.Inspect(ctx, req) })
}

// List implements backend.Backend.
func (b *watchedBackend) List(ctx context.Context, req *backend.ListRequest) (*backend.ListSandboxesReply, error) {
	return watch(b.t, "list", func() (*backend.ListSandboxesReply, error) { return b.Backend.List(ctx, req) })
}

// Configure implements backend.Backend.
func (b *watchedBackend) Configure(ctx context.Context, req *backend.ConfigureRequest) error {
	_, err := watch(b.t, "configure", done(func() error { return b.Backend.Configure(ctx, req) }))
	return err
}

// Stop implements backend.Backend.
func (b *watchedBackend) Stop(ctx context.Context, req *backend.StopRequest) error {
	_, err := watch(b.t, "stop", done(func() error { return b.Backend.Stop(ctx, req) }))
	return err
}

// Destroy implements backend.Backend.
func (b *watchedBackend) Destroy(ctx context.Context, req *backend.DestroyRequest) error {
	_, err := watch(b.t, "destroy", done(func() error { return b.Backend.Destroy(ctx, req) }))
	return err
}

// RemoveWorkspace implements backend.Backend.
func (b *watchedBackend) RemoveWorkspace(ctx context.Context, req *backend.RemoveWorkspaceRequest) error {
	_, err := watch(b.t, "remove workspace", done(func() error { return b.Backend.RemoveWorkspace(ctx, req) }))
	return err
}
