package guest

import (
	"time"

	"golang.org/x/sys/unix"
)

// A domain starts commands so that everything one of them starts can be found
// and killed.
type domain interface {
	// name as guestv1.SetupReply has it.
	name() string
	// start runs a command. Its error is the errno of what failed.
	start(cmd *command) (task, error)
	// endAll sends everything that commands started SIGTERM, and SIGKILL when
	// grace is over; it returns at once where nothing runs.
	endAll(grace time.Duration)
	close()
}

// command is what a domain needs to know. The descriptors are the command's
// ends; they stay the caller's to close.
type command struct {
	program string
	argv    []string
	env     []string
	dir     string
	stdio   [3]uintptr
	// terminal: stdio is one, and shall be the command's controlling terminal.
	terminal bool
}

// A task is a command that was started and everything it started in turn.
type task interface {
	// done is closed when the command itself has ended, and ended is valid.
	done() <-chan struct{}
	ended() ended
	// terminate sends SIGTERM to everything, once.
	terminate()
	// signal sends sig to the command itself, or to everything, if that lives.
	signal(sig unix.Signal, all bool)
	// alive reports whether anything is left.
	alive() bool
	// kill sends SIGKILL until nothing is left, and returns then or, with false,
	// when limit is over: a process in uninterruptible sleep cannot be killed.
	kill(limit time.Duration) bool
}

// stop ends a task: SIGTERM, grace, SIGKILL. It returns when nothing is left,
// or could not be killed within unkillable. The grace may become shorter meanwhile.
func stop(t task, grace func() time.Duration) bool {
	if grace() > 0 {
		begin := time.Now()
		t.terminate()
		// Asking costs a pass over /proc, so it is done less and less often.
		for wait := time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
			left := grace() - time.Since(begin)
			if left <= 0 {
				break
			}
			time.Sleep(min(wait, left))
			if !t.alive() {
				return true
			}
		}
	}
	return t.kill(unkillable)
}

// unkillable is how long a result waits for processes that all look as if they
// slept uninterruptibly. It is long, since a parent that waits for its vfork looks
// the same and dies: on a busy machine hundreds of them took more than 150 ms.
const unkillable = 5 * time.Second
