package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// The program runs three times for a sandbox: as the plugin; as its keeper, a
// process of its own session that starts the sandbox, waits for its end and
// cleans up after it, whatever became of deep and the plugin; and, in the new
// namespaces, as what sets them up and then becomes the guest.
const (
	stageKeeper = "keeper"
	stageInit   = "init"
)

// Descriptors of both stages beside standard input, which brings the plan.
const (
	reportFD = 3
	listenFD = 4
)

// Steps that a failure is told by, where more depends on it than words.
const (
	stepNamespaces = "make namespaces"
	stepProc       = "mount /proc"
	stepGuest      = "start the guest"
)

// initCaps is what setting up takes, in the sandbox's own user namespace.
var initCaps = []uintptr{
	unix.CAP_SYS_ADMIN, unix.CAP_SETUID, unix.CAP_SETGID, unix.CAP_SETPCAP, unix.CAP_NET_ADMIN, unix.CAP_KILL,
	unix.CAP_DAC_OVERRIDE, unix.CAP_FOWNER, unix.CAP_CHOWN,
}

// keep is the keeper. It returns the exit code.
func keep() int {
	// The child's parent-death signal fires when the thread that started it ends.
	runtime.LockOSThread()
	unix.CloseOnExec(reportFD)
	unix.CloseOnExec(listenFD)
	report := os.NewFile(reportFD, "report")
	term := make(chan os.Signal, 1)
	signal.Notify(term, unix.SIGTERM)
	signal.Ignore(unix.SIGHUP, unix.SIGINT, unix.SIGQUIT)

	var p plan
	k := &keeper{plan: &p}
	if err := json.NewDecoder(os.Stdin).Decode(&p); err != nil {
		return 1 // the plugin went before it said what to do
	}
	failed := k.start()
	if failed == nil {
		failed = k.settle()
	}
	if failed != nil {
		k.kill()
		// The plugin removes what there is.
		_ = json.NewEncoder(report).Encode(failed)
		return 1
	}
	_ = json.NewEncoder(report).Encode(&stageFailure{})
	_ = report.Close()

	ended := make(chan struct{})
	go func() {
		_ = k.cmd.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-term:
		_ = k.cmd.Process.Kill()
		<-ended
	}
	return k.clean()
}

type keeper struct {
	plan *plan
	lock *os.File
	cmd  *exec.Cmd
}

// start makes the sandbox's first process and waits until it has become the guest.
func (k *keeper) start() *stageFailure {
	var err error
	if k.lock, err = os.OpenFile(filepath.Join(k.plan.Dir, lockFile), os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return failedStep("open its lock", err)
	}
	if err := unix.Flock(int(k.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return failedStep("take its lock", err)
	}
	plans, planEnd, err := os.Pipe()
	if err != nil {
		return failedStep("make a pipe", err)
	}
	defer planEnd.Close()
	reports, reportEnd, err := os.Pipe()
	if err != nil {
		return failedStep("make a pipe", err)
	}
	defer reports.Close()
	flags := uintptr(unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWCGROUP)
	if !k.plan.Network {
		flags |= unix.CLONE_NEWNET
	}
	k.cmd = exec.Command("/proc/self/exe", stageInit)
	k.cmd.Stdin = plans
	k.cmd.Env = []string{}
	k.cmd.ExtraFiles = []*os.File{reportEnd, os.NewFile(listenFD, "socket")}
	k.cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags, AmbientCaps: initCaps, Pdeathsig: unix.SIGKILL, Setsid: true}
	err = k.cmd.Start()
	_ = plans.Close()
	_ = reportEnd.Close()
	if err != nil {
		k.cmd = nil
		return failedStep(stepNamespaces, err)
	}
	if err := k.plan.Record.Map.apply(k.cmd.Process.Pid); err != nil {
		return failedStep("map users", err)
	}
	if err := joinCgroups(k.plan.Record.Cgroups, k.cmd.Process.Pid); err != nil {
		return failedStep("join its cgroups", err)
	}
	if err := json.NewEncoder(planEnd).Encode(k.plan); err != nil {
		return failedStep("tell the sandbox its plan", err)
	}
	_ = planEnd.Close()
	// The guest's start closes the pipe.
	var f stageFailure
	switch err := json.NewDecoder(reports).Decode(&f); {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		return failedStep("hear of the sandbox", err)
	}
	return &f
}

// settle records that the sandbox is there.
func (k *keeper) settle() *stageFailure {
	me, err := self()
	if err != nil {
		return failedStep("read its own start time", err)
	}
	rec := k.plan.Record
	rec.Keeper, rec.Ready = me, true
	if err := rec.write(k.plan.Dir); err != nil {
		return failedStep("record the sandbox", err)
	}
	return nil
}

func (k *keeper) kill() {
	if k.cmd != nil {
		_ = k.cmd.Process.Kill()
		_ = k.cmd.Wait()
	}
}

// clean removes what was made for a sandbox whose guest has ended. One that is not
// ephemeral keeps its files until somebody destroys it.
func (k *keeper) clean() int {
	rec, err := readRecord(k.plan.Dir)
	if err == nil && rec.Ephemeral {
		err = rec.remove(k.plan.Dir)
	} else if err == nil {
		err = removeCgroups(rec.Cgroups)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}
