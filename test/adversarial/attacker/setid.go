package main

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	callFchmodat2 = 452
	callOpenat2   = 437
)

// setid tries to make a file with a mode in a directory, by one call.
var setid = map[string]func(path string, mode uint32){
	"chmod": func(path string, mode uint32) {
		make0(path)
		_, _, _ = unix.RawSyscall(unix.SYS_CHMOD, cstring(path), uintptr(mode), 0)
	},
	"fchmod": func(path string, mode uint32) {
		fd := make0(path)
		_, _, _ = unix.RawSyscall(unix.SYS_FCHMOD, uintptr(fd), uintptr(mode), 0)
	},
	"fchmodat": func(path string, mode uint32) {
		make0(path)
		_, _, _ = unix.RawSyscall(unix.SYS_FCHMODAT, minus1, cstring(path), uintptr(mode))
	},
	"fchmodat2": func(path string, mode uint32) {
		make0(path)
		_, _, _ = unix.RawSyscall6(callFchmodat2, minus1, cstring(path), uintptr(mode), 0, 0, 0)
	},
	"creat": func(path string, mode uint32) {
		_, _, _ = unix.RawSyscall(unix.SYS_CREAT, cstring(path), uintptr(mode), 0)
	},
	"open": func(path string, mode uint32) {
		_, _, _ = unix.RawSyscall(unix.SYS_OPEN, cstring(path), unix.O_CREAT|unix.O_WRONLY, uintptr(mode))
	},
	"openat": func(path string, mode uint32) {
		_, _, _ = unix.RawSyscall6(unix.SYS_OPENAT, minus1, cstring(path), unix.O_CREAT|unix.O_WRONLY, uintptr(mode), 0, 0)
	},
	"openat2": func(path string, mode uint32) {
		how := unix.OpenHow{Flags: unix.O_CREAT | unix.O_WRONLY, Mode: uint64(mode)}
		_, _, _ = unix.RawSyscall6(callOpenat2, minus1, cstring(path), uintptr(unsafe.Pointer(&how)), unix.SizeofOpenHow, 0, 0)
	},
	"tmpfile": func(path string, mode uint32) {
		fd, _, errno := unix.RawSyscall6(unix.SYS_OPENAT, minus1, cstring("/workspace"), unix.O_TMPFILE|unix.O_WRONLY, uintptr(mode), 0, 0)
		if errno == 0 {
			try(unix.Linkat(unix.AT_FDCWD, "/proc/self/fd/"+itoa(int(fd)), unix.AT_FDCWD, path, unix.AT_SYMLINK_FOLLOW))
		}
	},
	"mkdir": func(path string, mode uint32) {
		_, _, _ = unix.RawSyscall(unix.SYS_MKDIR, cstring(path), uintptr(mode), 0)
	},
	"mkdirat": func(path string, mode uint32) {
		_, _, _ = unix.RawSyscall(unix.SYS_MKDIRAT, minus1, cstring(path), uintptr(mode))
	},
	"mknod": func(path string, mode uint32) {
		_, _, _ = unix.RawSyscall(unix.SYS_MKNOD, cstring(path), uintptr(mode|unix.S_IFREG), 0)
	},
	"mknodat": func(path string, mode uint32) {
		_, _, _ = unix.RawSyscall6(unix.SYS_MKNODAT, minus1, cstring(path), uintptr(mode|unix.S_IFREG), 0, 0, 0)
	},
}

// make0 makes an ordinary file.
func make0(path string) int {
	fd, err := unix.Open(path, unix.O_CREAT|unix.O_WRONLY, 0o755)
	try(err)
	return fd
}

var _ = add(map[string]func([]string){
	// setid CALL DIRECTORY: what comes of it is for the host to see.
	"setid": func(args []string) {
		make, ok := setid[args[0]]
		if !ok {
			broken("no such call: %s", args[0])
		}
		for name, bit := range map[string]uint32{"setuid": unix.S_ISUID, "setgid": unix.S_ISGID} {
			make(args[1]+"/"+name, 0o755|bit)
		}
	},
	// Whoever runs a program that is setuid is another user then.
	"euid": func([]string) {
		if uid := os.Geteuid(); uid != os.Getuid() {
			got("effective uid %d", uid)
		}
	},
	"exec": func(args []string) {
		try(unix.Exec(args[0], append([]string{args[0], tag}, args[1:]...), os.Environ()))
	},
})
