package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/deep-sandbox/deep/core/backend"
)

// kernelSwitches are what administrators forbid user namespaces with.
var kernelSwitches = []struct{ path, off, allow string }{
	{"/proc/sys/user/max_user_namespaces", "0", "sysctl user.max_user_namespaces=10000"},
	{"/proc/sys/kernel/unprivileged_userns_clone", "0", "sysctl kernel.unprivileged_userns_clone=1"},
	{"/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1", "sysctl kernel.apparmor_restrict_unprivileged_userns=0"},
}

func readSwitch(path string) (string, error) {
	data, err := os.ReadFile(path)
	return string(bytes.TrimSpace(data)), err
}

// Check implements pluginsdk.Provisioner.
func (b *localBackend) Check(ctx context.Context) (*backend.CheckReport, error) {
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		return nil, failure(err, "")
	}
	report := &backend.CheckReport{
		Engine:   "Linux " + unix.ByteSliceToString(uts.Release[:]) + " " + runtime.GOARCH,
		Endpoint: "this machine",
	}
	add := func(name string, state backend.LayerState, detail, remedy string) {
		report.Layers = append(report.Layers, backend.Layer{Name: name, State: state, Detail: detail, Remedy: remedy})
	}
	if err := tryNamespaces(ctx); err != nil {
		add("namespaces", backend.LayerMissing, "user, mount, PID, IPC, UTS, cgroup and network namespaces cannot be made: "+err.Error(), namespaceRemedy())
	} else {
		add("namespaces", backend.LayerPresent, "user, mount, PID, IPC, UTS, cgroup and network", "")
	}
	ids, err := newIDMap("check", nil)
	if err != nil {
		return nil, err
	}
	switch ids.Mode {
	case mapRoot:
		add("user split", backend.LayerPresent, "the guest and commands have ids of their own, which nobody has on this host", "")
	case mapSub:
		add("user split", backend.LayerPresent, "commands have your id, the guest a subordinate one", "")
	default:
		add("user split", backend.LayerDegraded, "guest and commands share your uid; each command gets a PID namespace",
			"install newuidmap (package uidmap) and add yourself to /etc/subuid and /etc/subgid")
	}
	dirs, why := makeCgroups("check-"+strings.ToLower(backend.NewID()[:8]), checkSpec())
	if why != nil {
		add("memory, pids and cpu limits", backend.LayerDegraded, "no cgroup can be made: "+why.Error(), "run as root, or in a session that systemd delegates to")
	} else {
		if err := removeCgroups(dirs); err != nil {
			return nil, failure(err, "")
		}
		add("memory, pids and cpu limits", backend.LayerPresent, "by cgroup", "")
	}
	add("resource limits", backend.LayerPresent, "open files 4096, file size 2 GiB, no core dumps", "")
	add("capabilities", backend.LayerPresent, "none for commands", "")
	add("no new privileges", backend.LayerPresent, "setuid programs do not work", "")
	add("network", backend.LayerPresent, "none unless asked for", "")
	add("root file system", backend.LayerPresent, "read-only system directories of this host, an /etc of its own", "")
	for _, name := range []string{"seccomp", "Landlock", "disk budget"} {
		add(name, backend.LayerPlanned, "deep does not apply it to local sandboxes yet", "")
	}
	return report, nil
}

func checkSpec() backend.Spec {
	return backend.Spec{Memory: backend.DefaultMemory, PIDs: backend.DefaultPIDs, CPUs: backend.DefaultCPUs}
}

// tryNamespaces makes the namespaces of a sandbox and lets go of them.
func tryNamespaces(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, "/proc/self/exe", "describe")
	cmd.Env = []string{}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC |
		unix.CLONE_NEWUTS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWNET}
	return cmd.Run()
}
