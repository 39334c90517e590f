// Package procid names a process for good, and tells when one named so is dead.
package procid

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/deep-sandbox/deep/core/backend"
)

// Self returns the facts of this process.
func Self() (backend.Owner, error) {
	h, err := host()
	if err != nil {
		return backend.Owner{}, err
	}
	start, err := startTime(os.Getpid())
	if err != nil {
		return backend.Owner{}, err
	}
	return backend.Owner{HostID: h.id, BootID: h.boot, PID: os.Getpid(), StartTime: start}, nil
}

// Dead reports whether the process o is proven to have ended. It is false for
// one of another host, or of another pid namespace, of which nothing is known
// here, and for the zero Owner.
func Dead(o backend.Owner) bool {
	h, err := host()
	if err != nil || o.HostID == "" || o.HostID != h.id {
		return false
	}
	if o.BootID != h.boot {
		return true
	}
	start, err := startTime(o.PID)
	if errors.Is(err, fs.ErrNotExist) {
		return true
	}
	return err == nil && start != o.StartTime
}

type hostFacts struct{ id, boot string }

// host reads the facts once: they do not change while a process lives.
var host = sync.OnceValues(func() (hostFacts, error) {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return hostFacts{}, fmt.Errorf("which boot this is: %w", err)
	}
	// A container may have its host's machine-id, or its image's, and see other
	// pids under the same numbers: the pid namespace is part of the host's name.
	// The first one has the same number after every boot.
	ns, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return hostFacts{}, fmt.Errorf("which pid namespace this is: %w", err)
	}
	machine, err := os.ReadFile("/etc/machine-id")
	if err != nil || len(bytes.TrimSpace(machine)) == 0 {
		name, err := os.Hostname()
		if err != nil {
			return hostFacts{}, fmt.Errorf("which host this is: no /etc/machine-id, and %w", err)
		}
		machine = []byte("host " + name)
	}
	// machine-id(5) asks not to publish it as it is; labels are public.
	sum := sha256.Sum256([]byte("deep\x00" + strings.TrimSpace(string(machine)) + "\x00" + ns))
	return hostFacts{id: hex.EncodeToString(sum[:8]), boot: strings.TrimSpace(string(boot))}, nil
})

// startTime of a process in clock ticks since boot. fs.ErrNotExist if there is
// none, or only what its parent has not reaped yet.
func startTime(pid int) (uint64, error) {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if errors.Is(err, syscall.ESRCH) { // it ended while we read
		return 0, fs.ErrNotExist
	}
	if err != nil {
		return 0, err
	}
	// The second field is the program's name in parentheses and may hold both
	// spaces and parentheses; the third begins after the last one.
	_, rest, ok := lastCut(string(data), ") ")
	fields := strings.Fields(rest)
	if !ok || len(fields) < 20 {
		return 0, fmt.Errorf("/proc/%d/stat holds %q", pid, data)
	}
	if fields[0] == "Z" || fields[0] == "X" {
		return 0, fs.ErrNotExist
	}
	return strconv.ParseUint(fields[19], 10, 64)
}

func lastCut(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}
