package jail

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/deep-sandbox/deep/core/control"
)

// guestShare is how many of a sandbox's processes are kept for the guest.
const guestShare = 64

const (
	maxFiles    = 4096
	maxFileSize = 2 << 30
)

// limit sets what every process of the sandbox is limited to, cgroups or not.
func (s *setup) limit() error {
	limits := []struct {
		resource int
		value    uint64
	}{
		{unix.RLIMIT_NOFILE, maxFiles}, {unix.RLIMIT_CORE, 0}, {unix.RLIMIT_FSIZE, maxFileSize},
	}
	if control.Opened(control.ResourceLimits) {
		limits[0].value, limits[2].value = 4*maxFiles, unix.RLIM_INFINITY
	}
	if countsApart() {
		n := s.PIDs
		if s.IDs.Mode != MapOne {
			n -= guestShare // of another uid, so that commands cannot take it
		}
		limits = append(limits, struct {
			resource int
			value    uint64
		}{unix.RLIMIT_NPROC, uint64(n)})
	}
	for _, l := range limits {
		var own unix.Rlimit
		if err := unix.Getrlimit(l.resource, &own); err != nil {
			return err
		}
		v := min(l.value, own.Max)
		// Through syscall: it forgets the limit of before, which it would else give
		// back to what it executes.
		if err := syscall.Setrlimit(l.resource, &syscall.Rlimit{Cur: v, Max: v}); err != nil {
			return err
		}
	}
	return nil
}

// countsApart reports whether this kernel counts the processes of a user in each
// user namespace apart, as since 5.14. Before, RLIMIT_NPROC would count all that
// the user runs on this host.
func countsApart() bool {
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		return false
	}
	var version [2]int
	part := 0
	for _, c := range uts.Release {
		switch {
		case c >= '0' && c <= '9':
			version[part] = 10*version[part] + int(c-'0')
		case part == 0 && c == '.':
			part = 1
		default:
			return version[0] > 5 || version[0] == 5 && version[1] >= 14
		}
	}
	return false
}

// guestCaps is what the guest needs: to become the user commands run as and to
// kill what that runs; where it is that user itself, to make a PID namespace for
// each command and mount its /proc.
func (s *setup) guestCaps() []uintptr {
	if s.IDs.Mode == MapOne {
		return []uintptr{unix.CAP_SYS_ADMIN}
	}
	return []uintptr{unix.CAP_SETUID, unix.CAP_SETGID, unix.CAP_KILL}
}

// dropCapabilities leaves those of the guest, and no way to others.
func (s *setup) dropCapabilities() error {
	if control.Opened(control.Capabilities) {
		return nil
	}
	kept := s.guestCaps()
	var mask uint64
	for _, c := range kept {
		mask |= 1 << c
	}
	for c := uintptr(0); c < 64; c++ {
		if mask&(1<<c) != 0 {
			continue
		}
		err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0)
		if errors.Is(err, unix.EINVAL) {
			break // the first this kernel does not know
		}
		if err != nil {
			return err
		}
	}
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return err
	}
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	for i := range data {
		word := uint32(mask >> (32 * i))
		data[i] = unix.CapUserData{Effective: word, Permitted: word}
		if s.IDs.Mode == MapOne {
			data[i].Inheritable = word // what can become ambient
		}
	}
	if err := unix.Capset(&head, &data[0]); err != nil {
		return err
	}
	if s.IDs.Mode == MapOne {
		// Not uid 0: only ambient ones outlive the exec. The guest takes them from
		// its commands.
		for _, c := range kept {
			if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, c, 0, 0); err != nil {
				return err
			}
		}
	}
	return unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
}
