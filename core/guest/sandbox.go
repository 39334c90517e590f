package guest

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/guest/internal/confine"
	guestv1 "github.com/deep-sandbox/deep/core/proto/guest/v1"
)

// Bounds of the threads that touch files. Walks (List, Glob, Grep, Remove) have
// their own, so that four greps over a big tree do not keep a small read waiting.
const (
	fileThreads = 4
	walkThreads = 4
)

// endGrace is what commands get between SIGTERM and SIGKILL when the sandbox
// ends.
const endGrace = time.Second

// Config settles what a sandbox is.
type Config struct {
	ID string
	// Workspace is an absolute path.
	Workspace string
	// UID and GID of commands and file operations.
	UID, GID uint32
	// Env of every command, "KEY=VALUE".
	Env [][]byte
	// Timeout of a command that names none.
	Timeout time.Duration
	// KeptOutput is how many bytes of output are kept; backend.KeptOutput if 0.
	KeptOutput int64
	// Degraded is repeated by each result.
	Degraded []string
	// Confine is what commands are put under.
	Confine confine.Rules
	// Expect is what shall be in force. Of that, what is not and AcceptDegraded names
	// is added to Degraded.
	Expect         *guestv1.Expectations
	AcceptDegraded []string
}

// Sandbox is the sandbox this process is the first one of. There is one in a
// process.
type Sandbox struct {
	backend.Unsupported
	info      backend.SandboxInfo
	uid, gid  uint32
	workspace string
	timeout   time.Duration
	env       map[string]string

	reaper *reaper
	domain domain
	files  *userThreads
	walks  *userThreads
	execs  *registry
	spool  *spool
	// cgroups are read at the start: the guest stays where it is.
	cgroups cgroups
	// found is what commands are under.
	found *guestv1.Findings
	oom   oomCount
	locks *fileLocks
	null  *os.File
	// background is the execs that nobody waits for.
	background sync.WaitGroup
}

// NewSandbox makes this process the guest of a sandbox. It has to be process 1
// of its PID namespace, since it reaps and ends what is in there.
func NewSandbox(c Config) (*Sandbox, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	unix.Umask(0o022)
	if err := closeOnExec(); err != nil {
		return nil, failed("setup", "", err)
	}
	if c.KeptOutput == 0 {
		c.KeptOutput = backend.KeptOutput
	}
	spool := newSpool(c.KeptOutput)
	s := &Sandbox{
		uid:       c.UID,
		gid:       c.GID,
		workspace: c.Workspace,
		timeout:   c.Timeout,
		spool:     spool,
		oom:       -1,
		execs:     newRegistry(spool),
		locks:     newFileLocks(),
		info: backend.SandboxInfo{
			ID: c.ID, State: backend.StateRunning, Created: time.Now(), Workspace: c.Workspace,
			User: fmt.Sprintf("%d:%d", c.UID, c.GID), Degraded: slices.Clone(c.Degraded),
		},
	}
	if s.timeout == 0 {
		s.timeout = backend.DefaultTimeout
	}
	var err error
	if s.null, err = os.OpenFile("/dev/null", os.O_RDONLY, 0); err != nil {
		return nil, failed("setup", "/dev/null", err)
	}
	if err := s.start(c.UID, c.GID, c.Confine); err != nil {
		return nil, errors.Join(err, s.release())
	}
	if s.cgroups, err = findCgroups(); err != nil {
		return nil, errors.Join(failed("setup", "/proc/self", err), s.release())
	}
	s.oom = openOOMCount(s.cgroups)
	if err := s.files.doAnyway(func() error { return checkDir(s.workspace, s.workspace) }); err != nil {
		e := failed("setup", s.workspace, err).(*backend.Error)
		e.Op, e.Message = "setup", "the workspace cannot be used"
		e.Hint = fmt.Sprintf("it must be a directory that %s may enter", s.info.User)
		return nil, errors.Join(e, s.release())
	}
	if s.env, err = baseEnv(os.Environ(), c.Env, s.home()); err != nil {
		return nil, errors.Join(failed("setup", "", err), s.release())
	}
	if err := s.examine(c.Expect, c.AcceptDegraded); err != nil {
		return nil, errors.Join(err, s.release())
	}
	return s, nil
}

// start starts what works for the sandbox.
func (s *Sandbox) start(uid, gid uint32, rules confine.Rules) error {
	err := checkOpen()
	if err != nil {
		return &backend.Error{Kind: backend.ErrUnsupported, Op: "setup", Err: err,
			Hint: "Linux 5.6 or later is needed, and a seccomp profile that allows openat2"}
	}
	if int(uid) != os.Geteuid() && !mayActAs() {
		return &backend.Error{Kind: backend.ErrUnsupported, Op: "setup", Path: backend.NameUserSplit,
			Message: fmt.Sprintf("the guest may not run commands as uid %d", uid),
			Hint:    "give it the capabilities SETUID, SETGID and KILL, or the uid of the commands"}
	}
	if s.files, err = newUserThreads(fileThreads, uid, gid); err != nil {
		return &backend.Error{Kind: backend.ErrUnsupported, Op: "setup", Err: err,
			Hint: "the guest needs the capabilities SETUID and SETGID, or the uid of the commands"}
	}
	if s.walks, err = newUserThreads(walkThreads, uid, gid); err != nil {
		return failed("setup", "", err)
	}
	s.reaper = newReaper()
	if int(uid) == os.Geteuid() {
		if s.domain, err = newPIDNSDomain(s.reaper, rules); err != nil {
			return &backend.Error{Kind: backend.ErrUnsupported, Op: "setup", Path: backend.NameUserSplit, Err: err,
				Message: "commands under the guest's own uid need a PID namespace each",
				Hint:    "run commands under another uid, or give the guest CAP_SYS_ADMIN in a user namespace"}
		}
		return nil
	}
	if s.domain, err = newGroupDomain(uid, gid, s.reaper, s.files, rules); err != nil {
		return &backend.Error{Kind: backend.ErrUnsupported, Op: "setup", Err: err,
			Message: "commands need a supplementary group each",
			Hint:    "map at least a few thousand group ids into the sandbox's user namespace"}
	}
	return nil
}

func (c Config) check() error {
	invalid := func(about, message string) error {
		return &backend.Error{Kind: backend.ErrInvalid, Op: "setup", Path: about, Message: message}
	}
	bad := c.Confine.Check()
	switch {
	case !backend.ValidID(c.ID):
		return invalid(c.ID, "no id of a sandbox")
	case checkPath(c.Workspace) != nil || c.Workspace[0] != '/':
		return invalid(c.Workspace, "the workspace must be an absolute path")
	case c.Timeout < 0:
		return invalid("timeout", "negative timeout")
	case c.KeptOutput < 0:
		return invalid("kept output", "negative number of bytes")
	case bad != nil:
		return invalid("confinement", bad.Error())
	case os.Getpid() != 1:
		return invalid("", "the guest must be process 1 of its PID namespace")
	case int(c.UID) == os.Geteuid() && int(c.GID) != os.Getegid():
		return invalid("", "commands under the guest's uid must have its group too")
	}
	return nil
}

// Info implements backend.Sandbox.
func (s *Sandbox) Info() backend.SandboxInfo { return s.info }

// Close implements backend.Sandbox. The sandbox stays: it ends with its guest.
func (s *Sandbox) Close() error { return nil }

// end ends everything that runs in the sandbox. Commands that ran have the
// outcome "sandbox lost". It returns when nothing is left but the guest.
func (s *Sandbox) end() {
	for _, x := range s.execs.end() {
		x.halt(backend.OutcomeLost, nil)
	}
	s.domain.endAll(endGrace)
	s.background.Wait()
}

// release frees what the sandbox holds. Nothing may run in it any more.
func (s *Sandbox) release() error {
	if s.domain != nil {
		s.domain.close()
	}
	if s.reaper != nil {
		s.reaper.close()
	}
	for _, t := range []*userThreads{s.files, s.walks} {
		if t != nil {
			t.close()
		}
	}
	return errors.Join(s.spool.close(), s.oom.close(), s.null.Close())
}

var _ backend.Sandbox = (*Sandbox)(nil)

// mayActAs reports whether this process can run something as another user.
func mayActAs() bool {
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&head, &data[0]); err != nil {
		return false
	}
	const need = 1<<unix.CAP_SETUID | 1<<unix.CAP_SETGID | 1<<unix.CAP_KILL
	return data[0].Effective&need == need
}
