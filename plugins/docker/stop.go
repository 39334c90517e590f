package main

import (
	"context"
	"errors"
	"maps"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/pluginsdk"
)

// Stop implements pluginsdk.Provisioner. A container removes itself as it ends,
// its workspace with it unless that is kept by name: so another one that is
// never started takes over the volumes first, and the name afterwards.
func (b *dockerBackend) Stop(ctx context.Context, req *backend.StopRequest) error {
	if err := b.refuseForeign(ctx, req.ID); err != nil {
		return err
	}
	found, err := b.find(ctx, req.ID)
	switch {
	case err != nil:
		return err
	case found == nil:
		return pluginsdk.EngineNoSandbox(req.ID)
	case found.Labels[pluginsdk.LabelStopped] != "":
		return nil // it was stopped before
	}
	outlast, cancel := pluginsdk.EngineOutlast(ctx)
	defer cancel()
	heir, err := b.makeHeir(outlast, found)
	switch {
	case errdefs.IsNotFound(err):
		return nil // it ended by itself meanwhile
	case err != nil:
		return b.failure(err, req.ID)
	}
	if err := b.remove(outlast, found.ID, req.ID); err != nil {
		return errors.Join(err, b.remove(outlast, heir, req.ID))
	}
	return b.failure(b.api.ContainerRename(outlast, heir, pluginsdk.EngineContainer(req.ID)), req.ID)
}

// makeHeir makes the container that holds the volumes of another. By name: what
// it gets by VolumesFrom goes with the other.
func (b *dockerBackend) makeHeir(ctx context.Context, of *container.Summary) (string, error) {
	labels := maps.Clone(of.Labels)
	labels[pluginsdk.LabelStopped] = "true"
	var mounts []mount.Mount
	for _, m := range of.Mounts {
		if m.Type == mount.TypeVolume {
			mounts = append(mounts, mount.Mount{Type: mount.TypeVolume, Source: m.Name, Target: m.Destination, VolumeOptions: &mount.VolumeOptions{NoCopy: true}})
		}
	}
	made, err := b.api.ContainerCreate(ctx,
		&container.Config{Image: of.ImageID, Entrypoint: pluginsdk.EngineNeverStarted(), Labels: labels},
		&container.HostConfig{NetworkMode: "none", Mounts: mounts}, nil, nil, "")
	return made.ID, err
}

// removeInherited removes the workspace that an heir held by its random name,
// which the engine no longer takes for anonymous. A kept one is not of that kind.
func (b *dockerBackend) removeInherited(ctx context.Context, heir *container.Summary, id string) error {
	if heir.Labels[pluginsdk.LabelStopped] == "" || heir.Labels[pluginsdk.LabelWorkspace] != "" {
		return nil
	}
	for _, m := range heir.Mounts {
		if m.Type != mount.TypeVolume {
			continue
		}
		v, err := b.api.VolumeInspect(ctx, m.Name)
		switch {
		case errdefs.IsNotFound(err):
			continue
		case err != nil:
			return b.failure(err, id)
		case v.Labels[pluginsdk.LabelSandbox] != id:
			continue // the guest's
		}
		if err := b.api.VolumeRemove(ctx, m.Name, false); err != nil && !errdefs.IsNotFound(err) {
			return b.failure(err, id)
		}
	}
	return nil
}
