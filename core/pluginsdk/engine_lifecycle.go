package pluginsdk

import (
	"context"
	"errors"
	"maps"
	"sync"

	"github.com/deep-sandbox/deep/core/backend"
)

// labelStopped marks what stands for a sandbox that was stopped: an idle
// container that has the name and labels of the one that ran, and holds on to
// its workspace. The one that ran is gone, as it always is when its guest ends.
const labelStopped = "deep.stopped"

// EngineLifecycle is the part of a Provisioner that is the same on every engine:
// what becomes of sandboxes once they were made. A backend embeds one.
type EngineLifecycle struct {
	objects EngineObjects

	mu sync.Mutex
	// newWorkspaces are the kept workspaces this process made, by sandbox: to be
	// undone also when the container is gone already.
	newWorkspaces map[string]string

	guests engineGuests
}

// NewEngineLifecycle returns one over the objects of an engine.
func NewEngineLifecycle(objects EngineObjects) *EngineLifecycle {
	return &EngineLifecycle{objects: objects, newWorkspaces: map[string]string{}, guests: engineGuests{placed: map[string]bool{}}}
}

// Inspect implements Provisioner.
func (l *EngineLifecycle) Inspect(ctx context.Context, req *backend.InspectRequest) (*backend.SandboxInfo, error) {
	found, err := l.Find(ctx, req.ID)
	if err != nil {
		return nil, err
	}
	if found != nil {
		info := found.info()
		return &info, nil
	}
	left, err := l.volumes(ctx, req.ID)
	switch {
	case err != nil:
		return nil, err
	case len(left) == 0:
		return nil, &backend.Error{Kind: backend.ErrNotFound, Path: req.ID, Message: "no such sandbox"}
	}
	info := left[0].info()
	return &info, nil
}

// List implements Provisioner. A sandbox of which only the workspace is left,
// since somebody else removed its container, is one that was stopped.
func (l *EngineLifecycle) List(ctx context.Context, _ *backend.ListRequest) (*backend.ListSandboxesReply, error) {
	// Before the containers: of one that comes meanwhile both are seen.
	volumes, err := l.volumes(ctx, "")
	if err != nil {
		return nil, err
	}
	list, err := l.objects.Containers(ctx, LabelSandbox)
	if err != nil {
		return nil, err
	}
	reply := &backend.ListSandboxesReply{Sandboxes: make([]backend.SandboxInfo, 0, len(list))}
	seen := map[string]bool{}
	for _, c := range list {
		reply.Sandboxes = append(reply.Sandboxes, c.info())
		seen[c.Labels[LabelSandbox]] = true
	}
	for _, v := range volumes {
		if id := v.Labels[LabelSandbox]; !seen[id] {
			reply.Sandboxes = append(reply.Sandboxes, v.info())
			seen[id] = true
		}
	}
	return reply, nil
}

// Find returns the container of a sandbox, nil if there is none. It is found by
// its labels alone: a name proves nothing.
func (l *EngineLifecycle) Find(ctx context.Context, id string) (*EngineObject, error) {
	list, err := l.objects.Containers(ctx, LabelSandbox+"="+id)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	// While one is being stopped there are two.
	for i := range list {
		if list[i].Labels[labelStopped] == "" {
			return &list[i], nil
		}
	}
	return &list[0], nil
}

// Running is Find for a Connect: ErrGone unless the sandbox runs, ErrUnavailable
// if it is paused.
func (l *EngineLifecycle) Running(ctx context.Context, id string) (*EngineObject, error) {
	found, err := l.Find(ctx, id)
	switch {
	case err != nil:
		return nil, err
	case found != nil && found.info().State == backend.StateRunning:
		return found, nil
	case found != nil && found.info().State == backend.StatePaused:
		return nil, &backend.Error{Kind: backend.ErrUnavailable, Path: id, Message: "the sandbox is paused",
			Hint: "unpause the container " + EngineContainer(id) + " with the engine's own command"}
	}
	return nil, Gone(id)
}

func (c *EngineObject) info() backend.SandboxInfo {
	info := EngineInfo(c.Labels)
	if info.Created.IsZero() {
		info.Created = c.Created
	}
	info.Image = c.Labels[LabelImage]
	info.EngineID = c.EngineID
	info.State = c.State
	if c.Labels[labelStopped] != "" {
		info.State = backend.StateStopped
	}
	return info
}

// refuseForeign is an ErrConflict if there is a container with the name of a
// sandbox that has not its labels.
func (l *EngineLifecycle) refuseForeign(ctx context.Context, id string) error {
	found, err := l.objects.Container(ctx, EngineContainer(id))
	if err != nil || found == nil || found.Labels[LabelSandbox] == id {
		return err
	}
	return engineForeign("container", EngineContainer(id), id)
}

// Stop implements Provisioner. A container removes itself as it ends, its
// workspace with it unless that is kept by name: so an idle one takes over the
// volumes first, and the name afterwards.
func (l *EngineLifecycle) Stop(ctx context.Context, req *backend.StopRequest) error {
	if err := l.refuseForeign(ctx, req.ID); err != nil {
		return err
	}
	found, err := l.Find(ctx, req.ID)
	switch {
	case err != nil:
		return err
	case found == nil:
		_, err := l.Inspect(ctx, &backend.InspectRequest{ID: req.ID})
		return err // nothing runs where only the workspace is left
	case found.Labels[labelStopped] != "":
		return nil // it was stopped before
	}
	outlast, cancel := EngineOutlast(ctx)
	defer cancel()
	found, err = l.objects.Container(outlast, found.EngineID)
	if err != nil || found == nil {
		return err // or it ended by itself meanwhile
	}
	heir := EngineIdle{Image: found.Image, Labels: maps.Clone(found.Labels), Volumes: found.Volumes}
	heir.Labels[labelStopped] = "true"
	heirID, err := l.objects.MakeIdle(outlast, heir)
	if err != nil {
		if still, findErr := l.objects.Container(outlast, found.EngineID); findErr == nil && still == nil {
			return nil
		}
		return err
	}
	if err := l.objects.RemoveContainer(outlast, found.EngineID); err != nil {
		return errors.Join(err, l.objects.RemoveContainer(outlast, heirID))
	}
	return l.objects.RenameContainer(outlast, heirID, EngineContainer(req.ID))
}

// Destroy implements Provisioner.
func (l *EngineLifecycle) Destroy(ctx context.Context, req *backend.DestroyRequest) error {
	if err := l.refuseForeign(ctx, req.ID); err != nil {
		return err
	}
	found, err := l.objects.Containers(ctx, LabelSandbox+"="+req.ID)
	if err != nil {
		return err
	}
	l.mu.Lock()
	workspace := l.newWorkspaces[req.ID]
	l.mu.Unlock()
	for _, c := range found {
		workspace = c.Labels[LabelWorkspace]
		if err := l.objects.RemoveContainer(ctx, c.EngineID); err != nil {
			return err
		}
	}
	if err := l.removeVolumes(ctx, req.ID); err != nil {
		return err
	}
	if workspace != "" && !req.KeepWorkspace {
		if err := l.RemoveWorkspace(ctx, &backend.RemoveWorkspaceRequest{Name: workspace}); err != nil {
			return err
		}
	}
	l.forget(req.ID)
	return nil
}

// RemoveWorkspace implements Provisioner.
func (l *EngineLifecycle) RemoveWorkspace(ctx context.Context, req *backend.RemoveWorkspaceRequest) error {
	name := EngineWorkspace(req.Name)
	labels, found, err := l.objects.VolumeLabels(ctx, name)
	if err != nil || !found {
		return err
	}
	if err := ownWorkspace(req.Name, labels); err != nil {
		return err
	}
	err = l.objects.RemoveVolume(ctx, name)
	if errors.Is(err, backend.ErrConflict) {
		return &backend.Error{Kind: backend.ErrConflict, Path: req.Name, Message: "a sandbox uses this workspace", Hint: "destroy that sandbox first"}
	}
	return err
}

// KeepWorkspace makes the volume of a kept workspace unless it is there, and
// reports whether it did.
func (l *EngineLifecycle) KeepWorkspace(ctx context.Context, req *ProvisionRequest) (made bool, err error) {
	name := req.Spec.Workspace.Name
	outlast, cancel := EngineOutlast(ctx)
	defer cancel()
	labels, err := l.objects.MakeVolume(outlast, EngineWorkspace(name), req.Labels)
	if err != nil {
		return false, err
	}
	if err := ownWorkspace(name, labels); err != nil {
		return false, err
	}
	// It is this request's if it has its labels, the time among them.
	made = engineMade(labels, req.Labels)
	if made {
		l.mu.Lock()
		l.newWorkspaces[req.ID] = name
		l.mu.Unlock()
	}
	return made, nil
}

// forget that the workspace of a sandbox was new.
func (l *EngineLifecycle) forget(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.newWorkspaces, id)
}

// Taken reports, after a container could not be made, whether its name was
// somebody else's.
func (l *EngineLifecycle) Taken(ctx context.Context, req *ProvisionRequest) bool {
	found, err := l.objects.Container(ctx, EngineContainer(req.ID))
	return err == nil && found != nil && !engineMade(found.Labels, req.Labels)
}

// Undo removes what a Provision that failed made: its container, whether or not
// it was heard that there is one, and the kept workspace if that was new. Its
// caller may be gone. It returns why, with what went wrong on top.
func (l *EngineLifecycle) Undo(ctx context.Context, req *ProvisionRequest, newWorkspace bool, why error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), EngineUndo)
	defer cancel()
	// By name only if it is really this request's.
	found, err := l.objects.Container(ctx, EngineContainer(req.ID))
	if err == nil && found != nil && engineMade(found.Labels, req.Labels) {
		err = l.objects.RemoveContainer(ctx, found.EngineID)
	}
	if err == nil && newWorkspace {
		err = l.objects.RemoveVolume(ctx, EngineWorkspace(req.Spec.Workspace.Name))
		l.forget(req.ID)
	}
	if err != nil {
		return errors.Join(why, err)
	}
	return why
}

// EngineExists is the error of a Provision whose container's name is taken.
func EngineExists(id string) error {
	return &backend.Error{Kind: backend.ErrExists, Path: id,
		Message: "a sandbox with this id, or a container named " + EngineContainer(id) + ", exists", Hint: "open it if it runs, destroy it if it is stopped, or use another id"}
}

// ownWorkspace refuses a volume that has the name of a kept workspace and is
// none.
func ownWorkspace(name string, labels map[string]string) error {
	if labels[LabelManaged] == "true" && labels[LabelWorkspace] == name {
		return nil
	}
	return engineForeign("volume", EngineWorkspace(name), name)
}

// engineForeign is the error for what has a name of ours and is not deep's. path
// is what was asked for.
func engineForeign(what, name, path string) error {
	return &backend.Error{Kind: backend.ErrConflict, Path: path,
		Message: "a " + what + " named " + name + " is there that deep did not make",
		Hint:    "it is left alone: use another name, or remove it with the engine's own command"}
}
