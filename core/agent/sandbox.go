package agent

import (
	"context"
	"sync"

	"github.com/deep-sandbox/deep/core/backend"
)

// lazySandbox is what Config.Sandbox returned, once it was needed.
type lazySandbox struct {
	mu sync.Mutex
	sb backend.Sandbox
}

// noSandbox is the error of Config.Sandbox: no tool has begun.
type noSandbox struct{ error }

func (e noSandbox) Unwrap() error { return e.error }

// sandbox returns the sandbox of the run.
func (r *run) sandbox(ctx context.Context) (backend.Sandbox, error) {
	r.made.mu.Lock()
	defer r.made.mu.Unlock()
	if r.made.sb == nil {
		sb, err := r.config.Sandbox(ctx)
		if err != nil {
			return nil, noSandbox{err}
		}
		r.made.sb = sb
	}
	return r.made.sb, nil
}
