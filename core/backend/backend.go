package backend

import (
	"context"
	"time"
)

// A Backend makes sandboxes, finds them again and removes them. Its methods
// touch only what carries the labels of deep.
//
// Optional abilities are further interfaces, found by type assertion.
type Backend interface {
	// Describe tells what this backend is and which options it takes. It needs
	// no engine and may be called before Configure.
	Describe(ctx context.Context) (*Description, error)

	// Configure hands over the options, once, before any other call but
	// Describe. Options the schema does not know and values it refuses are
	// ErrInvalid with the attribute's name in Error.Path. A second call is
	// ErrExists.
	Configure(ctx context.Context, req *ConfigureRequest) error

	// Check looks at the engine and at each layer of isolation without changing
	// anything. An engine that cannot be reached is ErrUnavailable and the
	// error names the address tried and the remedy.
	Check(ctx context.Context) (*CheckReport, error)

	// Create makes a sandbox and returns once it takes commands. It is all or
	// nothing: on error, and when ctx ends, no container, volume, network or
	// directory stays, and Create returns only when that is so. An id in use is
	// ErrExists. Progress is reported to req.Progress while it runs.
	Create(ctx context.Context, req *CreateRequest) (Sandbox, error)

	// Open connects to a sandbox that runs. One that does not exist, or runs no
	// more, is ErrGone; it is never replaced by a fresh one.
	Open(ctx context.Context, req *OpenRequest) (Sandbox, error)

	// Inspect tells the state of one sandbox, ErrNotFound if there is none.
	Inspect(ctx context.Context, req *InspectRequest) (*SandboxInfo, error)

	// List tells every sandbox with the labels of deep on this engine, oldest
	// first, running or not.
	List(ctx context.Context, req *ListRequest) (*ListSandboxesReply, error)

	// Stop ends everything that runs in the sandbox and keeps its workspace. A
	// stopped sandbox is ErrGone to Open, and its id stays in use until it is
	// destroyed. Only a workspace that has a name (Workspace.Name) or is bound
	// (Workspace.Source) is reachable again, by another sandbox on it. Stopping a
	// stopped one is no error.
	Stop(ctx context.Context, req *StopRequest) error

	// Destroy removes the sandbox and all that Create made for it; the
	// workspace too, unless it is a directory of the caller's (Workspace.Source)
	// or req.KeepWorkspace asks otherwise. What is not there is no error.
	Destroy(ctx context.Context, req *DestroyRequest) error

	// RemoveWorkspace removes a named workspace that no sandbox uses.
	// What is not there is no error; one in use is ErrConflict.
	RemoveWorkspace(ctx context.Context, req *RemoveWorkspaceRequest) error

	// Shutdown destroys the ephemeral sandboxes this process created, closes
	// every connection and refuses further calls. It is idempotent.
	Shutdown(ctx context.Context) error
}

// Description says what a backend is.
type Description struct {
	// Name is the word in `backend "NAME"`; the binary is deep-backend-NAME.
	Name string
	// Version of the plugin, as printed to people.
	Version string
	// Summary is one line: where the sandboxes live and what isolates them.
	Summary string
	// Schema lists the options of the block `config { }`.
	Schema Schema
	// Capabilities are derived from what the implementation can do, sorted.
	Capabilities []Capability
}

// A Capability names something not every backend can do. Rules that need one
// are skipped where it is absent.
type Capability string

// The capabilities there are.
const (
	// CapImages: sandboxes are made from images, which are pulled when missing.
	CapImages Capability = "images"
	// CapBind: Workspace.Source and Mounts take directories of this host.
	CapBind Capability = "bind"
	// CapNetworkFull: Spec.Network may be NetworkFull.
	CapNetworkFull Capability = "network-full"
	// CapKeepWorkspace: a workspace may outlive its sandbox (Workspace.Name).
	CapKeepWorkspace Capability = "keep-workspace"
	// CapTTY: a command may have a terminal (ExecRequest.TTY, Resize).
	CapTTY Capability = "tty"
	// CapDial: Dial connects to ports inside.
	CapDial Capability = "dial"
	// CapProcesses: Processes lists what runs, and Stats what it uses.
	CapProcesses Capability = "processes"
)

// ConfigureRequest carries the options of one backend.
type ConfigureRequest struct {
	// Config is the JSON object made of the block `config { }` by the schema
	// that Describe returned. Empty means an empty block.
	Config []byte
	// GuestDir holds the programs deep-guest-linux-amd64 and -arm64.
	GuestDir string
	// StateDir is a private directory (0700) for what must outlive the process.
	StateDir string
	// Owner is put on everything made, so that deep finds its own again.
	Owner Owner
}

// CheckReport tells what a backend found.
type CheckReport struct {
	// Engine is its name and version, for example "Docker Engine 20.10.24".
	Engine string
	// Endpoint is the address it was reached at.
	Endpoint string
	// Layers of isolation in the order they apply.
	Layers []Layer
}

// A Layer is one means of isolation.
type Layer struct {
	// Name in a word or two, one of LayerNames. A layer that only this backend has
	// is named "x-…", see ValidLayer.
	Name string
	// State of the layer on this host.
	State LayerState
	// Detail says what was found; for one that is missing, why.
	Detail string
	// Remedy says how to get a missing one. Empty when there is nothing to do.
	Remedy string
}

// LayerState tells whether a layer of isolation is there.
type LayerState string

// States of a layer.
const (
	LayerPresent LayerState = "present"
	// LayerDegraded: asked for and not, or not wholly, in force; sandboxes are made
	// all the same, and their results say so.
	LayerDegraded LayerState = "degraded"
	// LayerMissing: Create refuses, unless Spec.AcceptDegraded names it.
	LayerMissing LayerState = "missing"
	// LayerPlanned: deep does not apply this layer yet.
	LayerPlanned LayerState = "planned"
)

// CreateRequest asks for a new sandbox.
type CreateRequest struct {
	// ID is made by the caller, see NewID. ErrInvalid unless ValidID.
	ID string
	// Spec of the sandbox. Zero fields mean the defaults documented there.
	Spec Spec
	// Progress, if not nil, is called from one goroutine at a time, in order.
	// It must not block for long: the work waits for it.
	Progress func(Progress)
}

// Progress is one step on the way to a sandbox.
type Progress struct {
	// Phase of the work.
	Phase Phase
	// Message for people, without markup.
	Message string
	// Layer is the short id of the image layer the bytes are of, if any.
	Layer string
	// Current and Total are bytes; Total is 0 when unknown.
	Current, Total int64
}

// Phase names what Create is doing.
type Phase string

// Phases of Create, in order. A phase that has nothing to do is not reported.
const (
	PhaseResolve Phase = "resolve"
	PhasePull    Phase = "pull"
	PhasePlace   Phase = "place"
	PhaseStart   Phase = "start"
	PhaseReady   Phase = "ready"
)

// OpenRequest asks for a connection to a sandbox that exists.
type OpenRequest struct{ ID string }

// InspectRequest asks about one sandbox.
type InspectRequest struct{ ID string }

// ListRequest asks for all sandboxes.
type ListRequest struct{}

// ListSandboxesReply is the answer to List.
type ListSandboxesReply struct{ Sandboxes []SandboxInfo }

// StopRequest asks to end what runs in a sandbox.
type StopRequest struct{ ID string }

// DestroyRequest asks to remove a sandbox.
type DestroyRequest struct {
	ID string
	// KeepWorkspace leaves a named workspace (Workspace.Name) where it is.
	KeepWorkspace bool
}

// RemoveWorkspaceRequest asks to remove a kept workspace by its name.
type RemoveWorkspaceRequest struct{ Name string }

// SandboxState tells what became of a sandbox.
type SandboxState string

// States of a sandbox.
const (
	StateCreating SandboxState = "creating"
	StateRunning  SandboxState = "running"
	StatePaused   SandboxState = "paused"
	StateStopped  SandboxState = "stopped"
)

// SandboxInfo is what is known about a sandbox without asking its guest, and,
// for one that was created or opened, what was settled with it.
type SandboxInfo struct {
	ID      string
	Backend string
	State   SandboxState
	Created time.Time
	// Ephemeral as the specification had it.
	Ephemeral bool
	// Image the sandbox was made from, "" where there are no images.
	Image string
	// EngineID is the engine's own name of the sandbox (a container id), for
	// people who look at it with the engine's tools.
	EngineID string
	// Workspace is the absolute path of the workspace inside.
	Workspace string
	// WorkspaceSource is where a workspace that may outlive the sandbox is kept,
	// for people: a directory of the backend's host, or an engine's "volume NAME".
	// "" where there is none, or it is not known.
	WorkspaceSource string
	// User is the "uid:gid" commands run as, seen from inside.
	User string
	// Degraded lists each layer of isolation the operator accepted to do
	// without, or that this host cannot give: its name and, after a colon, why, if
	// that is known. Empty is the normal case.
	Degraded []string
	// Isolation is what was found in force when the sandbox was made; nil for one
	// that was neither created nor opened by who tells of it.
	Isolation *Isolation
	// Owner is the process that created it, zero where that is not known.
	Owner Owner
}
