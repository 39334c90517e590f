package main

import (
	"bytes"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const mib = 1 << 20

var _ = add(map[string]func([]string){
	"memory": func(args []string) {
		n := atoi(args[0])
		b, err := unix.Mmap(-1, 0, n*mib, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
		if err != nil {
			return
		}
		for i := 0; i < len(b); i += 4096 {
			b[i] = 1
		}
		got("%d MiB", n)
	},
	"write": func(args []string) {
		f, err := os.Create(args[0])
		try(err)
		piece := bytes.Repeat([]byte{1}, mib)
		for range atoi(args[1]) {
			if _, err := f.Write(piece); err != nil {
				return
			}
		}
		got("%s MiB in %s", args[1], args[0])
	},
	"many": func(args []string) {
		n := 0
		for range atoi(args[0]) {
			if _, err := syscall.ForkExec("/bin/sleep", []string{"sleep", "30", tag}, &syscall.ProcAttr{}); err != nil {
				break
			}
			n++
		}
		if n >= atoi(args[0]) {
			got("%d processes", n)
		}
		_ = unix.Kill(-1, unix.SIGKILL)
	},
	"sparse": func(args []string) {
		f, err := os.Create(args[0])
		try(err)
		if err := f.Truncate(int64(atoi(args[1])) << 30); err == nil {
			got("a file of %s GiB", args[1])
		}
	},
	"open": func(args []string) {
		n := 0
		for range atoi(args[0]) {
			if _, err := unix.Open("/dev/null", unix.O_RDONLY, 0); err != nil {
				break
			}
			n++
		}
		if n == atoi(args[0]) {
			got("%d open files", n)
		}
	},
	"raise-limits": func([]string) {
		for name, which := range map[string]int{"files": unix.RLIMIT_NOFILE, "core": unix.RLIMIT_CORE, "file size": unix.RLIMIT_FSIZE} {
			var now unix.Rlimit
			try(unix.Getrlimit(which, &now))
			if unix.Setrlimit(which, &unix.Rlimit{Cur: now.Max + 1, Max: now.Max + 1}) == nil {
				got("another limit of %s than %d", name, now.Max)
			}
		}
	},
	"spin": func([]string) {
		for range 4 {
			go func() {
				for { //nolint:staticcheck // this is the attack
				}
			}()
		}
		time.Sleep(2 * time.Second)
	},
	"flood": func(args []string) {
		piece := make([]byte, 64<<10)
		for left, n := atoi(args[0]), 0; left > 0; n++ {
			p := piece[:min(left, len(piece))]
			out := os.Stdout
			if n%2 == 1 {
				out = os.Stderr
			}
			m, err := out.Write(p)
			if err != nil {
				return
			}
			left -= m
		}
	},
})
