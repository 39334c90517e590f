package isolation

import (
	"math"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/deep-sandbox/deep/core/backend"
	guestv1 "github.com/deep-sandbox/deep/core/proto/guest/v1"
)

func configured() *guestv1.Expectations {
	return &guestv1.Expectations{
		Seccomp: "digest", NoNewPrivileges: true, Capabilities: true, UserSplit: true, NetworkNone: true, ReadOnlyRoot: true, Landlock: true,
		Memory: 1 << 30, NoSwap: true, Pids: 512, Cpus: 2, OpenFiles: 4096, FileSize: 2 << 30,
	}
}

func inForce() *guestv1.Findings {
	return &guestv1.Findings{
		Uid: 1000, Gid: 1000, UserSplit: true, Bounding: guestCapabilities, NoNewPrivileges: true, Seccomp: true, Landlock: 7, ReadOnlyRoot: true,
		Memory: 1 << 30, Pids: 512, Cpus: 2, OpenFiles: 1024, FileSize: 2 << 30,
	}
}

// TestJudge lets one layer lapse after the other.
func TestJudge(t *testing.T) {
	if l := Judge(configured(), inForce()); len(l) > 0 {
		t.Errorf("all is in force, and these lapsed: %+v", l)
	}
	for _, c := range []struct {
		layer, found string
		lapse        func(*guestv1.Findings)
	}{
		{backend.NameMemoryLimit, "no limit", func(f *guestv1.Findings) { f.Memory = backend.NoLimit }},
		{backend.NameMemoryLimit, "cannot be seen", func(f *guestv1.Findings) { f.Memory = backend.NotKnown }},
		{backend.NameMemoryLimit, "2147483648", func(f *guestv1.Findings) { f.Memory = 2 << 30 }},
		{backend.NameSwapLimit, "4096", func(f *guestv1.Findings) { f.Swap = 4096 }},
		{backend.NameSwapLimit, "cannot be seen", func(f *guestv1.Findings) { f.Swap = backend.NotKnown }},
		{backend.NamePIDsLimit, "no limit", func(f *guestv1.Findings) { f.Pids = backend.NoLimit }},
		{backend.NameCPULimit, "no limit", func(f *guestv1.Findings) { f.Cpus = backend.NoLimit }},
		{backend.NameCPULimit, "2.5", func(f *guestv1.Findings) { f.Cpus = 2.5 }},
		{backend.NameSeccomp, "no seccomp filter", func(f *guestv1.Findings) { f.Seccomp = false }},
		{backend.NameSeccomp, "unshare", func(f *guestv1.Findings) { f.Passed = []string{"unshare"} }},
		{backend.NameUserSplit, "kept from the guest", func(f *guestv1.Findings) { f.UserSplit = false }},
		{backend.NameCapabilities, "0x1", func(f *guestv1.Findings) { f.Capabilities = 1 }},
		{backend.NameCapabilities, "could get 0x2000e0", func(f *guestv1.Findings) { f.Bounding |= alikeCapabilities }},
		{backend.NameNoNewPrivileges, "no_new_privs", func(f *guestv1.Findings) { f.NoNewPrivileges = false }},
		{backend.NameNetwork, "eth0", func(f *guestv1.Findings) { f.Interfaces = []string{"eth0"} }},
		{backend.NameNetwork, "a way", func(f *guestv1.Findings) { f.Route = true }},
		{backend.NameNetwork, "nameserver", func(f *guestv1.Findings) { f.Nameserver = true }},
		{backend.NameRootFileSystem, "written", func(f *guestv1.Findings) { f.ReadOnlyRoot = false }},
		{backend.NameResourceLimits, "open files", func(f *guestv1.Findings) { f.OpenFiles = 1 << 20 }},
		{backend.NameResourceLimits, "size of a file", func(f *guestv1.Findings) { f.FileSize = backend.NoLimit }},
		{backend.NameResourceLimits, "core dump", func(f *guestv1.Findings) { f.CoreSize = 1 }},
		{backend.NameLandlock, "no Landlock domain", func(f *guestv1.Findings) { f.Landlock = 0 }},
	} {
		f := inForce()
		c.lapse(f)
		lapses := Judge(configured(), f)
		if len(lapses) != 1 || lapses[0].Layer != c.layer || !strings.Contains(lapses[0].Found, c.found) || lapses[0].Remedy == "" {
			t.Errorf("%s, %s: %+v", c.layer, c.found, lapses)
		}
		// What was not configured cannot lapse. A guest like its commands may bound
		// them by one capability more.
		if l := Judge(&guestv1.Expectations{}, f); len(l) > 0 {
			t.Errorf("%s was not configured, and lapsed: %+v", c.layer, l)
		}
	}
	alike := configured()
	alike.UserSplit = false
	f := inForce()
	f.UserSplit, f.Bounding = false, alikeCapabilities
	if l := Judge(alike, f); len(l) > 0 {
		t.Errorf("one user: %+v", l)
	}
}

func TestBad(t *testing.T) {
	if bad := Bad(inForce()); bad != "" {
		t.Error(bad)
	}
	for what, change := range map[string]func(*guestv1.Findings){
		"many calls":  func(f *guestv1.Findings) { f.Passed = make([]string, 1000) },
		"a long name": func(f *guestv1.Findings) { f.Interfaces = []string{strings.Repeat("x", 1000)} },
		"a limit":     func(f *guestv1.Findings) { f.Pids = -3 },
		"processors":  func(f *guestv1.Findings) { f.Cpus = math.NaN() },
		"more":        func(f *guestv1.Findings) { f.Cpus = math.Inf(1) },
		"Landlock":    func(f *guestv1.Findings) { f.Landlock = -1 },
	} {
		f := proto.Clone(inForce()).(*guestv1.Findings)
		change(f)
		if Bad(f) == "" {
			t.Errorf("%s: accepted", what)
		}
	}
}
