package guest

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/deep-sandbox/deep/core/backend"
)

// userThreads run functions on threads that have the rights of the sandbox's
// user and no capability. A thread takes them with system calls of its own,
// never through package syscall, whose Setuid and its kin change every thread.
// They are started at once and kept: when sandboxed code has used up all
// processes, there is no new one to be had.
type userThreads struct {
	jobs chan *job
	quit chan struct{}
}

type job struct {
	fn   func() error
	err  error
	done chan struct{}
}

// newUserThreads starts n threads as uid:gid. If the guest is that user itself,
// only its capabilities are dropped.
func newUserThreads(n int, uid, gid uint32) (*userThreads, error) {
	t := &userThreads{jobs: make(chan *job), quit: make(chan struct{})}
	ready := make(chan error, n)
	for range n {
		go func() {
			// Never unlocked: if this goroutine ends, so does its thread.
			runtime.LockOSThread()
			err := becomeUser(uid, gid)
			ready <- err
			if err != nil {
				return
			}
			for {
				select {
				case j := <-t.jobs:
					j.run()
				case <-t.quit:
					return
				}
			}
		}()
	}
	var failure error
	for range n {
		if err := <-ready; err != nil {
			failure = err
		}
	}
	if failure != nil {
		t.close()
		return nil, failure
	}
	return t, nil
}

func (j *job) run() {
	defer close(j.done)
	defer func() {
		if p := recover(); p != nil {
			stack := make([]byte, 16<<10)
			stack = stack[:runtime.Stack(stack, false)]
			fmt.Fprintf(os.Stderr, "panic: %v\n%s", p, stack)
			j.err = &backend.Error{Kind: backend.ErrUnavailable, Message: fmt.Sprintf("a fault in the guest: %v", p),
				Hint: "please report it with the lines it wrote to its log"}
		}
	}()
	j.err = j.fn()
}

// do runs fn on one of the threads and returns its error. If ctx ends before
// one is free, fn does not run. It must not wait for another job.
func (t *userThreads) do(ctx context.Context, fn func() error) error {
	j := &job{fn: fn, done: make(chan struct{})}
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case t.jobs <- j:
	case <-ctx.Done():
		return ctx.Err()
	case <-t.quit:
		return &backend.Error{Kind: backend.ErrGone}
	}
	<-j.done
	return j.err
}

// doAnyway is do for what must be done though the caller has gone: removing a
// temporary file, closing a descriptor.
func (t *userThreads) doAnyway(fn func() error) error {
	return t.do(context.Background(), fn)
}

// try runs fn on a thread of its own beside the caller, if one is free.
func (t *userThreads) try(fn func()) bool {
	j := &job{done: make(chan struct{}), fn: func() error {
		fn()
		return nil
	}}
	select {
	case t.jobs <- j:
		return true
	default:
		return false
	}
}

func (t *userThreads) close() { close(t.quit) }

// becomeUser gives this thread alone the file rights of uid:gid and takes all its
// capabilities, so that it cannot go back. It checks that both took hold.
func becomeUser(uid, gid uint32) error {
	if int(uid) != os.Geteuid() || int(gid) != os.Getegid() {
		if _, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, 0, 0, 0); errno != 0 {
			return fmt.Errorf("drop the supplementary groups: %w", errno)
		}
		// These two return the previous id whether they worked or not.
		_, _, _ = unix.RawSyscall(unix.SYS_SETFSGID, uintptr(gid), 0, 0)
		_, _, _ = unix.RawSyscall(unix.SYS_SETFSUID, uintptr(uid), 0, 0)
		const ask = ^uintptr(0) // no id, changes nothing
		nowGID, _, _ := unix.RawSyscall(unix.SYS_SETFSGID, ask, 0, 0)
		nowUID, _, _ := unix.RawSyscall(unix.SYS_SETFSUID, ask, 0, 0)
		if uint32(nowUID) != uid || uint32(nowGID) != gid {
			return fmt.Errorf("a thread that should access files as %d:%d does so as %d:%d", uid, gid, uint32(nowUID), uint32(nowGID))
		}
	}
	return dropCapabilities()
}

// dropCapabilities takes every capability of this thread, for good.
func dropCapabilities() error {
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none, now [2]unix.CapUserData
	if _, _, errno := unix.RawSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&head)), uintptr(unsafe.Pointer(&none[0])), 0); errno != 0 {
		return fmt.Errorf("drop the capabilities of a thread: %w", errno)
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_CAPGET, uintptr(unsafe.Pointer(&head)), uintptr(unsafe.Pointer(&now[0])), 0); errno != 0 {
		return fmt.Errorf("read the capabilities of a thread: %w", errno)
	}
	if now != none {
		return fmt.Errorf("a thread kept capabilities: %v", now)
	}
	return nil
}
