package host

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/deep-sandbox/deep/core/backend"
)

// drainTime bounds Close when its context has no deadline: an engine that hangs
// is left to the guests' leases.
const drainTime = 30 * time.Second

// Close destroys the ephemeral sandboxes made through p and ends the process,
// also when ctx ends before all is destroyed; the error says what may be left,
// which the sandboxes' leases then end. When Close returns, no process of the
// plugin runs. Idempotent: a second Close waits for the first.
func (p *Plugin) Close(ctx context.Context) error {
	p.mu.Lock()
	first := !p.closing
	p.closing = true
	p.mu.Unlock()
	if first {
		p.closeErr = p.close(ctx)
		close(p.closed)
	}
	<-p.closed
	return p.closeErr
}

func (p *Plugin) close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, drainTime)
	defer cancel()
	p.end()
	p.work.Wait()
	defer func() { _ = p.program.Close() }()

	p.mu.Lock()
	i, made := p.current, maps.Clone(p.ephemeral)
	p.mu.Unlock()
	var err error
	if !i.isDead() {
		err = drain(ctx, i, made)
	}
	if i.isDead() && len(made) > 0 {
		// It crashed, now or before: what it made must not be left because of that.
		<-i.dead
		if i, err = p.start(ctx); err != nil {
			return fmt.Errorf("%d ephemeral sandboxes may be left until their lease ends: %w", len(made), err)
		}
		err = drain(ctx, i, made)
	}
	i.leave()
	return err
}

// drain destroys the ephemeral sandboxes in made and lets the instance end its
// work.
func drain(ctx context.Context, i *instance, made map[string]*instance) error {
	return errors.Join(destroyOlder(ctx, i, made), i.explain(ctx, i.backend.Shutdown(ctx)))
}

// destroyOlder destroys the ephemeral sandboxes of earlier instances: what the
// plugin made itself, it destroys in its Shutdown.
func destroyOlder(ctx context.Context, i *instance, made map[string]*instance) error {
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		errs []error
	)
	gate := make(chan struct{}, 8)
	for id, maker := range made {
		if maker == i {
			continue
		}
		gate <- struct{}{}
		wg.Go(func() {
			defer func() { <-gate }()
			if err := i.backend.Destroy(ctx, &backend.DestroyRequest{ID: id, KeepWorkspace: true}); err != nil {
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, err)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}
