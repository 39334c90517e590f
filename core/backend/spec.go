package backend

import (
	"time"
)

// Defaults of a Spec; a zero field means these.
const (
	DefaultImage       = "python:3.12-slim"
	DefaultWorkspace   = "/workspace"
	DefaultMemory      = 1 << 30 // bytes, no swap beside it
	DefaultPIDs        = 512
	DefaultCPUs        = 2.0
	DefaultTmpSize     = 256 << 20 // bytes of /tmp, counted as memory
	DefaultTimeout     = 120 * time.Second
	DefaultGrace       = 2 * time.Second
	DefaultLease       = 60 * time.Second
	DefaultIdleTimeout = 0 // never, for a sandbox somebody is connected to
	DefaultUID         = 1000
)

// Unlimited, as a timeout, means none. The zero value means the default.
const Unlimited = time.Duration(1<<63 - 1)

// NetworkMode says what of the network a sandbox sees.
type NetworkMode string

// Network modes.
const (
	// NetworkNone, the default: a loopback interface and nothing else.
	NetworkNone NetworkMode = "none"
	// NetworkFull: what the engine gives by default.
	NetworkFull NetworkMode = "full"
)

// PullPolicy says when an image is pulled.
type PullPolicy string

// Pull policies.
const (
	PullMissing PullPolicy = "missing" // the default
	PullAlways  PullPolicy = "always"
	PullNever   PullPolicy = "never"
)

// Spec says what a sandbox shall be. The zero value is a good one: it is what
// `deep exec -- true` makes.
type Spec struct {
	// Image to make the sandbox from; DefaultImage if empty. Ignored by a
	// backend without CapImages.
	Image string
	// Pull says when to pull it; PullMissing if empty.
	Pull PullPolicy
	// Workspace says what is mounted at its path.
	Workspace Workspace
	// Mounts beside the workspace.
	Mounts []Mount
	// Env is added to the environment of every command. Keys must be non-empty
	// and hold neither '=' nor NUL. It reaches the sandbox over the guest's
	// connection, never as an argument or label of the engine's.
	Env map[string]string
	// Network is NetworkNone if empty.
	Network NetworkMode
	// Memory in bytes, swap excluded; DefaultMemory if 0, at least 16 MiB.
	Memory int64
	// PIDs is how many processes and threads may live; DefaultPIDs if 0, at
	// least 96, of which the guest keeps 64 for itself.
	PIDs int64
	// CPUs is how many processors' worth of time it may use; DefaultCPUs if 0.
	CPUs float64
	// Timeout of a command that names none; DefaultTimeout if 0.
	Timeout time.Duration
	// Ephemeral ties the sandbox to the process that created it.
	Ephemeral bool
	// Lease is how long an ephemeral sandbox lives with no host connected;
	// DefaultLease if 0, at least 1 s.
	Lease time.Duration
	// IdleTimeout ends a sandbox with no command running and no call in
	// progress for so long; 0 means never.
	IdleTimeout time.Duration
	// MaxLifetime ends any sandbox after so long; 0 means never.
	MaxLifetime time.Duration
	// AcceptDegraded names layers of isolation the operator can do without, as
	// Layer.Name does.
	AcceptDegraded []string
}

// Workspace says what a sandbox finds at its workspace. With neither Source nor
// Name it is fresh and goes with the sandbox.
type Workspace struct {
	// Path inside, absolute; DefaultWorkspace if empty.
	Path string
	// Source is a directory of this host to bind there. Needs CapBind.
	Source string
	// Name keeps it: it is made if it does not exist, and outlives the sandbox
	// unless Destroy removes it. ErrInvalid unless ValidID. Needs
	// CapKeepWorkspace.
	Name string
}

// Mount is a directory of this host shown in the sandbox. Needs CapBind.
type Mount struct {
	Source   string
	Target   string
	ReadOnly bool
}
