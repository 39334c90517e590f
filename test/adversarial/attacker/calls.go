package main

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A call that the profile denies is answered before the kernel looks at it, with
// one of two errors. So an argument that the kernel itself answers otherwise tells
// whether the call reached it; where it can, it is a call that works.
func reached(name string, errno syscall.Errno) {
	if errno != unix.EPERM && errno != unix.ENOSYS {
		got("%s reached the kernel, which said %q", name, errno.Error())
	}
}

// bad is no address.
const bad = 1

var empty = [256]byte{}

func addr(b *[256]byte) uintptr { return uintptr(unsafe.Pointer(b)) }

func cstring(s string) uintptr {
	b, err := unix.BytePtrFromString(s)
	try(err)
	return uintptr(unsafe.Pointer(b))
}

const (
	minus1          = ^uintptr(0)
	callClone3      = 435
	callOpenTree    = 428
	callMountAttr   = 442
	callIOUringMake = 425
	callIOUringGo   = 426
	callIOUringReg  = 427
)

// calls by the name of the attack, with their number and arguments.
var calls = map[string][]uintptr{
	"mount":             {unix.SYS_MOUNT, bad, bad, bad, 0, 0},
	"umount":            {unix.SYS_UMOUNT2, cstring("/"), 0x8000},
	"open-tree":         {callOpenTree, minus1, cstring("/"), 0},
	"mount-setattr":     {callMountAttr, minus1, cstring("/"), 0xffff0000, 0, 0},
	"unshare":           {unix.SYS_UNSHARE, 0},
	"setns":             {unix.SYS_SETNS, minus1, 0},
	"clone3":            {callClone3, 0, 0},
	"keyctl":            {unix.SYS_KEYCTL, 9999},
	"add-key":           {unix.SYS_ADD_KEY, bad, bad, 0, 0, 0},
	"request-key":       {unix.SYS_REQUEST_KEY, bad, bad, 0, 0},
	"userfaultfd":       {unix.SYS_USERFAULTFD, 1},
	"io-uring-setup":    {callIOUringMake, 1, addr(&empty)},
	"io-uring-enter":    {callIOUringGo, minus1, 0, 0, 0, 0, 0},
	"io-uring-register": {callIOUringReg, minus1, 0, 0, 0},
	"open-by-handle-at": {unix.SYS_OPEN_BY_HANDLE_AT, minus1, bad, 0},
	"bpf":               {unix.SYS_BPF, 0, addr(&empty), 1 << 20},
	"perf-event-open":   {unix.SYS_PERF_EVENT_OPEN, addr(&empty), 0, 0, minus1, minus1},
	"prlimit":           {unix.SYS_PRLIMIT64, 1, unix.RLIMIT_NOFILE, bad, 0},
	"settimeofday":      {unix.SYS_SETTIMEOFDAY, bad, 0},
	"fsconfig":          {431, minus1, 0, 0, 0, 0},
	"kcmp":              {unix.SYS_KCMP, minus1, minus1, 99, 0, 0},
}

// sockets by the name of the attack, with their family, type and protocol.
var sockets = map[string][3]int{
	"af-vsock":          {unix.AF_VSOCK, unix.SOCK_STREAM, 0},
	"af-alg":            {unix.AF_ALG, unix.SOCK_SEQPACKET, 0},
	"af-packet":         {unix.AF_PACKET, unix.SOCK_RAW, 0x0300},
	"af-key":            {unix.AF_KEY, unix.SOCK_RAW, 2},
	"af-xdp":            {unix.AF_XDP, unix.SOCK_RAW, 0},
	"af-can":            {unix.AF_CAN, unix.SOCK_RAW, 1},
	"af-bluetooth":      {unix.AF_BLUETOOTH, unix.SOCK_RAW, 1},
	"af-tipc":           {unix.AF_TIPC, unix.SOCK_RDM, 0},
	"netlink-sockdiag":  {unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_SOCK_DIAG},
	"netlink-audit":     {unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_AUDIT},
	"netlink-generic":   {unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_GENERIC},
	"netlink-uevent":    {unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_KOBJECT_UEVENT},
	"netlink-netfilter": {unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_NETFILTER},
	"raw-ip":            {unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP},
}

var _ = add(map[string]func([]string){
	"call": func(args []string) {
		c, ok := calls[args[0]]
		if !ok {
			broken("no such call: %s", args[0])
		}
		c = append(c, make([]uintptr, 7-len(c))...)
		_, _, errno := unix.RawSyscall6(c[0], c[1], c[2], c[3], c[4], c[5], c[6])
		reached(args[0], errno)
	},
	"socket": func(args []string) {
		s, ok := sockets[args[0]]
		if !ok {
			broken("no such socket: %s", args[0])
		}
		_, err := unix.Socket(s[0], s[1], s[2])
		var errno syscall.Errno
		errors.As(err, &errno)
		reached(args[0], errno)
	},
	"clone-newuser": func([]string) { clone("a user namespace", unix.CLONE_NEWUSER) },
	// In it a program has all capabilities, and what it takes to mount.
	"mount-in-userns": func([]string) {
		cmd := exec.Command("/proc/self/exe", self("mount-tmpfs")[1:]...)
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNS,
			UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		}
		cmd.Stdout = os.Stdout
		_ = cmd.Run()
	},
	"mount-tmpfs": func([]string) {
		if err := unix.Mount("tmpfs", "/workspace", "tmpfs", 0, ""); err == nil {
			got("a tmpfs at /workspace")
			_ = unix.Unmount("/workspace", unix.MNT_DETACH)
		}
	},
	// The calls of 32-bit programs have other numbers, and a filter that looks at
	// numbers alone lets the wrong ones pass. 20 is getpid there.
	"int80": func([]string) { inChild("int80-child") },
	"int80-child": func([]string) {
		if pid := int80(20); pid == os.Getpid() {
			got("getpid by int 0x80")
		}
	},
	"x32": func([]string) { inChild("x32-child") },
	"x32-child": func([]string) {
		_, _, errno := unix.RawSyscall(0x40000000|unix.SYS_GETPID, 0, 0, 0)
		reached("x32 getpid", errno)
	},
	"prlimit-pid1": func([]string) {
		var old unix.Rlimit
		if err := unix.Prlimit(1, unix.RLIMIT_NOFILE, nil, &old); err == nil {
			got("limits of PID 1: %d", old.Cur)
		}
	},
})

// inChild makes an attack in a process of its own: an engine's filter ends the
// thread that makes such a call, and leaves the rest of it waiting.
func inChild(name string) {
	argv := self(name)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout = os.Stdout
	try(cmd.Start())
	timer := time.AfterFunc(time.Second, func() { _ = cmd.Process.Kill() })
	_ = cmd.Wait()
	timer.Stop()
}

func clone(what string, flags uintptr) {
	argv := self("none")
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags}
	if err := cmd.Run(); err == nil {
		got("%s", what)
	}
}
