package host

import (
	"context"
	"fmt"
	"time"

	"github.com/deep-sandbox/deep/core/backend"
)

const (
	// maxRestarts within restartWindow; a plugin that crashes more often is left
	// alone until the window has moved on.
	maxRestarts   = 3
	restartWindow = time.Minute
)

// backOff is the wait before each restart in a window.
var backOff = [maxRestarts]time.Duration{0, 250 * time.Millisecond, time.Second}

// restart is one attempt that callers share.
type restart struct {
	done chan struct{}
	err  error
}

// adopt makes i the current instance and watches for its end.
func (p *Plugin) adopt(i *instance) {
	p.mu.Lock()
	p.current = i
	p.mu.Unlock()
	p.work.Go(func() {
		select {
		case <-i.dead:
		case <-p.life.Done():
			return
		}
		p.mu.Lock()
		p.lastCrash = i.crashed()
		held := len(p.ephemeral) > 0
		p.mu.Unlock()
		// Somebody has to hold the connection to ephemeral sandboxes, or their
		// lease runs out while nobody calls.
		if held {
			p.revive()
		}
	})
}

// revive starts the plugin again though nobody calls, and lets it connect to the
// ephemeral sandboxes.
func (p *Plugin) revive() {
	i, err := p.acquire(p.life)
	if p.life.Err() != nil {
		return // closed meanwhile: Close sees to what was made
	}
	if err != nil {
		p.opts.Logger.Warn("the plugin is not started again", "error", err)
		return
	}
	p.mu.Lock()
	ids := make([]string, 0, len(p.ephemeral))
	for id := range p.ephemeral {
		ids = append(ids, id)
	}
	p.mu.Unlock()
	for _, id := range ids {
		if _, err := i.backend.Open(p.life, &backend.OpenRequest{ID: id}); err != nil && p.life.Err() == nil {
			p.opts.Logger.Warn("a sandbox was not found again", "sandbox", id, "error", err)
		}
	}
}

// acquire returns the instance that runs, starting one if there is none.
func (p *Plugin) acquire(ctx context.Context) (*instance, error) {
	for {
		p.mu.Lock()
		if p.closing {
			p.mu.Unlock()
			return nil, p.errClosed()
		}
		if i := p.current; i != nil && !i.isDead() {
			p.mu.Unlock()
			return i, nil
		}
		r := p.restart
		if r == nil {
			r = &restart{done: make(chan struct{})}
			p.restart = r
			p.work.Go(func() { p.run(r) })
		}
		p.mu.Unlock()
		select {
		case <-r.done:
			if r.err != nil {
				return nil, r.err
			}
		case <-ctx.Done():
			return nil, &backend.Error{Kind: ctx.Err(), Backend: p.opts.Name, Op: "restart plugin"}
		}
	}
}

// run is one attempt to start the plugin again.
func (p *Plugin) run(r *restart) {
	i, err := p.again()
	if err == nil {
		p.adopt(i)
	}
	p.mu.Lock()
	if err != nil {
		p.lastCrash = err
	}
	p.restart = nil
	p.mu.Unlock()
	r.err = err
	close(r.done)
}

func (p *Plugin) again() (*instance, error) {
	p.mu.Lock()
	old := p.current
	p.mu.Unlock()
	if old != nil {
		// All of it, so that two never work side by side.
		select {
		case <-old.dead:
		case <-p.life.Done():
			return nil, p.errClosed()
		}
	}
	wait, err := p.admit(time.Now())
	if err != nil {
		return nil, err
	}
	select {
	case <-time.After(wait):
	case <-p.life.Done():
		return nil, p.errClosed()
	}
	i, err := p.start(p.life)
	if err != nil {
		if p.life.Err() != nil {
			return nil, p.errClosed()
		}
		return nil, err
	}
	p.opts.Logger.Info("the plugin was started again", "pid", i.runner.PID())
	return i, nil
}

// admit counts a restart and returns how long to wait before it, or refuses one
// too many.
func (p *Plugin) admit(now time.Time) (time.Duration, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.history) > 0 && now.Sub(p.history[0]) > restartWindow {
		p.history = p.history[1:]
	}
	if n := len(p.history); n >= maxRestarts {
		again := p.history[0].Add(restartWindow).Sub(now).Round(time.Second)
		return 0, &backend.Error{
			Kind: backend.ErrUnavailable, Backend: p.opts.Name, Op: "restart plugin",
			Message: fmt.Sprintf("it was started again %d times within %s and does not stay up", maxRestarts, restartWindow),
			Hint:    fmt.Sprintf("look at its last lines; the next attempt is possible in %s", max(again, time.Second)),
			Err:     p.lastCrash,
		}
	}
	p.history = append(p.history, now)
	return backOff[len(p.history)-1], nil
}

func (p *Plugin) errClosed() error {
	return &backend.Error{Kind: backend.ErrUnavailable, Backend: p.opts.Name, Message: "the plugin was closed"}
}
