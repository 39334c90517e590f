package guest

import (
	"runtime"
	"sync"
)

// spareThreads is how many threads are kept beside those of userThreads. The
// runtime takes a new one when it has work and all it has are blocked in system
// calls; if there is none to be had, because sandboxed code used up the limit of
// processes, the program dies. Few goroutines can block one: the reaper, a
// fork, the sweep, and reads of a socket's small change.
const spareThreads = 16

// maxProcs bounds how many threads run Go code at once. The guest works for
// others; more would only cost memory.
const maxProcs = 4

// warmThreads makes the runtime start n threads and keep them.
func warmThreads(n int) {
	runtime.GOMAXPROCS(min(maxProcs, runtime.GOMAXPROCS(0)))
	var started, release sync.WaitGroup
	started.Add(n)
	release.Add(1)
	for range n {
		go func() {
			// Locked, a goroutine has its thread for itself. Unlocked before it ends,
			// it leaves the thread to the runtime, which never ends one.
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			started.Done()
			release.Wait()
		}()
	}
	started.Wait()
	release.Done()
}
