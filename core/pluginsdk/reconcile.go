package pluginsdk

import (
	"context"
	"time"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/internal/procid"
)

const (
	// reconcileEach is the time between two looks for what dead hosts left.
	reconcileEach = time.Minute
	// reconcileGrace is how old a sandbox must be: one that is being made may not
	// be whole yet.
	reconcileGrace = 30 * time.Second
)

// reconcile destroys, now and again, the ephemeral sandboxes of hosts that are
// proven dead: what a SIGKILL of host and plugin at once left. It never touches
// one whose owner lives, is of another machine, or is not known.
func (b *guestBacked) reconcile(ctx context.Context) {
	tick := time.NewTicker(reconcileEach)
	defer tick.Stop()
	for {
		b.sweep(ctx, func(s backend.SandboxInfo) bool {
			return time.Since(s.Created) > reconcileGrace && procid.Dead(s.Owner)
		})
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// sweep destroys the ephemeral sandboxes that which accepts.
func (b *guestBacked) sweep(ctx context.Context, which func(backend.SandboxInfo) bool) {
	reply, err := b.p.List(ctx, &backend.ListRequest{})
	if err != nil {
		b.env.Log.Debug("cannot look for what dead hosts left", "error", err)
		return
	}
	var ids []string
	for _, s := range reply.Sandboxes {
		if s.Ephemeral && !s.Created.IsZero() && backend.ValidID(s.ID) && which(s) {
			ids = append(ids, s.ID)
		}
	}
	if err := b.destroyAll(ctx, ids); err != nil && ctx.Err() == nil {
		b.env.Log.Warn("could not destroy what a dead host left", "error", err)
	}
}

// hostDied reports whether the process this plugin works for has ended. The
// lifeline ends while the host is on its way out: a moment later it is proven.
func (b *guestBacked) hostDied(ctx context.Context) bool {
	for range 50 {
		if procid.Dead(b.env.Owner) {
			return true
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return false
		}
	}
	return false
}
