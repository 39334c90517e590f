package pluginsdk

import (
	"context"
	"errors"
	"sync"

	"google.golang.org/grpc"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/internal/wire"
)

// native serves a backend.Backend whose author wrote it whole. It keeps the
// handles of sandboxes, since calls of service Sandbox come by id alone.
type native struct {
	backend.Backend

	mu      sync.Mutex
	handles map[string]backend.Sandbox
}

var _ inner = (*native)(nil)

func newNative(b backend.Backend) *native {
	return &native{Backend: b, handles: map[string]backend.Sandbox{}}
}

// registerNative serves Sandbox on the handles.
func registerNative(server grpc.ServiceRegistrar, f *front) {
	wire.RegisterSandbox(server, func(ctx context.Context, id string) (backend.Sandbox, error) {
		in, err := f.get("open")
		if err != nil {
			return nil, err
		}
		n, ok := in.(*native)
		if !ok {
			return nil, &backend.Error{Kind: backend.ErrUnavailable, Message: "the backend is not native"}
		}
		sb, err := n.lookup(ctx, id)
		return sb, f.failure("open", err)
	})
}

// lookup returns the handle of a sandbox, opening it if this process did not
// create it.
func (n *native) lookup(ctx context.Context, id string) (backend.Sandbox, error) {
	n.mu.Lock()
	sb := n.handles[id]
	n.mu.Unlock()
	if sb != nil {
		return sb, nil
	}
	return n.Open(ctx, &backend.OpenRequest{ID: id})
}

// Create implements backend.Backend.
func (n *native) Create(ctx context.Context, req *backend.CreateRequest) (backend.Sandbox, error) {
	sb, err := n.Backend.Create(ctx, req)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	n.handles[req.ID] = sb
	n.mu.Unlock()
	return sb, nil
}

// Open implements backend.Backend.
func (n *native) Open(ctx context.Context, req *backend.OpenRequest) (backend.Sandbox, error) {
	sb, err := n.Backend.Open(ctx, req)
	if err != nil {
		return nil, err
	}
	return n.keep(req.ID, sb), nil
}

// keep stores a handle. The first one of a sandbox stays: closing it would
// destroy an ephemeral sandbox that its caller still uses.
func (n *native) keep(id string, sb backend.Sandbox) backend.Sandbox {
	n.mu.Lock()
	first := n.handles[id]
	if first == nil {
		n.handles[id] = sb
	}
	n.mu.Unlock()
	if first == nil || first == sb {
		return sb
	}
	_ = sb.Close() // it was opened, not created: closing only lets go
	return first
}

// Stop implements backend.Backend.
func (n *native) Stop(ctx context.Context, req *backend.StopRequest) error {
	if err := n.Backend.Stop(ctx, req); err != nil {
		return err
	}
	n.forget(req.ID)
	return nil
}

// Destroy implements backend.Backend.
func (n *native) Destroy(ctx context.Context, req *backend.DestroyRequest) error {
	if err := n.Backend.Destroy(ctx, req); err != nil {
		return err
	}
	n.forget(req.ID)
	return nil
}

func (n *native) forget(id string) {
	n.mu.Lock()
	delete(n.handles, id)
	n.mu.Unlock()
}

// abandon implements inner. What another plugin process of a dead host left is
// for the backend's own Shutdown to know.
func (n *native) abandon(ctx context.Context) error {
	return errors.Join(n.Shutdown(ctx), ctxError(ctx))
}
