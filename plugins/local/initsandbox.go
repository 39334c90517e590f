package main

import (
	"encoding/json"
	"errors"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/deep-sandbox/deep/core/pluginsdk"
)

// initSandbox is the first process of a sandbox, in new namespaces and with the
// capabilities of setting them up, until it becomes the guest. It returns only
// when that failed.
func initSandbox() int {
	runtime.LockOSThread()
	unix.CloseOnExec(reportFD)
	report := os.NewFile(reportFD, "report")
	var p plan
	// It comes once this process' ids are mapped.
	if err := json.NewDecoder(os.Stdin).Decode(&p); err != nil {
		return 1 // the keeper has ended
	}
	f := p.become()
	_ = json.NewEncoder(report).Encode(f)
	return 1
}

// become sets up the sandbox, step by step, and executes the guest.
func (p *plan) become() *stageFailure {
	s := &setup{plan: p}
	for _, step := range []struct {
		name string
		do   func() error
	}{
		// As who called: what is shown may be theirs alone to reach.
		{"make mounts private", makePrivate},
		{"open what the sandbox sees", s.open},
		// As uid 0 of the sandbox, which owns what is made from here on.
		{"become the sandbox's root", s.becomeRoot},
		{"make its root file system", s.build},
		{stepProc, s.proc},
		{"move into its root file system", s.pivot},
		{"cover what the kernel shows of the host", s.cover},
		{"make its root file system read-only", s.seal},
		{"name it", func() error { return unix.Sethostname([]byte("sandbox")) }},
		{"bring up its loopback interface", s.loopback},
		{"limit it", s.limits},
		{"give up capabilities", s.dropCapabilities},
	} {
		if err := step.do(); err != nil {
			return failedStep(step.name, err)
		}
	}
	// Becoming another user took back the wish to die with the keeper.
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return failedStep("die with the keeper", err)
	}
	null, err := os.OpenFile("/dev/null", os.O_RDWR, 0)
	if err != nil {
		return failedStep("open /dev/null", err)
	}
	if err := errors.Join(unix.Dup3(listenFD, 3+listenFD, 0), unix.Dup2(int(null.Fd()), 0)); err != nil {
		return failedStep("hand over the socket", err)
	}
	err = unix.Exec(pluginsdk.EngineGuestPath, []string{"deep-guest", "serve", "--listen-fd", "7"},
		[]string{"DEEP_HOME=" + pluginsdk.EngineHome, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"})
	return failedStep(stepGuest, err)
}

// setup is a sandbox that is being set up.
type setup struct {
	plan *plan
	// shown are trees of this host, opened and not yet in their places.
	shown []shown
	links []link
}

// becomeRoot becomes uid 0 of the sandbox, if it has one. The capabilities stay.
func (s *setup) becomeRoot() error {
	if s.plan.Record.Map.Mode == mapOne {
		return nil
	}
	return errors.Join(syscall.Setgroups(nil), syscall.Setresgid(0, 0, 0), syscall.Setresuid(0, 0, 0))
}

// loopback brings up lo: without it nothing inside can be reached by a tunnel.
func (s *setup) loopback() error {
	if s.plan.Network {
		return nil
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	req, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, req); err != nil {
		return err
	}
	req.SetUint16(req.Uint16() | unix.IFF_UP)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, req)
}

// limits are those every process of the sandbox has, cgroups or not.
func (s *setup) limits() error {
	for _, l := range []struct {
		resource int
		value    uint64
	}{{unix.RLIMIT_NOFILE, 4096}, {unix.RLIMIT_CORE, 0}, {unix.RLIMIT_FSIZE, 2 << 30}} {
		var own unix.Rlimit
		if err := unix.Getrlimit(l.resource, &own); err != nil {
			return err
		}
		v := min(l.value, own.Max)
		// Through syscall: it forgets the limit of before, which it would else give
		// back to children.
		if err := syscall.Setrlimit(l.resource, &syscall.Rlimit{Cur: v, Max: v}); err != nil {
			return err
		}
	}
	return nil
}

// keptCaps is what the guest needs: to become the sandbox user and to kill what
// that runs; where it is that user itself, to make a PID namespace for each
// command and mount its /proc.
func (s *setup) keptCaps() []uintptr {
	if s.plan.Record.Map.Mode == mapOne {
		return []uintptr{unix.CAP_SYS_ADMIN, unix.CAP_SETPCAP}
	}
	return []uintptr{unix.CAP_SETUID, unix.CAP_SETGID, unix.CAP_KILL}
}

// dropCapabilities leaves the kept ones and no way to others.
func (s *setup) dropCapabilities() error {
	kept := s.keptCaps()
	var mask uint64
	for _, c := range kept {
		mask |= 1 << c
	}
	for c := uintptr(0); c <= unix.CAP_LAST_CAP; c++ {
		if mask&(1<<c) != 0 {
			continue
		}
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil && !errors.Is(err, unix.EINVAL) {
			return err // EINVAL: a capability this kernel does not know
		}
	}
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return err
	}
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	for i := range data {
		word := uint32(mask >> (32 * i))
		data[i] = unix.CapUserData{Effective: word, Permitted: word}
		if s.plan.Record.Map.Mode == mapOne {
			data[i].Inheritable = word // what can become ambient
		}
	}
	if err := unix.Capset(&hdr, &data[0]); err != nil {
		return err
	}
	if s.plan.Record.Map.Mode == mapOne {
		// Not uid 0: only ambient ones outlive the exec. The guest takes them from
		// its commands.
		for _, c := range kept {
			if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, c, 0, 0); err != nil {
				return err
			}
		}
	}
	return unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
}
