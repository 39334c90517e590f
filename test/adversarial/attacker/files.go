package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

var _ = add(map[string]func([]string){
	"link":  func(args []string) { try(os.Symlink(args[0], args[1])) },
	"cat":   func(args []string) { show(args[0]) },
	"sleep": func([]string) { fmt.Println("sleeping"); time.Sleep(time.Hour) },
	"list": func(args []string) {
		entries, err := os.ReadDir(args[0])
		try(err)
		for _, e := range entries {
			fmt.Println(e.Name())
		}
	},
	"overwrite": func(args []string) {
		if err := os.WriteFile(args[0], []byte("overwritten"), 0o644); err == nil {
			_ = os.Chmod(args[0], 0o777)
		}
	},
	"remount": func(args []string) {
		_ = unix.Mount("", args[0], "", unix.MS_REMOUNT|unix.MS_BIND, "")
	},
	"fifo": func(args []string) {
		try(unix.Mkfifo(args[0], 0o666))
		// Both ends: it must not wait for a reader.
		f, err := os.OpenFile(args[0], os.O_RDWR, 0)
		try(err)
		_, err = f.WriteString("from the pipe")
		try(err)
		time.Sleep(time.Hour)
	},
	"socket-file": func(args []string) {
		_, err := net.Listen("unix", args[0])
		try(err)
		time.Sleep(time.Hour)
	},
	"mknod": func([]string) {
		for name, mode := range map[string]uint32{"disk": unix.S_IFBLK, "memory": unix.S_IFCHR} {
			number := map[string]int{"disk": int(unix.Mkdev(8, 0)), "memory": int(unix.Mkdev(1, 1))}[name]
			if err := unix.Mknod("/tmp/"+name, mode|0o666, number); err == nil {
				got("a node of the %s", name)
			}
		}
	},
	// Opening is enough, and changes nothing.
	"doors": func([]string) {
		for _, path := range []string{
			"/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sys/vm/panic_on_oom", "/proc/sys/fs/binfmt_misc/register",
			"/proc/sysrq-trigger", "/proc/kcore", "/proc/kmsg", "/proc/irq/default_smp_affinity", "/proc/acpi",
			"/sys/kernel/uevent_helper", "/sys/power/state", "/sys/kernel/mm/transparent_hugepage/enabled",
		} {
			// What hides some of them is /dev/null.
			if f, err := os.OpenFile(path, os.O_WRONLY, 0); err == nil {
				var st unix.Stat_t
				try(unix.Fstat(int(f.Fd()), &st))
				_ = f.Close()
				if st.Mode&unix.S_IFMT != unix.S_IFCHR || st.Rdev != unix.Mkdev(1, 3) {
					got("%s to write to", path)
				}
			}
		}
	},
	"cgroup": func([]string) {
		for _, dir := range []string{"/sys/fs/cgroup", "/.deep/cgroup"} {
			for _, file := range []string{"memory/memory.limit_in_bytes", "pids/pids.max", "memory.max", "pids.max", "memory/release_agent", "cgroup.procs", "pids/cgroup.procs"} {
				if f, err := os.OpenFile(dir+"/"+file, os.O_WRONLY, 0); err == nil {
					_ = f.Close()
					got("%s/%s to write to", dir, file)
				}
			}
		}
		// One that is mounted anew is not read-only.
		try(os.MkdirAll("/tmp/cgroup", 0o755))
		for _, kind := range []struct{ fs, options string }{{"cgroup", "pids"}, {"cgroup2", ""}} {
			if unix.Mount("cgroup", "/tmp/cgroup", kind.fs, 0, kind.options) == nil {
				if f, err := os.OpenFile("/tmp/cgroup/cgroup.procs", os.O_WRONLY, 0); err == nil {
					_ = f.Close()
					got("a hierarchy of %s to write to", kind.fs)
				}
				_ = unix.Unmount("/tmp/cgroup", unix.MNT_DETACH)
			}
		}
	},
	"dig": func(args []string) {
		try(os.Mkdir(args[0], 0o755))
		try(os.Chdir(args[0]))
		for range atoi(args[1]) {
			try(os.Mkdir("d", 0o755))
			try(os.Chdir("d"))
		}
		try(os.WriteFile("needle", []byte("needle"), 0o644))
	},
	"fill": func(args []string) {
		try(os.Mkdir(args[0], 0o755))
		dir, err := os.Open(args[0])
		try(err)
		for i := range atoi(args[1]) {
			fd, err := unix.Openat(int(dir.Fd()), "f"+itoa(i), unix.O_CREAT|unix.O_WRONLY, 0o644)
			try(err)
			try(unix.Close(fd))
		}
	},
	// flip TREE KEPT keeps making a directory in TREE that becomes a link to KEPT.
	"flip": func(args []string) {
		dir, link := args[0]+"/dir", args[0]+"-link"
		for n := 0; ; n++ {
			_ = os.MkdirAll(dir+"/full", 0o755)
			_ = os.Remove(link)
			_ = os.Symlink(args[1], link)
			for range 8 {
				_ = unix.Renameat2(unix.AT_FDCWD, dir, unix.AT_FDCWD, link, unix.RENAME_EXCHANGE)
			}
			_ = os.RemoveAll(link)
		}
	},
	"exchange": func(args []string) {
		for n := 0; ; n++ {
			_ = unix.Renameat2(unix.AT_FDCWD, args[0], unix.AT_FDCWD, args[1], unix.RENAME_EXCHANGE)
			if n%16 == 0 {
				time.Sleep(50 * time.Microsecond)
			}
		}
	},
})

func show(path string) {
	f, err := os.Open(path)
	if err != nil {
		return
	}
	b, _ := io.ReadAll(io.LimitReader(f, 1<<20))
	// What comes from a file is no word of the attacker's.
	fmt.Println("content: " + strings.ReplaceAll(string(b), "\n", " "))
}
