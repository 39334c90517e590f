package backend

import (
	"io"
	"time"
)

// ProcessesRequest asks what runs.
type ProcessesRequest struct{}

// ProcessesReply lists what runs in the sandbox, by PID, without the guest.
type ProcessesReply struct{ Processes []Process }

// Process is a process of a sandbox.
type Process struct {
	// PID and PPID as seen inside. PPID is 1 for one whose parent has ended.
	PID, PPID int
	// Exec is the id of the exec that started it, directly or not; "" where that
	// is not known.
	Exec string
	// Args is its command line, at most 4 KiB of it; the name in brackets where
	// it has none.
	Args []string
	// State is the kernel's letter: R, S, D, T, t, Z, X, I.
	State string
	// Started is when it began, to a hundredth of a second.
	Started time.Time
	// CPUTime it has used, in user mode and in the kernel.
	CPUTime time.Duration
	// RSS is its resident size in bytes.
	RSS int64
}

// StatsRequest asks what a sandbox uses.
type StatsRequest struct{}

// Stats is what a sandbox uses, its guest included. What the kernel does not tell
// is -1, a limit that is not set 0.
type Stats struct {
	// Uptime since the sandbox began.
	Uptime time.Duration
	// CPUTime of all that has run in it, what has ended included. That a control
	// group of the sandbox's own tells and nothing else: a process whose parent does
	// not wait for it takes what it has used along.
	CPUTime time.Duration
	// Memory in use and at most, in bytes.
	Memory, MemoryLimit int64
	// OOMKills counts processes ended for want of memory.
	OOMKills int64
	// PIDs is the number of processes and threads, now and at most.
	PIDs, PIDsLimit int64
	// Execs that run.
	Execs int
	// KeptOutput is how many bytes of output are kept, and at most.
	KeptOutput, KeptOutputLimit int64
	// DiskFree is what is left for the workspace, in bytes.
	DiskFree int64
}

// DialRequest asks for a connection to a TCP port inside.
type DialRequest struct {
	// Port on the sandbox's own loopback interface, 1 to 65535.
	Port int
}

// Conn is a connection to what listens inside. Read returns io.EOF once the other
// side has closed its writing half, and nothing but that. All methods are safe for
// concurrent use.
type Conn interface {
	io.ReadWriteCloser
	// CloseWrite ends what is written; reading goes on.
	CloseWrite() error
}
