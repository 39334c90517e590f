package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// memory measures idle processes: a `deep exec` that waits, its plugin and its
// guest. The guest counts with RssAnon, what is its own: its program's pages are
// shared by all sandboxes.
func memory(ctx context.Context, bin, name, image, stateDir string) ([]Row, error) {
	args := []string{"exec", "--backend", name}
	if name != "local" {
		args = append(args, "--image", image)
	}
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "deep"), append(args, "--", "sleep", "600")...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	cmd.Env = append(os.Environ(), "XDG_STATE_HOME="+stateDir)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 20 * time.Second
	before := pids("deep-guest")
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	defer func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
	}()

	// The guest is there once its command is.
	var guest, plugin int
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		guest = newGuest(before)
		for pid := range pids("deep-backend-" + name) {
			if parent(pid) == cmd.Process.Pid {
				plugin = pid
			}
		}
		if guest != 0 && plugin != 0 {
			break
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("guest %d, plugin %d: not both found\n%s", guest, plugin, stderr.String())
		}
	}
	time.Sleep(settle)
	var rows []Row
	for _, m := range []struct {
		name, field string
		pid         int
	}{{"rss-guest", "RssAnon", guest}, {"rss-plugin", "VmRSS", plugin}, {"rss-deep", "VmRSS", cmd.Process.Pid}} {
		mib, err := status(m.pid, m.field)
		if err != nil {
			return nil, err
		}
		rows = append(rows, Row{Name: m.name, Backend: name, Unit: "MiB", P50: mib, P99: mib})
	}
	return rows, nil
}

// newGuest returns the guest that was not there before, 0 if there is none.
func newGuest(before map[int]bool) int {
	for pid := range pids("deep-guest") {
		if !before[pid] && strings.Contains(cmdline(pid), "serve") {
			return pid
		}
	}
	return 0
}

// pids returns the processes whose program has this name.
func pids(program string) map[int]bool {
	found := map[int]bool{}
	paths, _ := filepath.Glob("/proc/[0-9]*")
	for _, p := range paths {
		pid, _ := strconv.Atoi(filepath.Base(p))
		first, _, _ := strings.Cut(cmdline(pid), " ")
		if strings.HasPrefix(filepath.Base(first), program) {
			found[pid] = true
		}
	}
	return found
}

func cmdline(pid int) string {
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return strings.ReplaceAll(string(data), "\x00", " ")
}

func parent(pid int) int {
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
	if len(fields) < 2 {
		return 0
	}
	n, _ := strconv.Atoi(fields[1])
	return n
}

// status reads a field of /proc/PID/status, in MiB.
func status(pid int, field string) (float64, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, field+":"); ok {
			kib, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 64)
			return kib / 1024, err
		}
	}
	return 0, fmt.Errorf("process %d has no %s", pid, field)
}
