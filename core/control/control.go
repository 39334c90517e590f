// Package control opens single defences, in programs built with the tag
// deep_control, so that a test can show that a defence is what stops an attack:
// the attack must succeed without it. In every other program all are closed, and
// the question costs nothing.
package control

// Env names the defences to open, separated by commas, in a program that was built
// for it.
const Env = "DEEP_CONTROL"

// The defences that can be opened, each at one place of a backend or the guest.
const (
	// Of how a sandbox is made.
	Seccomp         = "seccomp"           // the profile of system calls
	Landlock        = "landlock"          // the second layer for files, on local
	Network         = "network"           // a network of its own: else the host's
	RootFileSystem  = "root-file-system"  // read-only
	Capabilities    = "capabilities"      // none beyond the guest's
	SetuidMounts    = "setuid-mounts"     // no setuid program in a mount, on podman
	NoNewPrivileges = "no-new-privileges" // for setuid programs
	ResourceLimits  = "resource-limits"   // of the size and number of files
	MemoryLimit     = "memory-limit"      // and that of swap
	PIDsLimit       = "pids-limit"        // of processes and threads
	CPULimit        = "cpu-limit"         // of processors' time
	HostPlaces      = "host-places"       // that are not mounted
	ProcMounts      = "proc-mounts"       // what is covered of /proc, on engines

	// Of the guest, and of local's own removal of files.
	UserSplit    = "user-split"    // commands run as another user than the guest
	Undumpable   = "undumpable"    // the guest can be neither traced nor read
	KillAll      = "kill-all"      // a kill ends more than the command itself
	RegularFiles = "regular-files" // only these are read
	GuestFiles   = "guest-files"   // of /proc, are not read
	ArchiveNames = "archive-names" // that are outside are refused
	NoFollow     = "no-follow"     // of a link where a directory is meant
	Modes        = "modes"         // of an archive are permissions alone
)
