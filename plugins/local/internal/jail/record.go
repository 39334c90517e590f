package jail

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
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

// Process is a process for good: an id alone is reused.
type Process struct {
	PID int `json:"pid"`
	// Start in clock ticks since boot.
	Start uint64 `json:"start"`
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

// ErrHeld says that somebody lives who holds the lock.
var ErrHeld = errors.New("the sandbox is held by a living process")

// Lock takes the lock of the sandbox in dir: ErrHeld if somebody has it,
// fs.ErrNotExist if there is no sandbox. It is let go of by closing the file, in
// every process that has it, and so by dying, however that happens.
func Lock(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	if err := lock(f, dir); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// NewLock makes the lock of a new sandbox and takes it.
func NewLock(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	if err := lock(f, dir); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

func lock(f *os.File, dir string) error {
	err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return ErrHeld
	}
	if err != nil {
		return err
	}
	// Whoever held it before may have removed the sandbox meanwhile, and another
	// may be in its place.
	ours, err := owns(f, dir)
	if err == nil && !ours {
		err = fs.ErrNotExist
	}
	return err
}

// owns reports whether f is the lock of the sandbox that is in dir now.
func owns(f *os.File, dir string) (bool, error) {
	ours, err := f.Stat()
	if err != nil {
		return false, err
	}
	there, err := os.Lstat(filepath.Join(dir, lockFile))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && os.SameFile(ours, there), err
}

// Held reports whether somebody holds the lock of the sandbox in dir.
func Held(dir string) (bool, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer func() { _ = f.Close() }()
	// Shared, so that two who ask at once do not take each other for a keeper.
	err = unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return true, nil
	}
	return false, err
}

// processOf names the process pid.
func processOf(pid int) (Process, error) {
	start, err := startTime(pid)
	return Process{pid, start}, err
}

// startTime is field 22 of /proc/PID/stat. The name in it may hold anything, so
// the fields are counted from its end.
func startTime(pid int) (uint64, error) {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, err
	}
	_, rest, ok := strings.Cut(string(data[strings.LastIndexByte(string(data), ')')+1:]), " ")
	fields := strings.Fields(rest)
	if !ok || len(fields) < 20 {
		return 0, fmt.Errorf("/proc/%d/stat cannot be read", pid)
	}
	return strconv.ParseUint(fields[19], 10, 64)
}

// Signal signals p, and nobody who has its id by now. One that has ended is no
// error.
func (p Process) Signal(sig unix.Signal) error {
	if p.PID <= 0 {
		return nil
	}
	fd, err := unix.PidfdOpen(p.PID, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	if start, err := startTime(p.PID); err != nil || start != p.Start {
		return nil
	}
	if err := unix.PidfdSendSignal(fd, sig, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return err
	}
	return nil
}
