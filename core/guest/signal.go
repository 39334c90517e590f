package guest

import (
	"context"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/deep-sandbox/deep/core/backend"
)

// lastSignal is the highest there is on Linux.
const lastSignal = 64

// Signal implements backend.Sandbox.
func (s *Sandbox) Signal(ctx context.Context, req *backend.SignalRequest) error {
	const op = "signal"
	if req.Signal < 1 || req.Signal > lastSignal {
		return &backend.Error{Kind: backend.ErrInvalid, Op: op, Path: req.ID,
			Message: fmt.Sprintf("there is no signal %d", req.Signal), Hint: "signals are 1 to 64"}
	}
	x, err := s.execs.findRunning(ctx, op, req.ID)
	if err != nil {
		return err
	}
	if req.Signal == int(unix.SIGKILL) {
		x.killed.Store(true)
	}
	x.task.signal(unix.Signal(req.Signal), req.All)
	return nil
}
