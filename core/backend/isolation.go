package backend

import "strings"

// Isolation is what a sandbox is under, as it was found from inside when it was
// made: a command was run there that tried what must fail and read what limits it.
// It is not what was asked for, nor what an engine says of itself.
type Isolation struct {
	// Runtime that made the sandbox: an engine's OCI runtime, "runc" for example, or
	// "namespaces" where there is no engine. "" if it is not known.
	Runtime string
	// UID and GID of the command.
	UID, GID uint32
	// UserSplit: commands are another user than the guest, and cannot signal it.
	UserSplit bool
	// Capabilities a command has in any of its sets, and Bounding the most that one
	// could get: bit n is number n of capabilities(7).
	Capabilities, Bounding uint64
	// NoNewPrivileges: programs with a setuid bit or file capabilities give none.
	NoNewPrivileges bool
	// Seccomp is the digest of the profile in force, "" if there is none or it lets
	// pass what it should deny.
	Seccomp string
	// Landlock is the version of the domain commands are in, 0 if in none.
	Landlock int
	// Network is NetworkNone where nothing but loopback is up, nothing outside can be
	// reached and no nameserver is named; else NetworkFull.
	Network NetworkMode
	// RootFileSystem is RootReadOnly or RootWritable.
	RootFileSystem RootMode
	// Memory and Swap in bytes, Swap beside Memory; PIDs is processes and threads;
	// CPUs is processors' worth of time. Each is NoLimit or NotKnown where that is
	// so, as where the sandbox cannot see its control groups.
	Memory, Swap, PIDs int64
	CPUs               float64
	// OpenFiles of one process, FileSize and CoreSize in bytes; NoLimit if there is
	// none.
	OpenFiles, FileSize, CoreSize int64
	// Disk says what keeps the workspace from filling the disk.
	Disk DiskMode
}

// Values of a limit that are no number.
const (
	NoLimit  = -1
	NotKnown = -2
)

// RootMode says whether the sandbox's root file system can be written.
type RootMode string

// Modes of the root file system.
const (
	RootReadOnly RootMode = "read-only"
	RootWritable RootMode = "writable"
)

// DiskMode says what bounds a workspace.
type DiskMode string

// DiskNone: nothing does.
const DiskNone DiskMode = "none"

// DegradedLayer returns the name of the layer that an entry of
// SandboxInfo.Degraded is about: "pids limit" of "pids limit: no cgroup can be
// made here".
func DegradedLayer(entry string) string {
	name, _, _ := strings.Cut(entry, ": ")
	return name
}
