package main

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// start runs another attack of this program beside this one.
func start(attr *syscall.SysProcAttr, name string, args ...string) *exec.Cmd {
	argv := self(name, args...)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = os.Stdout, os.Stderr, attr
	try(cmd.Start())
	return cmd
}

func ready() { fmt.Println("ready") }

func forever() { time.Sleep(time.Hour) }

func ignoreAll() {
	for sig := syscall.Signal(1); sig <= 64; sig++ {
		signal.Ignore(sig)
	}
}

var _ = add(map[string]func([]string){
	"quiet": func([]string) { forever() },
	"child": func([]string) {
		start(nil, "quiet")
		ready()
		forever()
	},
	// chain setsid|orphan N [first]
	"chain": func(args []string) {
		n := atoi(args[1])
		if n == 0 {
			ready()
			forever()
		}
		start(&syscall.SysProcAttr{Setsid: true}, "chain", args[0], itoa(n-1))
		// Of orphans the last lives, and the first, whom the guest waits for.
		if first := len(args) > 2; args[0] == "setsid" || first {
			forever()
		}
	},
	"ignore": func([]string) {
		ignoreAll()
		start(nil, "ignore-child")
		forever()
	},
	"ignore-child": func([]string) {
		ignoreAll()
		ready()
		forever()
	},
	"stop": func([]string) {
		child := start(nil, "quiet")
		time.Sleep(50 * time.Millisecond)
		_ = child.Process.Signal(unix.SIGSTOP)
		ready()
		_ = unix.Kill(os.Getpid(), unix.SIGSTOP)
		forever()
	},
	// relay: each process lives for a moment, and starts the next. It comes to an end
	// by itself, should nobody end it.
	"relay": func([]string) {
		start(&syscall.SysProcAttr{Setsid: true}, "relayed", "0")
		forever()
	},
	"relayed": func(args []string) {
		ignoreAll()
		n := atoi(args[0])
		if n == 10 {
			ready()
		}
		time.Sleep(30 * time.Millisecond)
		if n == 2000 {
			return
		}
		start(&syscall.SysProcAttr{Setsid: true}, "relayed", itoa(n+1))
	},
	"cleared": func([]string) {
		argv := self("quiet")
		cmd := exec.Command(argv[0], argv[1:]...)
		cmd.Env = []string{}
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		try(cmd.Start())
		_ = os.WriteFile("/proc/self/comm", []byte("kworker/0:0"), 0)
		ready()
		forever()
	},
	"threads": func(args []string) {
		for range atoi(args[0]) {
			go func() {
				runtime.LockOSThread()
				forever()
			}()
		}
		time.Sleep(100 * time.Millisecond)
		ready()
		forever()
	},
	// bomb: every process starts two more, as long as there are more to be had.
	"bomb": func([]string) {
		ignoreAll()
		for n := 0; ; n++ {
			argv := self("bomb-part")
			cmd := exec.Command(argv[0], argv[1:]...)
			if err := cmd.Start(); err != nil {
				time.Sleep(time.Millisecond)
			}
			if n == 40 {
				ready()
			}
		}
	},
	"bomb-part": func([]string) {
		ignoreAll()
		for {
			argv := self("bomb-part")
			if err := exec.Command(argv[0], argv[1:]...).Start(); err != nil {
				time.Sleep(5 * time.Millisecond)
			}
		}
	},
	"daemon": func([]string) { start(&syscall.SysProcAttr{Setsid: true}, "quiet") },
	"signal": func(args []string) { _ = unix.Kill(atoi(args[0]), unix.Signal(atoi(args[1]))) },
	"signals": func(args []string) {
		for sig := 1; sig <= 64; sig++ {
			_ = unix.Kill(atoi(args[0]), unix.Signal(sig))
		}
	},
	"ptrace": func(args []string) {
		runtime.LockOSThread()
		if unix.PtraceAttach(atoi(args[0])) == nil {
			got("a trace of process %s", args[0])
			var status unix.WaitStatus
			_, _ = unix.Wait4(atoi(args[0]), &status, unix.WALL, nil)
			_ = unix.PtraceDetach(atoi(args[0]))
		}
	},
	"proc1": func([]string) {
		for _, name := range []string{"environ", "maps", "auxv", "stack"} {
			if b, err := os.ReadFile("/proc/1/" + name); err == nil && len(b) > 0 {
				got("%d bytes of /proc/1/%s", len(b), name)
			}
		}
		if f, err := os.OpenFile("/proc/1/mem", os.O_RDWR, 0); err == nil {
			_ = f.Close()
			got("/proc/1/mem")
		}
		if entries, err := os.ReadDir("/proc/1/fd"); err == nil {
			got("%d descriptors of PID 1", len(entries))
		}
	},
	"zombies": func(args []string) {
		for range atoi(args[0]) {
			// Nobody waits for them; beyond the limit there are no more.
			argv := self("none")
			_, err := syscall.ForkExec("/proc/self/exe", argv, &syscall.ProcAttr{})
			if err != nil {
				return
			}
		}
	},
	"exit": func(args []string) { os.Exit(atoi(args[0])) },
	"raise": func(args []string) {
		// Another program, for which all signals are as the kernel has them.
		start(nil, "kill-later", itoa(os.Getpid()), args[0])
		try(unix.Exec("/bin/sleep", []string{"sleep", "5"}, os.Environ()))
	},
	"kill-later": func(args []string) {
		for {
			if name, _ := os.ReadFile("/proc/" + args[0] + "/comm"); string(name) == "sleep\n" || string(name) == "busybox\n" {
				break
			}
			time.Sleep(time.Millisecond)
		}
		_ = unix.Kill(atoi(args[0]), unix.Signal(atoi(args[1])))
	},
	"pause": func([]string) { time.Sleep(100 * time.Millisecond) },
})
