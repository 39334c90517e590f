package probe

import (
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// interfaces are those that are up, but for loopback. The kernel may put tunnels
// that are down into every namespace; only who administers it could bring them up.
func interfaces() ([]string, error) {
	// Not /sys, which a sandbox need not have.
	b, err := os.ReadFile("/proc/self/net/dev")
	if err != nil {
		return nil, err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = unix.Close(fd) }()
	var up []string
	for line := range strings.Lines(string(b)) {
		name, _, ok := strings.Cut(strings.TrimSpace(line), ":")
		if !ok {
			continue // the heads
		}
		req, err := unix.NewIfreq(name)
		if err != nil {
			return nil, err
		}
		// One whose flags are not told counts as up.
		err = unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, req)
		if flags := req.Uint16(); err != nil || flags&unix.IFF_UP != 0 && flags&unix.IFF_LOOPBACK == 0 {
			up = append(up, name)
		}
	}
	return up, nil
}

// route reports whether the kernel knows a way to an address elsewhere. It looks
// when a datagram socket is connected, and nothing is sent.
func route() bool {
	// Addresses kept for documentation, which nobody has.
	for _, to := range []unix.Sockaddr{
		&unix.SockaddrInet4{Port: 9, Addr: [4]byte{192, 0, 2, 1}},
		&unix.SockaddrInet6{Port: 9, Addr: [16]byte{0x20, 0x01, 0x0d, 0xb8, 15: 1}},
	} {
		family := unix.AF_INET
		if _, six := to.(*unix.SockaddrInet6); six {
			family = unix.AF_INET6
		}
		fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			continue // a kernel without this family
		}
		err = unix.Connect(fd, to)
		_ = unix.Close(fd)
		if err == nil {
			return true
		}
	}
	return false
}

// nameserver reports whether one is named where programs look for it.
func nameserver() bool {
	b, err := os.ReadFile("/etc/resolv.conf")
	if err != nil {
		return false // nor can programs read it
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "nameserver" {
			return true
		}
	}
	return false
}
