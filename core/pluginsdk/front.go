package pluginsdk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"

	"github.com/deep-sandbox/deep/core/backend"
)

// exitTimeout bounds what a plugin still does once its host is gone. It must be
// out of the way within 2 s; what it does not manage the guest's lease does.
const exitTimeout = 1700 * time.Millisecond

// inner is a backend that was configured: guest-backed or native.
type inner interface {
	backend.Backend
	// abandon destroys what a host that is gone, or says nothing more, left.
	abandon(ctx context.Context) error
}

// front is the plugin's Backend as the host sees it: it answers Describe at any
// time and hands the rest to inner once there is one.
type front struct {
	plugin Plugin
	opts   []option
	log    hclog.Logger

	configuring sync.Mutex
	inner       atomic.Pointer[inner]
	abandonOnce sync.Once
}

var _ backend.Backend = (*front)(nil)

// newFront checks what the plugin's author wrote.
func newFront(p Plugin) (*front, error) {
	opts, err := options(p.Config)
	switch {
	case err != nil:
		return nil, err
	case !validName(p.Name):
		return nil, fmt.Errorf("Plugin.Name is %q, use a-z, 0-9 and -", p.Name)
	case p.Version == "" || p.Summary == "":
		return nil, errors.New("Plugin.Version or Plugin.Summary is missing")
	case (p.NewProvisioner == nil) == (p.NewBackend == nil):
		return nil, errors.New("want exactly one of Plugin.NewProvisioner and Plugin.NewBackend")
	}
	return &front{plugin: p, opts: opts, log: hclog.NewNullLogger()}, nil
}

// validName reports whether name may stand in `backend "NAME"` and in a file
// name.
func validName(name string) bool {
	for i, c := range name {
		letter := c >= 'a' && c <= 'z'
		if !letter && (i == 0 || c != '-' && (c < '0' || c > '9')) {
			return false
		}
	}
	return name != ""
}

func (f *front) description() *backend.Description {
	caps := slices.Clone(f.plugin.Capabilities)
	if f.plugin.NewProvisioner != nil {
		caps = append(caps, backend.CapTTY, backend.CapDial, backend.CapProcesses)
	}
	slices.Sort(caps)
	return &backend.Description{
		Name:         f.plugin.Name,
		Version:      f.plugin.Version,
		Summary:      f.plugin.Summary,
		Schema:       schemaOf(f.opts),
		Capabilities: slices.Compact(caps),
	}
}

// Describe implements backend.Backend.
func (f *front) Describe(context.Context) (*backend.Description, error) {
	return f.description(), nil
}

// Configure implements backend.Backend. One that failed may be tried again.
func (f *front) Configure(ctx context.Context, req *backend.ConfigureRequest) error {
	if !f.configuring.TryLock() {
		return f.failure("configure", &backend.Error{Kind: backend.ErrExists, Message: "it is being configured"})
	}
	defer f.configuring.Unlock()
	if f.inner.Load() != nil {
		return f.failure("configure", &backend.Error{Kind: backend.ErrExists, Message: "it was configured before", Hint: "start another process"})
	}
	in, err := f.configure(ctx, req)
	if err != nil {
		return f.failure("configure", err)
	}
	f.inner.Store(&in)
	return nil
}

func (f *front) configure(ctx context.Context, req *backend.ConfigureRequest) (inner, error) {
	if err := decode(req.Config, f.opts, f.plugin.Config); err != nil {
		return nil, err
	}
	if err := privateDir(req.StateDir); err != nil {
		return nil, err
	}
	env := Env{Name: f.plugin.Name, StateDir: req.StateDir, Owner: req.Owner, Log: f.log}
	if f.plugin.NewBackend != nil {
		b, err := f.plugin.NewBackend(ctx, env)
		if err != nil {
			return nil, err
		}
		return newNative(b), nil
	}
	p, err := f.plugin.NewProvisioner(ctx, env)
	if err != nil {
		return nil, err
	}
	return newGuestBacked(p, env, f.description(), NewGuestProgram(req.GuestDir)), nil //nolint:contextcheck // it outlives Configure
}

// privateDir makes the directory if there is none, and refuses one that others
// may look into: it may hold keys and the record of what is ours.
func privateDir(path string) error {
	if path == "" {
		return &backend.Error{Kind: backend.ErrInvalid, Path: "state directory", Message: "the host named none"}
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		kind := backend.ErrPermission
		if !errors.Is(err, fs.ErrPermission) {
			kind = backend.ErrUnavailable
		}
		return &backend.Error{Kind: kind, Path: path, Message: "cannot make the state directory", Err: err}
	}
	info, err := os.Lstat(path)
	switch {
	case err != nil:
		return &backend.Error{Kind: backend.ErrUnavailable, Path: path, Err: err}
	case !info.IsDir():
		return &backend.Error{Kind: backend.ErrNotDirectory, Path: path, Message: "the state directory is none"}
	case info.Mode().Perm()&0o077 != 0:
		return &backend.Error{Kind: backend.ErrPermission, Path: path,
			Message: "the state directory is open to others", Hint: "chmod 700 " + backend.Printable(path)}
	}
	return nil
}

// get returns the configured backend.
func (f *front) get(op string) (inner, error) {
	in := f.inner.Load()
	if in == nil {
		return nil, f.failure(op, &backend.Error{Kind: backend.ErrInvalid, Message: "it has not been configured yet"})
	}
	return *in, nil
}

// failure fills in what an author need not repeat in each error.
func (f *front) failure(op string, err error) error {
	return annotate(err, f.plugin.Name, op)
}

// abandon ends the plugin's work without a host, once, within exitTimeout.
func (f *front) abandon() {
	f.abandonOnce.Do(func() {
		in := f.inner.Load()
		if in == nil {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), exitTimeout)
		defer cancel()
		done := make(chan error, 1)
		go func() { done <- (*in).abandon(ctx) }()
		select {
		case err := <-done:
			if err != nil {
				f.log.Warn("could not clean up after the host", "error", err)
			}
		case <-ctx.Done():
			f.log.Warn("no time left to clean up after the host")
		}
	})
}

// registerSandbox serves what happens inside sandboxes. Which kind of backend it
// will be is known before it is configured.
func (f *front) registerSandbox(server grpc.ServiceRegistrar) {
	if f.plugin.NewBackend != nil {
		registerNative(server, f)
		return
	}
	registerForward(server, f)
}

// Check implements backend.Backend.
func (f *front) Check(ctx context.Context) (*backend.CheckReport, error) {
	in, err := f.get("check")
	if err != nil {
		return nil, err
	}
	report, err := in.Check(ctx)
	return report, f.failure("check", err)
}

// Create implements backend.Backend.
func (f *front) Create(ctx context.Context, req *backend.CreateRequest) (backend.Sandbox, error) {
	in, err := f.get("create")
	if err != nil {
		return nil, err
	}
	sb, err := in.Create(ctx, req)
	if err != nil {
		return nil, f.failure("create", err)
	}
	return sb, nil
}

// Open implements backend.Backend.
func (f *front) Open(ctx context.Context, req *backend.OpenRequest) (backend.Sandbox, error) {
	in, err := f.get("open")
	if err != nil {
		return nil, err
	}
	sb, err := in.Open(ctx, req)
	if err != nil {
		return nil, f.failure("open", err)
	}
	return sb, nil
}

// Inspect implements backend.Backend.
func (f *front) Inspect(ctx context.Context, req *backend.InspectRequest) (*backend.SandboxInfo, error) {
	in, err := f.get("inspect")
	if err != nil {
		return nil, err
	}
	info, err := in.Inspect(ctx, req)
	return info, f.failure("inspect", err)
}

// List implements backend.Backend.
func (f *front) List(ctx context.Context, req *backend.ListRequest) (*backend.ListSandboxesReply, error) {
	in, err := f.get("list")
	if err != nil {
		return nil, err
	}
	reply, err := in.List(ctx, req)
	return reply, f.failure("list", err)
}

// Stop implements backend.Backend.
func (f *front) Stop(ctx context.Context, req *backend.StopRequest) error {
	in, err := f.get("stop")
	if err != nil {
		return err
	}
	return f.failure("stop", in.Stop(ctx, req))
}

// Destroy implements backend.Backend.
func (f *front) Destroy(ctx context.Context, req *backend.DestroyRequest) error {
	in, err := f.get("destroy")
	if err != nil {
		return err
	}
	return f.failure("destroy", in.Destroy(ctx, req))
}

// RemoveWorkspace implements backend.Backend.
func (f *front) RemoveWorkspace(ctx context.Context, req *backend.RemoveWorkspaceRequest) error {
	in, err := f.get("remove workspace")
	if err != nil {
		return err
	}
	return f.failure("remove workspace", in.RemoveWorkspace(ctx, req))
}

// Shutdown implements backend.Backend. Before Configure there is nothing to end.
func (f *front) Shutdown(ctx context.Context) error {
	in := f.inner.Load()
	if in == nil {
		return nil
	}
	return f.failure("shutdown", (*in).Shutdown(ctx))
}
