package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/pluginsdk"
)

// localBackend keeps each sandbox in a directory of its own; what is there is
// the truth about which exist.
type localBackend struct {
	env pluginsdk.Env
	// sandboxes and workspaces are directories of mode 0700.
	sandboxes, workspaces string
}

var _ pluginsdk.Provisioner = (*localBackend)(nil)

func newBackend(env pluginsdk.Env) (*localBackend, error) {
	b := &localBackend{
		env:        env,
		sandboxes:  filepath.Join(env.StateDir, "sandboxes"),
		workspaces: filepath.Join(env.StateDir, "workspaces"),
	}
	for _, dir := range []string{b.sandboxes, b.workspaces} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, failure(err, dir)
		}
	}
	return b, nil
}

// dir is where the sandbox id is kept.
func (b *localBackend) dir(id string) string { return filepath.Join(b.sandboxes, id) }

// Inspect implements pluginsdk.Provisioner.
func (b *localBackend) Inspect(_ context.Context, req *backend.InspectRequest) (*backend.SandboxInfo, error) {
	rec, err := readRecord(b.dir(req.ID))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &backend.Error{Kind: backend.ErrNotFound, Path: req.ID, Message: "no such sandbox"}
	}
	if err != nil {
		return nil, failure(err, req.ID)
	}
	return b.info(rec)
}

// info is what a record says, and whether its sandbox runs.
func (b *localBackend) info(rec *record) (*backend.SandboxInfo, error) {
	runs, err := held(b.dir(rec.ID))
	if err != nil {
		return nil, failure(err, rec.ID)
	}
	info := &backend.SandboxInfo{
		ID: rec.ID, Created: rec.Created, Ephemeral: rec.Ephemeral, Workspace: rec.WorkspacePath,
		State: backend.StateStopped, Owner: backend.ParseOwner(rec.Owner), Degraded: rec.Degraded,
	}
	switch {
	case runs && rec.Ready:
		info.State = backend.StateRunning
	case runs:
		info.State = backend.StateCreating
	}
	return info, nil
}

// List implements pluginsdk.Provisioner.
func (b *localBackend) List(context.Context, *backend.ListRequest) (*backend.ListSandboxesReply, error) {
	entries, err := os.ReadDir(b.sandboxes)
	if err != nil {
		return nil, failure(err, b.sandboxes)
	}
	reply := &backend.ListSandboxesReply{}
	for _, e := range entries {
		rec, err := readRecord(filepath.Join(b.sandboxes, e.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			continue // it is being made, or just went
		}
		if err != nil {
			return nil, failure(err, e.Name())
		}
		info, err := b.info(rec)
		if err != nil {
			return nil, err
		}
		reply.Sandboxes = append(reply.Sandboxes, *info)
	}
	slices.SortFunc(reply.Sandboxes, func(x, y backend.SandboxInfo) int { return x.Created.Compare(y.Created) })
	return reply, nil
}

// Stop implements pluginsdk.Provisioner.
func (b *localBackend) Stop(ctx context.Context, req *backend.StopRequest) error {
	rec, err := readRecord(b.dir(req.ID))
	if errors.Is(err, fs.ErrNotExist) {
		return &backend.Error{Kind: backend.ErrNotFound, Path: req.ID, Message: "no such sandbox"}
	}
	if err != nil {
		return failure(err, req.ID)
	}
	// Its keeper removes an ephemeral one whose guest has ended: not a stopped one.
	if rec.Ephemeral {
		rec.Ephemeral = false
		if err := rec.write(b.dir(req.ID)); err != nil {
			return failure(err, req.ID)
		}
	}
	return b.end(ctx, rec)
}

// Destroy implements pluginsdk.Provisioner.
func (b *localBackend) Destroy(ctx context.Context, req *backend.DestroyRequest) error {
	dir := b.dir(req.ID)
	rec, err := readRecord(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return failure(err, req.ID)
	}
	if err := b.end(ctx, rec); err != nil {
		return err
	}
	if err := rec.remove(dir); err != nil {
		return failure(err, req.ID)
	}
	if rec.WorkspaceName != "" && !req.KeepWorkspace {
		return b.removeWorkspace(rec.WorkspaceName)
	}
	return nil
}

// RemoveWorkspace implements pluginsdk.Provisioner.
func (b *localBackend) RemoveWorkspace(_ context.Context, req *backend.RemoveWorkspaceRequest) error {
	entries, err := os.ReadDir(b.sandboxes)
	if err != nil {
		return failure(err, b.sandboxes)
	}
	for _, e := range entries {
		rec, err := readRecord(filepath.Join(b.sandboxes, e.Name()))
		if err == nil && rec.WorkspaceName == req.Name {
			return &backend.Error{Kind: backend.ErrConflict, Path: req.Name, Message: "the workspace is in use by sandbox " + rec.ID,
				Hint: "destroy that first"}
		}
	}
	return b.removeWorkspace(req.Name)
}

// end ends what runs in a sandbox and waits until its keeper has gone.
func (b *localBackend) end(ctx context.Context, rec *record) error {
	dir := b.dir(rec.ID)
	for wait := 2 * time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		runs, err := held(dir)
		if err != nil {
			return failure(err, rec.ID)
		}
		if !runs {
			return nil
		}
		// Again each time: the keeper may not have been ready for the first.
		if err := signalProcess(rec.Keeper, unix.SIGTERM); err != nil {
			return failure(err, rec.ID)
		}
		select {
		case <-ctx.Done():
			return &backend.Error{Kind: ctx.Err(), Path: rec.ID, Message: "waiting for the sandbox to end was given up"}
		case <-time.After(wait):
		}
	}
}

// Close implements pluginsdk.Provisioner.
func (b *localBackend) Close() error { return nil }
