package main

import (
	"archive/tar"
	"context"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/mount"
	volumetypes "github.com/docker/docker/api/types/volume"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/pluginsdk"
)

var _ pluginsdk.EngineObjects = (*dockerBackend)(nil)

// Containers implements pluginsdk.EngineObjects.
func (b *dockerBackend) Containers(ctx context.Context, label string) ([]pluginsdk.EngineObject, error) {
	list, err := b.api.ContainerList(ctx, container.ListOptions{All: true, Filters: filters.NewArgs(
		filters.Arg("label", pluginsdk.LabelManaged+"=true"), filters.Arg("label", label))})
	switch {
	case errdefs.IsNotFound(err):
		return nil, b.address.Unreachable(err) // every engine has a list
	case err != nil:
		return nil, b.failure(err, "")
	}
	objects := make([]pluginsdk.EngineObject, 0, len(list))
	for _, c := range list {
		objects = append(objects, pluginsdk.EngineObject{EngineID: c.ID, Image: c.ImageID, Labels: c.Labels,
			State: stateOf(c.State), Created: time.Unix(c.Created, 0), Volumes: volumesOf(c.Mounts)})
	}
	return objects, nil
}

// Container implements pluginsdk.EngineObjects.
func (b *dockerBackend) Container(ctx context.Context, name string) (*pluginsdk.EngineObject, error) {
	c, err := b.api.ContainerInspect(ctx, name)
	switch {
	case errdefs.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, b.failure(err, name)
	}
	o := &pluginsdk.EngineObject{EngineID: c.ID, Image: c.Image, Volumes: volumesOf(c.Mounts)}
	if c.Config != nil {
		o.Labels = c.Config.Labels
	}
	if c.State != nil {
		o.State = stateOf(c.State.Status)
	}
	if o.Created, err = time.Parse(time.RFC3339Nano, c.Created); err != nil {
		return nil, b.failure(err, name)
	}
	return o, nil
}

func volumesOf(mounts []container.MountPoint) []pluginsdk.EngineVolume {
	var volumes []pluginsdk.EngineVolume
	for _, m := range mounts {
		if m.Type == mount.TypeVolume {
			volumes = append(volumes, pluginsdk.EngineVolume{Name: m.Name, Target: m.Destination})
		}
	}
	return volumes
}

func stateOf(state container.ContainerState) backend.SandboxState {
	switch state {
	case container.StateCreated:
		return backend.StateCreating
	case container.StateRunning, container.StateRestarting:
		return backend.StateRunning
	case container.StatePaused:
		return backend.StatePaused
	}
	return backend.StateStopped // exited, dead, removing
}

// RemoveContainer implements pluginsdk.EngineObjects.
func (b *dockerBackend) RemoveContainer(ctx context.Context, engineID string) error {
	err := b.api.ContainerRemove(ctx, engineID, container.RemoveOptions{Force: true, RemoveVolumes: true})
	switch {
	case errdefs.IsNotFound(err):
		return nil
	case !errdefs.IsConflict(err):
		return b.failure(err, engineID)
	}
	// Its removal is under way: it ended by itself, or somebody else was first.
	for until := time.Now().Add(pluginsdk.EngineUndo); ; {
		still, inspectErr := b.Container(ctx, engineID)
		switch {
		case inspectErr != nil || still == nil:
			return inspectErr
		case time.Now().After(until):
			return b.failure(err, engineID)
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return b.failure(ctx.Err(), engineID)
		}
	}
}

// RenameContainer implements pluginsdk.EngineObjects.
func (b *dockerBackend) RenameContainer(ctx context.Context, engineID, name string) error {
	return b.failure(b.api.ContainerRename(ctx, engineID, name), name)
}

// MakeIdle implements pluginsdk.EngineObjects.
func (b *dockerBackend) MakeIdle(ctx context.Context, idle pluginsdk.EngineIdle) (string, error) {
	var mounts []mount.Mount
	for _, v := range idle.Volumes {
		mounts = append(mounts, volume(v.Name, v.Target))
	}
	made, err := b.api.ContainerCreate(ctx,
		&container.Config{Image: idle.Image, Entrypoint: pluginsdk.EngineNeverStarted(), Labels: idle.Labels},
		&container.HostConfig{NetworkMode: "none", Mounts: mounts}, nil, nil, idle.Name)
	if errdefs.IsConflict(err) {
		return "", &backend.Error{Kind: backend.ErrExists, Path: idle.Name}
	}
	return made.ID, b.failure(err, idle.Name)
}

// Has implements pluginsdk.EngineObjects.
func (b *dockerBackend) Has(ctx context.Context, engineID, path string) (bool, error) {
	_, err := b.api.ContainerStatPath(ctx, engineID, path)
	if errdefs.IsNotFound(err) {
		return false, nil
	}
	return err == nil, b.failure(err, engineID)
}

// Put implements pluginsdk.EngineObjects.
func (b *dockerBackend) Put(ctx context.Context, engineID, dir string, write func(*tar.Writer) error) error {
	archive := pluginsdk.EnginePack(write)
	defer func() { _ = archive.Close() }()
	return b.failure(b.api.CopyToContainer(ctx, engineID, dir, archive, container.CopyToContainerOptions{}), engineID)
}

// Volumes implements pluginsdk.EngineObjects.
func (b *dockerBackend) Volumes(ctx context.Context, label string) ([]pluginsdk.EngineVolume, error) {
	list, err := b.api.VolumeList(ctx, volumetypes.ListOptions{Filters: filters.NewArgs(
		filters.Arg("label", pluginsdk.LabelManaged+"=true"), filters.Arg("label", label))})
	if err != nil {
		return nil, b.failure(err, "")
	}
	found := make([]pluginsdk.EngineVolume, 0, len(list.Volumes))
	for _, v := range list.Volumes {
		found = append(found, pluginsdk.EngineVolume{Name: v.Name, Labels: v.Labels})
	}
	return found, nil
}

// VolumeLabels implements pluginsdk.EngineObjects.
func (b *dockerBackend) VolumeLabels(ctx context.Context, name string) (labels map[string]string, found bool, err error) {
	v, err := b.api.VolumeInspect(ctx, name)
	if errdefs.IsNotFound(err) {
		return nil, false, nil
	}
	return v.Labels, err == nil, b.failure(err, name)
}

// MakeVolume implements pluginsdk.EngineObjects.
func (b *dockerBackend) MakeVolume(ctx context.Context, name string, labels map[string]string) (map[string]string, error) {
	v, err := b.api.VolumeCreate(ctx, volumetypes.CreateOptions{Name: name, Labels: labels})
	return v.Labels, b.failure(err, name)
}

// RemoveVolume implements pluginsdk.EngineObjects.
func (b *dockerBackend) RemoveVolume(ctx context.Context, name string) error {
	err := b.api.VolumeRemove(ctx, name, false)
	if errdefs.IsNotFound(err) {
		return nil
	}
	return b.failure(err, name)
}
