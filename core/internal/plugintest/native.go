package plugintest

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/deep-sandbox/deep/core/backend"
)

// native is a backend of which a sandbox is a directory, and no process.
type native struct {
	dir string

	mu        sync.Mutex
	ephemeral map[string]bool
}

var _ backend.Backend = (*native)(nil)

func newNative(dir string) *native { return &native{dir: dir, ephemeral: map[string]bool{}} }

func (n *native) path(id string) string { return filepath.Join(n.dir, "sb-"+id) }

func (n *native) handle(id string, ephemeral bool) backend.Sandbox {
	info := backend.SandboxInfo{ID: id, Backend: "native", State: backend.StateRunning, Ephemeral: ephemeral, Workspace: n.path(id), User: "0:0"}
	return newSandbox(info, n.path(id), func() error { return nil })
}

// Describe implements backend.Backend.
func (n *native) Describe(context.Context) (*backend.Description, error) {
	return &backend.Description{Name: "native"}, nil
}

// Configure implements backend.Backend.
func (n *native) Configure(context.Context, *backend.ConfigureRequest) error { return nil }

// Check implements backend.Backend.
func (n *native) Check(context.Context) (*backend.CheckReport, error) {
	return &backend.CheckReport{Engine: "directory", Endpoint: n.dir}, nil
}

// Create implements backend.Backend.
func (n *native) Create(_ context.Context, req *backend.CreateRequest) (backend.Sandbox, error) {
	if err := os.Mkdir(n.path(req.ID), 0o700); errors.Is(err, fs.ErrExist) {
		return nil, &backend.Error{Kind: backend.ErrExists, Path: req.ID}
	} else if err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if req.Spec.Ephemeral {
		n.ephemeral[req.ID] = true
	}
	return n.handle(req.ID, req.Spec.Ephemeral), nil
}

// Open implements backend.Backend.
func (n *native) Open(_ context.Context, req *backend.OpenRequest) (backend.Sandbox, error) {
	if _, err := os.Stat(n.path(req.ID)); err != nil {
		return nil, &backend.Error{Kind: backend.ErrGone, Path: req.ID}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.handle(req.ID, n.ephemeral[req.ID]), nil
}

// Inspect implements backend.Backend.
func (n *native) Inspect(ctx context.Context, req *backend.InspectRequest) (*backend.SandboxInfo, error) {
	sb, err := n.Open(ctx, &backend.OpenRequest{ID: req.ID})
	if err != nil {
		return nil, &backend.Error{Kind: backend.ErrNotFound, Path: req.ID}
	}
	info := sb.Info()
	return &info, nil
}

// List implements backend.Backend.
func (n *native) List(context.Context, *backend.ListRequest) (*backend.ListSandboxesReply, error) {
	reply := &backend.ListSandboxesReply{}
	for _, id := range Sandboxes(n.dir) {
		reply.Sandboxes = append(reply.Sandboxes, n.handle(id, false).Info())
	}
	return reply, nil
}

// Stop implements backend.Backend.
func (n *native) Stop(context.Context, *backend.StopRequest) error { return nil }

// Destroy implements backend.Backend.
func (n *native) Destroy(_ context.Context, req *backend.DestroyRequest) error {
	n.mu.Lock()
	delete(n.ephemeral, req.ID)
	n.mu.Unlock()
	return os.RemoveAll(n.path(req.ID))
}

// RemoveWorkspace implements backend.Backend.
func (n *native) RemoveWorkspace(context.Context, *backend.RemoveWorkspaceRequest) error { return nil }

// Shutdown implements backend.Backend.
func (n *native) Shutdown(ctx context.Context) error {
	n.mu.Lock()
	ids := make([]string, 0, len(n.ephemeral))
	for id := range n.ephemeral {
		ids = append(ids, id)
	}
	n.mu.Unlock()
	for _, id := range ids {
		if err := n.Destroy(ctx, &backend.DestroyRequest{ID: id}); err != nil {
			return err
		}
	}
	return nil
}
