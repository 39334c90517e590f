package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/plugins/local/internal/jail"
)

// The unified hierarchy as systemd has it, in ordinary files: what is chosen
// depends on names and permissions alone.
func TestDelegated(t *testing.T) {
	top := unified(t)
	for _, c := range []struct{ own, want, has string }{
		{"user.slice/user.service/app/deep", "user.slice/user.service/app", "memory pids cpu"},
		{"user.slice/user.service", "", "memory pids cpu"},
		{"", "", "memory pids cpu"},
	} {
		found, has := delegated(top, filepath.Join(top, c.own))
		if found != filepath.Join(top, c.want) || strings.Join(has, " ") != c.has {
			t.Errorf("from %q: %s with %v", c.own, found, has)
		}
	}
}

func TestDelegatedToUser(t *testing.T) {
	as(t, asUser, func(t *testing.T) {
		top := unified(t)
		closed := filepath.Join(top, "user.slice/user.service/closed")
		check(t, os.Chmod(closed, 0o555))                             //nolint:gosec // closed
		t.Cleanup(func() { check(t, os.Chmod(closed, 0o755)) })       //nolint:gosec // open again
		check(t, os.Chmod(filepath.Join(top, "cgroup.procs"), 0o444)) //nolint:gosec // closed
		if found, has := delegated(top, filepath.Join(closed, "scope")); !strings.HasSuffix(found, "user.service") || len(has) != 2 {
			t.Errorf("past what is closed: %s with %v", found, has)
		}
	})
}

func unified(t *testing.T) string {
	t.Helper()
	top := t.TempDir()
	for dir, enabled := range map[string]string{
		"":                                     "cpuset cpu io memory pids",
		"user.slice":                           "memory pids",
		"user.slice/user.service":              "memory pids",
		"user.slice/user.service/app":          "cpu memory pids",
		"user.slice/user.service/app/deep":     "",
		"user.slice/user.service/closed":       "cpu memory pids",
		"user.slice/user.service/closed/scope": "",
	} {
		path := filepath.Join(top, dir)
		check(t, os.MkdirAll(path, 0o755)) //nolint:gosec // as there
		check(t, os.WriteFile(filepath.Join(path, "cgroup.subtree_control"), []byte(enabled+"\n"), 0o644))
		check(t, os.WriteFile(filepath.Join(path, "cgroup.procs"), nil, 0o644))
	}
	return top
}

func TestCgroupsFor(t *testing.T) {
	spec := backend.Spec{Memory: 64 << 20, PIDs: 100, CPUs: 0.5}
	for _, c := range []struct {
		name    string
		h       hierarchies
		files   []string
		missing string
	}{
		{"none", hierarchies{}, nil, "memory pids cpu"},
		{"v2", hierarchies{v2: "/u", has: []string{"memory", "pids", "cpu"}},
			[]string{"/u/x/memory.max=67108864", "/u/x/memory.swap.max=0", "/u/x/pids.max=100", "/u/x/cpu.max=50000 100000"}, ""},
		{"v1", hierarchies{v1: map[string]string{"memory": "/m", "pids": "/p", "cpu": "/c", "cpuacct": "/c"}},
			[]string{"/m/x/memory.limit_in_bytes=67108864", "/m/x/memory.memsw.limit_in_bytes=67108864", "/p/x/pids.max=100",
				"/c/x/cpu.cfs_period_us=100000", "/c/x/cpu.cfs_quota_us=50000"}, ""},
		{"v1, accounting by itself", hierarchies{v1: map[string]string{"memory": "/m", "pids": "/p", "cpu": "/c", "cpuacct": "/a"}},
			[]string{"/m/x/memory.limit_in_bytes=67108864", "/m/x/memory.memsw.limit_in_bytes=67108864", "/p/x/pids.max=100",
				"/c/x/cpu.cfs_period_us=100000", "/c/x/cpu.cfs_quota_us=50000", "/a/x"}, ""},
		{"some of each", hierarchies{v1: map[string]string{"pids": "/p"}, v2: "/u", has: []string{"memory"}},
			[]string{"/p/x/pids.max=100", "/u/x/memory.max=67108864", "/u/x/memory.swap.max=0"}, "cpu"},
	} {
		groups, missing := c.h.cgroupsFor("x", spec)
		var files []string
		for _, g := range groups {
			if len(g.Files) == 0 {
				files = append(files, g.Dir)
			}
			for _, f := range g.Files {
				files = append(files, filepath.Join(g.Dir, f.Name)+"="+f.Value)
			}
		}
		if !slices.Equal(files, c.files) || strings.Join(missing, " ") != c.missing {
			t.Errorf("%s: %v without %v", c.name, files, missing)
		}
	}
}

func TestRootIDs(t *testing.T) {
	for _, ws := range []*owner{nil, {1234, 1234}, {1234, 0}, {rootBase + 5, 100}, {rootBase + jail.UserID, rootBase + jail.UserID}, {77, rootBase + 3*jail.RangeSize}} {
		for _, id := range []string{"a", "b", "c", backend.NewID()} {
			m := rootIDs(id, ws)
			if m.UID == 0 || m.GID == 0 || !fits(m.UIDBase, m.UID) || !fits(m.GIDBase, m.GID) || ws != nil && m.UID != ws.uid {
				t.Errorf("%s with %v: %+v", id, ws, m)
			}
			if end := uint64(m.UIDBase) + jail.RangeSize; m.UIDBase < rootBase || end > 1<<31 {
				t.Errorf("%s: %+v ends at %d", id, m, end)
			}
		}
	}
}

func TestSubordinate(t *testing.T) {
	file := filepath.Join(t.TempDir(), "subuid")
	check(t, os.WriteFile(file, []byte("# comment\nroot:100:65536\n54399:200:10\nx:y\n54399:300000:65536\n54399:9:70000\n"), 0o600))
	for uid, want := range map[uint32]uint32{0: 100, 54399: 300000, 54398: 0} {
		if got, err := subordinate(file, uid); err != nil || got != want {
			t.Errorf("%d: %d, %v; want %d", uid, got, err, want)
		}
	}
	if got, err := subordinate(file+".missing", 1); err != nil || got != 0 {
		t.Errorf("without a file: %d, %v", got, err)
	}
}
