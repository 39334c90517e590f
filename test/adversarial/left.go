package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/volume"

	"github.com/deep-sandbox/deep/core/pluginsdk"
)

// settleTime is how long what is being removed may take.
const settleTime = 10 * time.Second

// eventually waits until f returns nil, and returns its last error when that takes
// too long.
func eventually(ctx context.Context, f func() error) error {
	for deadline := time.Now().Add(settleTime); ; time.Sleep(50 * time.Millisecond) {
		err := f()
		if err == nil || time.Now().After(deadline) || ctx.Err() != nil {
			return err
		}
	}
}

// left says what a trial left behind.
func (t *trial) left(ctx context.Context) error {
	return eventually(ctx, func() error {
		if left := tagged(t.tag); len(left) > 0 {
			return fmt.Errorf("%d processes are left: %.200q", len(left), left)
		}
		return nil
	})
}

// tagged returns the processes with a tag in their environment or arguments, but
// this one.
func tagged(tag string) []string {
	var found []string
	entries, _ := os.ReadDir("/proc")
	self := fmt.Sprint(os.Getpid())
	// The youngest first: one that lives for a moment is soon gone.
	slices.SortFunc(entries, func(x, y os.DirEntry) int {
		return cmp.Or(cmp.Compare(len(y.Name()), len(x.Name())), cmp.Compare(y.Name(), x.Name()))
	})
	for _, e := range entries {
		if name := e.Name(); name[0] < '0' || name[0] > '9' || name == self {
			continue
		}
		dir := filepath.Join("/proc", e.Name())
		args, err := os.ReadFile(filepath.Join(dir, "cmdline"))
		if err != nil {
			continue // it has ended
		}
		env, _ := os.ReadFile(filepath.Join(dir, "environ"))
		if bytes.Contains(args, []byte(tag)) || bytes.Contains(env, []byte(tag)) {
			found = append(found, e.Name()+" "+strings.ReplaceAll(string(args), "\x00", " "))
		}
	}
	return found
}

// leftOf says what an engine still has of a sandbox.
func (t *target) leftOf(ctx context.Context, id string) error {
	if t.engine == nil {
		return nil // it keeps all in its state directory, see leftIn
	}
	own := filters.NewArgs(filters.Arg("label", pluginsdk.LabelSandbox+"="+id))
	containers, err := t.engine.ContainerList(ctx, container.ListOptions{All: true, Filters: own})
	if err != nil {
		return err
	}
	volumes, err := t.engine.VolumeList(ctx, volume.ListOptions{Filters: own})
	if err != nil {
		return err
	}
	if len(containers) > 0 || len(volumes.Volumes) > 0 {
		return fmt.Errorf("of sandbox %s %d containers and %d volumes are left", id, len(containers), len(volumes.Volumes))
	}
	return nil
}

// leftIn says what sandboxes a plugin that has ended left in its state directory.
func leftIn(state string) error {
	for _, dir := range []string{"sandboxes", "workspaces"} {
		entries, err := os.ReadDir(filepath.Join(state, dir))
		if err == nil && len(entries) > 0 {
			return fmt.Errorf("%d %s are left in %s", len(entries), dir, state)
		}
	}
	return nil
}
