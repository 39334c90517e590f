package guest

import (
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/deep-sandbox/deep/core/guest/internal/confine"
)

// commandNice is the priority commands start with, by nice(1)'s numbers; the
// guest has 0. Between 512 processes that fork in a loop the guest would get a
// 256th of each processor, and need half a minute to kill them. So it gets nine
// times as much as one of them.
const commandNice = 19

// starter is a thread that commands are started from. They inherit its priority
// and what it is confined by, neither of which can be undone.
type starter struct{ work chan func() }

func newStarter(rules confine.Rules) (*starter, error) {
	s := &starter{work: make(chan func())}
	failed := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with this
		err := unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), commandNice)
		if err == nil {
			err = rules.Apply()
		}
		failed <- err
		for fn := range s.work {
			fn()
		}
	}()
	if err := <-failed; err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// do runs fn on the thread.
func (s *starter) do(fn func()) {
	done := make(chan struct{})
	s.work <- func() {
		defer close(done)
		fn()
	}
	<-done
}

func (s *starter) close() { close(s.work) }
