package guest

import (
	"golang.org/x/sys/unix"

	"github.com/deep-sandbox/deep/core/backend"
)

// oomCount is where the kernel counts what it has ended in the sandbox for want of
// memory: a descriptor, -1 where it does not say. It is read twice for each
// command, and so kept open.
type oomCount int

func openOOMCount(c cgroups) oomCount {
	for _, at := range [][2]string{{"", "memory.events"}, {"memory", "memory.oom_control"}} {
		if dir := c[at[0]]; dir != "" {
			if fd, err := unix.Open(dir+"/"+at[1], unix.O_RDONLY|unix.O_CLOEXEC, 0); err == nil {
				return oomCount(fd)
			}
		}
	}
	return -1
}

// kills is the count, untold where there is none.
func (o oomCount) kills() int64 {
	buf := [512]byte{'\n'}
	n, err := unix.Pread(int(o), buf[1:], 0)
	if err != nil {
		return untold
	}
	return parseNumber(field(buf[:1+n], "\noom_kill "))
}

func (o oomCount) close() error {
	if o < 0 {
		return nil
	}
	return unix.Close(int(o))
}

// oomKills is how many processes of the sandbox the kernel has ended for want of
// memory, untold where it does not say.
func (s *Sandbox) oomKills() int64 { return s.oom.kills() }

// bySignal tells what it means that sig ended the program, as soon as it has. Of a
// SIGKILL that nobody here sent, the kernel's count tells whether it was for want
// of memory; but it counts for the whole sandbox, so what runs beside the command
// could be meant too.
func (x *execution) bySignal(sig unix.Signal) (natural backend.Outcome, oomPossible bool) {
	if sig != unix.SIGKILL || x.killed.Load() {
		return backend.OutcomeSignal, false
	}
	switch now := x.sandbox.oomKills(); {
	case now == untold || x.oomKills == untold:
		return backend.OutcomeSignal, true
	case now <= x.oomKills:
		return backend.OutcomeSignal, false
	case !x.sandbox.execs.alone(x):
		return backend.OutcomeSignal, true
	}
	return backend.OutcomeOOM, false
}
