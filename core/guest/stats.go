package guest

import (
	"context"
	"time"

	"golang.org/x/sys/unix"

	"github.com/deep-sandbox/deep/core/backend"
)

// Stats implements backend.Sandbox. What it cannot see of the sandbox's control
// groups is told as such.
func (s *Sandbox) Stats(ctx context.Context, _ *backend.StatsRequest) (*backend.Stats, error) {
	stats := &backend.Stats{Uptime: time.Since(s.info.Created), Execs: s.execs.count()}
	stats.KeptOutput, stats.KeptOutputLimit = s.spool.usage()
	stats.CPUTime = s.cgroups.cpuTime()
	stats.Memory = s.cgroups.number("memory.current", "memory", "memory.usage_in_bytes")
	stats.MemoryLimit = s.cgroups.number("memory.max", "memory", "memory.limit_in_bytes")
	stats.OOMKills = s.oomKills()
	stats.PIDs = s.cgroups.number("pids.current", "pids", "pids.current")
	stats.PIDsLimit = s.cgroups.number("pids.max", "pids", "pids.max")
	err := s.files.do(ctx, func() error {
		var st unix.Statfs_t
		if err := unix.Statfs(s.workspace, &st); err != nil {
			return err
		}
		stats.DiskFree = freeBytes(&st)
		return nil
	})
	if err != nil {
		return nil, failed("stats", "", err)
	}
	return stats, nil
}

// cpuTime is what all that ran in the groups has used. The times of processes would
// not add up to it: those of the ended count only where somebody waited for them,
// which a command can do without, and which none does for what a nested namespace
// takes along when it is killed.
func (c cgroups) cpuTime() time.Duration {
	if n := c.counter("cpu.stat", "", "cpu.stat", "usage_usec"); n != untold {
		return time.Duration(n) * time.Microsecond
	}
	return time.Duration(c.number("cpuacct.usage", "cpuacct", "cpuacct.usage"))
}
