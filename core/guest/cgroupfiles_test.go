package guest

import (
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/deep-sandbox/deep/core/backend"
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

func TestLimits(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "512": 512, "max": backend.NoLimit, "-1": backend.NoLimit, "9223372036854771712": backend.NoLimit,
		"": backend.NotKnown, "x": backend.NotKnown, "18446744073709551615": backend.NotKnown,
	} {
		if got := parseLimit([]byte(text)); got != want {
			t.Errorf("%q is %d, want %d", text, got, want)
		}
	}
	for _, c := range []struct {
		name         string
		v2           bool
		files        map[string]string
		memory, swap int64
		cpus         float64
	}{
		{"nothing", true, nil, backend.NotKnown, backend.NotKnown, backend.NotKnown},
		{"v2", true, map[string]string{"memory.max": "1000", "memory.swap.max": "0", "cpu.max": "50000 100000"}, 1000, 0, 0.5},
		{"v2, none", true, map[string]string{"memory.max": "max", "memory.swap.max": "max", "cpu.max": "max 100000"}, backend.NoLimit, backend.NoLimit, backend.NoLimit},
		{"v1", false, map[string]string{"memory.limit_in_bytes": "1000", "memory.memsw.limit_in_bytes": "1500", "cpu.cfs_quota_us": "200000", "cpu.cfs_period_us": "100000"}, 1000, 500, 2},
		{"v1, swap not counted", false, map[string]string{"memory.limit_in_bytes": "1000", "cpu.cfs_quota_us": "-1", "cpu.cfs_period_us": "100000"}, 1000, backend.NotKnown, backend.NoLimit},
	} {
		dir := t.TempDir()
		for name, text := range c.files {
			check(t, os.WriteFile(filepath.Join(dir, name), []byte(text+"\n"), 0o600))
		}
		groups := cgroups{"memory": dir, "cpu": dir}
		if c.v2 {
			groups = cgroups{"": dir}
		}
		memory, swap := groups.memoryLimits()
		if cpus := groups.cpuLimit(); memory != c.memory || swap != c.swap || cpus != c.cpus {
			t.Errorf("%s: memory %d, swap %d, cpus %v", c.name, memory, swap, cpus)
		}
	}
}
