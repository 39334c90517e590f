package jail

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Process is a process for good: an id alone is reused.
type Process struct {
	PID int `json:"pid"`
	// Start in clock ticks since boot.
	Start uint64 `json:"start"`
}

// processOf names the process pid: fs.ErrNotExist if there is none, or only what
// its parent has not taken note of.
func processOf(pid int) (Process, error) {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if errors.Is(err, unix.ESRCH) { // it ended while we read
		return Process{}, fs.ErrNotExist
	}
	if err != nil {
		return Process{}, err
	}
	// The name in the second field may hold anything, so the fields are counted
	// from its end: the state is the third, the start the 22nd.
	fields := strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+1:]))
	if len(fields) < 20 {
		return Process{}, fmt.Errorf("/proc/%d/stat cannot be read", pid)
	}
	if fields[0] == "Z" || fields[0] == "X" {
		return Process{}, fs.ErrNotExist
	}
	start, err := strconv.ParseUint(fields[19], 10, 64)
	return Process{pid, start}, err
}

// Alive reports whether p lives. The zero Process does not.
func (p Process) Alive() bool {
	if p.PID <= 0 {
		return false
	}
	now, err := processOf(p.PID)
	return err == nil && now == p
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
	if !p.Alive() {
		return nil
	}
	if err := unix.PidfdSendSignal(fd, sig, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return err
	}
	return nil
}

// Await returns when p has ended, or with the error of ctx.
func (p Process) Await(ctx context.Context) error {
	for wait := time.Millisecond; p.Alive(); wait = min(2*wait, 20*time.Millisecond) {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
