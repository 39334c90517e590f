package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/go-units"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/control"
	"github.com/deep-sandbox/deep/core/pluginsdk"
	"github.com/deep-sandbox/deep/core/pluginsdk/seccomp"
)

// plan is a container that is to be made.
type plan struct {
	config container.Config
	host   container.HostConfig
	mounts []mount.Mount
	// uid and gid commands run as.
	uid, gid uint32
	// own is set when the workspace is new and has to be given to them.
	own bool
	// newWorkspace is set when a kept workspace was made for this sandbox.
	newWorkspace bool
	degraded     []string
	confine      pluginsdk.Confinement
	// seccomp is the digest of the profile it has.
	seccomp string
}

// Provision implements pluginsdk.Provisioner.
func (b *dockerBackend) Provision(ctx context.Context, req *pluginsdk.ProvisionRequest) (*pluginsdk.Provisioned, error) {
	f, err := b.facts(ctx)
	if err == nil {
		err = b.runtime(f)
	}
	if err != nil {
		return nil, err
	}
	p := &plan{}
	if p.degraded, err = pluginsdk.EngineEnforce(f.layers(), req.Spec.AcceptDegraded); err != nil {
		return nil, err
	}
	img, err := b.resolve(ctx, f, req.Spec, req.Progress)
	if err != nil {
		return nil, err
	}
	if err := b.placeGuest(ctx, f, img, req, p); err != nil {
		return nil, err
	}
	if err := b.mounts(f, req.Spec, p); err != nil {
		return nil, err
	}
	if err := b.workspace(ctx, f, req, p); err != nil {
		return nil, err
	}
	made, err := b.make(ctx, f, img, req, p)
	if err != nil {
		return nil, b.Undo(ctx, req, p.newWorkspace, err)
	}
	return made, nil
}

// make makes and starts the container. What it made when it fails is undone by
// its caller.
func (b *dockerBackend) make(ctx context.Context, f *facts, img *resolved, req *pluginsdk.ProvisionRequest, p *plan) (*pluginsdk.Provisioned, error) {
	if err := b.describe(p, f, img, req); err != nil {
		return nil, err
	}
	req.Progress(backend.Progress{Phase: backend.PhaseStart, Message: "starting the container"})
	outlast, cancel := pluginsdk.EngineOutlast(ctx)
	defer cancel()
	made, err := b.api.ContainerCreate(outlast, &p.config, &p.host, nil, nil, pluginsdk.EngineContainer(req.ID))
	switch {
	case errdefs.IsConflict(err):
		return nil, pluginsdk.EngineExists(req.ID)
	case err != nil:
		return nil, b.failure(err, req.ID)
	}
	for _, w := range made.Warnings {
		b.env.Log.Warn("the engine warns", "sandbox", req.ID, "warning", backend.Printable(w))
	}
	if err := b.start(ctx, outlast, made.ID, p, req); err != nil {
		return nil, b.failure(err, req.ID)
	}
	info := pluginsdk.EngineInfo(p.config.Labels)
	info.State, info.Image, info.EngineID, info.Degraded = backend.StateRunning, req.Spec.Image, made.ID, p.degraded
	return &pluginsdk.Provisioned{
		Info: info, UID: p.uid, GID: p.gid, Confine: p.confine, NewWorkspace: p.newWorkspace,
		Runtime: cmp.Or(b.config.Runtime, f.info.DefaultRuntime), Seccomp: p.seccomp, Without: pluginsdk.EngineWithout(),
	}, nil
}

// start gives a new workspace to its user and starts the guest, unless ctx has
// ended meanwhile.
func (b *dockerBackend) start(ctx, outlast context.Context, engineID string, p *plan, req *pluginsdk.ProvisionRequest) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if p.own {
		// It takes 45 ms, a third of a start-up beyond the engine's own, but needs
		// no program in the image and no capability in the guest. "/" and not ".",
		// which the engine skips.
		if err := b.Put(outlast, engineID, req.Spec.Workspace.Path, pluginsdk.EngineOwner("/", p.uid, p.gid)); err != nil {
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

// placeGuest adds the guest's program: a bind of the file when the engine sees
// it, else a volume that holds it. Both are read-only.
func (b *dockerBackend) placeGuest(ctx context.Context, f *facts, img *resolved, req *pluginsdk.ProvisionRequest, p *plan) error {
	// With SELinux a bound file has a label that a container may not execute.
	if f.local && !f.selinux {
		file, err := req.Guest.Path(img.arch)
		p.mounts = append(p.mounts, bind(file, pluginsdk.EngineGuestPath, true))
		return err
	}
	name, err := b.PlaceGuest(ctx, req, img.arch, img.id)
	guest := volume(name, pluginsdk.EngineGuestDir)
	guest.ReadOnly = true
	p.mounts = append(p.mounts, guest)
	return err
}

// workspace adds the workspace, and makes its volume if it is to be kept.
func (b *dockerBackend) workspace(ctx context.Context, f *facts, req *pluginsdk.ProvisionRequest, p *plan) error {
	w := req.Spec.Workspace
	p.uid, p.gid = pluginsdk.EngineSandboxUser()
	switch {
	case w.Source != "":
		if err := b.bindable(f, "workspace"); err != nil {
			return err
		}
		source, uid, gid, err := b.binds(f).Workspace(w.Source)
		if err != nil {
			return err
		}
		p.uid, p.gid = uid, gid
		p.mounts = append(p.mounts, bind(source, w.Path, false))
	case w.Name != "":
		made, err := b.KeepWorkspace(ctx, req)
		if err != nil {
			return err
		}
		p.own, p.newWorkspace = made, made
		p.mounts = append(p.mounts, volume(pluginsdk.EngineWorkspace(w.Name), w.Path))
	default:
		// Without a name it goes with the container, whoever removes that.
		fresh := volume("", w.Path)
		fresh.VolumeOptions.Labels = req.Labels
		p.own = true
		p.mounts = append(p.mounts, fresh)
	}
	return nil
}

// mounts adds the further mounts of a specification.
func (b *dockerBackend) mounts(f *facts, spec backend.Spec, p *plan) error {
	for _, m := range spec.Mounts {
		if err := b.bindable(f, "volume "+m.Target); err != nil {
			return err
		}
		source, err := b.binds(f).Mount(m)
		if err != nil {
			return err
		}
		p.mounts = append(p.mounts, bind(source, m.Target, m.ReadOnly))
	}
	if spec.Network == backend.NetworkNone {
		// Even without a network the engine shows the host's nameservers.
		p.mounts = append(p.mounts, bind("/dev/null", "/etc/resolv.conf", true))
	}
	return nil
}

func bind(source, target string, readOnly bool) mount.Mount {
	return mount.Mount{Type: mount.TypeBind, Source: source, Target: target, ReadOnly: readOnly}
}

// volume without what the image has in its place.
func volume(name, target string) mount.Mount {
	return mount.Mount{Type: mount.TypeVolume, Source: name, Target: target, VolumeOptions: &mount.VolumeOptions{NoCopy: true}}
}

// bindable refuses a directory of this host where it could not be bound.
func (b *dockerBackend) bindable(f *facts, field string) error {
	return pluginsdk.EngineBindable(field, b.address.Address, f.local, f.rootless || f.userns)
}

func (b *dockerBackend) binds(f *facts) pluginsdk.EngineBinds {
	return pluginsdk.EngineBinds{Data: []string{f.info.DockerRootDir}, StateDir: b.env.StateDir}
}

// describe fills in the container.
func (b *dockerBackend) describe(p *plan, f *facts, img *resolved, req *pluginsdk.ProvisionRequest) error {
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
		Env:         environ(pluginsdk.EngineEnv(tmpfs)),
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
		ReadonlyRootfs: !control.Opened(control.RootFileSystem),
		CapDrop:        []string{"ALL"},
		CapAdd:         pluginsdk.EngineCaps(),
		ShmSize:        shm,
		Tmpfs:          map[string]string{},
		Mounts:         p.mounts,
		Resources: container.Resources{
			Memory:     spec.Memory,
			MemorySwap: spec.Memory, // of both together: no swap
			PidsLimit:  &spec.PIDs,
			NanoCPUs:   int64(spec.CPUs * 1e9),
		},
	}
	if !control.Opened(control.NoNewPrivileges) {
		p.host.SecurityOpt = append(p.host.SecurityOpt, "no-new-privileges")
	}
	if f.seccomp {
		profile, err := seccomp.Profile(img.arch)
		if err != nil {
			return err
		}
		if p.confine.Seccomp, err = seccomp.Program(img.arch); err != nil {
			return err
		}
		p.seccomp = seccomp.Digest(profile)
		if control.Opened(control.Seccomp) {
			profile, p.confine.Seccomp = []byte("unconfined"), nil
		}
		p.host.SecurityOpt = append(p.host.SecurityOpt, "seccomp="+string(profile))
	}
	if spec.Network == backend.NetworkFull {
		p.host.NetworkMode = container.NetworkMode("default")
	}
	openLimits(&p.host.Resources)
	if control.Opened(control.ProcMounts) {
		p.host.MaskedPaths, p.host.ReadonlyPaths = []string{}, []string{}
	}
	if control.Opened(control.Network) {
		p.host.NetworkMode = container.NetworkMode("host")
	}
	for _, t := range tmpfs {
		p.host.Tmpfs[t.Target] = tmpfsOptions(t)
	}
	for _, l := range pluginsdk.EngineLimits(f.local) {
		p.host.Ulimits = append(p.host.Ulimits, &units.Ulimit{Name: l.Name, Soft: l.Value, Hard: l.Value})
	}
	return nil
}

// openLimits takes away those that a test wants to be without.
func openLimits(r *container.Resources) {
	if control.Opened(control.MemoryLimit) {
		r.Memory, r.MemorySwap = 0, 0
	}
	if control.Opened(control.PIDsLimit) {
		r.PidsLimit = nil
	}
	if control.Opened(control.CPULimit) {
		r.NanoCPUs = 0
	}
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
