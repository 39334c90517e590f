package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/containers/podman/v5/pkg/bindings/containers"
	"github.com/containers/podman/v5/pkg/bindings/volumes"
	"github.com/containers/podman/v5/pkg/domain/entities/types"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/pluginsdk"
)

// podmanBackend makes sandboxes with one service.
type podmanBackend struct {
	config  Config
	env     pluginsdk.Env
	address pluginsdk.EngineAddress

	mu sync.Mutex
	// conn carries the connection for the bindings; nil before the first call.
	conn  context.Context //nolint:containedctx // how the bindings keep a connection
	known *facts
	// asked is when known was learnt.
	asked time.Time
	// newWorkspaces are the kept workspaces this process made, by sandbox: to be
	// undone also when the container is gone already.
	newWorkspaces map[string]string

	// placing is held while the guest's volume of a remote service is filled.
	placing sync.Mutex
	// placed are the volumes known to hold a guest.
	placed map[string]bool
}

var _ pluginsdk.Provisioner = (*podmanBackend)(nil)

// newBackend asks the service nothing: one that is not there is for the first
// call to tell.
func newBackend(config Config, env pluginsdk.Env) (*podmanBackend, error) {
	if config.Host == "" {
		config.Host = defaultHost()
	}
	address := pluginsdk.EngineAddress{
		Engine: "Podman service", Address: config.Host, Variable: "CONTAINER_HOST",
		Start: "start it, as in `sudo systemctl start podman.socket` (`systemctl --user …` for a user's own), or install it, as in `sudo apt install podman`",
		Join:  "use this user's own service, as in `systemctl --user start podman.socket`",
	}
	scheme, rest, _ := strings.Cut(config.Host, "://")
	switch scheme {
	case "unix":
		address.Socket = rest
	case "tcp", "ssh":
	default:
		return nil, &backend.Error{Kind: backend.ErrInvalid, Path: "host",
			Message: backend.Printable(config.Host) + " is no address of a Podman service",
			Hint:    "write unix:///run/podman/podman.sock, tcp://HOST:PORT or ssh://USER@HOST/run/podman/podman.sock"}
	}
	return &podmanBackend{config: config, env: env, address: address,
		newWorkspaces: map[string]string{}, placed: map[string]bool{}}, nil
}

// defaultHost is where Podman's own tools look.
func defaultHost() string {
	dir := "/run"
	if uid := os.Getuid(); uid != 0 {
		dir = os.Getenv("XDG_RUNTIME_DIR")
		if dir == "" {
			dir = "/run/user/" + strconv.Itoa(uid)
		}
	}
	return "unix://" + filepath.Join(dir, "podman/podman.sock")
}

// Close implements pluginsdk.Provisioner.
func (b *podmanBackend) Close() error {
	b.disconnect()
	return nil
}

// Inspect implements pluginsdk.Provisioner.
func (b *podmanBackend) Inspect(ctx context.Context, req *backend.InspectRequest) (*backend.SandboxInfo, error) {
	found, err := b.find(ctx, req.ID)
	switch {
	case err != nil:
		return nil, err
	case found == nil:
		return nil, pluginsdk.EngineNoSandbox(req.ID)
	}
	info := infoOf(found)
	return &info, nil
}

// List implements pluginsdk.Provisioner.
func (b *podmanBackend) List(ctx context.Context, _ *backend.ListRequest) (*backend.ListSandboxesReply, error) {
	list, err := b.list(ctx, pluginsdk.LabelSandbox)
	if err != nil {
		return nil, err
	}
	reply := &backend.ListSandboxesReply{Sandboxes: make([]backend.SandboxInfo, 0, len(list))}
	for _, c := range list {
		reply.Sandboxes = append(reply.Sandboxes, infoOf(&c))
	}
	return reply, nil
}

// list returns the containers of ours that have a label, in whatever state.
func (b *podmanBackend) list(ctx context.Context, label string) ([]types.ListContainer, error) {
	api, err := b.api(ctx)
	if err != nil {
		return nil, err
	}
	list, err := containers.List(api, new(containers.ListOptions).WithAll(true).WithFilters(map[string][]string{
		"label": {pluginsdk.LabelManaged + "=true", label}}))
	return list, b.failure(err, "")
}

// findAll returns the containers of a sandbox, in whatever state: one, but for
// the moment in which it is being stopped. They are found by their labels alone:
// a name proves nothing.
func (b *podmanBackend) findAll(ctx context.Context, id string) ([]types.ListContainer, error) {
	return b.list(ctx, pluginsdk.LabelSandbox+"="+id)
}

// find returns the container of a sandbox, nil if there is none.
func (b *podmanBackend) find(ctx context.Context, id string) (*types.ListContainer, error) {
	list, err := b.findAll(ctx, id)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	for i := range list {
		if list[i].Labels[pluginsdk.LabelStopped] == "" {
			return &list[i], nil
		}
	}
	return &list[0], nil
}

// refuseForeign is an ErrConflict if there is a container with the name of a
// sandbox that has not its labels.
func (b *podmanBackend) refuseForeign(ctx context.Context, id string) error {
	api, err := b.api(ctx)
	if err != nil {
		return err
	}
	found, err := containers.Inspect(api, pluginsdk.EngineContainer(id), nil)
	switch {
	case notFound(err):
		return nil
	case err != nil:
		return b.failure(err, id)
	case found.Config != nil && found.Config.Labels[pluginsdk.LabelSandbox] == id:
		return nil
	}
	return pluginsdk.EngineForeign(id)
}

func infoOf(c *types.ListContainer) backend.SandboxInfo {
	info := pluginsdk.InfoFromLabels(c.Labels)
	if info.Created.IsZero() {
		info.Created = c.Created
	}
	info.Image = c.Labels[pluginsdk.LabelImage]
	info.EngineID = c.ID
	info.State = stateOf(c.State)
	if c.Labels[pluginsdk.LabelStopped] != "" {
		info.State = backend.StateStopped
	}
	return info
}

func stateOf(state string) backend.SandboxState {
	switch state {
	case "created", "configured", "initialized":
		return backend.StateCreating
	case "running":
		return backend.StateRunning
	case "paused":
		return backend.StatePaused
	}
	return backend.StateStopped // exited, stopped, stopping, removing, unknown
}

// Destroy implements pluginsdk.Provisioner.
func (b *podmanBackend) Destroy(ctx context.Context, req *backend.DestroyRequest) error {
	if err := b.refuseForeign(ctx, req.ID); err != nil {
		return err
	}
	found, err := b.findAll(ctx, req.ID)
	if err != nil {
		return err
	}
	b.mu.Lock()
	workspace := b.newWorkspaces[req.ID]
	b.mu.Unlock()
	for _, c := range found {
		workspace = c.Labels[pluginsdk.LabelWorkspace]
		if err := b.remove(ctx, c.ID, req.ID); err != nil {
			return err
		}
	}
	if workspace != "" && !req.KeepWorkspace {
		if err := b.RemoveWorkspace(ctx, &backend.RemoveWorkspaceRequest{Name: workspace}); err != nil {
			return err
		}
	}
	b.mu.Lock()
	delete(b.newWorkspaces, req.ID)
	b.mu.Unlock()
	return nil
}

// remove ends a container of ours and returns when it is gone, its anonymous
// volumes too.
func (b *podmanBackend) remove(ctx context.Context, engineID, id string) error {
	api, err := b.api(ctx)
	if err != nil {
		return err
	}
	for until := time.Now().Add(pluginsdk.EngineUndo); ; {
		_, err := containers.Remove(api, engineID, new(containers.RemoveOptions).WithForce(true).WithVolumes(true).WithTimeout(0))
		if notFound(err) || err != nil && ctx.Err() != nil {
			return b.failure(ctx.Err(), id)
		}
		// Its own removal, when it ends by itself, gets in the way of ours with
		// errors of many kinds. What counts is whether it is still there.
		there, existsErr := containers.Exists(api, engineID, nil)
		switch {
		case existsErr != nil:
			return b.failure(errors.Join(existsErr, err), id)
		case !there:
			return nil
		case time.Now().After(until):
			return b.failure(errors.Join(errors.New("it is still there"), err), id)
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return b.failure(errors.Join(ctx.Err(), err), id)
		}
	}
}

// RemoveWorkspace implements pluginsdk.Provisioner.
func (b *podmanBackend) RemoveWorkspace(ctx context.Context, req *backend.RemoveWorkspaceRequest) error {
	api, err := b.api(ctx)
	if err != nil {
		return err
	}
	name := pluginsdk.EngineWorkspace(req.Name)
	volume, err := volumes.Inspect(api, name, nil)
	switch {
	case notFound(err):
		return nil
	case err != nil:
		return b.failure(err, req.Name)
	}
	if err := pluginsdk.EngineOwnWorkspace(req.Name, volume.Labels); err != nil {
		return err
	}
	err = volumes.Remove(api, name, nil)
	switch {
	case err == nil, notFound(err):
		return nil
	case conflict(err):
		return pluginsdk.EngineWorkspaceUsed(req.Name)
	}
	return b.failure(err, req.Name)
}
