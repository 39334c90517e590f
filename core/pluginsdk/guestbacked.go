package pluginsdk

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/internal/wire"
)

// undoTimeout bounds what is done to undo a Create, and to destroy a sandbox on
// the plugin's own account: an engine under load needs seconds to kill.
const undoTimeout = 30 * time.Second

// guestBacked makes a backend.Backend of a Provisioner.
type guestBacked struct {
	p     Provisioner
	env   Env
	desc  *backend.Description
	guest GuestProgram
	conns *conns

	life context.Context
	end  context.CancelFunc
	work sync.WaitGroup

	mu sync.Mutex
	// creating holds the ids of Creates under way.
	creating map[string]bool
	// ephemeral sandboxes that this process created.
	ephemeral map[string]bool
	// held are ephemeral sandboxes of our host, which must not be left alone;
	// an earlier plugin process may have created them.
	held   map[string]bool
	closed bool

	// winding is held by one shutDown at a time; wound reports that all is done.
	winding chan struct{}
	wound   bool
}

var _ inner = (*guestBacked)(nil)

func newGuestBacked(p Provisioner, env Env, desc *backend.Description, guest GuestProgram) *guestBacked {
	life, end := context.WithCancel(context.Background())
	b := &guestBacked{
		p: p, env: env, desc: desc, guest: guest,
		conns: newConns(life, p, env.Log),
		life:  life, end: end,
		creating:  map[string]bool{},
		ephemeral: map[string]bool{},
		held:      map[string]bool{},
		winding:   make(chan struct{}, 1),
	}
	b.work.Go(func() { b.reconcile(life) })
	return b
}

// registerForward serves Sandbox by passing its frames on to the guest.
func registerForward(server grpc.ServiceRegistrar, f *front) {
	wire.ForwardSandbox(server, func(ctx context.Context, id string) (grpc.ClientConnInterface, error) {
		in, err := f.get("connect")
		if err != nil {
			return nil, err
		}
		if !backend.ValidID(id) {
			return nil, f.failure("connect", &backend.Error{Kind: backend.ErrInvalid, Path: id, Message: "no id of a sandbox"})
		}
		conn, err := in.(*guestBacked).conns.get(ctx, id)
		if err != nil {
			return nil, f.failure("connect", err)
		}
		return conn, nil
	})
}

// Describe implements backend.Backend.
func (b *guestBacked) Describe(context.Context) (*backend.Description, error) { return b.desc, nil }

// Configure implements backend.Backend; front does it.
func (b *guestBacked) Configure(context.Context, *backend.ConfigureRequest) error {
	return &backend.Error{Kind: backend.ErrExists}
}

// Check implements backend.Backend.
func (b *guestBacked) Check(ctx context.Context) (*backend.CheckReport, error) {
	if err := b.enter(); err != nil {
		return nil, err
	}
	return b.p.Check(ctx)
}

// Open implements backend.Backend.
func (b *guestBacked) Open(ctx context.Context, req *backend.OpenRequest) (backend.Sandbox, error) {
	if err := b.enterID(req.ID); err != nil {
		return nil, err
	}
	info, err := b.p.Inspect(ctx, &backend.InspectRequest{ID: req.ID})
	switch {
	case errors.Is(err, backend.ErrNotFound), err == nil && info.State == backend.StateStopped:
		return nil, Gone(req.ID)
	case err != nil:
		return nil, err
	}
	conn, err := b.conns.get(ctx, req.ID)
	if err != nil {
		return nil, err
	}
	if info.Ephemeral && info.Owner == b.env.Owner {
		b.hold(req.ID)
	}
	settled := conn.complete(*info)
	settled.ID, settled.Backend = req.ID, b.env.Name
	return b.handle(settled), nil
}

// handle is a Sandbox on whatever connection there is at the time of a call.
func (b *guestBacked) handle(info backend.SandboxInfo) backend.Sandbox {
	return wire.NewSandbox(&viaConns{b.conns, info.ID}, info, func() error { return nil })
}

// Inspect implements backend.Backend.
func (b *guestBacked) Inspect(ctx context.Context, req *backend.InspectRequest) (*backend.SandboxInfo, error) {
	if err := b.enterID(req.ID); err != nil {
		return nil, err
	}
	info, err := b.p.Inspect(ctx, req)
	if err != nil {
		return nil, err
	}
	named := *info
	named.Backend = b.env.Name
	return &named, nil
}

// List implements backend.Backend.
func (b *guestBacked) List(ctx context.Context, req *backend.ListRequest) (*backend.ListSandboxesReply, error) {
	if err := b.enter(); err != nil {
		return nil, err
	}
	reply, err := b.p.List(ctx, req)
	if err != nil {
		return nil, err
	}
	list := slices.Clone(reply.Sandboxes)
	for i := range list {
		list[i].Backend = b.env.Name
	}
	slices.SortStableFunc(list, func(x, y backend.SandboxInfo) int {
		if c := x.Created.Compare(y.Created); c != 0 {
			return c
		}
		return strings.Compare(x.ID, y.ID)
	})
	return &backend.ListSandboxesReply{Sandboxes: list}, nil
}

// Stop implements backend.Backend.
func (b *guestBacked) Stop(ctx context.Context, req *backend.StopRequest) error {
	if err := b.enterID(req.ID); err != nil {
		return err
	}
	b.conns.drop(req.ID)
	return b.p.Stop(ctx, req)
}

// Destroy implements backend.Backend.
func (b *guestBacked) Destroy(ctx context.Context, req *backend.DestroyRequest) error {
	if err := b.enterID(req.ID); err != nil {
		return err
	}
	return b.destroy(ctx, req)
}

func (b *guestBacked) destroy(ctx context.Context, req *backend.DestroyRequest) error {
	// First, so that nobody holds on to it.
	b.mu.Lock()
	ephemeral := b.ephemeral[req.ID]
	delete(b.ephemeral, req.ID)
	delete(b.held, req.ID)
	b.mu.Unlock()
	b.conns.drop(req.ID)
	err := b.p.Destroy(ctx, req)
	if err != nil && ephemeral {
		b.mu.Lock()
		b.ephemeral[req.ID] = true // Shutdown tries again
		b.mu.Unlock()
	}
	return err
}

// RemoveWorkspace implements backend.Backend.
func (b *guestBacked) RemoveWorkspace(ctx context.Context, req *backend.RemoveWorkspaceRequest) error {
	if err := b.enterID(req.Name); err != nil {
		return err
	}
	return b.p.RemoveWorkspace(ctx, req)
}

// Shutdown implements backend.Backend.
func (b *guestBacked) Shutdown(ctx context.Context) error { return b.shutDown(ctx, false) }

// abandon implements inner.
func (b *guestBacked) abandon(ctx context.Context) error { return b.shutDown(ctx, true) }

// shutDown may be asked for several times: what one could not do, for want of
// time or of an engine, the next tries again.
func (b *guestBacked) shutDown(ctx context.Context, orphans bool) error {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	b.end()
	select {
	case b.winding <- struct{}{}:
		defer func() { <-b.winding }()
	case <-ctx.Done():
		return ctxError(ctx)
	}
	if b.wound {
		return nil
	}
	err := b.wind(ctx, orphans)
	b.wound = err == nil
	return err
}

// wind ends everything: Creates under way, ephemeral sandboxes, connections, the
// engine's client. orphans asks for those that an earlier plugin process made
// for the same host.
func (b *guestBacked) wind(ctx context.Context, orphans bool) error {
	// Undoing a Create may take all the time there is: the rest does not wait.
	first := b.destroyEphemeral(ctx)
	worked := make(chan struct{})
	go func() {
		defer close(worked)
		b.work.Wait()
	}()
	if orphans && b.hostDied(ctx) {
		b.sweep(ctx, func(s backend.SandboxInfo) bool { return s.Owner == b.env.Owner })
	}
	select {
	case <-worked:
	case <-ctx.Done():
		return errors.Join(first, ctxError(ctx))
	}
	// One that was made at the last moment, and what failed before.
	if err := b.destroyEphemeral(ctx); err != nil {
		return err
	}
	closed := make(chan error, 1)
	go func() {
		b.conns.close()
		closed <- b.p.Close()
	}()
	select {
	case err := <-closed:
		return err
	case <-ctx.Done():
		return ctxError(ctx)
	}
}

func (b *guestBacked) destroyEphemeral(ctx context.Context) error {
	b.mu.Lock()
	ids := slices.Sorted(maps.Keys(b.ephemeral))
	b.mu.Unlock()
	return b.destroyAll(ctx, ids)
}

// destroyAll removes sandboxes, a few at a time; a named workspace stays.
func (b *guestBacked) destroyAll(ctx context.Context, ids []string) error {
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		errs []error
	)
	gate := make(chan struct{}, 8)
	for _, id := range ids {
		gate <- struct{}{}
		wg.Go(func() {
			defer func() { <-gate }()
			if err := b.destroy(ctx, &backend.DestroyRequest{ID: id, KeepWorkspace: true}); err != nil {
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, err)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// enter refuses calls once the work has ended.
func (b *guestBacked) enter() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return errClosed()
	}
	return nil
}

func (b *guestBacked) enterID(id string) error {
	if !backend.ValidID(id) {
		return &backend.Error{Kind: backend.ErrInvalid, Path: id, Message: "no valid id",
			Hint: "use up to 64 of a-z, A-Z, 0-9, '.', '_' and '-', a letter or digit first"}
	}
	return b.enter()
}

// viaConns looks the connection up anew for each call.
type viaConns struct {
	conns *conns
	id    string
}

// Invoke implements grpc.ClientConnInterface.
func (v *viaConns) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	conn, err := v.conns.get(ctx, v.id)
	if err != nil {
		return wire.Error(err)
	}
	return conn.Invoke(ctx, method, args, reply, opts...)
}

// NewStream implements grpc.ClientConnInterface.
func (v *viaConns) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	conn, err := v.conns.get(ctx, v.id)
	if err != nil {
		return nil, wire.Error(err)
	}
	return conn.NewStream(ctx, desc, method, opts...)
}

var _ grpc.ClientConnInterface = (*viaConns)(nil)
