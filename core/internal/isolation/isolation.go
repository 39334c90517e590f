// Package isolation compares what was found in force in a sandbox with what was
// configured. The guest does, to list what an operator can do without; the SDK
// does again, to refuse what nobody agreed to.
package isolation

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/deep-sandbox/deep/core/backend"
	guestv1 "github.com/deep-sandbox/deep/core/proto/guest/v1"
)

// A Lapse is a layer that was configured and is not in force.
type Lapse struct {
	// Layer is one of backend.LayerNames.
	Layer string
	// Found says what was tried and what came of it.
	Found string
	// Remedy says what to do.
	Remedy string
}

// guestCapabilities are what commands may be bounded by: those the guest needs.
// One that is no other user than commands makes namespaces for them.
const (
	guestCapabilities = 1<<unix.CAP_SETUID | 1<<unix.CAP_SETGID | 1<<unix.CAP_KILL
	alikeCapabilities = 1 << unix.CAP_SYS_ADMIN
)

// Judge returns the layers that lapsed, in the order of backend.LayerNames.
func Judge(expect *guestv1.Expectations, found *guestv1.Findings) []Lapse {
	var lapses []Lapse
	note := func(lapsed bool, layer, remedy, what string, args ...any) {
		if lapsed {
			lapses = append(lapses, Lapse{Layer: layer, Found: fmt.Sprintf(what, args...), Remedy: remedy})
		}
	}
	const cgroups = "look which controllers the engine, or the user it runs as, may use: `deep doctor` tells"
	above := func(found, most int64) bool { return most > 0 && (found < 0 || found > most) }
	note(above(found.GetMemory(), expect.GetMemory()), backend.NameMemoryLimit, cgroups,
		"%s, where %d bytes were set", number(found.GetMemory()), expect.GetMemory())
	note(expect.GetNoSwap() && found.GetSwap() != 0, backend.NameSwapLimit, "boot the engine's host with swapaccount=1",
		"%s beside the memory, where none was allowed", number(found.GetSwap()))
	note(above(found.GetPids(), expect.GetPids()), backend.NamePIDsLimit, cgroups,
		"%s, where %d processes were set", number(found.GetPids()), expect.GetPids())
	// The kernel counts in microseconds of a period.
	note(expect.GetCpus() > 0 && (found.GetCpus() < 0 || found.GetCpus() > expect.GetCpus()+0.001), backend.NameCPULimit, cgroups,
		"%s, where %g processors were set", number(found.GetCpus()), expect.GetCpus())
	switch {
	case expect.GetSeccomp() == "":
	case !found.GetSeccomp():
		note(true, backend.NameSeccomp, "look whether the engine applies seccomp profiles", "a command has no seccomp filter")
	default:
		note(len(found.GetPassed()) > 0, backend.NameSeccomp, "look whether the engine, or its runtime, replaces the profile it is given",
			"the filter of a command does not answer as deep's: %s", strings.Join(found.GetPassed(), ", "))
	}
	note(expect.GetUserSplit() && !found.GetUserSplit(), backend.NameUserSplit, "let the guest run as root inside",
		"a command ran as %d:%d, and is not kept from the guest", found.GetUid(), found.GetGid())
	bound := uint64(guestCapabilities)
	if !expect.GetUserSplit() {
		bound |= alikeCapabilities
	}
	note(expect.GetCapabilities() && (found.GetCapabilities() != 0 || found.GetBounding()&^bound != 0), backend.NameCapabilities,
		"look whether the engine drops the capabilities it is told to",
		"a command has the capabilities %#x, and could get %#x", found.GetCapabilities(), found.GetBounding())
	note(expect.GetNoNewPrivileges() && !found.GetNoNewPrivileges(), backend.NameNoNewPrivileges, "look whether the engine can set no_new_privs",
		"a command has no no_new_privs")
	switch {
	case !expect.GetNetworkNone():
	case len(found.GetInterfaces()) > 0:
		note(true, backend.NameNetwork, "look which network the engine gives", "an interface is up: %s", strings.Join(found.GetInterfaces(), ", "))
	case found.GetRoute():
		note(true, backend.NameNetwork, "look which network the engine gives", "a command has a way to addresses elsewhere")
	default:
		note(found.GetNameserver(), backend.NameNetwork, "look what the engine shows as /etc/resolv.conf", "a nameserver is named in /etc/resolv.conf")
	}
	note(expect.GetReadOnlyRoot() && !found.GetReadOnlyRoot(), backend.NameRootFileSystem, "look whether the engine can make it read-only",
		"the root file system did not refuse to be written")
	switch {
	case above(found.GetOpenFiles(), expect.GetOpenFiles()):
		note(true, backend.NameResourceLimits, "look which ulimits the engine sets", "%s open files", number(found.GetOpenFiles()))
	case above(found.GetFileSize(), expect.GetFileSize()):
		note(true, backend.NameResourceLimits, "look which ulimits the engine sets", "%s as the size of a file", number(found.GetFileSize()))
	default:
		note(expect.GetFileSize() > 0 && found.GetCoreSize() != 0, backend.NameResourceLimits, "look which ulimits the engine sets",
			"%s as the size of a core dump", number(found.GetCoreSize()))
	}
	note(expect.GetLandlock() && found.GetLandlock() == 0, backend.NameLandlock, "use Linux 5.13 or later, booted with landlock among lsm=…",
		"a command is in no Landlock domain")
	return lapses
}

// number tells a limit that was found.
func number[N int64 | float64](n N) string {
	switch n {
	case backend.NoLimit:
		return "no limit"
	case backend.NotKnown:
		return "a limit that cannot be seen from inside"
	}
	return fmt.Sprintf("a limit of %v", n)
}

// Bad says what of findings no kernel says, "" if nothing. They come from a sandbox.
func Bad(f *guestv1.Findings) string {
	const few, short = 64, 64
	if len(f.GetPassed()) > few || len(f.GetInterfaces()) > few {
		return "a list without end"
	}
	for _, list := range [][]string{f.GetPassed(), f.GetInterfaces()} {
		for _, s := range list {
			if len(s) > short {
				return "a name without end"
			}
		}
	}
	for _, n := range []int64{f.GetMemory(), f.GetSwap(), f.GetPids(), f.GetOpenFiles(), f.GetFileSize(), f.GetCoreSize()} {
		if n < backend.NotKnown {
			return fmt.Sprintf("the limit %d", n)
		}
	}
	if c := f.GetCpus(); !(c >= 0 || c == backend.NoLimit || c == backend.NotKnown) || c > 1<<20 {
		return fmt.Sprintf("a limit of %v processors", c)
	}
	if f.GetLandlock() < 0 {
		return fmt.Sprintf("version %d of Landlock", f.GetLandlock())
	}
	return ""
}
