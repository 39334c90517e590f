package backendtest

import (
	"context"

	"github.com/deep-sandbox/deep/core/backend"
)

// Another returns the same backend, as a further process has it: its Shutdown ends
// the connections made through it and nothing else. It is for Opts.Another.
func (f *Fake) Another(context.Context) (backend.Backend, error) {
	a := &another{Fake: f}
	a.connected, a.end = context.WithCancel(context.Background())
	return a, nil
}

type another struct {
	*Fake
	connected context.Context
	end       context.CancelFunc
}

func (a *another) connect(sb backend.Sandbox, err error) (backend.Sandbox, error) {
	if err != nil {
		return nil, err
	}
	sb.(*fakeSandbox).connected = a.connected
	return sb, nil
}

// Create implements backend.Backend.
func (a *another) Create(ctx context.Context, req *backend.CreateRequest) (backend.Sandbox, error) {
	return a.connect(a.Fake.Create(ctx, req))
}

// Open implements backend.Backend.
func (a *another) Open(ctx context.Context, req *backend.OpenRequest) (backend.Sandbox, error) {
	return a.connect(a.Fake.Open(ctx, req))
}

// Shutdown implements backend.Backend.
func (a *another) Shutdown(context.Context) error {
	a.end()
	return nil
}
