package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// record is what is kept of a sandbox, in its directory.
type record struct {
	ID            string    `json:"id"`
	Created       time.Time `json:"created"`
	Ephemeral     bool      `json:"ephemeral"`
	Owner         string    `json:"owner"`
	WorkspacePath string    `json:"workspace_path"`
	// WorkspaceName of a kept one.
	WorkspaceName string `json:"workspace_name,omitempty"`
	// Private workspace, which goes with the sandbox.
	Private string `json:"private,omitempty"`
	// Cgroups made for it.
	Cgroups  []string `json:"cgroups,omitempty"`
	Map      idMap    `json:"map"`
	Degraded []string `json:"degraded,omitempty"`
	// Keeper is the process that watches over it.
	Keeper process `json:"keeper"`
	// Ready: it was made completely.
	Ready bool `json:"ready"`
}

// process is a process for good: an id alone is reused.
type process struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"`
}

const (
	recordFile = "sandbox.json"
	lockFile   = "lock"
	socketFile = "guest.sock"
)

func readRecord(dir string) (*record, error) {
	data, err := os.ReadFile(filepath.Join(dir, recordFile))
	if err != nil {
		return nil, err
	}
	var r record
	if err := json.Unmarshal(data, &r); err != nil {
		return nil, fmt.Errorf("%s is damaged: %w", filepath.Join(dir, recordFile), err)
	}
	return &r, nil
}

// write replaces the record in one step.
func (r *record) write(dir string) error {
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

// remove removes all that was made for a sandbox that has ended: its cgroups,
// its private workspace, and the record last, so that what fails is found again.
func (r *record) remove(dir string) error {
	if err := removeCgroups(r.Cgroups); err != nil {
		return err
	}
	if r.Private != "" {
		if err := removeTree(r.Private, r.Map); err != nil {
			return err
		}
	}
	return os.RemoveAll(dir)
}

// held reports whether a keeper holds the lock of the sandbox in dir. It lets go
// of it only by ending, however it ends.
func held(dir string) (bool, error) {
	f, err := os.Open(filepath.Join(dir, lockFile))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	// Shared, so that two who ask at once do not take each other for a keeper.
	err = unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return true, nil
	}
	return false, err
}

// self is this process.
func self() (process, error) {
	start, err := startTime(os.Getpid())
	return process{os.Getpid(), start}, err
}

// startTime is field 22 of /proc/PID/stat. The name in it may hold anything, so
// the fields are counted from its end.
func startTime(pid int) (uint64, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	_, rest, ok := strings.Cut(string(data[strings.LastIndexByte(string(data), ')'):]), ") ")
	fields := strings.Fields(rest)
	if !ok || len(fields) < 20 {
		return 0, fmt.Errorf("/proc/%d/stat cannot be read", pid)
	}
	return strconv.ParseUint(fields[19], 10, 64)
}

// signalProcess signals p, and nobody who has its id by now. One that has ended
// is no error.
func signalProcess(p process, sig unix.Signal) error {
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
