package guest

import (
	"golang.org/x/sys/unix"

	"github.com/deep-sandbox/deep/core/backend"
)

// oomKills is how many processes of the sandbox the kernel has ended for want of
// memory, untold where it does not say.
func (s *Sandbox) oomKills() int64 {
	return s.cgroups.counter("memory.events", "memory", "memory.oom_control", "oom_kill")
}

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
