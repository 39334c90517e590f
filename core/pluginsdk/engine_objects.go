package pluginsdk

import (
	"archive/tar"
	"context"
	"time"

	"github.com/deep-sandbox/deep/core/backend"
)

// EngineObjects is what the client of an engine does for an EngineLifecycle. All
// errors are *backend.Error.
type EngineObjects interface {
	// Containers returns the containers that have LabelManaged and label, KEY or
	// KEY=VALUE, in whatever state. It may leave Volumes out.
	Containers(ctx context.Context, label string) ([]EngineObject, error)
	// Container returns the container of that name or id, anybody's; nil if there
	// is none.
	Container(ctx context.Context, name string) (*EngineObject, error)
	// RemoveContainer ends a container and returns when it is gone, its anonymous
	// volumes too. What is not there is no error.
	RemoveContainer(ctx context.Context, engineID string) error
	// RenameContainer gives a container another name.
	RenameContainer(ctx context.Context, engineID, name string) error
	// MakeIdle makes a container that is never started. ErrExists if its name is
	// taken.
	MakeIdle(ctx context.Context, idle EngineIdle) (engineID string, err error)
	// Has reports whether there is a file in an idle container.
	Has(ctx context.Context, engineID, path string) (bool, error)
	// Put unpacks the archive that write makes in a directory of a container in
	// which nothing ever ran, with the owners it names.
	Put(ctx context.Context, engineID, dir string, write func(*tar.Writer) error) error

	// Volumes returns the volumes that have LabelManaged and label, KEY or
	// KEY=VALUE, with their labels.
	Volumes(ctx context.Context, label string) ([]EngineVolume, error)
	// VolumeLabels returns those of a volume; found is false if there is none.
	VolumeLabels(ctx context.Context, name string) (labels map[string]string, found bool, err error)
	// MakeVolume makes a volume unless there is one of that name, and returns the
	// labels of the one that there is.
	MakeVolume(ctx context.Context, name string, labels map[string]string) (map[string]string, error)
	// RemoveVolume removes a volume. What is not there is no error, one that a
	// container has is ErrConflict.
	RemoveVolume(ctx context.Context, name string) error
}

// EngineObject is a container as its engine describes it.
type EngineObject struct {
	EngineID string
	// Image is its engine's id of it.
	Image   string
	Labels  map[string]string
	State   backend.SandboxState
	Created time.Time
	Volumes []EngineVolume
}

// EngineVolume is a volume, in a container if it has a Target.
type EngineVolume struct {
	Name, Target string
	// Labels, of one that Volumes returned.
	Labels map[string]string
}

// EngineIdle is a container that exists only to hold volumes.
type EngineIdle struct {
	// Name, the engine's choice if empty.
	Name    string
	Image   string
	Labels  map[string]string
	Volumes []EngineVolume
}

// EngineNeverStarted is the command of an idle container.
func EngineNeverStarted() []string { return []string{EngineGuestDir + "/never-started"} }

// engineMade reports whether what has these labels was made for this very
// request: its time and its owner are among them.
func engineMade(labels, request map[string]string) bool {
	for k, v := range request {
		if labels[k] != v {
			return false
		}
	}
	return true
}
