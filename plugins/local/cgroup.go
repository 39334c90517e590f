package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/deep-sandbox/deep/core/backend"
)

const cgroupRoot = "/sys/fs/cgroup"

// A limit is one file of a cgroup controller.
type limit struct {
	file, value string
	// optional: not every kernel has it.
	optional bool
}

// makeCgroups makes the cgroups of a sandbox and returns their directories.
// Where none can be had it returns none, and why.
func makeCgroups(id string, spec backend.Spec) (dirs []string, why error) {
	defer func() {
		if why != nil {
			why = errors.Join(why, removeCgroups(dirs))
			dirs = nil
		}
	}()
	if _, err := os.Stat(filepath.Join(cgroupRoot, "cgroup.controllers")); err == nil {
		return makeCgroup2(id, spec)
	}
	own, err := ownCgroups()
	if err != nil {
		return nil, err
	}
	const period = 100_000 // microseconds, the kernel's default
	for _, c := range []struct {
		name   string
		limits []limit
	}{
		{"pids", []limit{{file: "pids.max", value: strconv.FormatInt(spec.PIDs, 10)}}},
		{"memory", []limit{
			{file: "memory.limit_in_bytes", value: strconv.FormatInt(spec.Memory, 10)},
			// Memory and swap together; absent without swap accounting.
			{file: "memory.memsw.limit_in_bytes", value: strconv.FormatInt(spec.Memory, 10), optional: true},
			{file: "memory.swappiness", value: "0", optional: true},
		}},
		{"cpu", []limit{
			{file: "cpu.cfs_period_us", value: strconv.Itoa(period)},
			{file: "cpu.cfs_quota_us", value: strconv.Itoa(int(spec.CPUs * period))},
		}},
	} {
		parent, ok := own[c.name]
		if !ok {
			return dirs, fmt.Errorf("no cgroup controller %s", c.name)
		}
		dir := filepath.Join(cgroupRoot, c.name, parent, "deep-"+id)
		if err := os.Mkdir(dir, 0o755); err != nil {
			return dirs, err
		}
		dirs = append(dirs, dir)
		if err := setLimits(dir, c.limits); err != nil {
			return dirs, err
		}
	}
	return dirs, nil
}

// makeCgroup2 makes one in the unified hierarchy: below a directory of deep's at
// its top as root, else beside this process' own, where systemd delegates.
func makeCgroup2(id string, spec backend.Spec) (dirs []string, err error) {
	parent := filepath.Join(cgroupRoot, "deep")
	if os.Getuid() == 0 {
		if err := os.MkdirAll(parent, 0o755); err != nil {
			return nil, err
		}
		for _, dir := range []string{cgroupRoot, parent} {
			if err := os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+pids +memory +cpu"), 0); err != nil {
				return nil, err
			}
		}
	} else {
		own, err := ownCgroups()
		if err != nil {
			return nil, err
		}
		parent = filepath.Join(cgroupRoot, filepath.Dir(own[""]))
	}
	dir := filepath.Join(parent, "deep-"+id)
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	const period = 100_000
	return []string{dir}, setLimits(dir, []limit{
		{file: "pids.max", value: strconv.FormatInt(spec.PIDs, 10)},
		{file: "memory.max", value: strconv.FormatInt(spec.Memory, 10)},
		{file: "memory.swap.max", value: "0", optional: true},
		{file: "cpu.max", value: fmt.Sprintf("%d %d", int(spec.CPUs*period), period)},
	})
}

// ownCgroups returns this process' cgroup by controller, "" for the unified one.
func ownCgroups() (map[string]string, error) {
	data, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil, err
	}
	own := map[string]string{}
	for line := range strings.Lines(string(data)) {
		part := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(part) != 3 {
			continue
		}
		for name := range strings.SplitSeq(part[1], ",") {
			own[name] = part[2]
		}
	}
	return own, nil
}

func setLimits(dir string, limits []limit) error {
	for _, l := range limits {
		err := os.WriteFile(filepath.Join(dir, l.file), []byte(l.value), 0)
		if err != nil && (!l.optional || !errors.Is(err, fs.ErrNotExist)) {
			return err
		}
	}
	return nil
}

// joinCgroups puts a process into cgroups.
func joinCgroups(dirs []string, pid int) error {
	for _, dir := range dirs {
		if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0); err != nil {
			return err
		}
	}
	return nil
}

// removeCgroups removes cgroups whose processes have ended. The kernel lets go of
// the last of them a moment after it was waited for.
func removeCgroups(dirs []string) error {
	var failed error
	for _, dir := range dirs {
		for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(2 * time.Millisecond) {
			err := unix.Rmdir(dir)
			if err == nil || errors.Is(err, unix.ENOENT) {
				break
			}
			if !errors.Is(err, unix.EBUSY) || time.Now().After(deadline) {
				failed = errors.Join(failed, fmt.Errorf("remove %s: %w", dir, err))
				break
			}
		}
	}
	return failed
}
