package wire

import (
	"time"

	"github.com/deep-sandbox/deep/core/backend"
	backendv1 "github.com/deep-sandbox/deep/core/proto/backend/v1"
)

func processToWire(p backend.Process) *backendv1.Process {
	return &backendv1.Process{
		Pid: int64(p.PID), Ppid: int64(p.PPID), Exec: p.Exec, Args: bytesToWire(p.Args), State: p.State,
		StartedNs: timeToWire(p.Started), CpuTimeNs: int64(p.CPUTime), Rss: p.RSS,
	}
}

func processFromWire(p *backendv1.Process) backend.Process {
	return backend.Process{
		PID: int(p.GetPid()), PPID: int(p.GetPpid()), Exec: p.GetExec(), Args: bytesFromWire(p.GetArgs()), State: p.GetState(),
		Started: timeFromWire(p.GetStartedNs()), CPUTime: time.Duration(p.GetCpuTimeNs()), RSS: p.GetRss(),
	}
}

func statsToWire(s *backend.Stats) *backendv1.StatsReply {
	return &backendv1.StatsReply{
		UptimeNs: int64(s.Uptime), CpuTimeNs: int64(s.CPUTime), Memory: s.Memory, MemoryLimit: s.MemoryLimit, OomKills: s.OOMKills,
		Pids: s.PIDs, PidsLimit: s.PIDsLimit, Execs: int64(s.Execs), KeptOutput: s.KeptOutput, KeptOutputLimit: s.KeptOutputLimit,
		DiskFree: s.DiskFree,
	}
}

func statsFromWire(s *backendv1.StatsReply) *backend.Stats {
	return &backend.Stats{
		Uptime: time.Duration(s.GetUptimeNs()), CPUTime: time.Duration(s.GetCpuTimeNs()),
		Memory: s.GetMemory(), MemoryLimit: s.GetMemoryLimit(), OOMKills: s.GetOomKills(),
		PIDs: s.GetPids(), PIDsLimit: s.GetPidsLimit(), Execs: int(s.GetExecs()),
		KeptOutput: s.GetKeptOutput(), KeptOutputLimit: s.GetKeptOutputLimit(), DiskFree: s.GetDiskFree(),
	}
}
