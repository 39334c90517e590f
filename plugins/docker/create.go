package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/volume"
	"github.com/docker/go-units"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/pluginsdk"
)

// plan is a container that is to be made.
type plan struct {
	config container.Config
	host   container.HostConfig
	// uid and gid commands run as.
	uid, gid uint32
	// own is set when the workspace is new and has to be given to them.
	own bool
	// newVolume is the volume made for this sandbox that outlives it.
	newVolume string
	degraded  []string
}

// Provision implements pluginsdk.Provisioner.
func (b *dockerBackend) Provision(ctx context.Context, req *pluginsdk.ProvisionRequest) (_ *pluginsdk.Provisioned, err error) {
	f, err := b.facts(ctx)
	if err != nil {
		return nil, err
	}
	degraded, err := pluginsdk.EngineEnforce(f.layers(), req.Spec.AcceptDegraded)
	if err != nil {
		return nil, err
	}
	img, err := b.resolve(ctx, f, req.Spec, req.Progress)
	if err != nil {
		return nil, err
	}
	guest, err := b.placeGuest(ctx, f, img, req)
	if err != nil {
		return nil, err
	}
	p := &plan{degraded: degraded}
	workspace, err := b.workspace(ctx, f, p, req)
	if err != nil {
		return nil, err
	}
	undo := func() error { return nil }
	defer func() {
		if err == nil {
			return
		}
		if undoErr := undo(); undoErr != nil {
			err = errors.Join(err, undoErr)
		}
	}()
	if p.newVolume != "" {
		undo = func() error { return b.undo(ctx, req, "", p.newVolume) }
	}
	mounts, err := b.mounts(f, req.Spec)
	if err != nil {
		return nil, err
	}
	if err := b.describe(p, f, img, req, append(mounts, guest, workspace)); err != nil {
		return nil, err
	}

	req.Progress(backend.Progress{Phase: backend.PhaseStart, Message: "starting the container"})
	outlast, cancel := pluginsdk.EngineOutlast(ctx)
	defer cancel()
	made, err := b.api.ContainerCreate(outlast, &p.config, &p.host, nil, nil, pluginsdk.EngineContainer(req.ID))
	switch {
	case errdefs.IsConflict(err):
		return nil, pluginsdk.EngineExists(req.ID)
	case err != nil && outlast.Err() != nil:
		// It may have been made all the same.
		undo = func() error { return b.undo(ctx, req, pluginsdk.EngineContainer(req.ID), p.newVolume) }
		return nil, b.failure(err, req.ID)
	case err != nil:
		return nil, b.failure(err, req.ID)
	}
	undo = func() error { return b.undo(ctx, req, made.ID, p.newVolume) }
	for _, w := range made.Warnings {
		b.env.Log.Warn("the engine warns", "sandbox", req.ID, "warning", backend.Printable(w))
	}
	if err := b.start(ctx, outlast, made.ID, p, req); err != nil {
		return nil, b.failure(err, req.ID)
	}
	info := pluginsdk.InfoFromLabels(p.config.Labels)
	info.State, info.Image, info.EngineID, info.Degraded = backend.StateRunning, req.Spec.Image, made.ID, p.degraded
	return &pluginsdk.Provisioned{Info: info, UID: p.uid, GID: p.gid, NewWorkspace: p.newVolume != ""}, nil
}

// start gives a new workspace to its user and starts the guest, unless ctx has
// ended meanwhile.
func (b *dockerBackend) start(ctx, outlast context.Context, engineID string, p *plan, req *pluginsdk.ProvisionRequest) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if p.own {
		if err := b.give(outlast, engineID, req.Spec.Workspace.Path, p.uid, p.gid); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	if err := b.api.ContainerStart(outlast, engineID, container.StartOptions{}); err != nil {
		return err
	}
	return ctx.Err()
}

// give makes the user the owner of a volume's root, before the container runs:
// an archive with that one directory. It takes 45 ms, most of a start-up beyond
// the engine's own, but needs no program in the image and no capability in the
// guest. "/" and not ".", which the engine skips.
func (b *dockerBackend) give(ctx context.Context, engineID, dir string, uid, gid uint32) error {
	return b.put(ctx, engineID, dir, pluginsdk.EngineOwner("/", uid, gid))
}

// undo removes what a Provision made that failed. The caller may be gone.
func (b *dockerBackend) undo(ctx context.Context, req *pluginsdk.ProvisionRequest, engineID, newVolume string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), pluginsdk.EngineUndo)
	defer cancel()
	if engineID == pluginsdk.EngineContainer(req.ID) {
		// By name only if it is really this one.
		found, err := b.api.ContainerInspect(ctx, engineID)
		switch {
		case errdefs.IsNotFound(err):
			engineID = ""
		case err != nil:
			return b.failure(err, req.ID)
		case found.Config == nil || !pluginsdk.EngineMade(found.Config.Labels, req.Labels):
			engineID = ""
		}
	}
	if engineID != "" {
		if err := b.remove(ctx, engineID, req.ID); err != nil {
			return err
		}
	}
	if newVolume == "" {
		return nil
	}
	b.mu.Lock()
	delete(b.newWorkspaces, req.ID)
	b.mu.Unlock()
	if err := b.api.VolumeRemove(ctx, newVolume, false); err != nil && !errdefs.IsNotFound(err) {
		return b.failure(err, req.ID)
	}
	return nil
}

// workspace returns the mount of the workspace, and makes its volume if it is to
// be kept.
func (b *dockerBackend) workspace(ctx context.Context, f *facts, p *plan, req *pluginsdk.ProvisionRequest) (mount.Mount, error) {
	w := req.Spec.Workspace
	p.uid, p.gid = pluginsdk.EngineSandboxUser()
	switch {
	case w.Source != "":
		if err := b.bindable(f, "workspace"); err != nil {
			return mount.Mount{}, err
		}
		source, uid, gid, err := b.binds(f).Workspace(w.Source)
		if err != nil {
			return mount.Mount{}, err
		}
		p.uid, p.gid = uid, gid
		return mount.Mount{Type: mount.TypeBind, Source: source, Target: w.Path}, nil
	case w.Name != "":
		made, err := b.keptVolume(ctx, req)
		if err != nil {
			return mount.Mount{}, err
		}
		name := pluginsdk.EngineWorkspace(w.Name)
		if made {
			p.own, p.newVolume = true, name
		}
		return mount.Mount{Type: mount.TypeVolume, Source: name, Target: w.Path, VolumeOptions: &mount.VolumeOptions{NoCopy: true}}, nil
	}
	// Without a name it goes with the container, whoever removes that.
	p.own = true
	return mount.Mount{Type: mount.TypeVolume, Target: w.Path, VolumeOptions: &mount.VolumeOptions{NoCopy: true, Labels: req.Labels}}, nil
}

// keptVolume makes the volume of a kept workspace unless it is there, and
// reports whether it did: then the volume has the labels of this request.
func (b *dockerBackend) keptVolume(ctx context.Context, req *pluginsdk.ProvisionRequest) (made bool, err error) {
	w := req.Spec.Workspace
	outlast, cancel := pluginsdk.EngineOutlast(ctx)
	defer cancel()
	v, err := b.api.VolumeCreate(outlast, volume.CreateOptions{Name: pluginsdk.EngineWorkspace(w.Name), Labels: req.Labels})
	if err != nil {
		return false, b.failure(err, w.Name)
	}
	if err := pluginsdk.EngineOwnWorkspace(w.Name, v.Labels); err != nil {
		return false, err
	}
	made = pluginsdk.EngineMade(v.Labels, req.Labels)
	if made {
		b.mu.Lock()
		b.newWorkspaces[req.ID] = w.Name
		b.mu.Unlock()
	}
	return made, nil
}

// mounts returns the further mounts of a specification.
func (b *dockerBackend) mounts(f *facts, spec backend.Spec) ([]mount.Mount, error) {
	var mounts []mount.Mount
	for _, m := range spec.Mounts {
		if err := b.bindable(f, "volume "+m.Target); err != nil {
			return nil, err
		}
		source, err := b.binds(f).Mount(m)
		if err != nil {
			return nil, err
		}
		mounts = append(mounts, mount.Mount{Type: mount.TypeBind, Source: source, Target: m.Target, ReadOnly: m.ReadOnly})
	}
	if spec.Network == backend.NetworkNone {
		// Even without a network the engine shows the host's nameservers.
		mounts = append(mounts, mount.Mount{Type: mount.TypeBind, Source: "/dev/null", Target: "/etc/resolv.conf", ReadOnly: true})
	}
	return mounts, nil
}

// bindable refuses a directory of this host where it could not be bound.
func (b *dockerBackend) bindable(f *facts, field string) error {
	return pluginsdk.EngineBindable(field, b.address.Address, f.local, f.rootless || f.userns)
}

func (b *dockerBackend) binds(f *facts) pluginsdk.EngineBinds {
	return pluginsdk.EngineBinds{Data: []string{f.info.DockerRootDir}, StateDir: b.env.StateDir}
}

// describe fills in the container.
func (b *dockerBackend) describe(p *plan, f *facts, img *resolved, req *pluginsdk.ProvisionRequest, mounts []mount.Mount) error {
	spec := req.Spec
	tmpfs, shm, err := pluginsdk.EngineMounts(spec, img.volumes)
	if err != nil {
		return err
	}
	labels := maps.Clone(req.Labels)
	labels[pluginsdk.LabelImage] = spec.Image
	p.config = container.Config{
		Image:       img.id,
		User:        pluginsdk.EngineUser,
		Entrypoint:  pluginsdk.EngineServe(),
		Env:         environ(pluginsdk.EngineEnv()),
		WorkingDir:  "/",
		Labels:      labels,
		Healthcheck: &container.HealthConfig{Test: []string{"NONE"}},
	}
	no := false
	p.host = container.HostConfig{
		AutoRemove:     true,
		RestartPolicy:  container.RestartPolicy{Name: container.RestartPolicyDisabled},
		Runtime:        b.config.Runtime,
		Init:           &no,
		NetworkMode:    container.NetworkMode("none"),
		LogConfig:      container.LogConfig{Type: "none"},
		IpcMode:        container.IPCModePrivate,
		CgroupnsMode:   container.CgroupnsModePrivate,
		ReadonlyRootfs: true,
		CapDrop:        []string{"ALL"},
		CapAdd:         pluginsdk.EngineCaps(),
		// deep's own seccomp profile goes here, beside it: "seccomp=" and its JSON.
		// Until then the engine's applies, and Check says so.
		SecurityOpt: []string{"no-new-privileges"},
		ShmSize:     shm,
		Tmpfs:       map[string]string{},
		Mounts:      mounts,
		Resources: container.Resources{
			Memory:     spec.Memory,
			MemorySwap: spec.Memory, // of both together: no swap
			PidsLimit:  &spec.PIDs,
			NanoCPUs:   int64(spec.CPUs * 1e9),
		},
	}
	if spec.Network == backend.NetworkFull {
		p.host.NetworkMode = container.NetworkMode("default")
	}
	for _, t := range tmpfs {
		p.host.Tmpfs[t.Target] = tmpfsOptions(t)
	}
	for _, l := range pluginsdk.EngineLimits(f.local) {
		p.host.Ulimits = append(p.host.Ulimits, &units.Ulimit{Name: l.Name, Soft: l.Value, Hard: l.Value})
	}
	return nil
}

func environ(env map[string]string) []string {
	var list []string
	for _, k := range slices.Sorted(maps.Keys(env)) {
		list = append(list, k+"="+env[k])
	}
	return list
}

func tmpfsOptions(t pluginsdk.EngineTmpfs) string {
	exec := "noexec"
	if t.Exec {
		exec = "exec"
	}
	return fmt.Sprintf("rw,nosuid,nodev,%s,size=%d,mode=%s", exec, t.Size, t.Mode)
}
