package guest

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/deep-sandbox/deep/core/backend"
)

// TestPIDNSRoom: namespaces of commands that have ended do not pile up.
func TestPIDNSRoom(t *testing.T) {
	inNamespaces(t, modePIDNS, func(t *testing.T) {
		f := newFixture(t)
		d := f.domain.(*pidnsDomain)
		run := func() {
			if _, err := f.Exec(t.Context(), &backend.ExecRequest{Argv: []string{"true"}}); err != nil {
				t.Error(err)
			}
		}
		// A start waits for one to go, and not for ever.
		for range maxLeaving {
			d.leave()
		}
		begin := time.Now()
		run()
		if waited := time.Since(begin); waited < leavingTime {
			t.Errorf("it started after %v beside %d that leave", waited, maxLeaving)
		}
		begin = time.Now()
		time.AfterFunc(leavingTime/10, func() {
			for range maxLeaving {
				d.left(nil)
			}
		})
		run()
		if waited := time.Since(begin); waited < leavingTime/10 {
			t.Errorf("it started after %v, before one had left", waited)
		}
		// However fast they come, there are those allowed and those that started
		// together.
		const together = 4
		var most atomic.Int64
		var all sync.WaitGroup
		for range together {
			all.Go(func() {
				for range 50 {
					run()
					d.mu.Lock()
					most.Store(max(most.Load(), int64(len(d.tasks))))
					d.mu.Unlock()
				}
			})
		}
		all.Wait()
		if n := most.Load(); n > maxLeaving+2*together {
			t.Errorf("%d namespaces at a time", n)
		}
	})
}
