package probe

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// denied are system calls that deep's seccomp profile denies, and the answer it
// gives. None of them leaves anything, if it is let pass.
var denied = []struct {
	name string
	call func() unix.Errno
	want unix.Errno
}{
	{"socket(AF_VSOCK)", vsock, unix.EPERM},
	{"unshare", unshare, unix.EPERM},
	{"fchmod(S_ISUID)", setuidBit, unix.EPERM},
	{"openat2", openat2, unix.ENOSYS},
	{"io_uring_setup", ioUring, unix.ENOSYS},
}

// passed are those that were not answered as the profile does.
func passed() []string {
	var list []string
	for _, d := range denied {
		if d.call() != d.want {
			list = append(list, d.name)
		}
	}
	return list
}

func vsock() unix.Errno {
	fd, _, errno := unix.Syscall(unix.SYS_SOCKET, unix.AF_VSOCK, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if errno == 0 {
		_ = unix.Close(int(fd))
	}
	return errno
}

// unshare nothing, which everybody may.
func unshare() unix.Errno {
	_, _, errno := unix.Syscall(unix.SYS_UNSHARE, 0, 0, 0)
	return errno
}

// setuidBit gives one to a file that has no name and is this process' own.
func setuidBit() unix.Errno {
	fd, err := unix.MemfdCreate("probe", unix.MFD_CLOEXEC)
	if err != nil {
		return 0 // it could not be tried
	}
	_, _, errno := unix.Syscall(unix.SYS_FCHMOD, uintptr(fd), unix.S_ISUID|0o600, 0)
	_ = unix.Close(fd)
	return errno
}

// openat2 asks for nothing to be opened.
func openat2() unix.Errno {
	_, _, errno := unix.Syscall6(unix.SYS_OPENAT2, 0, 0, 0, 0, 0, 0)
	return errno
}

// ioUring asks for a ring of no entries and with no description.
func ioUring() unix.Errno {
	_, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, 0, 0, 0)
	return errno
}

// readOnlyRoot tries to make a file without a name. Whether the file system may be
// written is asked before whether this user may.
func readOnlyRoot() bool {
	fd, err := unix.Open("/", unix.O_TMPFILE|unix.O_WRONLY|unix.O_CLOEXEC, 0o600)
	if err == nil {
		_ = unix.Close(fd)
	}
	return err == unix.EROFS
}

// firstSafe tries to signal process 1, with the signal that is none.
func firstSafe() bool { return unix.Kill(1, 0) == unix.EPERM }

// limits reads the hard limits, which a process cannot raise.
func (f *Findings) limits() error {
	for _, l := range []struct {
		resource int
		to       *int64
	}{{unix.RLIMIT_NOFILE, &f.OpenFiles}, {unix.RLIMIT_FSIZE, &f.FileSize}, {unix.RLIMIT_CORE, &f.CoreSize}} {
		var r unix.Rlimit
		_, _, errno := unix.RawSyscall6(unix.SYS_PRLIMIT64, 0, uintptr(l.resource), 0, uintptr(unsafe.Pointer(&r)), 0, 0)
		if errno != 0 {
			return errno
		}
		*l.to = -1
		if r.Max < 1<<63 {
			*l.to = int64(r.Max)
		}
	}
	return nil
}
