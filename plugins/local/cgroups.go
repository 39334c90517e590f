package main

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/plugins/local/internal/jail"
)

// cpuPeriod is over which processor time is counted, in microseconds: the
// kernel's default.
const cpuPeriod = 100_000

// controllers limit a sandbox, each by files of the one or the other version.
var controllers = []struct {
	name string
	// layer of isolation that it is.
	layer  string
	v1, v2 func(backend.Spec) []jail.CgroupFile
}{
	{"memory", backend.NameMemoryLimit,
		func(s backend.Spec) []jail.CgroupFile {
			bytes := strconv.FormatInt(s.Memory, 10)
			return []jail.CgroupFile{
				{Name: "memory.limit_in_bytes", Value: bytes},
				// Both together; absent without swap accounting.
				{Name: "memory.memsw.limit_in_bytes", Value: bytes, Optional: true},
			}
		},
		func(s backend.Spec) []jail.CgroupFile {
			return []jail.CgroupFile{
				{Name: "memory.max", Value: strconv.FormatInt(s.Memory, 10)},
				{Name: "memory.swap.max", Value: "0", Optional: true},
			}
		}},
	{"pids", backend.NamePIDsLimit,
		func(s backend.Spec) []jail.CgroupFile {
			return []jail.CgroupFile{{Name: "pids.max", Value: strconv.FormatInt(s.PIDs, 10)}}
		},
		func(s backend.Spec) []jail.CgroupFile {
			return []jail.CgroupFile{{Name: "pids.max", Value: strconv.FormatInt(s.PIDs, 10)}}
		}},
	{"cpu", backend.NameCPULimit,
		func(s backend.Spec) []jail.CgroupFile {
			return []jail.CgroupFile{
				{Name: "cpu.cfs_period_us", Value: strconv.Itoa(cpuPeriod)},
				{Name: "cpu.cfs_quota_us", Value: strconv.Itoa(int(s.CPUs * cpuPeriod))},
			}
		},
		func(s backend.Spec) []jail.CgroupFile {
			return []jail.CgroupFile{{Name: "cpu.max", Value: fmt.Sprintf("%d %d", int(s.CPUs*cpuPeriod), cpuPeriod)}}
		}},
}

// hierarchies says below which cgroups those of sandboxes are made.
type hierarchies struct {
	// v1 by controller.
	v1 map[string]string
	// v2 is one for those in has.
	v2  string
	has []string
}

// accounting is the controller of version 1 that counts processor time and limits
// nothing. It may be mounted with cpu or by itself. Version 2 counts in every cgroup.
const accounting = "cpuacct"

// cgroupsFor returns the cgroups of a sandbox, and which controllers cannot be
// had.
func (h hierarchies) cgroupsFor(name string, spec backend.Spec) (groups []jail.Cgroup, missing []string) {
	unified := jail.Cgroup{Dir: filepath.Join(h.v2, name)}
	made := map[string]int{}
	for _, c := range controllers {
		parent, ok := h.v1[c.name]
		switch {
		case ok:
			// cpu may be mounted together with others.
			dir := filepath.Join(parent, name)
			i, ok := made[dir]
			if !ok {
				i = len(groups)
				made[dir] = i
				groups = append(groups, jail.Cgroup{Dir: dir})
			}
			groups[i].Files = append(groups[i].Files, c.v1(spec)...)
		case slices.Contains(h.has, c.name):
			unified.Files = append(unified.Files, c.v2(spec)...)
		default:
			missing = append(missing, c.name)
		}
	}
	if len(unified.Files) > 0 {
		groups = append(groups, unified)
	}
	if parent, ok := h.v1[accounting]; ok {
		dir := filepath.Join(parent, name)
		if _, ok := made[dir]; !ok {
			groups = append(groups, jail.Cgroup{Dir: dir})
		}
	}
	return groups, missing
}

// countsSwap reports whether the kernel limits swap in the cgroups of sandboxes.
func (h hierarchies) countsSwap() bool {
	file := filepath.Join(h.v2, "memory.swap.max")
	if dir, ok := h.v1["memory"]; ok {
		file = filepath.Join(dir, "memory.memsw.limit_in_bytes")
	} else if !exists(filepath.Join(h.v2, "memory.current")) {
		return true // the first cgroup, which has no such files and whose children may
	}
	return exists(file)
}

func exists(path string) bool { return unix.Access(path, unix.F_OK) == nil }

// findHierarchies looks where this process may make cgroups.
func findHierarchies() (hierarchies, error) {
	own, err := ownCgroups()
	if err != nil {
		return hierarchies{}, err
	}
	h := hierarchies{v1: map[string]string{}}
	mounts, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return hierarchies{}, err
	}
	defer func() { _ = mounts.Close() }()
	lines := bufio.NewScanner(mounts)
	for lines.Scan() {
		// id parent device root target options… - type source super-options
		before, after, _ := strings.Cut(lines.Text(), " - ")
		f, t := strings.Fields(before), strings.Fields(after)
		if len(f) < 5 || len(t) < 3 {
			continue
		}
		root, target := f[3], f[4]
		switch t[0] {
		case "cgroup":
			for name := range strings.SplitSeq(t[2], ",") {
				if dir, ok := within(target, root, own[name]); ok && own[name] != "" && writable(dir) {
					h.v1[name] = dir
				}
			}
		case "cgroup2":
			if dir, ok := within(target, root, own[""]); ok {
				h.v2, h.has = delegated(target, dir)
			}
		}
	}
	return h, lines.Err()
}

// within returns the directory of a cgroup in the mount at target that shows the
// hierarchy from root on.
func within(target, root, cgroup string) (string, bool) {
	rel, err := filepath.Rel(root, cgroup)
	if err != nil || rel == ".." || strings.HasPrefix(rel, "../") {
		return "", false
	}
	return filepath.Join(target, rel), true
}

// delegated returns the nearest cgroup, from dir up to top, whose children have
// controllers and to which this process may add one. Not each has all of them,
// and a cgroup with processes in it can give its children none.
func delegated(top, dir string) (found string, has []string) {
	for ; ; dir = filepath.Dir(dir) {
		enabled := enabledIn(dir)
		if len(enabled) > len(has) && writable(dir) && writable(filepath.Join(dir, "cgroup.procs")) {
			found, has = dir, enabled
		}
		if dir == top || len(dir) <= len(top) {
			return found, has
		}
	}
}

// enabledIn returns those of controllers that the children of a cgroup have.
func enabledIn(dir string) []string {
	data, err := os.ReadFile(filepath.Join(dir, "cgroup.subtree_control"))
	if err != nil {
		return nil
	}
	on := strings.Fields(string(data))
	var has []string
	for _, c := range controllers {
		if slices.Contains(on, c.name) {
			has = append(has, c.name)
		}
	}
	return has
}

func writable(path string) bool { return unix.Access(path, unix.W_OK) == nil }

// ownCgroups returns this process' cgroup by controller, "" for the unified one.
func ownCgroups() (map[string]string, error) {
	data, err := os.ReadFile("/proc/self/cgroup")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // a kernel without
	}
	if err != nil {
		return nil, err
	}
	own := map[string]string{}
	for line := range strings.Lines(string(data)) {
		part := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(part) != 3 {
			continue
		}
		for name := range strings.SplitSeq(part[1], ",") {
			own[name] = part[2]
		}
	}
	return own, nil
}
