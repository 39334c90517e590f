package guest

import (
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestParseCgroups(t *testing.T) {
	const (
		v2    = "30 20 0:26 / /sys/fs/cgroup ro,nosuid - cgroup2 cgroup rw\n"
		bound = "30 20 0:26 / / rw - overlay overlay rw\n" +
			"41 40 0:32 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n" +
			"42 40 0:33 /docker/abc /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct\n" +
			"43 40 0:34 /docker/abc /sys/fs/cgroup/a\\040b ro - cgroup cgroup rw,pids\n"
	)
	for what, c := range map[string]struct {
		mounts, memberships string
		first               bool
		want                cgroups
	}{
		"version 2, own namespace":  {v2, "0::/\n", false, cgroups{"": "/sys/fs/cgroup"}},
		"version 2, of the machine": {v2, "0::/\n", true, cgroups{}},
		"version 2, below":          {v2, "0::/system.slice/x.scope\n", true, cgroups{"": "/sys/fs/cgroup/system.slice/x.scope"}},
		"version 2, outside":        {v2, "0::/../other\n", false, cgroups{}},
		"version 1, bound": {bound, "12:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n2:pids:/docker/abc/in\n1:name=systemd:/\n", true,
			cgroups{"memory": "/sys/fs/cgroup/memory", "cpu": "/sys/fs/cgroup/cpu,cpuacct", "cpuacct": "/sys/fs/cgroup/cpu,cpuacct", "pids": "/sys/fs/cgroup/a b/in"}},
		"version 1, another's": {bound, "12:memory:/docker/abcdef\n3:cpu,cpuacct:/\n", false, cgroups{}},
		"nonsense":             {"x\n - cgroup\n", "::\nx\n", false, cgroups{}},
	} {
		if got := parseCgroups(c.mounts, c.memberships, c.first); !maps.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", what, got, c.want)
		}
	}
}

func TestCgroupNumbers(t *testing.T) {
	v1, v2 := t.TempDir(), t.TempDir()
	for path, content := range map[string]string{
		v1 + "/memory.usage_in_bytes": "4096\n", v1 + "/memory.limit_in_bytes": "9223372036854771712\n",
		v1 + "/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n", v1 + "/cpuacct.usage": "1500000000\n",
		v2 + "/memory.current": "8192\n", v2 + "/memory.max": "max\n", v2 + "/pids.max": "512\n",
		v2 + "/memory.events": "low 0\noom 1\noom_kill 2\noom_group_kill 0\n", v2 + "/cpu.stat": "usage_usec 2500000\nuser_usec 1\n",
	} {
		check(t, os.WriteFile(filepath.Clean(path), []byte(content), 0o600))
	}
	old := cgroups{"memory": v1, "cpuacct": v1}
	now := cgroups{"": v2}
	both := cgroups{"": v2, "memory": v1, "cpuacct": v1}
	for what, c := range map[string]struct{ got, want int64 }{
		"memory 1":   {old.number("memory.current", "memory", "memory.usage_in_bytes"), 4096},
		"memory 2":   {now.number("memory.current", "memory", "memory.usage_in_bytes"), 8192},
		"limit 1":    {old.number("memory.max", "memory", "memory.limit_in_bytes"), 0},
		"limit 2":    {now.number("memory.max", "memory", "memory.limit_in_bytes"), 0},
		"oom 1":      {old.counter("memory.events", "memory", "memory.oom_control", "oom_kill"), 3},
		"oom 2":      {now.counter("memory.events", "memory", "memory.oom_control", "oom_kill"), 2},
		"both":       {both.counter("memory.events", "memory", "memory.oom_control", "oom_kill"), 2},
		"pids":       {now.number("pids.max", "pids", "pids.max"), 512},
		"not there":  {old.number("pids.max", "pids", "pids.max"), untold},
		"no counter": {now.counter("memory.events", "memory", "memory.oom_control", "kill"), untold},
		"cpu 1":      {int64(old.cpuTime()), int64(1500 * time.Millisecond)},
		"cpu 2":      {int64(now.cpuTime()), int64(2500 * time.Millisecond)},
		"cpu none":   {int64(cgroups{}.cpuTime()), untold},
	} {
		if c.got != c.want {
			t.Errorf("%s: %d, want %d", what, c.got, c.want)
		}
	}
}
