package guest

import (
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/deep-sandbox/deep/core/control"
	"github.com/deep-sandbox/deep/core/guest/internal/nsinit"
)

const (
	// gcPercent trades processor for memory: the heap is small.
	gcPercent = 50
	// memoryLimit makes the collector work harder before the heap grows beyond
	// what an idle guest and a few calls need, in bytes.
	memoryLimit = 32 << 20
)

// harden makes the process fit to be the first of a sandbox. It returns what
// delivers SIGTERM, the engine's request to end.
func harden() (<-chan os.Signal, error) {
	if err := nsinit.TakeSignals(); err != nil {
		return nil, err
	}
	term := make(chan os.Signal, 1)
	signal.Notify(term, unix.SIGTERM)

	debug.SetGCPercent(gcPercent)
	debug.SetMemoryLimit(memoryLimit)
	// On every thread there is; later ones inherit it.
	if !control.Opened(control.NoNewPrivileges) {
		if _, _, errno := syscall.AllThreadsSyscall6(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0); errno != 0 {
			return nil, fmt.Errorf("set no_new_privs: %w", errno)
		}
	}
	// Commands of the same uid shall neither trace nor read it.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return nil, fmt.Errorf("make it undumpable: %w", err)
	}
	warmThreads(spareThreads)
	return term, nil
}

// closeOnExec keeps whatever descriptors the guest was started with from its
// commands.
func closeOnExec() error {
	const first = 3
	err := unix.CloseRange(first, ^uint(0)>>32, unix.CLOSE_RANGE_CLOEXEC)
	if err == nil {
		return nil
	}
	// A kernel before 5.11, or a seccomp profile that does not know the call.
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return fmt.Errorf("look at the open descriptors: %w", err)
	}
	for _, e := range entries {
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd >= first {
			unix.CloseOnExec(fd)
		}
	}
	return nil
}
