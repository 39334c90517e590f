package guest

import (
	"bytes"
	"math"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/deep-sandbox/deep/core/backend"
)

// untold is a number the kernel does not tell.
const untold = -1

// cgroups are the control groups the guest is in, as far as it can see them: the
// directory of each controller of version 1, and of version 2 under "".
type cgroups map[string]string

// findCgroups looks for the directories of this process's groups. Those of the
// whole machine do not count: what they say is not about the sandbox.
func findCgroups() (cgroups, error) {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	memberships, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil, err
	}
	return parseCgroups(string(mounts), string(memberships), inFirstCgroupNamespace()), nil
}

// inFirstCgroupNamespace reports whether "/" is the machine's group here, and not
// the sandbox's own.
func inFirstCgroupNamespace() bool {
	const first = 0xEFFFFFFB // the kernel's PROC_CGROUP_INIT_INO
	var st unix.Stat_t
	return unix.Stat("/proc/self/ns/cgroup", &st) != nil || st.Ino == first
}

func parseCgroups(mounts, memberships string, first bool) cgroups {
	paths := map[string]string{}
	for line := range strings.Lines(memberships) {
		// "4:cpu,cpuacct:/path", and "0::/path" for version 2.
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(f) != 3 || f[2] == "/" && first || strings.HasPrefix(f[2], "/..") {
			continue
		}
		for controller := range strings.SplitSeq(f[1], ",") {
			paths[controller] = f[2]
		}
	}
	found := cgroups{}
	for line := range strings.Lines(mounts) {
		// "31 22 0:29 ROOT WHERE OPTIONS … - TYPE SOURCE CONTROLLERS"
		before, after, _ := strings.Cut(line, " - ")
		f, kind := strings.Fields(before), strings.Fields(after)
		if len(f) < 5 || len(kind) < 3 || kind[0] != "cgroup" && kind[0] != "cgroup2" {
			continue
		}
		controllers := ""
		if kind[0] == "cgroup" {
			controllers = kind[2]
		}
		for controller := range strings.SplitSeq(controllers, ",") {
			path, member := paths[controller]
			below, ok := within(path, unescape(f[3]))
			if member && ok && found[controller] == "" {
				found[controller] = unescape(f[4]) + below
			}
		}
	}
	return found
}

// within returns what of path is below root, with a leading slash, or "".
func within(path, root string) (below string, ok bool) {
	if root == "/" {
		root = ""
	}
	below, ok = strings.CutPrefix(path, root)
	if below == "/" {
		below = ""
	}
	return below, ok && (below == "" || below[0] == '/')
}

// unescape undoes what mountinfo does to spaces and the like.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

// number reads a file of version 2, or else one of a controller of version 1.
// "max" and what is above all memory there could be is no limit: 0.
func (c cgroups) number(v2, controller, v1 string) int64 {
	b := c.read("", v2)
	if b == nil {
		b = c.read(controller, v1)
	}
	return parseNumber(bytes.TrimSpace(b))
}

// counter reads a line "name number" of a file.
func (c cgroups) counter(v2, controller, v1, name string) int64 {
	b := c.read("", v2)
	if b == nil {
		b = c.read(controller, v1)
	}
	return parseNumber(field(append([]byte("\n"), b...), "\n"+name+" "))
}

func parseNumber(b []byte) int64 {
	if string(b) == "max" {
		return 0
	}
	n, err := strconv.ParseUint(string(b), 10, 64)
	switch {
	case err != nil:
		return untold
	case n > math.MaxInt64>>1:
		return 0
	}
	return int64(n)
}

// read returns nil for what cannot be read.
func (c cgroups) read(controller, name string) []byte {
	dir := c[controller]
	if dir == "" {
		return nil
	}
	var buf [4096]byte
	b, err := readStart(dir+"/"+name, buf[:])
	if err != nil {
		return nil
	}
	return b
}

// limit reads a file whose number is a limit, in the words of a report: NoLimit and
// NotKnown are no numbers.
func (c cgroups) limit(v2, controller, v1 string) int64 {
	b := c.read("", v2)
	if b == nil {
		b = c.read(controller, v1)
	}
	return parseLimit(bytes.TrimSpace(b))
}

// parseLimit: version 1 writes "none" of memory as a number above all there could
// be, and of time as -1.
func parseLimit(b []byte) int64 {
	n, err := strconv.ParseInt(string(b), 10, 64)
	switch {
	case string(b) == "max", err == nil && (n < 0 || n > math.MaxInt64>>1):
		return backend.NoLimit
	case err != nil:
		return backend.NotKnown
	}
	return n
}

// memoryLimits are of memory, and of swap beside it.
func (c cgroups) memoryLimits() (memory, swap int64) {
	memory = c.limit("memory.max", "memory", "memory.limit_in_bytes")
	if c.read("", "memory.max") != nil {
		return memory, c.limit("memory.swap.max", "", "")
	}
	// Version 1 limits both together.
	swap = c.limit("", "memory", "memory.memsw.limit_in_bytes")
	if swap >= 0 && memory >= 0 {
		swap = max(0, swap-memory)
	}
	return memory, swap
}

// cpuLimit is processors' worth of time.
func (c cgroups) cpuLimit() float64 {
	quota, period := c.read("cpu", "cpu.cfs_quota_us"), c.read("cpu", "cpu.cfs_period_us")
	if both := bytes.Fields(c.read("", "cpu.max")); len(both) == 2 {
		quota, period = both[0], both[1]
	}
	q, p := parseLimit(bytes.TrimSpace(quota)), parseLimit(bytes.TrimSpace(period))
	switch {
	case q < 0:
		return float64(q)
	case p <= 0:
		return backend.NotKnown
	}
	return float64(q) / float64(p)
}
