package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containers/podman/v5/pkg/bindings/containers"
	"github.com/containers/podman/v5/pkg/domain/entities/types"
	"github.com/containers/podman/v5/pkg/specgen"
	spec "github.com/opencontainers/runtime-spec/specs-go"
	"go.podman.io/image/v5/manifest"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/control"
	"github.com/deep-sandbox/deep/core/pluginsdk"
	"github.com/deep-sandbox/deep/core/pluginsdk/seccomp"
)

// plan is a container that is to be made.
type plan struct {
	mounts  []spec.Mount
	volumes []*specgen.NamedVolume
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
func (b *podmanBackend) Provision(ctx context.Context, req *pluginsdk.ProvisionRequest) (*pluginsdk.Provisioned, error) {
	f, err := b.facts(ctx)
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
func (b *podmanBackend) make(ctx context.Context, f *facts, img *resolved, req *pluginsdk.ProvisionRequest, p *plan) (*pluginsdk.Provisioned, error) {
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
	switch {
	case status(err) != 0 && b.Taken(outlast, req):
		// The service has no status for a name that is taken.
		return nil, pluginsdk.EngineExists(req.ID)
	case err != nil && b.config.Runtime != "" && strings.Contains(err.Error(), "requested OCI runtime"):
		// The service has no status for one it has not.
		return nil, b.noRuntime(f)
	case err != nil:
		return nil, b.failure(err, req.ID)
	}
	if err := b.runtime(outlast, made.ID, f); err != nil {
		return nil, err
	}
	if err := b.warned(outlast, made, req, p); err != nil {
		return nil, err
	}
	if w := req.Spec.Workspace; w.Source == "" && w.Name == "" {
		if err := b.remember(outlast, made.ID, w.Path, req.Labels); err != nil {
			return nil, err
		}
	}
	if err := b.start(ctx, outlast, made.ID, p, req); err != nil {
		return nil, b.failure(err, req.ID)
	}
	info := pluginsdk.EngineInfo(s.Labels)
	info.State, info.Image, info.EngineID, info.Degraded = backend.StateRunning, req.Spec.Image, made.ID, p.degraded
	return &pluginsdk.Provisioned{
		Info: info, UID: p.uid, GID: p.gid, Confine: p.confine, NewWorkspace: p.newWorkspace,
		Runtime: b.runtimeName(f), Seccomp: p.seccomp, Without: pluginsdk.EngineWithout(),
	}, nil
}

// runtime looks whether a container got the runtime that was asked for: Podman 4
// takes its service's own whatever that is.
func (b *podmanBackend) runtime(api context.Context, engineID string, f *facts) error {
	if b.config.Runtime == "" {
		return nil
	}
	found, err := containers.Inspect(api, engineID, nil)
	switch {
	case err != nil:
		return b.failure(err, engineID)
	case filepath.Base(found.OCIRuntime) != filepath.Base(b.config.Runtime):
		return b.noRuntime(f)
	}
	return nil
}

// runtimeName is the runtime containers get.
func (b *podmanBackend) runtimeName(f *facts) string {
	if r := f.info.Host.OCIRuntime; b.config.Runtime == "" && r != nil {
		return r.Name
	}
	return b.config.Runtime
}

// noRuntime is the error for a runtime that the service has not, or does not use.
func (b *podmanBackend) noRuntime(f *facts) error {
	var own []string
	if r := f.info.Host.OCIRuntime; r != nil {
		own = []string{r.Name}
	}
	return pluginsdk.EngineNoRuntime("the Podman service at "+b.address.Address, b.config.Runtime, own,
		"start the service with it, as in `podman --runtime NAME system service`; from Podman 5 on an entry in [engine.runtimes] of its containers.conf will do")
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
		{Name: backend.NameMemoryLimit, Present: h.Memory == req.Spec.Memory, Detail: detail},
		{Name: backend.NameSwapLimit, Present: h.MemorySwap == req.Spec.Memory, Detail: detail, Remedy: "boot the engine's host with swapaccount=1"},
		{Name: backend.NamePIDsLimit, Present: h.PidsLimit == req.Spec.PIDs, Detail: detail},
		{Name: backend.NameCPULimit, Present: h.CpuQuota == quota(req.Spec.CPUs), Detail: detail},
	}, req.Spec.AcceptDegraded)
	for _, layer := range degraded {
		if !slices.Contains(p.degraded, layer) { // as one the service said it has not
			p.degraded = append(p.degraded, layer)
		}
	}
	return err
}

// start gives a new workspace to its user and starts the guest, unless ctx has
// ended meanwhile.
func (b *podmanBackend) start(ctx, outlast context.Context, engineID string, p *plan, req *pluginsdk.ProvisionRequest) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if p.own {
		// Between init and start, since init makes root the owner of a volume that
		// is new; there it takes 30 ms, where before it would take 120.
		if err := containers.ContainerInit(outlast, engineID, nil); err != nil {
			return err
		}
		if err := b.Put(outlast, engineID, req.Spec.Workspace.Path, pluginsdk.EngineOwner("./", p.uid, p.gid)); err != nil {
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

// placeGuest adds the guest's program: a bind of the file when the engine sees
// it, else a volume that holds it. Both are read-only.
func (b *podmanBackend) placeGuest(ctx context.Context, f *facts, img *resolved, req *pluginsdk.ProvisionRequest, p *plan) error {
	// With SELinux a bound file has a label that a container may not execute.
	if f.local && !f.info.Host.Security.SELinuxEnabled {
		file, err := req.Guest.Path(img.arch)
		p.mounts = append(p.mounts, bind(file, pluginsdk.EngineGuestPath, true))
		return err
	}
	name, err := b.PlaceGuest(ctx, req, img.arch, img.id)
	p.volumes = append(p.volumes, volume(name, pluginsdk.EngineGuestDir, "ro"))
	return err
}

// workspace adds the workspace, and makes its volume if it is to be kept.
func (b *podmanBackend) workspace(ctx context.Context, f *facts, req *pluginsdk.ProvisionRequest, p *plan) error {
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
		if f.rootless() && int(uid) != os.Getuid() {
			return &backend.Error{Kind: backend.ErrPermission, Path: "workspace",
				Message: "it belongs to another user, and this service of your own maps only you", Hint: "use a directory of your own"}
		}
		p.uid, p.gid = uid, gid
		p.mounts = append(p.mounts, bind(source, w.Path, false))
	case w.Name != "":
		made, err := b.KeepWorkspace(ctx, req)
		if err != nil {
			return err
		}
		p.own, p.newWorkspace = made, made
		p.volumes = append(p.volumes, volume(pluginsdk.EngineWorkspace(w.Name), w.Path, "rw"))
	default:
		// Without a name it goes with the container, whoever removes that.
		p.own = true
		p.volumes = append(p.volumes, volume("", w.Path, "rw"))
	}
	return nil
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
	options := []string{mode, "rbind", "nodev", "rprivate"}
	if !control.Opened(control.SetuidMounts) {
		options = append(options, "nosuid")
	}
	return spec.Mount{Type: "bind", Source: source, Destination: target, Options: options}
}

// volume without what the image has in its place.
func volume(name, target, mode string) *specgen.NamedVolume {
	return &specgen.NamedVolume{Name: name, Dest: target, Options: []string{mode, "nosuid", "nodev", "nocopy"}}
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
	sealed, confined := !control.Opened(control.RootFileSystem), !control.Opened(control.NoNewPrivileges)
	s := specgen.NewSpecGenerator(img.id, false)
	s.Name = pluginsdk.EngineContainer(req.ID)
	s.User = pluginsdk.EngineUser
	s.Entrypoint = pluginsdk.EngineServe()
	s.Command = []string{}
	s.Env = pluginsdk.EngineEnv(tmpfs)
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
	if control.Opened(control.ProcMounts) {
		s.Unmask = []string{"ALL"}
	}
	if control.Opened(control.Network) {
		s.NetNS = specgen.Namespace{NSMode: specgen.Host}
	}
	if f.rootless() {
		// The user of the service is the same user inside, and root inside is one
		// of the user's subordinate ids.
		s.UserNS = specgen.Namespace{NSMode: specgen.KeepID}
	}

	s.ReadOnlyFilesystem = &sealed
	s.ReadWriteTmpfs = &no // Podman's own on /tmp, /run and /var/tmp have no bound
	s.NoNewPrivileges = &confined
	s.CapDrop = []string{"ALL"}
	s.CapAdd = pluginsdk.EngineCaps()
	if f.seccomp().Present {
		if err := b.confine(s, p, f, img.arch); err != nil {
			return nil, err
		}
	}

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
	openLimits(s.ResourceLimits)
	for _, l := range pluginsdk.EngineLimits(f.local) {
		value := uint64(l.Value)
		s.Rlimits = append(s.Rlimits, spec.POSIXRlimit{Type: l.Name, Soft: value, Hard: value})
	}
	return s, nil
}

// openLimits takes away those that a test wants to be without.
func openLimits(r *spec.LinuxResources) {
	if control.Opened(control.MemoryLimit) {
		r.Memory = nil
	}
	if control.Opened(control.PIDsLimit) {
		r.Pids = &spec.LinuxPids{Limit: -1}
	}
	if control.Opened(control.CPULimit) {
		r.CPU = nil
	}
}

// confine puts commands under deep's seccomp filter, and the container under its
// profile where the service can read it.
func (b *podmanBackend) confine(s *specgen.SpecGenerator, p *plan, f *facts, arch string) error {
	profile, err := seccomp.Profile(arch)
	if err != nil {
		return err
	}
	p.seccomp = seccomp.Digest(profile)
	if control.Opened(control.Seccomp) {
		s.SeccompProfilePath = "unconfined"
		return nil
	}
	if p.confine.Seccomp, err = seccomp.Program(arch); err != nil || !f.local {
		return err
	}
	s.SeccompProfilePath, err = pluginsdk.EngineSeccompFile(b.env.StateDir, profile)
	return err
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
