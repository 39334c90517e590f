package jail

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Record is what is kept of a sandbox, in its directory, beside the lock, the
// guest's socket and the private workspace.
type Record struct {
	// ID of the sandbox. The directory is named otherwise.
	ID string `json:"id"`
	// Labels the SDK gave it.
	Labels map[string]string `json:"labels"`
	// Workspace is its path inside; WorkspaceName that of a kept one.
	Workspace     string `json:"workspace"`
	WorkspaceName string `json:"workspace_name,omitempty"`
	// IDs of the sandbox on this host.
	IDs IDMap `json:"ids"`
	// Cgroups made for it: their directories.
	Cgroups  []string `json:"cgroups,omitempty"`
	Degraded []string `json:"degraded,omitempty"`
	// Keeper is the process that watches over it, Guest the first one inside.
	Keeper Process `json:"keeper,omitzero"`
	Guest  Process `json:"guest,omitzero"`
	// Ready: the guest was started.
	Ready bool `json:"ready,omitempty"`
}

// Files in a sandbox's directory.
const (
	recordFile = "sandbox.json"
	lockFile   = "lock"
	// stoppedFile is there when the sandbox was stopped: its keeper then leaves it.
	stoppedFile = "stopped"
	// SocketFile is what the guest listens on.
	SocketFile = "guest.sock"
	// WorkspaceDir is the private workspace.
	WorkspaceDir = "workspace"
)

// ReadRecord reads the record of the sandbox in dir: fs.ErrNotExist if there is
// none.
func ReadRecord(dir string) (*Record, error) {
	data, err := os.ReadFile(filepath.Join(dir, recordFile))
	if err != nil {
		return nil, err
	}
	var r Record
	if err := json.Unmarshal(data, &r); err != nil || r.ID == "" {
		return nil, fmt.Errorf("%s is damaged: %w", filepath.Join(dir, recordFile), errors.Join(err, fs.ErrInvalid))
	}
	return &r, nil
}

// Write replaces the record in one step.
func (r *Record) Write(dir string) error {
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	tmp := filepath.Join(dir, recordFile+".new")
	if err := os.WriteFile(tmp, data, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, filepath.Join(dir, recordFile))
}

// Stopped reports whether the sandbox in dir was stopped.
func Stopped(dir string) (bool, error) {
	_, err := os.Lstat(filepath.Join(dir, stoppedFile))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// MarkStopped makes its keeper leave the sandbox in dir when it ends.
func MarkStopped(dir string) error {
	return os.WriteFile(filepath.Join(dir, stoppedFile), nil, 0o600)
}
