package pluginsdk

import (
	"context"
	"io"
	"net/url"
	"time"

	"github.com/deep-sandbox/deep/core/backend"
)

// A Provisioner is what the author of a guest-backed backend writes: it makes an
// isolated place, puts the guest in, starts it as PID 1 and connects a byte
// stream to it. The SDK does everything else: files, commands, kill guarantees,
// leases, error mapping, clean-up of ephemeral sandboxes when the host is gone.
//
// All methods are safe for concurrent use. Errors are *backend.Error or wrap
// one of its sentinels; the SDK fills in Backend and Op where they are empty.
type Provisioner interface {
	// Check looks at the engine and each layer of isolation, changing nothing.
	Check(ctx context.Context) (*backend.CheckReport, error)

	// Provision makes a sandbox in which the guest runs. It is all or nothing:
	// on error, and when ctx ends, it removes what it made before it returns
	// (with a context of its own). An id in use is backend.ErrExists, and what
	// has that id is left alone.
	Provision(ctx context.Context, req *ProvisionRequest) (*Provisioned, error)

	// Connect opens one more byte stream to the guest of a running sandbox: to
	// what `deep-guest connect` bridges, or straight to the guest's socket.
	// Closing it frees all it holds. A sandbox that does not run is
	// backend.ErrGone. The stream outlives ctx.
	Connect(ctx context.Context, id string) (io.ReadWriteCloser, error)

	// Inspect, List, Stop, Destroy and RemoveWorkspace are those of
	// backend.Backend. What a backend cannot know of a SandboxInfo it leaves
	// empty; for a running one the SDK asks the guest.
	Inspect(ctx context.Context, req *backend.InspectRequest) (*backend.SandboxInfo, error)
	List(ctx context.Context, req *backend.ListRequest) (*backend.ListSandboxesReply, error)
	Stop(ctx context.Context, req *backend.StopRequest) error
	Destroy(ctx context.Context, req *backend.DestroyRequest) error
	RemoveWorkspace(ctx context.Context, req *backend.RemoveWorkspaceRequest) error

	// Close lets go of the engine's client. Sandboxes are left as they are.
	io.Closer
}

// ProvisionRequest asks for a sandbox.
type ProvisionRequest struct {
	// ID, valid.
	ID string
	// Spec, valid, with every default filled in.
	Spec backend.Spec
	// Labels to put on everything made, and to find it by again; LabelManaged
	// and LabelSandbox among them.
	Labels map[string]string
	// Guest to place inside.
	Guest GuestProgram
	// Progress reports a step; never nil.
	Progress func(backend.Progress)
}

// Provisioned is a sandbox that runs.
type Provisioned struct {
	// Info with ID, State, Created, Image, EngineID and Degraded filled in.
	Info backend.SandboxInfo
	// UID and GID commands shall run as, seen from inside.
	UID, GID uint32
	// Confine is what the guest shall put commands under.
	Confine Confinement
	// Runtime is what the sandbox runs on, for people: an engine's OCI runtime, or ""
	// if it is not known.
	Runtime string
	// Seccomp is the digest of the profile commands are under, as package seccomp's
	// Digest has it, whoever puts them there. "" is none.
	Seccomp string
	// Without names the layers, of backend.LayerNames, that this backend does not
	// apply; those that are degraded need not be repeated. A command tries all others
	// from inside, and a sandbox in which one is not in force is refused.
	Without []string
	// NewWorkspace reports that this call made the workspace Spec.Workspace.Name,
	// so that undoing the sandbox removes it too. One that was there before stays.
	NewWorkspace bool
}

// InfoFromLabels fills in what the labels of ProvisionRequest tell of a sandbox:
// ID, Created, Ephemeral and Owner. List must tell those four, or the sandbox is
// never cleaned up after a host that died.
func InfoFromLabels(labels map[string]string) backend.SandboxInfo {
	created, err := time.Parse(time.RFC3339Nano, labels[LabelCreated])
	if err != nil {
		created = time.Time{} // somebody else's, or damaged: its age is not known
	}
	workspace, err := url.PathUnescape(labels[labelMount])
	if err != nil {
		workspace = "" // likewise
	}
	return backend.SandboxInfo{
		ID:        labels[LabelSandbox],
		Created:   created,
		Ephemeral: labels[LabelEphemeral] == "true",
		Owner:     backend.ParseOwner(labels[LabelOwner]),
		Workspace: workspace,
	}
}

// Labels on everything a backend makes with an engine that has labels.
const (
	LabelManaged   = "deep.managed"   // "true"
	LabelSandbox   = "deep.sandbox"   // id of the sandbox
	LabelWorkspace = "deep.workspace" // name of a kept workspace
	labelMount     = "deep.mount"     // path of the workspace inside, escaped as in a URL: a label is text
	LabelCreated   = "deep.created"   // RFC 3339, UTC
	LabelEphemeral = "deep.ephemeral" // "true" or "false"
	LabelOwner     = "deep.owner"     // backend.Owner.String
	LabelGuest     = "deep.guest"     // sha256 of the guest's program
)
