package pluginsdk

import (
	"context"
	"errors"
	"time"

	"github.com/deep-sandbox/deep/core/backend"
)

// volumeRelease is how long an engine may say that a volume is in use whose
// container it has just removed.
const volumeRelease = 5 * time.Second

// volumes returns those that are the own workspace of a sandbox, of any if id is
// "". As a rule such a volume goes with its container; it is left when somebody
// else removed the container and not its volumes.
func (l *EngineLifecycle) volumes(ctx context.Context, id string) ([]EngineVolume, error) {
	label := LabelSandbox
	if id != "" {
		label += "=" + id
	}
	list, err := l.objects.Volumes(ctx, label)
	if err != nil {
		return nil, err
	}
	var own []EngineVolume
	for _, v := range list {
		if v.Labels[LabelWorkspace] == "" { // else it is kept for the next sandbox
			own = append(own, v)
		}
	}
	return own, nil
}

// info tells of a sandbox what its workspace alone can tell.
func (v *EngineVolume) info() backend.SandboxInfo {
	info := EngineInfo(v.Labels)
	info.State = backend.StateStopped
	info.EngineID = v.Name
	return info
}

// removeVolumes removes what is left of a sandbox whose containers are gone: also
// a volume that an idle container held by its random name, which the engine may no
// longer take for anonymous.
func (l *EngineLifecycle) removeVolumes(ctx context.Context, id string) error {
	left, err := l.volumes(ctx, id)
	if err != nil {
		return err
	}
	for _, v := range left {
		if err := l.removeVolume(ctx, id, v.Name); err != nil {
			return err
		}
	}
	return nil
}

func (l *EngineLifecycle) removeVolume(ctx context.Context, id, name string) error {
	for until := time.Now().Add(volumeRelease); ; {
		err := l.objects.RemoveVolume(ctx, name)
		switch {
		case !errors.Is(err, backend.ErrConflict):
			return err
		case time.Now().After(until):
			return &backend.Error{Kind: backend.ErrConflict, Path: id,
				Message: "another container uses the volume " + backend.Printable(name) + " of this sandbox",
				Hint:    "remove that container with the engine's own command, and destroy the sandbox again", Err: err}
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return ctxError(ctx)
		}
	}
}
