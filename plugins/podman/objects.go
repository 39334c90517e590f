package main

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/containers/podman/v5/pkg/bindings/containers"
	"github.com/containers/podman/v5/pkg/bindings/volumes"
	"github.com/containers/podman/v5/pkg/copy"
	"github.com/containers/podman/v5/pkg/domain/entities/types"
	"github.com/containers/podman/v5/pkg/specgen"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/pluginsdk"
)

var _ pluginsdk.EngineObjects = (*podmanBackend)(nil)

// Containers implements pluginsdk.EngineObjects.
func (b *podmanBackend) Containers(ctx context.Context, label string) ([]pluginsdk.EngineObject, error) {
	api, err := b.api(ctx)
	if err != nil {
		return nil, err
	}
	list, err := containers.List(api, new(containers.ListOptions).WithAll(true).WithFilters(map[string][]string{
		"label": {pluginsdk.LabelManaged + "=true", label}}))
	if err != nil {
		return nil, b.failure(err, "")
	}
	objects := make([]pluginsdk.EngineObject, 0, len(list))
	for _, c := range list {
		objects = append(objects, pluginsdk.EngineObject{EngineID: c.ID, Image: c.ImageID, Labels: c.Labels,
			State: stateOf(c.State), Created: c.Created})
	}
	return objects, nil
}

// Container implements pluginsdk.EngineObjects.
func (b *podmanBackend) Container(ctx context.Context, name string) (*pluginsdk.EngineObject, error) {
	api, err := b.api(ctx)
	if err != nil {
		return nil, err
	}
	c, err := containers.Inspect(api, name, nil)
	switch {
	case notFound(err):
		return nil, nil
	case err != nil:
		return nil, b.failure(err, name)
	}
	o := &pluginsdk.EngineObject{EngineID: c.ID, Image: c.Image, Created: c.Created}
	if c.Config != nil {
		o.Labels = c.Config.Labels
	}
	if c.State != nil {
		o.State = stateOf(c.State.Status)
	}
	for _, m := range c.Mounts {
		if m.Type == "volume" {
			o.Volumes = append(o.Volumes, pluginsdk.EngineVolume{Name: m.Name, Target: m.Destination})
		}
	}
	return o, nil
}

func stateOf(state string) backend.SandboxState {
	switch state {
	case "created", "configured", "initialized":
		return backend.StateCreating
	case "running":
		return backend.StateRunning
	case "paused":
		return backend.StatePaused
	}
	return backend.StateStopped // exited, stopped, stopping, removing, unknown
}

// RemoveContainer implements pluginsdk.EngineObjects.
func (b *podmanBackend) RemoveContainer(ctx context.Context, engineID string) error {
	api, err := b.api(ctx)
	if err != nil {
		return err
	}
	for until := time.Now().Add(pluginsdk.EngineUndo); ; {
		_, err := containers.Remove(api, engineID, new(containers.RemoveOptions).WithForce(true).WithVolumes(true).WithTimeout(0))
		switch {
		case notFound(err):
			return nil
		case ctx.Err() != nil && err != nil:
			return b.failure(ctx.Err(), engineID)
		}
		// Its own removal, when it ends by itself, gets in the way of ours with
		// errors of many kinds. What counts is whether it is still there.
		there, existsErr := containers.Exists(api, engineID, nil)
		switch {
		case existsErr != nil:
			return b.failure(errors.Join(existsErr, err), engineID)
		case !there:
			return nil
		case time.Now().After(until):
			return b.failure(errors.Join(errors.New("it is still there"), err), engineID)
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return b.failure(ctx.Err(), engineID)
		}
	}
}

// RenameContainer implements pluginsdk.EngineObjects.
func (b *podmanBackend) RenameContainer(ctx context.Context, engineID, name string) error {
	api, err := b.api(ctx)
	if err != nil {
		return err
	}
	return b.failure(containers.Rename(api, engineID, new(containers.RenameOptions).WithName(name)), name)
}

// MakeIdle implements pluginsdk.EngineObjects.
func (b *podmanBackend) MakeIdle(ctx context.Context, idle pluginsdk.EngineIdle) (string, error) {
	api, err := b.api(ctx)
	if err != nil {
		return "", err
	}
	s := specgen.NewSpecGenerator(idle.Image, false)
	s.Name, s.Labels, s.Entrypoint = idle.Name, idle.Labels, pluginsdk.EngineNeverStarted()
	s.NetNS = specgen.Namespace{NSMode: specgen.NoNetwork}
	s.ImageVolumeMode = "ignore"
	for _, v := range idle.Volumes {
		s.Volumes = append(s.Volumes, volume(v.Name, v.Target, "rw"))
	}
	made, err := containers.CreateWithSpec(api, s, nil)
	if err == nil || idle.Name == "" || status(err) == 0 {
		return made.ID, b.failure(err, idle.Name)
	}
	// The service has no status for a name that is taken, and who had it may have
	// gone since.
	if strings.Contains(err.Error(), "is already in use") {
		return "", &backend.Error{Kind: backend.ErrExists, Path: idle.Name}
	}
	other, inspectErr := b.Container(ctx, idle.Name)
	if inspectErr == nil && other != nil {
		return "", &backend.Error{Kind: backend.ErrExists, Path: idle.Name}
	}
	return "", b.failure(err, idle.Name)
}

// Has implements pluginsdk.EngineObjects.
func (b *podmanBackend) Has(ctx context.Context, engineID, path string) (bool, error) {
	api, err := b.api(ctx)
	if err != nil {
		return false, err
	}
	_, err = containers.Stat(api, engineID, path)
	if errors.Is(err, copy.ErrENOENT) {
		return false, nil
	}
	return err == nil, b.failure(err, engineID)
}

// Put implements pluginsdk.EngineObjects.
func (b *podmanBackend) Put(ctx context.Context, engineID, dir string, write func(*tar.Writer) error) error {
	api, err := b.api(ctx)
	if err != nil {
		return err
	}
	archive := pluginsdk.EnginePack(write)
	defer func() { _ = archive.Close() }()
	copyIn, err := containers.CopyFromArchiveWithOptions(api, engineID, dir, archive, new(containers.CopyOptions).WithChown(false))
	if err == nil {
		err = copyIn()
	}
	if err != nil {
		return b.failure(fmt.Errorf("put files into a container: %w", err), engineID)
	}
	return nil
}

// Volumes implements pluginsdk.EngineObjects. Those without a name of their own,
// which have no labels here, it knows by its records.
func (b *podmanBackend) Volumes(ctx context.Context, label string) ([]pluginsdk.EngineVolume, error) {
	api, err := b.api(ctx)
	if err != nil {
		return nil, err
	}
	// Before the volumes: a record is written when its volume is there.
	records, err := b.records()
	if err != nil {
		return nil, err
	}
	// Without filters: the service takes several labels for alternatives.
	list, err := volumes.List(api, nil)
	if err != nil {
		return nil, b.failure(err, "")
	}
	labels := make(map[string]map[string]string, len(list))
	for _, v := range list {
		labels[v.Name] = v.Labels
	}
	for file, r := range records {
		if _, found := labels[r.Volume]; !found {
			b.forget(file)
			continue
		}
		labels[r.Volume] = r.Labels
	}
	key, value, exact := strings.Cut(label, "=")
	var found []pluginsdk.EngineVolume
	for name, have := range labels {
		got, has := have[key]
		if have[pluginsdk.LabelManaged] == "true" && has && (!exact || got == value) {
			found = append(found, pluginsdk.EngineVolume{Name: name, Labels: have})
		}
	}
	return found, nil
}

// VolumeLabels implements pluginsdk.EngineObjects.
func (b *podmanBackend) VolumeLabels(ctx context.Context, name string) (labels map[string]string, found bool, err error) {
	api, err := b.api(ctx)
	if err != nil {
		return nil, false, err
	}
	v, err := volumes.Inspect(api, name, nil)
	switch {
	case notFound(err):
		return nil, false, nil
	case err != nil:
		return nil, false, b.failure(err, name)
	}
	return v.Labels, true, nil
}

// MakeVolume implements pluginsdk.EngineObjects.
func (b *podmanBackend) MakeVolume(ctx context.Context, name string, labels map[string]string) (map[string]string, error) {
	api, err := b.api(ctx)
	if err != nil {
		return nil, err
	}
	if have, found, err := b.VolumeLabels(ctx, name); err != nil || found {
		return have, err
	}
	made, err := volumes.Create(api, types.VolumeCreateOptions{Name: name, Label: labels}, nil)
	if err == nil {
		return made.Labels, nil
	}
	// Another may have been a moment faster; the service has no status for it.
	if have, found, inspectErr := b.VolumeLabels(ctx, name); inspectErr == nil && found {
		return have, nil
	}
	return nil, b.failure(err, name)
}

// RemoveVolume implements pluginsdk.EngineObjects.
func (b *podmanBackend) RemoveVolume(ctx context.Context, name string) error {
	api, err := b.api(ctx)
	if err != nil {
		return err
	}
	if err := volumes.Remove(api, name, nil); !notFound(err) {
		return b.failure(err, name)
	}
	return nil
}
