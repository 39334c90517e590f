package main

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"os"
	"path"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/volume"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/pluginsdk"
)

const (
	// guestDir is where the container that fills the guest's volume has it.
	guestDir = "/guest"
	// guestWhole is written last: where it is, the rest is whole.
	guestWhole = "whole"
	// fillTimeout is how long another process may take to fill the volume. One
	// that takes longer was killed, and what it left is taken over.
	fillTimeout = 2 * time.Minute
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
		return &backend.Error{Kind: backend.ErrConflict, Path: name, Message: "a volume of this name is there that deep did not make", Hint: "docker volume rm " + name}
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
	_, err = b.api.ContainerStatPath(ctx, filler, path.Join(guestDir, guestWhole))
	switch {
	case err == nil:
		return nil
	case !errdefs.IsNotFound(err):
		return b.failure(err, name)
	}
	if err := b.put(ctx, filler, guestDir, func(w *tar.Writer) error { return writeGuest(w, file) }); err != nil {
		return b.failure(err, name)
	}
	return b.failure(b.put(ctx, filler, guestDir, func(w *tar.Writer) error {
		return w.WriteHeader(&tar.Header{Name: guestWhole, Typeflag: tar.TypeReg, Mode: 0o444, ModTime: time.Now()})
	}), name)
}

// lockGuestVolume makes the container, waiting while another has it.
func (b *dockerBackend) lockGuestVolume(ctx context.Context, img *resolved, name string, labels map[string]string) (string, error) {
	for {
		made, err := b.api.ContainerCreate(ctx,
			&container.Config{Image: img.id, Entrypoint: []string{"/never-started"}, Labels: labels},
			&container.HostConfig{NetworkMode: "none", Mounts: []mount.Mount{{Type: mount.TypeVolume, Source: name, Target: guestDir,
				VolumeOptions: &mount.VolumeOptions{NoCopy: true}}}},
			nil, nil, name+"-fill")
		switch {
		case err == nil:
			return made.ID, nil
		case !errdefs.IsConflict(err):
			return "", b.failure(err, name)
		}
		other, err := b.api.ContainerInspect(ctx, name+"-fill")
		if err == nil {
			created, parseErr := time.Parse(time.RFC3339Nano, other.Created)
			switch {
			case other.Config == nil || other.Config.Labels[pluginsdk.LabelGuest] == "":
				return "", &backend.Error{Kind: backend.ErrConflict, Path: name + "-fill", Message: "a container of this name is there that deep did not make", Hint: "docker rm " + name + "-fill"}
			case parseErr == nil && time.Since(created) > fillTimeout:
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

// writeGuest writes what EngineGuestDir holds: the program, and the directory
// that a tmpfs covers.
func writeGuest(w *tar.Writer, file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	run := &tar.Header{Name: path.Base(pluginsdk.EngineGuestRun) + "/", Typeflag: tar.TypeDir, Mode: 0o700, ModTime: time.Now()}
	if err := w.WriteHeader(run); err != nil {
		return err
	}
	program := &tar.Header{Name: path.Base(pluginsdk.EngineGuestPath), Typeflag: tar.TypeReg, Mode: 0o555, Size: info.Size(), ModTime: time.Now()}
	if err := w.WriteHeader(program); err != nil {
		return err
	}
	_, err = io.CopyN(w, f, info.Size())
	return err
}
