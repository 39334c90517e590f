package pluginsdk

import (
	"context"
	"errors"

	"google.golang.org/grpc"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/internal/wire"
)

// native serves a backend.Backend whose author wrote it whole. Calls of service
// Sandbox come by id alone and find their handle here.
type native struct{ *wire.Handles }

var _ inner = native{}

func newNative(b backend.Backend) native { return native{wire.NewHandles(b)} }

// registerNative serves Sandbox on the handles.
func registerNative(server grpc.ServiceRegistrar, f *front) {
	wire.RegisterSandbox(server, func(ctx context.Context, id string) (backend.Sandbox, error) {
		in, err := f.get("open")
		if err != nil {
			return nil, err
		}
		sb, err := in.(native).Lookup(ctx, id)
		if err != nil {
			return nil, f.failure("open", err)
		}
		return sb, nil
	})
}

// abandon implements inner. What another plugin process of a dead host left is
// for the backend's own Shutdown to know.
func (n native) abandon(ctx context.Context) error {
	return errors.Join(n.Shutdown(ctx), ctxError(ctx))
}
