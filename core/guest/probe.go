package guest

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/guest/internal/probe"
	"github.com/deep-sandbox/deep/core/internal/isolation"
	guestv1 "github.com/deep-sandbox/deep/core/proto/guest/v1"
)

// probeTime is how long the command that looks around may take: some milliseconds
// of a processor's time, of which a sandbox may have a hundredth.
const probeTime = 5 * time.Second

// look runs a command the way commands run, which finds out what they are under,
// and adds what the guest itself sees of their control groups.
func (s *Sandbox) look() (*guestv1.Findings, error) {
	f, err := s.runProbe()
	if err != nil {
		return nil, err
	}
	found := &guestv1.Findings{
		Uid: f.UID[0], Gid: f.GID[0], UserSplit: s.splits(f),
		Capabilities: f.Capabilities, Bounding: f.Bounding, NoNewPrivileges: f.NoNewPrivs,
		Seccomp: f.Seccomp == unix.SECCOMP_MODE_FILTER, Passed: f.Passed,
		Interfaces: f.Interfaces, Route: f.Route, Nameserver: f.Nameserver, ReadOnlyRoot: f.ReadOnlyRoot,
		OpenFiles: f.OpenFiles, FileSize: f.FileSize, CoreSize: f.CoreSize,
	}
	if f.Domains < ownDomains() {
		found.Landlock = int32(f.Landlock)
	}
	found.Memory, found.Swap = s.cgroups.memoryLimits()
	found.Pids = s.cgroups.limit("pids.max", "pids", "pids.max")
	found.Cpus = s.cgroups.cpuLimit()
	return found, nil
}

// splits reports whether commands are the user they shall be, in all ways, and that
// is another than the guest.
func (s *Sandbox) splits(f probe.Findings) bool {
	uid, gid := s.uid, s.gid
	return f.UID == [4]uint32{uid, uid, uid, uid} && f.GID == [4]uint32{gid, gid, gid, gid} && int(uid) != os.Geteuid() && f.FirstSafe
}

// ownDomains is how many Landlock domains can be made where the guest is.
func ownDomains() int {
	n := make(chan int)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with this
		_, domains := probe.Domains()
		n <- domains
	}()
	return <-n
}

// runProbe returns what the command found. Nothing of it is left.
func (s *Sandbox) runProbe() (probe.Findings, error) {
	var none probe.Findings
	out, end, err := os.Pipe()
	if err != nil {
		return none, err
	}
	defer func() { _ = out.Close() }()
	null, err := os.OpenFile("/dev/null", os.O_RDWR, 0)
	if err != nil {
		return none, errors.Join(err, end.Close())
	}
	t, err := s.domain.start(&command{
		program: "/proc/self/exe", argv: []string{probe.Name}, env: []string{"GOTRACEBACK=single"}, dir: "/",
		stdio: [3]uintptr{null.Fd(), end.Fd(), null.Fd()},
	})
	_, _ = null.Close(), end.Close()
	if err != nil {
		return none, err
	}
	defer t.kill(unkillable)
	if err := out.SetReadDeadline(time.Now().Add(probeTime)); err != nil {
		return none, err
	}
	line, err := io.ReadAll(io.LimitReader(out, probe.MaxLine))
	if err != nil {
		return none, err
	}
	f, err := probe.Parse(line)
	if err != nil {
		return none, fmt.Errorf("it answered %.100q: %w", line, err)
	}
	return f, nil
}

// examine looks what is in force and returns it, and with what of that which was
// expected the operator can do without the results are degraded.
func (s *Sandbox) examine(expect *guestv1.Expectations, accepted []string) error {
	found, err := s.look()
	if err != nil {
		e := &backend.Error{Kind: backend.ErrUnsupported, Op: "setup", Err: err,
			Message: "it cannot be seen from inside what isolates commands", Hint: "try again; if it stays so, please report it"}
		if errors.Is(err, unix.EACCES) {
			e.Hint = "let everybody execute deep's guest programs: chmod a+rx"
		}
		return e
	}
	s.found = found
	for _, l := range isolation.Judge(expect, found) {
		if slices.Contains(accepted, l.Layer) {
			s.info.Degraded = append(s.info.Degraded, l.Layer+": "+l.Found)
		}
	}
	return nil
}
