package main

import (
	"context"
	"errors"
	"runtime"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/plugins/local/internal/jail"
)

// splitRemedy says how an ordinary user gets ids apart from their own.
const splitRemedy = "install newuidmap (package uidmap) and add yourself with 65536 ids to /etc/subuid and /etc/subgid"

// limitsRemedy says how an ordinary user gets a cgroup.
const limitsRemedy = "run deep below a cgroup that is delegated to you, as in `systemd-run --user --scope -p Delegate=yes deep …`, or as root"

// Check implements pluginsdk.Provisioner.
func (b *localBackend) Check(ctx context.Context) (*backend.CheckReport, error) {
	if err := ctxError(ctx, ""); err != nil {
		return nil, err
	}
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		return nil, failure(err, "")
	}
	h, err := findHierarchies()
	if err != nil {
		return nil, failure(err, "")
	}
	report := &backend.CheckReport{
		Engine:   "Linux " + unix.ByteSliceToString(uts.Release[:]) + " " + runtime.GOARCH,
		Endpoint: "this machine",
	}
	_, missing := h.cgroupsFor("check", backend.Spec{})
	report.Layers = append(b.checkNamespaces(), h.limits(missing)...)
	for _, l := range []struct{ name, detail string }{
		{backend.NameNetwork, "none but loopback unless asked for"},
		{backend.NameCapabilities, "none for commands; for the guest those to become their user and to kill"},
		{backend.NameNoNewPrivileges, "setuid programs do not work"},
		{backend.NameRootFileSystem, "read-only: system directories of this host, an /etc of its own; sized tmpfs where a program must write"},
		{backend.NameResourceLimits, "open files 4096, file size 2 GiB, no core dumps, processes"},
	} {
		report.Layers = append(report.Layers, backend.Layer{Name: l.name, State: backend.LayerPresent, Detail: l.detail})
	}
	for _, l := range b.confinement() {
		layer := backend.Layer{Name: l.Name, State: backend.LayerPresent, Detail: l.Detail}
		if !l.Present {
			layer.State, layer.Remedy = backend.LayerMissing, l.Remedy
		}
		report.Layers = append(report.Layers, layer)
	}
	for _, l := range []struct{ name, detail string }{
		{backend.NameDiskQuota, "the workspace can fill this host's disk"},
	} {
		report.Layers = append(report.Layers, backend.Layer{Name: l.name, State: backend.LayerPlanned, Detail: l.detail})
	}
	return report, nil
}

// checkNamespaces makes namespaces as those of a sandbox, and lets go of them.
func (b *localBackend) checkNamespaces() []backend.Layer {
	const what = "user, mount, PID, IPC, UTS, cgroup and network"
	ids, reason, err := b.ids.choose("check", nil)
	if err == nil {
		err = asError(jail.Probe(ids), "")
	}
	if err != nil {
		missing := backend.Layer{Name: backend.NameNamespaces, State: backend.LayerMissing, Detail: err.Error(), Remedy: backend.HintOf(err)}
		var e *backend.Error
		if errors.As(err, &e) {
			missing.Detail = e.Message
		}
		return []backend.Layer{missing, {Name: backend.NameUserSplit, State: backend.LayerMissing, Detail: "there is none without a user namespace"}}
	}
	split := backend.Layer{Name: backend.NameUserSplit, State: backend.LayerPresent}
	switch ids.Mode {
	case jail.MapRoot:
		split.Detail = "each sandbox has ids that nobody else has on this host; root inside is not root outside"
	case jail.MapSub:
		split.Detail = "commands have your uid, the guest a subordinate one"
	default:
		split.State, split.Remedy = backend.LayerDegraded, splitRemedy
		split.Detail = "guest and commands share your uid and groups, and each command gets a PID namespace: " + reason
	}
	return []backend.Layer{{Name: backend.NameNamespaces, State: backend.LayerPresent, Detail: what}, split}
}

// limits tells which limits cgroups can set, without those controllers that are
// missing.
func (h hierarchies) limits(missing []string) []backend.Layer {
	var layers []backend.Layer
	add := func(controller, layer, without string) {
		l := backend.Layer{Name: layer, State: backend.LayerPresent, Detail: "cgroup v2"}
		if _, ok := h.v1[controller]; ok {
			l.Detail = "cgroup v1"
		}
		if slices.Contains(missing, controller) {
			l.State, l.Detail, l.Remedy = backend.LayerDegraded, "no cgroup can be made here", limitsRemedy
		} else if without != "" {
			l.State, l.Detail, l.Remedy = backend.LayerDegraded, without, "boot with swapaccount=1"
		}
		layers = append(layers, l)
	}
	for _, c := range controllers {
		add(c.name, c.layer, "")
		if c.name == "memory" {
			without := ""
			if !h.countsSwap() {
				without = "this kernel does not count swap"
			}
			add(c.name, backend.NameSwapLimit, without)
		}
	}
	return layers
}
