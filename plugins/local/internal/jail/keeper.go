package jail

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"

	"golang.org/x/sys/unix"
)

// Descriptors of the keeper beside standard input, by which the plugin tells it
// the plan and that it has heard the answer.
const (
	keeperReportFD = 3
	keeperLockFD   = 4
	keeperListenFD = 5
)

// firstCaps is what setting up takes, in the sandbox's own user namespace.
var firstCaps = []uintptr{
	unix.CAP_SYS_ADMIN, unix.CAP_SETUID, unix.CAP_SETGID, unix.CAP_SETPCAP, unix.CAP_NET_ADMIN, unix.CAP_KILL,
	unix.CAP_DAC_OVERRIDE, unix.CAP_FOWNER, unix.CAP_CHOWN,
}

type keeper struct {
	plan  Plan
	lock  *os.File
	input *input
	cmd   *exec.Cmd
}

// keep is the keeper. It returns the exit code.
func keep() int {
	// The guest dies with the thread that started it: this one lives as long as
	// the process.
	runtime.LockOSThread()
	runtime.GOMAXPROCS(1)
	for _, fd := range []int{keeperReportFD, keeperLockFD, keeperListenFD} {
		unix.CloseOnExec(fd)
	}
	report := os.NewFile(keeperReportFD, "report")
	term := make(chan os.Signal, 1)
	signal.Notify(term, unix.SIGTERM)
	signal.Ignore(unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGPIPE)

	k := &keeper{lock: os.NewFile(keeperLockFD, "lock")}
	var err error
	if k.input, err = readPlan(os.Stdin, &k.plan); err != nil {
		return 1 // the plugin went before it said what to do
	}
	err = k.run(report, term)
	// A file that is forgotten is closed, and the lock let go of, in the middle of
	// cleaning up.
	runtime.KeepAlive(k.lock)
	if err != nil {
		_ = json.NewEncoder(report).Encode(failed("make the sandbox", err))
		return 1
	}
	return 0
}

// run makes the sandbox and stays until it has ended and is cleaned up.
func (k *keeper) run(report *os.File, term <-chan os.Signal) error {
	if err := k.start(); err != nil {
		k.kill()
		return errors.Join(err, k.remove())
	}
	ended := make(chan struct{})
	go func() {
		// How it ended is nobody's business any more.
		_ = k.cmd.Wait()
		close(ended)
	}()
	// A nil failure says that it is there.
	_ = json.NewEncoder(report).Encode((*Failure)(nil))
	_ = report.Close()
	err := k.input.commit()
	_ = os.Stdin.Close()
	if err != nil {
		_ = k.cmd.Process.Kill()
		<-ended
		return k.remove()
	}
	k.settle()
	select {
	case <-ended:
	case <-term:
		_ = k.cmd.Process.Kill()
		<-ended
	}
	return k.clean()
}

// settle makes the process small and closed to others: there is little left to
// do, and sandboxed code may run under the same uid.
func (k *keeper) settle() {
	// Not before: the maps of a process are its parent's to write, if that can be
	// dumped.
	_ = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
	debug.SetGCPercent(10)
	debug.FreeOSMemory()
}

// start makes the sandbox's first process and returns when that has become the
// guest.
func (k *keeper) start() error {
	me, err := processOf(os.Getpid())
	if err != nil {
		return err
	}
	// First of all, so that whoever wants the sandbox gone knows whom to ask.
	rec, err := ReadRecord(k.plan.Dir)
	if err != nil {
		return err
	}
	rec.Keeper = me
	for _, c := range k.plan.Cgroups {
		rec.Cgroups = append(rec.Cgroups, c.Dir)
	}
	if err := rec.Write(k.plan.Dir); err != nil {
		return err
	}
	listener := os.NewFile(keeperListenFD, "listener")
	cmd, f, err := launchFirst(k.plan.Network, listener)
	_ = listener.Close()
	if err != nil {
		return err
	}
	defer f.close()
	k.cmd = cmd
	if rec.Guest, err = processOf(k.cmd.Process.Pid); err != nil {
		return err
	}
	if err := k.plan.IDs.apply(k.cmd.Process.Pid); err != nil {
		return failed(StepMap, err)
	}
	if err := sendPlan(f.plan, &k.plan); err != nil {
		return errors.Join(f.hear(), err)
	}
	// Meanwhile it builds what it will see.
	for _, c := range k.plan.Cgroups {
		if err := errors.Join(c.make(), c.join(k.cmd.Process.Pid)); err != nil {
			return failed("limit it", err)
		}
	}
	rec.Ready = true
	if err := rec.Write(k.plan.Dir); err != nil {
		return err
	}
	if err := sendCommit(f.plan); err != nil {
		return errors.Join(f.hear(), err)
	}
	return f.hear()
}

// first is the keeper's side of the sandbox's first process.
type first struct{ plan, report *os.File }

func (f *first) close() {
	_ = f.plan.Close()
	_ = f.report.Close()
}

// launchFirst starts a first process, in new namespaces and without ids. listener
// is what its guest shall listen on. It dies with the thread that calls this.
func launchFirst(network bool, listener *os.File) (*exec.Cmd, *first, error) {
	flags := uintptr(unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS)
	if !network {
		flags |= unix.CLONE_NEWNET
	}
	plan, planEnd, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = plan.Close() }()
	report, reportEnd, err := os.Pipe()
	if err != nil {
		return nil, nil, errors.Join(err, planEnd.Close())
	}
	defer func() { _ = reportEnd.Close() }()
	f := &first{plan: planEnd, report: report}
	cmd := stage(firstName, &syscall.SysProcAttr{
		Cloneflags: flags, AmbientCaps: firstCaps, Pdeathsig: unix.SIGKILL, Setsid: true,
	})
	cmd.Stdin = plan
	cmd.ExtraFiles = []*os.File{reportEnd}
	if listener != nil {
		cmd.ExtraFiles = append(cmd.ExtraFiles, listener)
	}
	if err := cmd.Start(); err != nil {
		f.close()
		return nil, nil, failed(StepNamespaces, err)
	}
	return cmd, f, nil
}

// hear waits for what the first process says: nothing, if it became the guest.
func (f *first) hear() error {
	var failure Failure
	switch err := json.NewDecoder(f.report).Decode(&failure); {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		return fmt.Errorf("hear of the sandbox: %w", err)
	}
	return &failure
}

// kill ends what start has started.
func (k *keeper) kill() {
	if k.cmd != nil {
		_ = k.cmd.Process.Kill()
		_ = k.cmd.Wait()
	}
}

// clean removes what was made for a sandbox whose guest has ended. One that was
// stopped keeps its workspace until it is destroyed.
func (k *keeper) clean() error {
	stopped, err := Stopped(k.plan.Dir)
	if err != nil {
		return err
	}
	if !stopped {
		return k.remove()
	}
	var dirs []string
	for _, c := range k.plan.Cgroups {
		dirs = append(dirs, c.Dir)
	}
	return removeCgroups(dirs)
}

func (k *keeper) remove() error { return Remove(k.plan.Dir, k.lock) }
