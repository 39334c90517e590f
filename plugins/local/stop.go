package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/plugins/local/internal/jail"
)

// Stop implements pluginsdk.Provisioner.
func (b *localBackend) Stop(ctx context.Context, req *backend.StopRequest) error {
	dir := b.dir(req.ID)
	info, err := b.info(dir)
	switch {
	case err != nil:
		return failure(err, req.ID)
	case info == nil:
		return noSandbox(req.ID)
	case info.State == backend.StateStopped:
		return nil
	}
	// Its keeper removes the rest of one that ends otherwise.
	if err := jail.MarkStopped(dir); errors.Is(err, fs.ErrNotExist) {
		return noSandbox(req.ID) // it ended by itself at this moment
	} else if err != nil {
		return failure(err, req.ID)
	}
	lock, err := b.terminate(ctx, req.ID)
	if err != nil || lock == nil {
		return err
	}
	return failure(lock.Close(), req.ID)
}

// Destroy implements pluginsdk.Provisioner.
func (b *localBackend) Destroy(ctx context.Context, req *backend.DestroyRequest) error {
	dir := b.dir(req.ID)
	b.mu.Lock()
	workspace := b.newWorkspaces[req.ID]
	b.mu.Unlock()
	rec, err := jail.ReadRecord(dir)
	if err == nil {
		workspace = rec.WorkspaceName
	} else if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrInvalid) {
		return failure(err, req.ID)
	}
	lock, err := b.terminate(ctx, req.ID)
	if err != nil {
		return err
	}
	if err := remove(dir, lock); err != nil {
		return failure(err, req.ID)
	}
	if workspace != "" && !req.KeepWorkspace {
		if err := b.RemoveWorkspace(ctx, &backend.RemoveWorkspaceRequest{Name: workspace}); err != nil {
			return err
		}
	}
	b.mu.Lock()
	delete(b.newWorkspaces, req.ID)
	b.mu.Unlock()
	return nil
}

// remove removes what is left in a sandbox's directory. Without a lock it is none
// of a sandbox, or a damaged one: those that are made come with theirs.
func remove(dir string, lock *os.File) error {
	if lock != nil {
		return errors.Join(jail.Remove(dir, lock), lock.Close())
	}
	if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if locked, err := jail.HasLock(dir); err != nil || locked {
		return err
	}
	return jail.RemoveTree(dir)
}

// terminate ends what runs in a sandbox, waits until its keeper has gone, and
// returns the lock of what that left; nil if nothing.
func (b *localBackend) terminate(ctx context.Context, id string) (*os.File, error) {
	dir := b.dir(id)
	var keeper jail.Process
	for wait := time.Millisecond; ; wait = min(2*wait, 20*time.Millisecond) {
		// Again each time: one that is being made has no keeper yet.
		if rec, err := jail.ReadRecord(dir); err == nil {
			keeper = rec.Keeper
		}
		lock, err := jail.Lock(dir)
		switch {
		case err == nil:
			return lock, nil
		case errors.Is(err, fs.ErrNotExist):
			return nil, failure(keeper.Await(ctx), id)
		case !errors.Is(err, jail.ErrHeld):
			return nil, failure(err, id)
		}
		if err := keeper.Signal(unix.SIGTERM); err != nil {
			return nil, failure(err, id)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil, ctxError(ctx, id)
		}
	}
}
