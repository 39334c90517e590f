package wire

import (
	"context"
	"sync"

	"github.com/deep-sandbox/deep/core/backend"
)

// Handles is a backend that keeps the handles of the sandboxes it makes and
// opens, so that a server finds them by id:
//
//	h := wire.NewHandles(b)
//	wire.RegisterBackend(s, h)
//	wire.RegisterSandbox(s, h.Lookup)
//
// A guest-backed plugin has connections instead, see [ForwardSandbox].
type Handles struct {
	backend.Backend

	mu   sync.Mutex
	byID map[string]backend.Sandbox
}

// NewHandles returns b with its handles kept.
func NewHandles(b backend.Backend) *Handles {
	return &Handles{Backend: b, byID: make(map[string]backend.Sandbox)}
}

// Lookup returns the handle of a sandbox, opening it if need be.
func (h *Handles) Lookup(ctx context.Context, id string) (backend.Sandbox, error) {
	if sb := h.get(id); sb != nil {
		return sb, nil
	}
	return h.Open(ctx, &backend.OpenRequest{ID: id})
}

func (h *Handles) get(id string) backend.Sandbox {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.byID[id]
}

// Create implements backend.Backend.
func (h *Handles) Create(ctx context.Context, req *backend.CreateRequest) (backend.Sandbox, error) {
	sb, err := h.Backend.Create(ctx, req)
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.byID[req.ID] = sb
	return sb, nil
}

// Open implements backend.Backend. The backend is asked each time, whether the
// sandbox still runs; a handle that is kept already stays the one in use, since
// the sandbox may end with it.
func (h *Handles) Open(ctx context.Context, req *backend.OpenRequest) (backend.Sandbox, error) {
	opened, err := h.Backend.Open(ctx, req)
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	kept := h.byID[req.ID]
	if kept == nil {
		h.byID[req.ID] = opened
	}
	h.mu.Unlock()
	if kept == nil {
		return opened, nil
	}
	return kept, opened.Close()
}

// Stop implements backend.Backend.
func (h *Handles) Stop(ctx context.Context, req *backend.StopRequest) error {
	if err := h.Backend.Stop(ctx, req); err != nil {
		return err
	}
	h.forget(req.ID)
	return nil
}

// Destroy implements backend.Backend.
func (h *Handles) Destroy(ctx context.Context, req *backend.DestroyRequest) error {
	if err := h.Backend.Destroy(ctx, req); err != nil {
		return err
	}
	h.forget(req.ID)
	return nil
}

func (h *Handles) forget(id string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.byID, id)
}

var _ backend.Backend = (*Handles)(nil)
