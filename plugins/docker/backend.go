package main

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/client"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/pluginsdk"
)

// dockerBackend makes sandboxes with one engine.
type dockerBackend struct {
	config  Config
	env     pluginsdk.Env
	api     *client.Client
	address pluginsdk.EngineAddress

	mu    sync.Mutex
	known *facts
	// asked is when known was learnt.
	asked time.Time
	// newWorkspaces are the kept workspaces this process made, by sandbox: to be
	// undone also when the container is gone already.
	newWorkspaces map[string]string

	// placing is held while the guest's volume of a remote engine is filled.
	placing sync.Mutex
	// placed are the volumes known to hold a guest.
	placed map[string]bool
}

var _ pluginsdk.Provisioner = (*dockerBackend)(nil)

// newBackend makes a client. It asks the engine nothing: one that is not there
// is for the first call to tell.
func newBackend(config Config, env pluginsdk.Env) (*dockerBackend, error) {
	opts := []client.Opt{client.WithAPIVersionNegotiation(), client.WithUserAgent("deep")}
	address := pluginsdk.EngineAddress{
		Engine: "Docker Engine", Address: config.Host, Variable: "DOCKER_HOST",
		Start: "start it, as in `sudo systemctl start docker`, or install it, as in `sudo apt install docker.io`",
		Join:  "let this user use it, as in `sudo usermod -aG docker $USER`, and log in anew; members of that group are as good as root",
	}
	scheme, rest, _ := strings.Cut(config.Host, "://")
	switch scheme {
	case "unix":
		address.Socket = rest
		opts = append(opts, client.WithHost(config.Host))
	case "tcp":
		opts = append(opts, client.WithHost(config.Host))
		if config.TLSCA != "" || config.TLSCert != "" || config.TLSKey != "" {
			opts = append(opts, client.WithTLSClientConfig(config.TLSCA, config.TLSCert, config.TLSKey))
		}
	case "ssh":
		dial, err := sshDialer(config.Host)
		if err != nil {
			return nil, err
		}
		// The host name is for the HTTP header; the way there is the dialer's.
		opts = append(opts, client.WithHTTPClient(&http.Client{Transport: &http.Transport{DialContext: dial}}),
			client.WithHost("http://docker.example.invalid"), client.WithDialContext(dial))
	default:
		return nil, &backend.Error{Kind: backend.ErrInvalid, Path: "host",
			Message: backend.Printable(config.Host) + " is no address of an engine",
			Hint:    "write unix:///var/run/docker.sock, tcp://HOST:PORT or ssh://USER@HOST"}
	}
	api, err := client.NewClientWithOpts(opts...)
	if err != nil {
		return nil, &backend.Error{Kind: backend.ErrInvalid, Path: "host", Message: "this address cannot be used", Err: err}
	}
	return &dockerBackend{config: config, env: env, api: api, address: address,
		newWorkspaces: map[string]string{}, placed: map[string]bool{}}, nil
}

// Close implements pluginsdk.Provisioner.
func (b *dockerBackend) Close() error { return b.api.Close() }

// Inspect implements pluginsdk.Provisioner.
func (b *dockerBackend) Inspect(ctx context.Context, req *backend.InspectRequest) (*backend.SandboxInfo, error) {
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
func (b *dockerBackend) List(ctx context.Context, _ *backend.ListRequest) (*backend.ListSandboxesReply, error) {
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
func (b *dockerBackend) list(ctx context.Context, label string) ([]container.Summary, error) {
	list, err := b.api.ContainerList(ctx, container.ListOptions{All: true, Filters: filters.NewArgs(
		filters.Arg("label", pluginsdk.LabelManaged+"=true"), filters.Arg("label", label))})
	if errdefs.IsNotFound(err) {
		return nil, b.address.Unreachable(err) // no engine knows no containers
	}
	return list, b.failure(err, "")
}

// findAll returns the containers of a sandbox, in whatever state: one, but for
// the moment in which it is being stopped. They are found by their labels alone:
// a name proves nothing.
func (b *dockerBackend) findAll(ctx context.Context, id string) ([]container.Summary, error) {
	return b.list(ctx, pluginsdk.LabelSandbox+"="+id)
}

// find returns the container of a sandbox, nil if there is none.
func (b *dockerBackend) find(ctx context.Context, id string) (*container.Summary, error) {
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
func (b *dockerBackend) refuseForeign(ctx context.Context, id string) error {
	found, err := b.api.ContainerInspect(ctx, pluginsdk.EngineContainer(id))
	switch {
	case errdefs.IsNotFound(err):
		return nil
	case err != nil:
		return b.failure(err, id)
	case found.Config != nil && found.Config.Labels[pluginsdk.LabelSandbox] == id:
		return nil
	}
	return pluginsdk.EngineForeign(id)
}

func infoOf(c *container.Summary) backend.SandboxInfo {
	info := pluginsdk.InfoFromLabels(c.Labels)
	if info.Created.IsZero() {
		info.Created = time.Unix(c.Created, 0)
	}
	info.Image = c.Labels[pluginsdk.LabelImage]
	info.EngineID = c.ID
	info.State = stateOf(c.State)
	if c.Labels[pluginsdk.LabelStopped] != "" {
		info.State = backend.StateStopped
	}
	return info
}

func stateOf(state container.ContainerState) backend.SandboxState {
	switch state {
	case container.StateCreated:
		return backend.StateCreating
	case container.StateRunning, container.StateRestarting:
		return backend.StateRunning
	case container.StatePaused:
		return backend.StatePaused
	}
	return backend.StateStopped // exited, dead, removing
}

// Destroy implements pluginsdk.Provisioner.
func (b *dockerBackend) Destroy(ctx context.Context, req *backend.DestroyRequest) error {
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
		if err := b.removeInherited(ctx, &c, req.ID); err != nil {
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
func (b *dockerBackend) remove(ctx context.Context, engineID, id string) error {
	err := b.api.ContainerRemove(ctx, engineID, container.RemoveOptions{Force: true, RemoveVolumes: true})
	switch {
	case err == nil, errdefs.IsNotFound(err):
		return nil
	case !errdefs.IsConflict(err):
		return b.failure(err, id)
	}
	// Its removal is under way: it ended by itself, or somebody else was first.
	for until := time.Now().Add(pluginsdk.EngineUndo); ; {
		_, inspectErr := b.api.ContainerInspect(ctx, engineID)
		switch {
		case errdefs.IsNotFound(inspectErr):
			return nil
		case inspectErr != nil:
			return b.failure(inspectErr, id)
		case time.Now().After(until):
			return b.failure(err, id)
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return b.failure(ctx.Err(), id)
		}
	}
}

// RemoveWorkspace implements pluginsdk.Provisioner.
func (b *dockerBackend) RemoveWorkspace(ctx context.Context, req *backend.RemoveWorkspaceRequest) error {
	name := pluginsdk.EngineWorkspace(req.Name)
	volume, err := b.api.VolumeInspect(ctx, name)
	switch {
	case errdefs.IsNotFound(err):
		return nil
	case err != nil:
		return b.failure(err, req.Name)
	}
	if err := pluginsdk.EngineOwnWorkspace(req.Name, volume.Labels); err != nil {
		return err
	}
	err = b.api.VolumeRemove(ctx, name, false)
	switch {
	case err == nil, errdefs.IsNotFound(err):
		return nil
	case errdefs.IsConflict(err):
		return pluginsdk.EngineWorkspaceUsed(req.Name)
	}
	return b.failure(err, req.Name)
}
