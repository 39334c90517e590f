package pluginsdk

import (
	"context"
	"errors"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/deep-sandbox/deep/core/backend"
	guestv1 "github.com/deep-sandbox/deep/core/proto/guest/v1"
)

// readyTimeout is how long a guest that was started may take to answer.
const readyTimeout = 20 * time.Second

// Create implements backend.Backend.
func (b *guestBacked) Create(ctx context.Context, req *backend.CreateRequest) (backend.Sandbox, error) {
	if err := b.enterID(req.ID); err != nil {
		return nil, err
	}
	spec, err := req.Spec.Settle(b.desc.Capabilities)
	if err != nil {
		return nil, err
	}
	leave, err := b.claim(req.ID)
	if err != nil {
		return nil, err
	}
	defer leave()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(b.life, cancel)() //nolint:contextcheck // a Create ends with the plugin too

	progress := req.Progress
	if progress == nil {
		progress = func(backend.Progress) {}
	}
	made, err := b.p.Provision(ctx, &ProvisionRequest{
		ID:       req.ID,
		Spec:     spec,
		Labels:   b.labels(req.ID, spec),
		Guest:    b.guest,
		Progress: progress,
	})
	if err != nil {
		return nil, err
	}
	sb, err := b.setUp(ctx, req.ID, spec, made, progress)
	if err == nil {
		return sb, nil
	}
	// The caller may be gone, and the plugin about to go: neither is a reason to
	// leave something behind.
	undo, stop := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
	defer stop()
	if undoErr := b.destroy(undo, &backend.DestroyRequest{ID: req.ID, KeepWorkspace: !made.NewWorkspace}); undoErr != nil {
		err = errors.Join(err, &backend.Error{Kind: backend.KindOf(undoErr), Path: req.ID,
			Message: "and what was made for it could not be removed", Err: undoErr})
	}
	return nil, err
}

// claim makes sure that one Create of an id is under way at a time, and that
// Shutdown waits for it.
func (b *guestBacked) claim(id string) (leave func(), err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.closed:
		return nil, errClosed()
	case b.creating[id]:
		return nil, &backend.Error{Kind: backend.ErrExists, Path: id, Message: "a sandbox with this id is being created"}
	}
	b.creating[id] = true
	b.work.Add(1)
	return func() {
		b.mu.Lock()
		delete(b.creating, id)
		b.mu.Unlock()
		b.work.Done()
	}, nil
}

// setUp connects to the guest of a sandbox that was provisioned and tells it
// what it is.
func (b *guestBacked) setUp(ctx context.Context, id string, spec backend.Spec, made *Provisioned, progress func(backend.Progress)) (backend.Sandbox, error) {
	conn, err := b.firstConnect(ctx, id, setupOf(id, spec, made))
	if err != nil {
		return nil, err
	}
	if spec.Ephemeral {
		b.mu.Lock()
		b.ephemeral[id] = true
		b.mu.Unlock()
	}
	if err := b.conns.add(id, conn); err != nil {
		return nil, err
	}
	progress(backend.Progress{Phase: backend.PhaseReady, Message: "the sandbox is ready"})
	if err := ctxError(ctx); err != nil {
		return nil, err
	}
	if spec.Ephemeral {
		b.hold(id)
	}
	info := conn.complete(made.Info)
	info.ID, info.Backend, info.Ephemeral, info.Owner = id, b.env.Name, spec.Ephemeral, b.env.Owner
	return b.handle(info), nil
}

// firstConnect tries until the guest, which was started a moment ago, listens.
func (b *guestBacked) firstConnect(ctx context.Context, id string, setup *guestv1.SetupRequest) (*guestConn, error) {
	limited, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	for wait := 10 * time.Millisecond; ; wait = min(2*wait, 500*time.Millisecond) {
		conn, err := b.conns.connect(limited, id, setup)
		switch {
		case err == nil:
			return conn, nil
		case ctx.Err() != nil:
			return nil, ctxError(ctx)
		case errors.Is(err, backend.ErrGone):
			return nil, &backend.Error{Kind: backend.ErrUnavailable, Path: id, Message: "the guest ended at once",
				Hint: "the engine's log of this sandbox may say why; `deep doctor` looks at the host"}
		case limited.Err() != nil:
			return nil, &backend.Error{Kind: backend.ErrUnavailable, Path: id,
				Message: "the guest did not answer within " + readyTimeout.String(), Err: err}
		case !errors.Is(err, backend.ErrUnavailable):
			return nil, err
		}
		select {
		case <-time.After(wait):
		case <-limited.Done():
		}
	}
}

func (b *guestBacked) labels(id string, spec backend.Spec) map[string]string {
	labels := map[string]string{
		LabelManaged:   "true",
		LabelSandbox:   id,
		LabelCreated:   time.Now().UTC().Format(time.RFC3339Nano),
		LabelEphemeral: strconv.FormatBool(spec.Ephemeral),
		LabelOwner:     b.env.Owner.String(),
		labelMount:     (&url.URL{Path: spec.Workspace.Path}).EscapedPath(),
	}
	if spec.Workspace.Name != "" {
		labels[LabelWorkspace] = spec.Workspace.Name
	}
	return labels
}

func setupOf(id string, spec backend.Spec, made *Provisioned) *guestv1.SetupRequest {
	setup := &guestv1.SetupRequest{
		SandboxId:        id,
		Workspace:        []byte(spec.Workspace.Path),
		Uid:              made.UID,
		Gid:              made.GID,
		IdleTimeoutNs:    int64(spec.IdleTimeout),
		MaxLifetimeNs:    int64(spec.MaxLifetime),
		DefaultTimeoutNs: int64(spec.Timeout),
		Degraded:         made.Info.Degraded,
		Confinement:      made.Confine.message(),
		Expect:           expectations(spec, made),
		AcceptDegraded:   spec.AcceptDegraded,
		Runtime:          made.Runtime,
	}
	if spec.Ephemeral {
		setup.LeaseNs = int64(spec.Lease)
	}
	// Out of the memory of the sandbox, most of which is for its commands.
	setup.KeptOutput = min(backend.KeptOutput, spec.Memory/8)
	for _, key := range slices.Sorted(maps.Keys(spec.Env)) {
		setup.Env = append(setup.Env, []byte(key+"="+spec.Env[key]))
	}
	return setup
}
