package jail

import (
	"encoding/json"
	"errors"
	"os"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/deep-sandbox/deep/core/control"
)

// Descriptors of the first process beside standard input, by which the keeper
// tells it the plan and when to become the guest.
const (
	firstReportFD = 3
	firstListenFD = 4
)

// becomeFirst is the first process of a sandbox, in new namespaces and with the
// capabilities it takes to set them up, until it becomes the guest. It returns
// only when that failed.
func becomeFirst() int {
	// What counts is what this thread is: it executes the guest.
	runtime.LockOSThread()
	runtime.GOMAXPROCS(1)
	unix.CloseOnExec(firstReportFD)
	report := os.NewFile(firstReportFD, "report")
	var s setup
	var err error
	// The plan comes once the ids of this process are mapped.
	if s.input, err = readPlan(os.Stdin, &s.Plan); err != nil {
		return 1 // the keeper has gone
	}
	steps := s.steps()
	if s.Probe {
		steps = s.probe()
	}
	for _, step := range steps {
		if err := step.do(); err != nil {
			_ = json.NewEncoder(report).Encode(failed(step.name, err))
			return 1
		}
	}
	return 0
}

// setup is a sandbox that is being set up.
type setup struct {
	Plan
	input *input
	// shown and binds are trees of this host, opened and not yet in their places:
	// what every sandbox sees, and what this one does.
	shown []shown
	binds []shown
	links []link
}

type step struct {
	name Step
	do   func() error
}

func (s *setup) steps() []step {
	return []step{
		{StepPrivate, makePrivate},
		// As who called: what is shown may be theirs alone to reach.
		{"open what the sandbox sees of this host", s.openSystem},
		{StepBind, s.openBinds},
		// As the sandbox's own root, whose everything is that is made from here on.
		{"become the sandbox's root", s.becomeRoot},
		{StepRoot, s.build},
		{StepProc, s.mountProc},
		{"move into its root file system", pivot},
		// In there a link leads nowhere else.
		{StepBind, s.placeBinds},
		{"cover what /proc shows of this host", cover},
		{"make its root file system read-only", seal},
		{"name it", func() error { return unix.Sethostname([]byte("sandbox")) }},
		{"bring up its loopback interface", s.loopback},
		{"limit its resources", s.limit},
		{"join its cgroups", s.join},
		{"give up capabilities", s.dropCapabilities},
		{StepGuest, s.become},
	}
}

// probe is what may be forbidden on a host, and makes nothing that stays.
func (s *setup) probe() []step {
	return []step{
		{StepPrivate, makePrivate},
		{"become the sandbox's root", s.becomeRoot},
		{StepRoot, func() error {
			return errors.Join(mountTmpfs(staging, 1<<20, "0755", false), unix.Mkdir(staging+"/proc", 0o555))
		}},
		{StepProc, s.mountProc},
		{"make a cgroup namespace", func() error { return unix.Unshare(unix.CLONE_NEWCGROUP) }},
	}
}

// becomeRoot becomes uid 0 of the sandbox, if it has one. The capabilities stay.
func (s *setup) becomeRoot() error {
	if s.IDs.Mode == MapOne {
		return nil
	}
	// The groups of who called would else be those of the guest.
	return errors.Join(syscall.Setgroups(nil), syscall.Setresgid(0, 0, 0), syscall.Setresuid(0, 0, 0))
}

// loopback brings up lo: without it nothing inside can reach what listens there.
func (s *setup) loopback() error {
	if s.Network {
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

// join waits until the keeper has put this process into its cgroups, makes those
// the top of all the sandbox sees of them, and shows them.
func (s *setup) join() error {
	if err := s.input.commit(); err != nil {
		return err
	}
	joined, err := s.joined()
	if err != nil {
		return err
	}
	if err := unix.Unshare(unix.CLONE_NEWCGROUP); err != nil {
		return err
	}
	return s.showCgroups(joined)
}

// become makes this process the guest.
func (s *setup) become() error {
	// Becoming another user took back the wish to die with the keeper, who may
	// have died meanwhile.
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return err
	}
	null, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	for fd := range 3 {
		if err := unix.Dup3(null, fd, 0); err != nil {
			return err
		}
	}
	env := append([]string{
		"DEEP_HOME=" + s.Home,
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
	}, control.Environ()...)
	return unix.Exec(s.GuestPath, []string{s.GuestPath, "serve", "--listen-fd", strconv.Itoa(firstListenFD)}, env)
}
