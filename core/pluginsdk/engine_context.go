package pluginsdk

import (
	"context"
	"time"
)

// EngineGrace is how long a request that changes something may go on after its
// caller has given up. An engine finishes what it was asked for though nobody
// waits: cancelling the request would only hide what it made.
const EngineGrace = 15 * time.Second

// EngineUndo bounds cleaning up after a call that failed or was cancelled.
const EngineUndo = 20 * time.Second

// EngineOutlast returns a context that ends EngineGrace after ctx does.
func EngineOutlast(ctx context.Context) (context.Context, context.CancelFunc) {
	outlast, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		timer := time.AfterFunc(EngineGrace, cancel)
		context.AfterFunc(outlast, func() { timer.Stop() })
	})
	return outlast, func() { stop(); cancel() }
}
