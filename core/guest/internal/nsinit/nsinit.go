// Package nsinit is the first process of a command's own PID namespace. It
// starts the command, reports how it ends, and stays while anything the command
// started lives: when it is killed, the kernel kills all of it.
//
// A program that imports the package becomes that process when it is executed
// under the name [Name], before its own packages are initialised: so it is small
// and quick.
package nsinit

import (
	"errors"
	"io"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/deep-sandbox/deep/core/guest/internal/confine"
)

// Name is the argv[0] that makes a program this one.
const Name = "deep-guest-init"

// Descriptors the process is started with, beside the command's 0, 1 and 2.
const (
	specFD    = 3
	reportFD  = 4
	controlFD = 5
)

// Env is the environment the process is started with. Its threads count against the
// sandbox's limit of processes, and the runtime starts the first of them before
// anything here can say that one processor is enough.
var Env = []string{"GOTRACEBACK=single", "GOMAXPROCS=1"}

// OOMScore is the oom_score_adj of commands: when memory runs out, it is theirs
// that is freed. Raising it needs no privilege, and lowering it again nobody has.
const OOMScore = 500

func init() {
	if len(os.Args) > 0 && os.Args[0] == Name {
		os.Exit(run())
	}
}

func run() int {
	unix.CloseOnExec(specFD)
	unix.CloseOnExec(reportFD)
	unix.CloseOnExec(controlFD)
	report := os.NewFile(reportFD, "report")
	pid, err := startCommand()
	var failed Report
	if err != nil && !errors.As(err, &failed.Failed) {
		failed.Failed = unix.EINVAL
	}
	if err == nil {
		obey(pid)
	}
	if _, err := report.WriteString(failed.String() + "\n"); err != nil || failed.Failed != 0 {
		return 1
	}
	wait(pid, report)
	return 0
}

func startCommand() (pid int, err error) {
	file := os.NewFile(specFD, "command")
	b, err := io.ReadAll(file)
	if err != nil {
		return 0, err
	}
	if err := file.Close(); err != nil {
		return 0, err
	}
	spec, err := parseSpec(b)
	if err != nil {
		return 0, err
	}
	// Before the next step, which makes the file root's. It fails where /proc is
	// not writable; then the score is that of the guest.
	_ = os.WriteFile("/proc/self/oom_score_adj", strconv.AppendInt(nil, OOMScore, 10), 0)
	// Same uid as the command: undumpable, it can be neither traced nor read.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return 0, err
	}
	if err := TakeSignals(); err != nil {
		return 0, err
	}
	rules, err := confine.Decode(spec.Rules)
	if err != nil {
		return 0, err
	}
	mountProc()

	// This thread forks, and the child gets what this thread has.
	runtime.LockOSThread()
	if err := giveUpPrivileges(); err != nil {
		return 0, err
	}
	if err := rules.Apply(); err != nil {
		return 0, err
	}
	pid, err = syscall.ForkExec(spec.Program, spec.Argv, &syscall.ProcAttr{
		Dir: spec.Dir, Env: spec.Env, Files: []uintptr{0, 1, 2},
		Sys: &syscall.SysProcAttr{Setsid: true, Setctty: spec.Terminal},
	})
	if err != nil {
		return 0, err
	}
	// The command's end of its pipes must not be ours too.
	for fd := range 3 {
		if err := unix.Close(fd); err != nil {
			return 0, err
		}
	}
	return pid, nil
}

// mountProc shows the namespace its own processes. Where the kernel does not
// allow that (parts of /proc are covered), what is there stays: the processes in
// it cannot be touched from inside.
func mountProc() {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return
	}
	_ = unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
}

func giveUpPrivileges() error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	_, _, errno := unix.RawSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&head)), uintptr(unsafe.Pointer(&none[0])), 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// wait reports the end of the command and returns when no process is left. The
// report pipe stays open until then, so that its end tells that this process ends.
func wait(pid int, report *os.File) {
	for {
		r := Report{Ended: true}
		child, err := unix.Wait4(-1, &r.Status, 0, &r.Usage)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return
		case child == pid:
			r.Last = unix.Waitid(unix.P_ALL, 0, nil, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil) == unix.ECHILD
			// The guest may have gone; then so have we, in a moment.
			_, _ = report.WriteString(r.String() + "\n")
		}
	}
}
