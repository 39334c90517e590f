package guest

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/control"
)

// openAt opens a path as a caller gave it. It is the one way there: a thread has
// the rights of the sandbox's user but for /proc, where the kernel lets every
// thread of a process look at that process: no ids a thread could take would change
// that. So what is the guest's there is kept out of reach here, in both ways it
// could be got at:
//
//   - Nothing goes through a link that leads into a process, as /proc/1/root,
//     /proc/self/fd/3 and with it /dev/stdin do. The kernel tells them from links of
//     text at whatever place of whatever path. Those of the user's own processes
//     are refused too: a command can use them, and there "self" is the command.
//   - What has been opened is not in a directory of the guest.
//
// No descriptor of the guest leaks into commands. EINTR, which some file systems
// return to a thread that gets a signal, is nobody's concern.
func openAt(dir int, path string, flags int, mode uint32) (int, error) {
	var st unix.Stat_t
	return openStat(dir, path, flags, mode, &st)
}

// openStat is openAt, and describes what it has opened: it had to look at that.
func openStat(dir int, path string, flags int, mode uint32, st *unix.Stat_t) (int, error) {
	how := unix.OpenHow{Flags: uint64(flags | unix.O_CLOEXEC), Mode: uint64(mode), Resolve: unix.RESOLVE_NO_MAGICLINKS}
	if control.Opened(control.GuestFiles) {
		how.Resolve = 0
	}
	fd, err := unix.Openat2(dir, path, &how)
	for err == unix.EINTR {
		fd, err = unix.Openat2(dir, path, &how)
	}
	if err != nil {
		return -1, err
	}
	if err = unix.Fstat(fd, st); err == nil {
		err = notOurs(fd, st)
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// checkOpen reports whether the kernel knows how to keep out of reach what openAt
// has to.
func checkOpen() error {
	fd, err := openAt(unix.AT_FDCWD, "/", unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return fmt.Errorf("openat2: %w", err)
	}
	return unix.Close(fd)
}

// statAt describes what is at a path, as openAt finds it. flags are of open.
func statAt(dir int, path string, flags int, st *unix.Stat_t) error {
	at, err := openStat(dir, path, unix.O_PATH|flags, 0, st)
	if err != nil {
		return err
	}
	return unix.Close(at)
}

// reopen opens what the O_PATH descriptor at stands for, with the checks of a
// first opening.
func reopen(at int, flags int) (int, error) {
	flags |= unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_CLOEXEC
	for {
		fd, err := unix.Open(ownLink(at), flags, 0)
		if err != unix.EINTR {
			return fd, err
		}
	}
}

// ownLink is the path of a descriptor of the guest's.
func ownLink(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

// procDevice is the device number of /proc.
var procDevice = sync.OnceValue(func() uint64 {
	var st unix.Stat_t
	if err := unix.Stat("/proc", &st); err != nil {
		return 0
	}
	return st.Dev
})

// notOurs refuses what the user may not have of /proc though the kernel gives it to
// the guest's threads. It goes by the path the kernel has for what is open, not by
// how that was named.
func notOurs(fd int, st *unix.Stat_t) error {
	if st.Dev != procDevice() || control.Opened(control.GuestFiles) {
		return nil
	}
	path, err := readlinkat(unix.AT_FDCWD, ownLink(fd))
	if err != nil {
		return err
	}
	if strings.HasPrefix(path, "/proc/sys/") && st.Mode&0o004 == 0 {
		return unix.EACCES // judged by the effective uid, which is the guest's
	}
	pid, _, _ := strings.Cut(strings.TrimPrefix(path, "/proc/"), "/")
	if pid == "" || strings.Trim(pid, "0123456789") != "" || !isOurs(pid) {
		return nil
	}
	return &backend.Error{Kind: backend.ErrPermission, Message: "it belongs to the guest",
		Hint: "in /proc, \"self\" is the guest; let a command read its own", Err: unix.EACCES}
}

// isOurs reports whether pid is one of the guest's threads: each has a directory in
// /proc that shows the whole process, though none but the first is listed.
func isOurs(pid string) bool {
	return pid == strconv.Itoa(os.Getpid()) || unix.Faccessat(unix.AT_FDCWD, "/proc/self/task/"+pid, unix.F_OK, 0) == nil
}
