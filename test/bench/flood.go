package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/deep-sandbox/deep/core/backend"
)

// floodSize is what a command writes while the processes on the way are watched.
const floodSize = 1 << 30

// flood measures how much each process on the way grows, at most, while a command
// writes 1 GiB that is read as it comes.
func flood(ctx context.Context, name string, sb backend.Sandbox, guest int) ([]Row, error) {
	plugin := 0
	for pid := range pids("deep-backend-" + name) {
		if parent(pid) == os.Getpid() {
			plugin = pid
		}
	}
	watched := []struct {
		name string
		pid  int
	}{{"host", os.Getpid()}, {"plugin", plugin}, {"guest", guest}}
	var rows []Row
	var before, peak [3]float64
	for i, w := range watched {
		var err error
		if before[i], err = status(w.pid, "VmRSS"); err != nil {
			return nil, err
		}
	}
	done := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		for {
			for i, w := range watched {
				if mib, err := status(w.pid, "VmRSS"); err == nil {
					peak[i] = max(peak[i], mib)
				}
			}
			select {
			case <-done:
				return
			case <-time.After(10 * time.Millisecond):
			}
		}
	})
	var took sample
	err := took.time(func() error {
		res, err := sb.Exec(ctx, &backend.ExecRequest{Argv: []string{"head", "-c", fmt.Sprint(floodSize), "/dev/zero"}, Stdout: io.Discard})
		if err == nil && (res.ExitCode != 0 || res.StdoutBytes != floodSize) {
			err = fmt.Errorf("a flood of %d bytes, exit code %d", res.StdoutBytes, res.ExitCode)
		}
		return err
	})
	close(done)
	watching.Wait()
	if err != nil {
		return nil, err
	}
	for i, w := range watched {
		growth := max(0, peak[i]-before[i])
		rows = append(rows, Row{Name: "flood-growth-" + w.name, Backend: name, Unit: "MiB", P50: growth, P99: growth})
	}
	return append(rows, compare("flood-1g", name, took, nil)), nil
}
