package main

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"path"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/volume"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/pluginsdk"
)

// placeGuest returns how the guest's program gets into a container made from
// img: a bind of the file when the engine sees it, else a volume that holds it.
// Both are read-only.
func (b *dockerBackend) placeGuest(ctx context.Context, f *facts, img *resolved, req *pluginsdk.ProvisionRequest) (mount.Mount, error) {
	file, err := req.Guest.Path(img.arch)
	if err != nil {
		return mount.Mount{}, err
	}
	// With SELinux a bound file has a label that a container may not execute.
	if f.local && !f.selinux {
		return mount.Mount{Type: mount.TypeBind, Source: file, Target: pluginsdk.EngineGuestPath, ReadOnly: true}, nil
	}
	sum, err := req.Guest.SHA256(img.arch)
	if err != nil {
		return mount.Mount{}, err
	}
	name := pluginsdk.EngineGuestVolume(sum)
	b.placing.Lock()
	defer b.placing.Unlock()
	if !b.placed[name] {
		req.Progress(backend.Progress{Phase: backend.PhasePlace, Message: "placing the guest with the engine"})
		if err := b.fillGuestVolume(ctx, img, name, file, sum); err != nil {
			return mount.Mount{}, err
		}
		b.placed[name] = true
	}
	return mount.Mount{Type: mount.TypeVolume, Source: name, Target: pluginsdk.EngineGuestDir, ReadOnly: true,
		VolumeOptions: &mount.VolumeOptions{NoCopy: true}}, nil
}

// fillGuestVolume makes sure that the volume holds the guest. The container it
// is done through is never started; its name is the lock that keeps others, on
// whatever host, from filling the same volume, or using it half full.
func (b *dockerBackend) fillGuestVolume(ctx context.Context, img *resolved, name, file, sum string) error {
	labels := map[string]string{pluginsdk.LabelManaged: "true", pluginsdk.LabelGuest: sum}
	made, err := b.api.VolumeCreate(ctx, volume.CreateOptions{Name: name, Labels: labels})
	if err != nil {
		return b.failure(err, name)
	}
	if made.Labels[pluginsdk.LabelGuest] != sum {
		return pluginsdk.EngineForeignObject("volume", name, "docker volume rm "+name)
	}
	filler, err := b.lockGuestVolume(ctx, img, name, labels)
	if err != nil {
		return err
	}
	defer func() {
		undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), pluginsdk.EngineUndo)
		defer cancel()
		if err := b.remove(undo, filler, name); err != nil {
			b.env.Log.Warn("cannot remove the container the guest was placed through", "container", filler, "error", err)
		}
	}()
	_, err = b.api.ContainerStatPath(ctx, filler, path.Join(pluginsdk.EngineFillDir, pluginsdk.EngineFillWhole))
	switch {
	case err == nil:
		return nil
	case !errdefs.IsNotFound(err):
		return b.failure(err, name)
	}
	if err := b.put(ctx, filler, pluginsdk.EngineFillDir, pluginsdk.EngineFill(file)); err != nil {
		return b.failure(err, name)
	}
	return b.failure(b.put(ctx, filler, pluginsdk.EngineFillDir, pluginsdk.EngineFilled), name)
}

// lockGuestVolume makes the container, waiting while another has it.
func (b *dockerBackend) lockGuestVolume(ctx context.Context, img *resolved, name string, labels map[string]string) (string, error) {
	lock := name + "-fill"
	outlast, cancel := pluginsdk.EngineOutlast(ctx)
	defer cancel()
	for {
		made, err := b.api.ContainerCreate(outlast,
			&container.Config{Image: img.id, Entrypoint: pluginsdk.EngineNeverStarted(), Labels: labels},
			&container.HostConfig{NetworkMode: "none", Mounts: []mount.Mount{{Type: mount.TypeVolume, Source: name, Target: pluginsdk.EngineFillDir,
				VolumeOptions: &mount.VolumeOptions{NoCopy: true}}}},
			nil, nil, lock)
		switch {
		case err == nil:
			return made.ID, nil
		case !errdefs.IsConflict(err):
			return "", b.failure(err, name)
		}
		other, err := b.api.ContainerInspect(ctx, lock)
		if err == nil {
			created, parseErr := time.Parse(time.RFC3339Nano, other.Created)
			switch {
			case other.Config == nil || other.Config.Labels[pluginsdk.LabelGuest] == "":
				return "", pluginsdk.EngineForeignObject("container", lock, "docker rm "+lock)
			case parseErr == nil && time.Since(created) > pluginsdk.EngineFillTimeout:
				if err := b.remove(ctx, other.ID, name); err != nil {
					return "", err
				}
			}
		} else if !errdefs.IsNotFound(err) {
			return "", b.failure(err, name)
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return "", b.failure(ctx.Err(), name)
		}
	}
}

// put unpacks what write makes into a directory of a container that was never
// started.
func (b *dockerBackend) put(ctx context.Context, engineID, dir string, write func(*tar.Writer) error) error {
	r, w := io.Pipe()
	go func() {
		t := tar.NewWriter(w)
		_ = w.CloseWithError(errors.Join(write(t), t.Close())) // the reader gets it
	}()
	err := b.api.CopyToContainer(ctx, engineID, dir, r, container.CopyToContainerOptions{})
	_ = r.Close()
	return err
}
