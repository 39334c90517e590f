package pluginsdk

import (
	"maps"

	"github.com/deep-sandbox/deep/core/backend"
)

// EngineExists is the error of a Provision whose container's name is taken.
func EngineExists(id string) error {
	return &backend.Error{Kind: backend.ErrExists, Path: id,
		Message: "a sandbox with this id, or a container named " + EngineContainer(id) + ", exists", Hint: "open it, or use another id"}
}

// EngineForeign is the error of a call that would touch a container with the
// name of a sandbox that deep did not make.
func EngineForeign(id string) error {
	return &backend.Error{Kind: backend.ErrConflict, Path: id,
		Message: "a container named " + EngineContainer(id) + " is there that deep did not make",
		Hint:    "it is left alone; use another id"}
}

// EngineStopped is the error of a Connect to a container that does not run.
func EngineStopped(id string) error {
	return &backend.Error{Kind: backend.ErrGone, Path: id, Message: "its container does not run"}
}

// EnginePaused is the error of a Connect to a container that is paused. tool is
// the engine's command.
func EnginePaused(id, tool string) error {
	return &backend.Error{Kind: backend.ErrUnavailable, Path: id, Message: "the sandbox is paused",
		Hint: tool + " unpause " + EngineContainer(id)}
}

// EngineNoSandbox is the error of an Inspect that found nothing.
func EngineNoSandbox(id string) error {
	return &backend.Error{Kind: backend.ErrNotFound, Path: id, Message: "no such sandbox"}
}

// EngineOwnWorkspace refuses a volume that has the name of a kept workspace and
// is none.
func EngineOwnWorkspace(name string, labels map[string]string) error {
	if labels[LabelManaged] == "true" && labels[LabelWorkspace] == name {
		return nil
	}
	return &backend.Error{Kind: backend.ErrConflict, Path: name,
		Message: "a volume named " + EngineWorkspace(name) + " is there that deep did not make",
		Hint:    "it is left alone; use another name"}
}

// EngineWorkspaceUsed is the error of removing a workspace that a sandbox uses.
func EngineWorkspaceUsed(name string) error {
	return &backend.Error{Kind: backend.ErrConflict, Path: name, Message: "a sandbox uses this workspace", Hint: "destroy that sandbox first"}
}

// EngineMade reports whether what has these labels was made for this very
// request: its owner and its time are among them.
func EngineMade(labels, request map[string]string) bool {
	ours := maps.Clone(labels)
	maps.DeleteFunc(ours, func(k, _ string) bool { _, ok := request[k]; return !ok })
	return maps.Equal(ours, request)
}

// EngineBindable refuses a directory of this host where the engine does not see
// it (local), or sees other owners (mapped). field is where it was asked for.
func EngineBindable(field, address string, local, mapped bool) error {
	e := &backend.Error{Kind: backend.ErrUnsupported, Path: field, Hint: "leave it out: the sandbox gets a workspace of its own"}
	switch {
	case !local:
		e.Message = "the engine at " + backend.Printable(address) + " does not see the directories of this host"
	case mapped:
		e.Message = "the engine maps users, and a directory of this host would belong to nobody in the sandbox"
	default:
		return nil
	}
	return e
}
