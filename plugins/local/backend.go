package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/pluginsdk"
	"github.com/deep-sandbox/deep/plugins/local/internal/jail"
)

// localBackend keeps each sandbox in a directory of its own; what is there is
// the truth about which exist. Several plugins may share a state directory.
type localBackend struct {
	env pluginsdk.Env
	// sandboxes and workspaces are directories of mode 0700.
	sandboxes, workspaces string
	ids                   identities

	mu sync.Mutex
	// newWorkspaces are the kept workspaces this process made, by sandbox: to be
	// undone also when the sandbox is gone already.
	newWorkspaces map[string]string

	life context.Context
	end  context.CancelFunc
	work sync.WaitGroup
}

var _ pluginsdk.Provisioner = (*localBackend)(nil)

func newBackend(env pluginsdk.Env) (*localBackend, error) {
	b := &localBackend{
		env:           env,
		sandboxes:     filepath.Join(env.StateDir, "sandboxes"),
		workspaces:    filepath.Join(env.StateDir, "workspaces"),
		newWorkspaces: map[string]string{},
	}
	for _, dir := range []string{b.sandboxes, b.workspaces} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, failure(err, dir)
		}
	}
	b.life, b.end = context.WithCancel(context.Background())
	b.work.Go(b.reconcile)
	return b, nil
}

// Close implements pluginsdk.Provisioner.
func (b *localBackend) Close() error {
	b.end()
	b.work.Wait()
	return nil
}

// dir is where the sandbox id is kept. A hash, since ids may differ in what a
// file system does not tell apart, and no id is one of jail's prefixes then.
func (b *localBackend) dir(id string) string { return filepath.Join(b.sandboxes, hashed(id)) }

func hashed(name string) string {
	sum := sha256.Sum256([]byte(name))
	return hex.EncodeToString(sum[:16])
}

// Inspect implements pluginsdk.Provisioner.
func (b *localBackend) Inspect(ctx context.Context, req *backend.InspectRequest) (*backend.SandboxInfo, error) {
	if err := ctxError(ctx, req.ID); err != nil {
		return nil, err
	}
	info, err := b.info(b.dir(req.ID))
	switch {
	case err != nil:
		return nil, failure(err, req.ID)
	case info == nil:
		return nil, noSandbox(req.ID)
	}
	return info, nil
}

// List implements pluginsdk.Provisioner.
func (b *localBackend) List(ctx context.Context, _ *backend.ListRequest) (*backend.ListSandboxesReply, error) {
	dirs, err := b.all()
	if err != nil {
		return nil, err
	}
	reply := &backend.ListSandboxesReply{Sandboxes: []backend.SandboxInfo{}}
	for _, dir := range dirs {
		if err := ctxError(ctx, ""); err != nil {
			return nil, err
		}
		info, err := b.info(dir)
		switch {
		case err != nil:
			// One that is damaged must not hide the others.
			b.env.Log.Warn("cannot tell what a sandbox is", "error", err)
		case info != nil:
			reply.Sandboxes = append(reply.Sandboxes, *info)
		}
	}
	return reply, nil
}

// all returns the directories of the sandboxes there are.
func (b *localBackend) all() ([]string, error) {
	entries, err := os.ReadDir(b.sandboxes)
	if err != nil {
		return nil, failure(err, b.sandboxes)
	}
	var dirs []string
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), jail.PrefixNew) && !strings.HasPrefix(e.Name(), jail.PrefixDead) {
			dirs = append(dirs, filepath.Join(b.sandboxes, e.Name()))
		}
	}
	return dirs, nil
}

// info tells what is known of the sandbox in dir, nil if there is none. One that
// ended while nobody was left to clean up is none: it is removed.
func (b *localBackend) info(dir string) (*backend.SandboxInfo, error) {
	rec, err := jail.ReadRecord(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	held, err := jail.Held(dir)
	if err != nil {
		return nil, err
	}
	stopped, err := jail.Stopped(dir)
	if err != nil {
		return nil, err
	}
	info := pluginsdk.InfoFromLabels(rec.Labels)
	info.ID, info.Workspace, info.Degraded = rec.ID, rec.Workspace, rec.Degraded
	info.EngineID = fmt.Sprintf("process %d", rec.Guest.PID)
	if rec.WorkspaceName != "" {
		info.WorkspaceSource = b.kept(rec.WorkspaceName)
	}
	switch {
	case held && !rec.Ready:
		info.State = backend.StateCreating
	case held && rec.Guest.Alive():
		info.State = backend.StateRunning
	case stopped:
		info.State = backend.StateStopped
	case held:
		return nil, nil // its keeper is cleaning up
	default:
		return nil, b.clean(dir)
	}
	return &info, nil
}
