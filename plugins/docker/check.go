package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/docker/docker/api/types/system"
	"github.com/docker/docker/api/types/versions"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/pluginsdk"
)

const (
	// minAPI is that of Engine 20.10: the first with private cgroup namespaces.
	minAPI = "1.41"
	// factsAge is how long what an engine said of itself is believed: it can be
	// restarted with another configuration.
	factsAge = time.Minute
)

// facts are what the engine says of itself.
type facts struct {
	info system.Info
	// version of the engine.
	version string
	// arch is the engine's, in Go's words.
	arch string
	// local: the engine sees the files of this host.
	local bool
	// rootless, userns: root inside is somebody else outside.
	rootless, userns bool
	seccomp, selinux bool
}

// facts asks the engine what it is, at most once in a while. Whatever fails here
// means that there is no engine to work with.
func (b *dockerBackend) facts(ctx context.Context) (*facts, error) {
	b.mu.Lock()
	known, asked := b.known, b.asked
	b.mu.Unlock()
	if known != nil && time.Since(asked) < factsAge {
		return known, nil
	}
	version, err := b.api.ServerVersion(ctx)
	if err != nil {
		return nil, b.noEngine(ctx, err)
	}
	info, err := b.api.Info(ctx)
	if err != nil {
		return nil, b.noEngine(ctx, err)
	}
	for _, c := range version.Components {
		if c.Name == "Podman Engine" {
			return nil, &backend.Error{Kind: backend.ErrUnsupported, Path: b.address.Address,
				Message: "a Podman service answers there", Hint: `use backend "podman"`}
		}
	}
	if info.ID == "" && info.ServerVersion == "" {
		return nil, b.address.Unreachable(fmt.Errorf("it says nothing of itself"))
	}
	if versions.LessThan(version.APIVersion, minAPI) {
		return nil, &backend.Error{Kind: backend.ErrUnsupported, Path: b.address.Address,
			Message: "Docker Engine " + backend.Printable(version.Version) + " is too old", Hint: "use 20.10 or later"}
	}
	f := &facts{
		info:    info,
		version: version.Version,
		arch:    pluginsdk.EngineArch(info.OSType, info.Architecture),
		local:   b.address.Socket != "" && !b.config.Remote && pluginsdk.EngineThisHost(info.Name),
	}
	for _, option := range info.SecurityOptions {
		name := strings.TrimPrefix(strings.SplitN(option, ",", 2)[0], "name=")
		switch name {
		case "rootless":
			f.rootless = true
		case "userns":
			f.userns = true
		case "seccomp":
			f.seccomp = true // whatever profile containers have that name none
		case "selinux":
			f.selinux = true
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.known, b.asked = f, time.Now()
	return f, nil
}

// noEngine is the error of a first question that failed.
func (b *dockerBackend) noEngine(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return b.failure(ctx.Err(), "")
	}
	return b.address.Unreachable(err)
}

// layers are those a sandbox relies on and not every engine has.
func (f *facts) layers() []pluginsdk.EngineLayer {
	cgroups := "cgroup v" + f.info.CgroupVersion
	const remedy = "boot the engine's host with this controller enabled, for example systemd.unified_cgroup_hierarchy=1"
	return []pluginsdk.EngineLayer{
		{Name: backend.NameMemoryLimit, Present: f.info.MemoryLimit, Detail: cgroups, Remedy: remedy},
		{Name: backend.NameSwapLimit, Present: f.info.SwapLimit, Detail: cgroups, Remedy: "boot the engine's host with swapaccount=1"},
		{Name: backend.NamePIDsLimit, Present: f.info.PidsLimit, Detail: cgroups, Remedy: remedy},
		{Name: backend.NameCPULimit, Present: f.info.CPUCfsQuota, Detail: cgroups, Remedy: remedy},
		pluginsdk.EngineSeccomp(f.arch, f.seccomp, "the engine says it has none: "+strings.Join(f.info.SecurityOptions, " "),
			"run the engine on a kernel with CONFIG_SECCOMP"),
	}
}

// runtime refuses a runtime the engine has not, before anything is made. A shim
// by its own name or path, which an engine need not be told of, is for the engine
// to find.
func (b *dockerBackend) runtime(f *facts) error {
	name := b.config.Runtime
	if _, known := f.info.Runtimes[name]; known || name == "" || strings.HasPrefix(name, "io.containerd.") || strings.HasPrefix(name, "/") {
		return nil
	}
	return pluginsdk.EngineNoRuntime("the Docker Engine at "+b.address.Address, name, slices.Sorted(maps.Keys(f.info.Runtimes)),
		`add it to "runtimes" in the engine's daemon.json`)
}

// Check implements pluginsdk.Provisioner.
func (b *dockerBackend) Check(ctx context.Context) (*backend.CheckReport, error) {
	f, err := b.facts(ctx)
	if err == nil {
		err = b.runtime(f)
	}
	if err != nil {
		return nil, err
	}
	engine := "Docker Engine " + backend.Printable(f.version)
	if !f.local {
		engine += " (another host's)"
	}
	return &backend.CheckReport{
		Engine:   engine,
		Endpoint: b.address.Address,
		Layers: pluginsdk.EngineReport(f.layers(), f.userNamespace(),
			`set "userns-remap": "default" in the engine's daemon.json, or use rootless Docker`),
	}, nil
}

// userNamespace says why root in a container is another user outside, "" if it is
// not.
func (f *facts) userNamespace() string {
	switch {
	case f.rootless:
		return "the engine is rootless"
	case f.userns:
		return "the engine maps root in a container to another user"
	}
	return ""
}
