package pluginsdk

import (
	"errors"
	"time"

	"github.com/deep-sandbox/deep/core/backend"
)

const (
	// firstWait and longestWait are between two attempts to reach a sandbox that
	// is held.
	firstWait   = 100 * time.Millisecond
	longestWait = 15 * time.Second
)

// hold keeps an ephemeral sandbox connected from now on: its guest ends by itself
// when no host has been there for the lease, and a stream may break while nobody
// calls.
func (b *guestBacked) hold(id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed || b.held[id] {
		return
	}
	b.held[id] = true
	b.work.Go(func() { b.keepConnected(id) })
}

func (b *guestBacked) keepConnected(id string) {
	for wait := firstWait; ; wait = min(2*wait, longestWait) {
		if dead := b.conns.dead(id); dead != nil {
			since := time.Now()
			select {
			case <-dead:
			case <-b.life.Done():
				return
			}
			if time.Since(since) > longestWait {
				wait = firstWait
			}
		}
		select {
		case <-time.After(wait):
		case <-b.life.Done():
			return
		}
		b.mu.Lock()
		wanted := b.held[id]
		b.mu.Unlock()
		if !wanted {
			return
		}
		_, err := b.conns.get(b.life, id)
		switch {
		case errors.Is(err, backend.ErrGone):
			b.mu.Lock()
			delete(b.held, id)
			b.mu.Unlock()
			return
		case err != nil:
			b.env.Log.Debug("cannot reach an ephemeral sandbox", "sandbox", id, "error", err)
		}
	}
}
