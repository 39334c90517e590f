package main

import (
	"fmt"
	"runtime"

	"github.com/landlock-lsm/go-landlock/landlock/syscall"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/control"
	"github.com/deep-sandbox/deep/core/pluginsdk"
	"github.com/deep-sandbox/deep/core/pluginsdk/seccomp"
	"github.com/deep-sandbox/deep/plugins/local/internal/jail"
)

// confinement is what commands are put under beside the namespaces, as far as it
// can be had here.
func (b *localBackend) confinement() (layers []pluginsdk.EngineLayer) {
	layers = append(layers, pluginsdk.EngineSeccomp(runtime.GOARCH, true, "", ""))
	landlock := pluginsdk.EngineLayer{Name: backend.NameLandlock,
		Remedy: "use Linux 5.13 or later, booted with landlock among lsm=…"}
	version, err := syscall.LandlockGetABIVersion()
	switch {
	case err != nil:
		landlock.Detail = "the kernel has none: " + err.Error()
	case version < scopesSince:
		landlock.Present = true
		landlock.Detail = fmt.Sprintf("version %d: a second layer for files, without signals and abstract sockets, which take version %d", version, scopesSince)
	default:
		landlock.Present, landlock.Detail = true, fmt.Sprintf("version %d: a second layer for files, signals and abstract sockets", version)
	}
	return append(layers, landlock)
}

// scopesSince is the version of Landlock that can keep signals within a sandbox.
const scopesSince = 6

// confine plans what commands are put under. A layer that cannot be had is an
// error unless the operator can do without.
func (m *making) confine() error {
	layers := m.b.confinement()
	degraded, err := pluginsdk.EngineEnforce(layers, m.req.Spec.AcceptDegraded)
	if err != nil {
		return err
	}
	m.record.Degraded = append(m.record.Degraded, degraded...)
	for _, l := range layers {
		switch {
		case !l.Present:
		case l.Name == backend.NameLandlock && control.Opened(control.Landlock), l.Name == backend.NameSeccomp && control.Opened(control.Seccomp):
		case l.Name == backend.NameLandlock:
			m.confined.Writable = places(m.plan)
		default:
			profile, err := seccomp.Profile(runtime.GOARCH)
			if err != nil {
				return err
			}
			if m.confined.Seccomp, err = seccomp.Program(profile); err != nil {
				return err
			}
		}
	}
	return nil
}

// places are those a program may write to, as the mounts have it. What of
// /proc a user may write, the kernel decides, and of /dev there is little.
func places(plan jail.Plan) []string {
	list := []string{"/dev", "/proc", plan.Workspace}
	for _, t := range plan.Tmpfs {
		list = append(list, t.Target)
	}
	for _, b := range plan.Binds {
		if !b.ReadOnly {
			list = append(list, b.Target)
		}
	}
	return list
}
