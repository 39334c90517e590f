package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/containers/podman/v5/libpod/define"
	"github.com/containers/podman/v5/pkg/bindings/system"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/pluginsdk"
)

// factsAge is how long what an engine said of itself is believed: it can be
// restarted with another configuration.
const factsAge = time.Minute

// facts are what the engine says of itself.
type facts struct {
	info define.Info
	// arch is the engine's, in Go's words.
	arch string
	// local: the engine sees the files of this host.
	local bool
}

// facts asks the engine what it is, at most once in a while.
func (b *podmanBackend) facts(ctx context.Context) (*facts, error) {
	b.mu.Lock()
	known, asked := b.known, b.asked
	b.mu.Unlock()
	if known != nil && time.Since(asked) < factsAge {
		return known, nil
	}
	api, err := b.api(ctx)
	if err != nil {
		return nil, err
	}
	info, err := system.Info(api, nil)
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, b.failure(ctx.Err(), "")
	case err != nil:
		b.disconnect()
		return nil, b.address.Unreachable(err)
	case info.Host == nil || info.Store == nil:
		return nil, b.address.Unreachable(fmt.Errorf("it says nothing of itself"))
	}
	f := &facts{
		info:  *info,
		arch:  pluginsdk.EngineArch(info.Host.OS, info.Host.Arch),
		local: b.address.Socket != "" && !b.config.Remote && pluginsdk.EngineThisHost(info.Host.Hostname),
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.known, b.asked = f, time.Now()
	return f, nil
}

func (f *facts) rootless() bool { return f.info.Host.Security.Rootless }

// layers are those a sandbox relies on and not every engine has.
func (f *facts) layers() []pluginsdk.EngineLayer {
	controllers := f.info.Host.CgroupControllers
	detail := fmt.Sprintf("cgroup %s, controllers %s", f.info.Host.CgroupsVersion, strings.Join(controllers, " "))
	remedy := "boot the engine's host with this controller enabled, for example systemd.unified_cgroup_hierarchy=1"
	if f.rootless() {
		remedy = "let systemd delegate the controller to users, as in user@.service.d: Delegate=cpu cpuset io memory pids"
	}
	return []pluginsdk.EngineLayer{
		{Name: backend.NameMemoryLimit, Present: slices.Contains(controllers, "memory"), Detail: detail, Remedy: remedy},
		{Name: backend.NamePIDsLimit, Present: slices.Contains(controllers, "pids"), Detail: detail, Remedy: remedy},
		{Name: backend.NameCPULimit, Present: slices.Contains(controllers, "cpu"), Detail: detail, Remedy: remedy},
		f.seccomp(),
	}
}

// seccomp is the layer of deep's profile. The service takes one by path; one that
// does not see this host's files gives a container its own, and commands have
// deep's all the same, from the guest.
func (f *facts) seccomp() pluginsdk.EngineLayer {
	l := pluginsdk.EngineSeccomp(f.arch, f.info.Host.Security.SECCOMPEnabled, "the engine says it has none", "use a kernel with CONFIG_SECCOMP and a Podman built with it")
	if l.Present && !f.local {
		l.Detail += " for commands; the guest has the engine's, which takes another by path only"
	}
	return l
}

// Check implements pluginsdk.Provisioner.
func (b *podmanBackend) Check(ctx context.Context) (*backend.CheckReport, error) {
	f, err := b.facts(ctx)
	if err != nil {
		return nil, err
	}
	engine := "Podman " + backend.Printable(f.info.Version.Version)
	if f.rootless() {
		engine += ", rootless"
	}
	if !f.local {
		engine += " (another host's)"
	}
	return &backend.CheckReport{
		Engine:   engine,
		Endpoint: b.address.Address,
		Layers: pluginsdk.EngineReport(f.layers(), f.userNamespace(),
			"use this user's own service: systemctl --user start podman.socket"),
	}, nil
}

// userNamespace says why root in a container is another user outside, "" if it is
// not.
func (f *facts) userNamespace() string {
	if f.rootless() {
		return "the engine is rootless"
	}
	return ""
}
