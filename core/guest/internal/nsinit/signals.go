package nsinit

import (
	"fmt"
	"os"
	"os/signal"
	"unsafe"

	"golang.org/x/sys/unix"
)

// TakeSignals gives every signal somewhere to go, for a process that is the first
// of its PID namespace: what sandboxed code may send shall not end it.
//
// The kernel protects such a process from signals it has no handler for, but for
// a gap: while the first thread blocks a signal, another dies of it, and the
// first blocks all in each handler and around each fork. So none may be without
// a handler. The Go runtime leaves three signals of the C library without, and
// would end the process if its own handler got them.
func TakeSignals() error {
	dropped := make(chan os.Signal, 1)
	for n := unix.Signal(1); n <= lastSignal; n++ {
		// SIGURG is the runtime's own, many times a second.
		if n != unix.SIGURG && n != unix.SIGKILL && n != unix.SIGSTOP {
			signal.Notify(dropped, n)
		}
	}
	var taken action // its flags, mask and way back
	if err := sigaction(unix.SIGUSR1, nil, &taken); err != nil {
		return err
	}
	taken.handler = handler()
	for n := unix.Signal(32); n <= 34; n++ {
		var now action
		if err := sigaction(n, nil, &now); err != nil {
			return err
		}
		// A handler and not "ignore", which commands would inherit, also where this
		// process inherited it.
		const ignored = 1
		if now.handler <= ignored {
			if err := sigaction(n, &taken, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

const lastSignal = 64

// returnAtOnce is a signal handler. It is never called from Go, whose stack and
// registers it would not find.
//
//nolint:unused // by its address only, in handler.
func returnAtOnce()

// handler returns the address of returnAtOnce.
func handler() uintptr

// action is the kernel's struct sigaction on amd64 and arm64.
type action struct {
	handler  uintptr
	flags    uint64
	restorer uintptr
	mask     uint64
}

func sigaction(n unix.Signal, set, old *action) error {
	const maskSize = lastSignal / 8
	_, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(n),
		uintptr(unsafe.Pointer(set)), uintptr(unsafe.Pointer(old)), maskSize, 0, 0)
	if errno != 0 {
		return fmt.Errorf("take signal %d: %w", int(n), errno)
	}
	return nil
}
