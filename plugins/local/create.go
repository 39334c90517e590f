package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/pluginsdk"
)

// limitsDegraded is said of each result where there is no cgroup.
const limitsDegraded = "memory, pids and cpu limits: no cgroup can be made here"

// undoTimeout bounds removing what a Provision that failed has made.
const undoTimeout = 20 * time.Second

// Provision implements pluginsdk.Provisioner.
func (b *localBackend) Provision(ctx context.Context, req *pluginsdk.ProvisionRequest) (made *pluginsdk.Provisioned, err error) {
	guest, err := req.Guest.Path(runtime.GOARCH)
	if err != nil {
		return nil, err
	}
	mounts, err := b.mounts(req.Spec.Mounts)
	if err != nil {
		return nil, err
	}
	dir := b.dir(req.ID)
	if err := os.Mkdir(dir, 0o700); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return nil, &backend.Error{Kind: backend.ErrExists, Path: req.ID, Message: "a sandbox has this id"}
		}
		return nil, failure(err, dir)
	}
	rec := &record{
		ID: req.ID, Created: time.Now().UTC(), Ephemeral: req.Spec.Ephemeral, Owner: req.Labels[pluginsdk.LabelOwner],
		WorkspacePath: req.Spec.Workspace.Path, WorkspaceName: req.Spec.Workspace.Name,
	}
	var ws *workspace
	defer func() {
		if err != nil {
			err = errors.Join(err, b.undo(ctx, rec, ws))
		}
	}()
	if ws, err = b.prepare(req.ID, req.Spec.Workspace); err != nil {
		return nil, err
	}
	rec.Map = ws.ids
	if ws.private {
		rec.Private = ws.source
	}
	if rec.Map.Mode == mapOne {
		rec.Degraded = append(rec.Degraded, oneDegraded)
	}
	cgroups, why := makeCgroups(req.ID, req.Spec)
	if why != nil {
		b.env.Log.Warn("no cgroup for a sandbox", "sandbox", req.ID, "error", why)
		rec.Degraded = append(rec.Degraded, limitsDegraded)
	}
	rec.Cgroups = cgroups
	if err := rec.write(dir); err != nil {
		return nil, failure(err, dir)
	}
	req.Progress(backend.Progress{Phase: backend.PhaseStart, Message: "starting the sandbox"})
	mem, err := tmpfsOf(req.Spec)
	if err != nil {
		return nil, err
	}
	p := &plan{
		Dir: dir, Record: rec, Guest: guest, Workspace: ws.source, Mounts: mounts,
		Network: req.Spec.Network == backend.NetworkFull, Tmpfs: mem,
	}
	if err := b.startKeeper(ctx, p); err != nil {
		return nil, err
	}
	info, err := b.Inspect(ctx, &backend.InspectRequest{ID: req.ID})
	if err != nil {
		return nil, err
	}
	return &pluginsdk.Provisioned{Info: *info, UID: sandboxID, GID: sandboxID, NewWorkspace: ws.fresh}, nil
}

// mounts resolves the sources of the further mounts.
func (b *localBackend) mounts(mounts []backend.Mount) ([]backend.Mount, error) {
	var resolved []backend.Mount
	for _, m := range mounts {
		source, err := b.binds().Mount(m)
		if err != nil {
			return nil, err
		}
		resolved = append(resolved, backend.Mount{Source: source, Target: filepath.Clean(m.Target), ReadOnly: m.ReadOnly})
	}
	return resolved, nil
}

func tmpfsOf(spec backend.Spec) ([]tmpfs, error) {
	mounts, shm, err := pluginsdk.EngineMounts(spec, nil)
	if err != nil {
		return nil, err
	}
	all := []tmpfs{{"/dev", 1 << 20, "0755"}, {"/dev/shm", shm, "1777"}}
	for _, m := range mounts {
		all = append(all, tmpfs{m.Target, m.Size, m.Mode})
	}
	return all, nil
}

// startKeeper starts the process that makes the sandbox, and waits until it says
// that it is there. When ctx ends before, undo ends it.
func (b *localBackend) startKeeper(ctx context.Context, p *plan) (err error) {
	socket, err := listen(p.Dir)
	if err != nil {
		return failure(err, p.Dir)
	}
	defer socket.Close()
	reports, reportEnd, err := os.Pipe()
	if err != nil {
		return failure(err, p.Dir)
	}
	defer reports.Close()
	in, out, err := os.Pipe()
	if err != nil {
		return errors.Join(failure(err, p.Dir), reportEnd.Close())
	}
	cmd := exec.Command("/proc/self/exe", stageKeeper)
	cmd.Stdin = in
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")} // newuidmap is found by it
	cmd.ExtraFiles = []*os.File{reportEnd, socket}
	// A session of its own: what ends the plugin's group must not end it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = cmd.Start()
	_ = in.Close()
	_ = reportEnd.Close()
	if err != nil {
		return errors.Join(failure(err, p.Dir), out.Close())
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	defer func() {
		if err != nil {
			err = errors.Join(err, endKeeper(cmd.Process, ended))
		}
	}()
	start, err := startTime(cmd.Process.Pid)
	if err == nil {
		p.Record.Keeper = process{cmd.Process.Pid, start}
		err = json.NewEncoder(out).Encode(p)
	}
	if err = errors.Join(err, out.Close()); err != nil {
		return failure(err, p.Dir)
	}
	return wait(ctx, p.Record.ID, reports)
}

// endKeeper ends a keeper that may not have taken its lock yet, so that nothing
// comes to life in a directory that is removed meanwhile.
func endKeeper(keeper *os.Process, ended <-chan struct{}) error {
	// Terminated, not killed: it takes its child along.
	if err := keeper.Signal(unix.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-ended:
		return nil
	case <-time.After(undoTimeout):
		return errors.New("its keeper does not end")
	}
}

// wait reads the keeper's report, or gives up when ctx ends.
func wait(ctx context.Context, id string, reports *os.File) error {
	stop := context.AfterFunc(ctx, func() { _ = reports.Close() })
	defer stop()
	var f stageFailure
	err := json.NewDecoder(reports).Decode(&f)
	switch {
	case ctx.Err() != nil:
		return &backend.Error{Kind: ctx.Err(), Path: id, Message: "making the sandbox was given up"}
	case errors.Is(err, io.EOF):
		return &backend.Error{Kind: backend.ErrUnavailable, Path: id, Message: "the sandbox's keeper ended before it was there"}
	case err != nil:
		return failure(fmt.Errorf("hear of the sandbox: %w", err), id)
	case f.Step != "":
		return f.asError(id)
	}
	return nil
}

// undo removes what a Provision that failed has made.
func (b *localBackend) undo(ctx context.Context, rec *record, ws *workspace) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
	defer cancel()
	if err := b.end(ctx, rec); err != nil {
		return err
	}
	if err := rec.remove(b.dir(rec.ID)); err != nil {
		return failure(err, rec.ID)
	}
	if ws != nil && ws.fresh && !ws.private {
		return b.removeWorkspace(rec.WorkspaceName)
	}
	return nil
}
