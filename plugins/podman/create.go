package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"

	"github.com/containers/podman/v5/pkg/bindings/containers"
	"github.com/containers/podman/v5/pkg/bindings/volumes"
	"github.com/containers/podman/v5/pkg/domain/entities/types"
	"github.com/containers/podman/v5/pkg/specgen"
	spec "github.com/opencontainers/runtime-spec/specs-go"
	"go.podman.io/image/v5/manifest"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/pluginsdk"
)

// plan is a container that is to be made.
type plan struct {
	mounts  []spec.Mount
	volumes []*specgen.NamedVolume
	// uid and gid commands run as.
	uid, gid uint32
	// own is set when the workspace is new and has to be given to them.
	own bool
	// newVolume is the volume made for this sandbox that outlives it.
	newVolume string
	degraded  []string
}

// Provision implements pluginsdk.Provisioner.
func (b *podmanBackend) Provision(ctx context.Context, req *pluginsdk.ProvisionRequest) (_ *pluginsdk.Provisioned, err error) {
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
	p := &plan{degraded: degraded}
	if err := b.placeGuest(ctx, f, img, req, p); err != nil {
		return nil, err
	}
	if err := b.mounts(f, req.Spec, p); err != nil {
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
	if err := b.workspace(ctx, f, req, p); err != nil {
		return nil, err
	}
	if p.newVolume != "" {
		undo = func() error { return b.undo(ctx, req, "", p.newVolume) }
	}
	s, err := b.describe(p, f, img, req)
	if err != nil {
		return nil, err
	}

	req.Progress(backend.Progress{Phase: backend.PhaseStart, Message: "starting the container"})
	api, err := b.api(ctx)
	if err != nil {
		return nil, err
	}
	outlast, cancel := pluginsdk.EngineOutlast(api)
	defer cancel()
	made, err := containers.CreateWithSpec(outlast, s, nil)
	if err != nil {
		// It may have been made all the same, or be there from before.
		undo = func() error { return b.undo(ctx, req, pluginsdk.EngineContainer(req.ID), p.newVolume) }
		return nil, b.createFailure(outlast, err, req)
	}
	undo = func() error { return b.undo(ctx, req, made.ID, p.newVolume) }
	if err := b.warned(outlast, made, req, p); err != nil {
		return nil, err
	}
	if err := b.start(ctx, outlast, made.ID, p, req); err != nil {
		return nil, b.failure(err, req.ID)
	}
	info := pluginsdk.InfoFromLabels(s.Labels)
	info.State, info.Image, info.EngineID, info.Degraded = backend.StateRunning, req.Spec.Image, made.ID, p.degraded
	return &pluginsdk.Provisioned{Info: info, UID: p.uid, GID: p.gid, NewWorkspace: p.newVolume != ""}, nil
}

// createFailure looks whether the name was taken: the service has no status for
// that.
func (b *podmanBackend) createFailure(api context.Context, err error, req *pluginsdk.ProvisionRequest) error {
	if status(err) == 0 {
		return b.failure(err, req.ID)
	}
	other, inspectErr := containers.Inspect(api, pluginsdk.EngineContainer(req.ID), nil)
	if inspectErr == nil && other.Config != nil && !pluginsdk.EngineMade(other.Config.Labels, req.Labels) {
		return pluginsdk.EngineExists(req.ID)
	}
	return b.failure(err, req.ID)
}

// warned looks, when the service warned, at what of the limits it kept: it
// discards those the kernel lacks, and starts the container without them.
func (b *podmanBackend) warned(api context.Context, made types.ContainerCreateResponse, req *pluginsdk.ProvisionRequest, p *plan) error {
	if len(made.Warnings) == 0 {
		return nil
	}
	for _, w := range made.Warnings {
		b.env.Log.Warn("the engine warns", "sandbox", req.ID, "warning", backend.Printable(w))
	}
	found, err := containers.Inspect(api, made.ID, nil)
	if err != nil || found.HostConfig == nil {
		return b.failure(errors.Join(errors.New("cannot see which limits were kept"), err), req.ID)
	}
	h := found.HostConfig
	const detail = "the engine discarded it, see its warnings"
	degraded, err := pluginsdk.EngineEnforce([]pluginsdk.EngineLayer{
		{Name: "memory limit", Present: h.Memory == req.Spec.Memory, Detail: detail},
		{Name: "swap limit", Present: h.MemorySwap == req.Spec.Memory, Detail: detail, Remedy: "boot the engine's host with swapaccount=1"},
		{Name: "pids limit", Present: h.PidsLimit == req.Spec.PIDs, Detail: detail},
		{Name: "cpu limit", Present: h.CpuQuota == quota(req.Spec.CPUs), Detail: detail},
	}, req.Spec.AcceptDegraded)
	p.degraded = append(p.degraded, degraded...)
	return err
}

// start gives a new workspace to its user and starts the guest, unless ctx has
// ended meanwhile.
func (b *podmanBackend) start(ctx, outlast context.Context, engineID string, p *plan, req *pluginsdk.ProvisionRequest) error {
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
	if err := containers.Start(outlast, engineID, nil); err != nil {
		return err
	}
	return ctx.Err()
}

// give makes the user the owner of a volume's root, before anything runs in the
// container: an archive with that one directory. Between init and start, since
// init makes root the owner of a volume that is new; there it costs 30 ms, where
// before it would cost 120.
func (b *podmanBackend) give(api context.Context, engineID, dir string, uid, gid uint32) error {
	if err := containers.ContainerInit(api, engineID, nil); err != nil {
		return err
	}
	return b.put(api, engineID, dir, pluginsdk.EngineOwner("./", uid, gid))
}

// undo removes what a Provision made that failed. The caller may be gone.
func (b *podmanBackend) undo(ctx context.Context, req *pluginsdk.ProvisionRequest, engineID, newVolume string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), pluginsdk.EngineUndo)
	defer cancel()
	api, err := b.api(ctx)
	if err != nil {
		return err
	}
	if engineID == pluginsdk.EngineContainer(req.ID) {
		// By name only if it is really this one.
		found, err := containers.Inspect(api, engineID, nil)
		switch {
		case notFound(err):
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
	if err := volumes.Remove(api, newVolume, nil); err != nil && !notFound(err) {
		return b.failure(err, req.ID)
	}
	return nil
}

// workspace adds the workspace, and makes its volume if it is to be kept.
func (b *podmanBackend) workspace(ctx context.Context, f *facts, req *pluginsdk.ProvisionRequest, p *plan) error {
	w := req.Spec.Workspace
	p.uid, p.gid = pluginsdk.EngineSandboxUser()
	volume := &specgen.NamedVolume{Dest: w.Path, Options: []string{"rw", "nosuid", "nodev", "nocopy"}}
	switch {
	case w.Source != "":
		if err := b.bindable(f, "workspace"); err != nil {
			return err
		}
		source, uid, gid, err := b.binds(f).Workspace(w.Source)
		if err != nil {
			return err
		}
		if f.rootless() && int(uid) != os.Getuid() {
			return &backend.Error{Kind: backend.ErrPermission, Path: "workspace",
				Message: "it belongs to another user, and this service of your own maps only you", Hint: "use a directory of your own"}
		}
		p.uid, p.gid = uid, gid
		p.mounts = append(p.mounts, bind(source, w.Path, false))
		return nil
	case w.Name != "":
		made, err := b.keptVolume(ctx, req)
		if err != nil {
			return err
		}
		volume.Name = pluginsdk.EngineWorkspace(w.Name)
		if made {
			p.own, p.newVolume = true, volume.Name
		}
	default:
		// Without a name it goes with the container, whoever removes that.
		p.own = true
	}
	p.volumes = append(p.volumes, volume)
	return nil
}

// keptVolume makes the volume of a kept workspace unless it is there, and
// reports whether it did: then the volume has the labels of this request.
func (b *podmanBackend) keptVolume(ctx context.Context, req *pluginsdk.ProvisionRequest) (made bool, err error) {
	w := req.Spec.Workspace
	api, err := b.api(ctx)
	if err != nil {
		return false, err
	}
	outlast, cancel := pluginsdk.EngineOutlast(api)
	defer cancel()
	v, err := b.makeVolume(outlast, types.VolumeCreateOptions{Name: pluginsdk.EngineWorkspace(w.Name), Label: req.Labels})
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

// mounts adds the further mounts of a specification.
func (b *podmanBackend) mounts(f *facts, sp backend.Spec, p *plan) error {
	for _, m := range sp.Mounts {
		if err := b.bindable(f, "volume "+m.Target); err != nil {
			return err
		}
		source, err := b.binds(f).Mount(m)
		if err != nil {
			return err
		}
		p.mounts = append(p.mounts, bind(source, m.Target, m.ReadOnly))
	}
	return nil
}

func bind(source, target string, readOnly bool) spec.Mount {
	mode := "rw"
	if readOnly {
		mode = "ro"
	}
	return spec.Mount{Type: "bind", Source: source, Destination: target, Options: []string{mode, "rbind", "nosuid", "nodev", "rprivate"}}
}

// bindable refuses a directory of this host where it could not be bound.
func (b *podmanBackend) bindable(f *facts, field string) error {
	return pluginsdk.EngineBindable(field, b.address.Address, f.local, false)
}

func (b *podmanBackend) binds(f *facts) pluginsdk.EngineBinds {
	return pluginsdk.EngineBinds{Data: []string{f.info.Store.GraphRoot, f.info.Store.RunRoot}, StateDir: b.env.StateDir}
}

// describe makes the container's specification.
func (b *podmanBackend) describe(p *plan, f *facts, img *resolved, req *pluginsdk.ProvisionRequest) (*specgen.SpecGenerator, error) {
	sp := req.Spec
	tmpfs, shm, err := pluginsdk.EngineMounts(sp, img.volumes)
	if err != nil {
		return nil, err
	}
	yes, no := true, false
	s := specgen.NewSpecGenerator(img.id, false)
	s.Name = pluginsdk.EngineContainer(req.ID)
	s.User = pluginsdk.EngineUser
	s.Entrypoint = pluginsdk.EngineServe()
	s.Command = []string{}
	s.Env = pluginsdk.EngineEnv()
	s.WorkDir = "/"
	s.Labels = maps.Clone(req.Labels)
	s.Labels[pluginsdk.LabelImage] = sp.Image
	s.HealthConfig = &manifest.Schema2HealthConfig{Test: []string{"NONE"}}
	s.Systemd = "false"
	s.HTTPProxy = &no // the service's own would be shown inside
	s.EnvHost = &no
	s.Passwd = &no
	s.Init = &no
	s.Remove = &yes
	s.RestartPolicy = "no"
	s.OCIRuntime = b.config.Runtime
	s.LogConfiguration = &specgen.LogConfig{Driver: "none"}

	private := specgen.Namespace{NSMode: specgen.Private}
	s.PidNS, s.UtsNS, s.IpcNS, s.CgroupNS = private, private, private, private
	s.NetNS = specgen.Namespace{NSMode: specgen.NoNetwork}
	if sp.Network == backend.NetworkFull {
		s.NetNS = specgen.Namespace{NSMode: specgen.Default}
	}
	if f.rootless() {
		// The user of the service is the same user inside, and root inside is one
		// of the user's subordinate ids.
		s.UserNS = specgen.Namespace{NSMode: specgen.KeepID}
	}

	s.ReadOnlyFilesystem = &yes
	s.ReadWriteTmpfs = &no // Podman's own on /tmp, /run and /var/tmp have no bound
	s.NoNewPrivileges = &yes
	s.CapDrop = []string{"ALL"}
	s.CapAdd = pluginsdk.EngineCaps()
	// deep's own seccomp profile goes here, by path: s.SeccompProfilePath. Until
	// then the engine's applies, and Check says so.

	s.ImageVolumeMode = "ignore"
	s.ShmSize = &shm
	s.Mounts = p.mounts
	s.Volumes = p.volumes
	for _, t := range tmpfs {
		s.Mounts = append(s.Mounts, spec.Mount{Type: "tmpfs", Source: "tmpfs", Destination: t.Target, Options: tmpfsOptions(t)})
	}

	period := uint64(cpuPeriod)
	cpus := quota(sp.CPUs)
	s.ResourceLimits = &spec.LinuxResources{
		Memory: &spec.LinuxMemory{Limit: &sp.Memory, Swap: &sp.Memory}, // of both together: no swap
		Pids:   &spec.LinuxPids{Limit: sp.PIDs},
		CPU:    &spec.LinuxCPU{Quota: &cpus, Period: &period},
	}
	for _, l := range pluginsdk.EngineLimits(f.local) {
		value := uint64(l.Value) //nolint:gosec // not negative
		s.Rlimits = append(s.Rlimits, spec.POSIXRlimit{Type: l.Name, Soft: value, Hard: value})
	}
	return s, nil
}

// cpuPeriod is the time, in microseconds, that a cpu quota is of.
const cpuPeriod = 100_000

func quota(cpus float64) int64 { return int64(cpus * cpuPeriod) }

func tmpfsOptions(t pluginsdk.EngineTmpfs) []string {
	exec := "noexec"
	if t.Exec {
		exec = "exec"
	}
	return []string{"rw", "nosuid", "nodev", exec, fmt.Sprintf("size=%d", t.Size), "mode=" + t.Mode}
}
