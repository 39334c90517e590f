package main

import (
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/control"
	"github.com/deep-sandbox/deep/core/pluginsdk"
	"github.com/deep-sandbox/deep/plugins/local/internal/jail"
)

// making is a sandbox on its way.
type making struct {
	b   *localBackend
	req *pluginsdk.ProvisionRequest
	// dir is where it is now: under a name of its own until it is whole.
	dir string
	// lock is ours until the sandbox is there.
	lock   *os.File
	plan   jail.Plan
	record jail.Record
	// confined is what commands will be put under.
	confined pluginsdk.Confinement
	// newWorkspace: the kept workspace was made for it.
	newWorkspace bool
}

// Provision implements pluginsdk.Provisioner.
func (b *localBackend) Provision(ctx context.Context, req *pluginsdk.ProvisionRequest) (_ *pluginsdk.Provisioned, err error) {
	m := &making{b: b, req: req}
	if err := m.look(ctx); err != nil {
		return nil, failure(err, req.ID)
	}
	if err := m.makeDir(); err != nil {
		return nil, failure(err, req.ID)
	}
	defer func() {
		if err == nil {
			return
		}
		if undoErr := m.undo(ctx); undoErr != nil {
			err = errors.Join(err, failure(undoErr, req.ID))
		}
	}()
	listener, err := m.fill(ctx)
	if err != nil {
		return nil, failure(err, req.ID)
	}
	defer func() { _ = listener.Close() }()

	req.Progress(backend.Progress{Phase: backend.PhaseStart, Message: "starting the sandbox"})
	if err := jail.Start(ctx, &m.plan, m.lock, listener); err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, asError(err, req.ID)
	}
	_ = m.lock.Close() // the keeper's alone from now on
	m.lock = nil
	info, err := b.Inspect(ctx, &backend.InspectRequest{ID: req.ID})
	if err != nil {
		return nil, err
	}
	return &pluginsdk.Provisioned{Info: *info, UID: jail.UserID, GID: jail.UserID, Confine: m.confined, NewWorkspace: m.newWorkspace}, nil
}

// look finds out what can be had, and makes nothing.
func (m *making) look(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	spec := m.req.Spec
	guest, err := m.req.Guest.Path(runtime.GOARCH)
	if err != nil {
		return err
	}
	m.plan = jail.Plan{
		Guest: guest, GuestPath: pluginsdk.EngineGuestPath, Home: pluginsdk.EngineHome, Workspace: spec.Workspace.Path,
		Network: spec.Network == backend.NetworkFull || control.Opened(control.Network), PIDs: spec.PIDs,
	}
	m.record = jail.Record{ID: m.req.ID, Labels: m.req.Labels, Workspace: spec.Workspace.Path, WorkspaceName: spec.Workspace.Name}
	tmpfs, shm, err := pluginsdk.EngineMounts(spec, nil)
	if err != nil {
		return err
	}
	m.plan.Tmpfs = append(m.plan.Tmpfs, jail.Tmpfs{Target: "/dev/shm", Size: shm, Mode: "1777"})
	for _, t := range tmpfs {
		if t.Target != pluginsdk.EngineGuestRun { // the guest's socket is on this side
			m.plan.Tmpfs = append(m.plan.Tmpfs, jail.Tmpfs{Target: t.Target, Size: t.Size, Mode: t.Mode, Exec: t.Exec})
		}
	}
	for _, mount := range spec.Mounts {
		bind, err := m.b.mount(mount)
		if err != nil {
			return err
		}
		m.plan.Binds = append(m.plan.Binds, bind)
	}
	if err := m.confine(); err != nil {
		return err
	}
	return m.lookForLimits()
}

// lookForLimits plans cgroups; what they cannot limit every result says.
func (m *making) lookForLimits() error {
	h, err := findHierarchies()
	if err != nil {
		return err
	}
	// Not by the id alone: one of that id may just be going.
	groups, missing := h.cgroupsFor("deep-"+hashed(m.req.ID)+"-"+rand.Text()[:8], m.req.Spec)
	m.plan.Cgroups = groups
	if len(missing) > 0 {
		m.record.Degraded = append(m.record.Degraded, strings.Join(missing, " limit, ")+" limit: no cgroup can be made here")
	}
	return nil
}

// makeDir makes the sandbox's directory and takes its lock.
func (m *making) makeDir() error {
	m.dir = filepath.Join(m.b.sandboxes, jail.PrefixNew+rand.Text())
	if err := os.Mkdir(m.dir, 0o700); err != nil {
		return err
	}
	var err error
	if m.lock, err = jail.NewLock(m.dir); err != nil {
		return errors.Join(err, os.RemoveAll(m.dir))
	}
	return nil
}

// fill puts everything into the directory and gives it the sandbox's name. It
// returns what the guest shall listen on.
func (m *making) fill(ctx context.Context) (*os.File, error) {
	listener, err := listen(m.dir)
	if err != nil {
		return nil, err
	}
	place := func() error { return m.place(ctx) }
	if m.req.Spec.Workspace.Name != "" {
		place = func() error { return m.b.exclusive(ctx, func() error { return m.place(ctx) }) }
	}
	if err := place(); err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	return listener, nil
}

// place settles the workspace, writes the record and takes the name.
func (m *making) place(ctx context.Context) error {
	final := m.b.dir(m.req.ID)
	if err := m.settleWorkspace(final); err != nil {
		return err
	}
	m.plan.Dir = final
	if err := m.record.Write(m.dir); err != nil {
		return err
	}
	for {
		// A directory that is not empty is not replaced.
		err := os.Rename(m.dir, final)
		if err == nil {
			m.dir = final
			return nil
		}
		if !errors.Is(err, unix.ENOTEMPTY) && !errors.Is(err, fs.ErrExist) {
			return err
		}
		info, err := m.b.info(final)
		if err != nil {
			return err
		}
		if info != nil {
			return &backend.Error{Kind: backend.ErrExists, Path: m.req.ID, Message: "a sandbox has this id", Hint: "open it if it runs, destroy it if it is stopped, or use another id"}
		}
		// One that has ended is being removed.
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// settleWorkspace finds or makes the workspace, and settles whom commands run as.
func (m *making) settleWorkspace(final string) error {
	var bind jail.Bind
	var err error
	w := m.req.Spec.Workspace
	switch {
	case w.Source != "":
		bind, m.record.IDs, err = m.b.boundWorkspace(m.req.ID, w)
	case w.Name != "":
		bind, m.record.IDs, m.newWorkspace, err = m.b.keptWorkspace(m.req.ID, w.Name)
	default:
		bind, m.record.IDs, err = m.b.newWorkspace(m.req.ID, filepath.Join(m.dir, jail.WorkspaceDir))
		bind.Source = filepath.Join(final, jail.WorkspaceDir)
	}
	if err != nil {
		return err
	}
	if m.newWorkspace {
		m.b.mu.Lock()
		m.b.newWorkspaces[m.req.ID] = w.Name
		m.b.mu.Unlock()
	}
	bind.Target = w.Path
	m.plan.Binds, m.plan.IDs = append(m.plan.Binds, bind), m.record.IDs
	if m.record.IDs.Mode == jail.MapOne {
		m.record.Degraded = append(m.record.Degraded, "user split: guest and commands share one uid: "+m.b.ids.reason)
	}
	return nil
}

// undo removes what a Provision that failed has made. The caller may be gone.
func (m *making) undo(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), pluginsdk.EngineUndo)
	defer cancel()
	var err error
	if m.lock == nil {
		m.lock, err = m.b.terminate(ctx, m.req.ID)
	}
	if m.lock != nil {
		err = errors.Join(jail.Remove(m.dir, m.lock), m.lock.Close())
	}
	if !m.newWorkspace {
		return err
	}
	m.b.mu.Lock()
	delete(m.b.newWorkspaces, m.req.ID)
	m.b.mu.Unlock()
	return errors.Join(err, m.b.RemoveWorkspace(ctx, &backend.RemoveWorkspaceRequest{Name: m.req.Spec.Workspace.Name}))
}
