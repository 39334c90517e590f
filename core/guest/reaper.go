package guest

import (
	"os"
	"os/signal"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// ended is what the kernel says of a child that has ended.
type ended struct {
	status unix.WaitStatus
	usage  unix.Rusage
	at     time.Time
}

// child is a process the guest started.
type child struct {
	pid int
	// done is closed when it was reaped; end is valid from then on.
	done chan struct{}
	end  ended
}

// reaper waits for every child there is, its own and the orphans that come to
// process 1. It is the only one that waits: a second would steal statuses, and a
// blocked wait for each command would cost a thread for each.
type reaper struct {
	// mu is held while a child is started and while one is reaped, so that none
	// is reaped before it is known.
	mu       sync.Mutex
	children map[int]*child
	stop     chan struct{}
	stopped  sync.WaitGroup
}

func newReaper() *reaper {
	r := &reaper{children: map[int]*child{}, stop: make(chan struct{})}
	// One slot is enough: a signal says that there may be children, not how many.
	sigchld := make(chan os.Signal, 1)
	signal.Notify(sigchld, unix.SIGCHLD)
	r.stopped.Go(func() {
		defer signal.Stop(sigchld)
		for {
			r.reap()
			select {
			case <-sigchld:
			case <-r.stop:
				return
			}
		}
	})
	return r
}

// start runs fork, which returns the id of a child, and keeps an eye on it.
func (r *reaper) start(fork func() (pid int, err error)) (*child, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	pid, err := fork()
	if err != nil {
		return nil, err
	}
	c := &child{pid: pid, done: make(chan struct{})}
	r.children[pid] = c
	return c, nil
}

func (r *reaper) reap() {
	for r.reapOne() {
	}
}

// reapOne reports whether there may be another.
func (r *reaper) reapOne() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	var e ended
	pid, err := unix.Wait4(-1, &e.status, unix.WNOHANG, &e.usage)
	if err == unix.EINTR {
		return true
	}
	if err != nil || pid <= 0 {
		return false
	}
	c, ours := r.children[pid]
	if ours && (e.status.Exited() || e.status.Signaled()) {
		delete(r.children, pid)
		e.at = time.Now()
		c.end = e
		close(c.done)
	}
	return true
}

// signal sends sig to c unless it has been reaped, when its id may be another's.
func (r *reaper) signal(c *child, sig unix.Signal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.children[c.pid] == c {
		// Only ESRCH and EPERM are possible, and neither can be for a child that
		// was not reaped.
		_ = unix.Kill(c.pid, sig)
	}
}

func (r *reaper) close() {
	close(r.stop)
	r.stopped.Wait()
}
