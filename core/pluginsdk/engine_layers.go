package pluginsdk

import (
	"slices"

	"github.com/deep-sandbox/deep/core/backend"
)

// EngineLayer is one thing a sandbox relies on that an engine, or the kernel
// under it, may be unable to give.
type EngineLayer struct {
	// Name in a report and in accept_degraded.
	Name string
	// Present reports whether the engine says that it can.
	Present bool
	// Detail of what was found, Remedy for one that is not there.
	Detail, Remedy string
}

// EngineWithout are the layers that no container has, for Provisioned.Without: it
// has mounts in the place of Landlock.
func EngineWithout() []string { return []string{backend.NameLandlock} }

// EngineEnforce fails closed: a layer that is missing is an error unless the
// operator named it in accept_degraded; then it is returned as degraded.
func EngineEnforce(layers []EngineLayer, accepted []string) (degraded []string, err error) {
	for _, l := range layers {
		switch {
		case l.Present:
		case slices.Contains(accepted, l.Name):
			degraded = append(degraded, l.Name)
		default:
			hint := "or name " + `"` + l.Name + `"` + " in accept_degraded"
			if l.Remedy != "" {
				hint = l.Remedy + ", " + hint
			}
			return nil, &backend.Error{Kind: backend.ErrUnsupported, Path: l.Name,
				Message: "this layer of isolation cannot be had here: " + l.Detail, Hint: hint}
		}
	}
	return degraded, nil
}

// EngineReport turns layers into those of a CheckReport, followed by what every
// container of deep has whatever the engine, and what is still to come. userns
// says what makes root in a container another user outside; there is no such
// layer here if it is "", and remap is what to do to have one. That is none of
// what a sandbox relies on, so it is never called degraded.
func EngineReport(layers []EngineLayer, userns, remap string) []backend.Layer {
	var report []backend.Layer
	split := "commands run as a user, the guest as another"
	if userns != "" {
		report = append(report, backend.Layer{Name: backend.NameUserNamespace, State: backend.LayerPresent, Detail: userns})
	} else {
		split = "commands run as a user, the guest as root of the engine's host without most capabilities; to have it be nobody there, " + remap
	}
	for _, l := range layers {
		state, remedy := backend.LayerPresent, ""
		if !l.Present {
			state, remedy = backend.LayerMissing, l.Remedy
		}
		report = append(report, backend.Layer{Name: l.Name, State: state, Detail: l.Detail, Remedy: remedy})
	}
	for _, l := range []struct{ name, detail string }{
		{backend.NameUserSplit, split},
		{backend.NameCapabilities, "none for commands"},
		{backend.NameNoNewPrivileges, "setuid programs do not work"},
		{backend.NameNetwork, "none unless asked for"},
		{backend.NameRootFileSystem, "read-only, with sized tmpfs where a program must write"},
	} {
		report = append(report, backend.Layer{Name: l.name, State: backend.LayerPresent, Detail: l.detail})
	}
	for _, l := range []struct{ name, detail string }{
		{backend.NameDiskQuota, "the workspace can fill the engine's disk"},
	} {
		report = append(report, backend.Layer{Name: l.name, State: backend.LayerPlanned, Detail: l.detail})
	}
	return report
}
