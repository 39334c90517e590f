package guest

import (
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// helperPrefix makes the test program a command for sandboxes: what no shell
// can do.
const helperPrefix = "-helper="

func helper(role string, args []string) int {
	if err := runHelper(role, args); err != nil {
		fmt.Fprintln(os.Stderr, role+":", err)
		return 1
	}
	return 0
}

func runHelper(role string, args []string) error {
	switch role {
	case "setsid": // run a program in a session of its own
		if _, err := unix.Setsid(); err != nil {
			return err
		}
		return unix.Exec(args[0], args, os.Environ())
	case "threads": // hold threads and say so
		n, err := strconv.Atoi(args[0])
		if err != nil {
			return err
		}
		holdThreads(n)
	case "bomb": // fork for ever, up to a limit of its own
		limit := unix.Rlimit{Cur: 200, Max: 200}
		if err := unix.Setrlimit(unix.RLIMIT_NPROC, &limit); err != nil {
			return err
		}
		signal.Ignore(unix.SIGTERM)
		fmt.Println("ready")
		for {
			_, _, _ = unix.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
		}
	case "fill": // use up all processes, for ever
		for {
			pid, _, errno := unix.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
			if errno != 0 {
				time.Sleep(10 * time.Millisecond)
			} else if pid == 0 {
				for {
					_, _, _ = unix.RawSyscall6(unix.SYS_PPOLL, 0, 0, 0, 0, 0, 0)
				}
			}
		}
	case "leaderless": // the first thread ends, another goes on
		go func() {
			runtime.LockOSThread()
			time.Sleep(time.Hour)
		}()
		time.Sleep(100 * time.Millisecond)
		fmt.Println("ready")
		endMainThread()
	case "status": // what of /proc/self/status matters
		b, err := os.ReadFile("/proc/self/status")
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(b)) {
			for _, name := range []string{"Uid:", "Gid:", "Cap", "NoNewPrivs:", "SigBlk:", "SigIgn:"} {
				if strings.HasPrefix(line, name) {
					fmt.Print(line)
				}
			}
		}
	case "setgroups":
		return unix.Setgroups(nil)
	}
	return nil
}

func holdThreads(n int) {
	var started sync.WaitGroup
	for range n {
		started.Add(1)
		go func() {
			runtime.LockOSThread()
			started.Done()
			time.Sleep(time.Hour)
		}()
	}
	started.Wait()
	fmt.Println("ready")
	time.Sleep(time.Hour)
}

// mainThread is locked to main by init.
func init() { runtime.LockOSThread() }

func endMainThread() {
	if unix.Gettid() != os.Getpid() {
		panic("not the first thread")
	}
	_, _, _ = unix.RawSyscall(unix.SYS_EXIT, 0, 0, 0)
}

// openFiles are the descriptors this process holds, by what they show.
func (f *fixture) openFiles() []byte {
	f.t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	check(f.t, err)
	var all []byte
	for _, e := range entries {
		// One that is closed meanwhile is none.
		if to, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil {
			all = append(all, to+"\n"...)
		}
	}
	return all
}
