package guest

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// commandNice is the priority commands start with, by nice(1)'s numbers; the
// guest has 0. Between 512 processes that fork in a loop the guest would get a
// 256th of each processor, and need half a minute to kill them. So it gets nine
// times as much as one of them.
const commandNice = 19

// starter is a thread that commands are started from. They inherit its priority,
// which no thread can raise again.
type starter struct{ work chan func() }

func newStarter() (*starter, error) {
	s := &starter{work: make(chan func())}
	failed := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with this
		failed <- unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), commandNice)
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
