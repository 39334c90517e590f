package main

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"time"

	"github.com/containers/podman/v5/pkg/bindings/containers"
	"github.com/containers/podman/v5/pkg/bindings/volumes"
	"github.com/containers/podman/v5/pkg/copy"
	"github.com/containers/podman/v5/pkg/domain/entities/types"
	"github.com/containers/podman/v5/pkg/specgen"
	spec "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/pluginsdk"
)

// placeGuest adds the guest's program to a container made from img: a bind of the
// file when the engine sees it, else a volume that holds it. Both are read-only.
func (b *podmanBackend) placeGuest(ctx context.Context, f *facts, img *resolved, req *pluginsdk.ProvisionRequest, p *plan) error {
	file, err := req.Guest.Path(img.arch)
	if err != nil {
		return err
	}
	// With SELinux a bound file has a label that a container may not execute.
	if f.local && !f.info.Host.Security.SELinuxEnabled {
		p.mounts = append(p.mounts, spec.Mount{Type: "bind", Source: file, Destination: pluginsdk.EngineGuestPath,
			Options: []string{"ro", "nosuid", "nodev", "rprivate"}})
		return nil
	}
	sum, err := req.Guest.SHA256(img.arch)
	if err != nil {
		return err
	}
	name := pluginsdk.EngineGuestVolume(sum)
	b.placing.Lock()
	defer b.placing.Unlock()
	if !b.placed[name] {
		req.Progress(backend.Progress{Phase: backend.PhasePlace, Message: "placing the guest with the engine"})
		if err := b.fillGuestVolume(ctx, img, name, file, sum); err != nil {
			return err
		}
		b.placed[name] = true
	}
	p.volumes = append(p.volumes, &specgen.NamedVolume{Name: name, Dest: pluginsdk.EngineGuestDir,
		Options: []string{"ro", "nosuid", "nodev", "nocopy"}})
	return nil
}

// fillGuestVolume makes sure that the volume holds the guest. The container it
// is done through is never started; its name is the lock that keeps others, on
// whatever host, from filling the same volume, or using it half full.
func (b *podmanBackend) fillGuestVolume(ctx context.Context, img *resolved, name, file, sum string) error {
	api, err := b.api(ctx)
	if err != nil {
		return err
	}
	labels := map[string]string{pluginsdk.LabelManaged: "true", pluginsdk.LabelGuest: sum}
	made, err := b.makeVolume(api, types.VolumeCreateOptions{Name: name, Label: labels})
	if err != nil {
		return b.failure(err, name)
	}
	if made.Labels[pluginsdk.LabelGuest] != sum {
		return pluginsdk.EngineForeignObject("volume", name, "podman volume rm "+name)
	}
	filler, err := b.lockGuestVolume(api, img, name, labels)
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
	_, err = containers.Stat(api, filler, path.Join(pluginsdk.EngineFillDir, pluginsdk.EngineFillWhole))
	switch {
	case err == nil:
		return nil
	case !errors.Is(err, copy.ErrENOENT):
		return b.failure(err, name)
	}
	if err := b.put(api, filler, pluginsdk.EngineFillDir, pluginsdk.EngineFill(file)); err != nil {
		return b.failure(err, name)
	}
	return b.failure(b.put(api, filler, pluginsdk.EngineFillDir, pluginsdk.EngineFilled), name)
}

// lockGuestVolume makes the container, waiting while another has it.
func (b *podmanBackend) lockGuestVolume(api context.Context, img *resolved, name string, labels map[string]string) (string, error) {
	lock := name + "-fill"
	outlast, cancel := pluginsdk.EngineOutlast(api)
	defer cancel()
	for missed := 0; ; {
		s := specgen.NewSpecGenerator(img.id, false)
		s.Name, s.Labels, s.Entrypoint = lock, labels, pluginsdk.EngineNeverStarted()
		s.NetNS = specgen.Namespace{NSMode: specgen.NoNetwork}
		s.Volumes = []*specgen.NamedVolume{{Name: name, Dest: pluginsdk.EngineFillDir, Options: []string{"nocopy"}}}
		made, err := containers.CreateWithSpec(outlast, s, nil)
		if err == nil {
			return made.ID, nil
		}
		other, inspectErr := containers.Inspect(api, lock, nil)
		switch {
		case notFound(inspectErr) && missed > 3:
			return "", b.failure(err, name) // the name is not the reason
		case notFound(inspectErr):
			missed++ // or it went a moment ago
		case inspectErr != nil:
			return "", b.failure(errors.Join(inspectErr, err), name)
		case other.Config == nil || other.Config.Labels[pluginsdk.LabelGuest] == "":
			return "", pluginsdk.EngineForeignObject("container", lock, "podman rm "+lock)
		case time.Since(other.Created) > pluginsdk.EngineFillTimeout:
			if err := b.remove(api, other.ID, name); err != nil {
				return "", err
			}
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-api.Done():
			return "", b.failure(api.Err(), name)
		}
	}
}

// makeVolume makes a volume, or returns the one that has its name.
func (b *podmanBackend) makeVolume(api context.Context, opts types.VolumeCreateOptions) (*types.VolumeConfigResponse, error) {
	found, err := volumes.Inspect(api, opts.Name, nil)
	if !notFound(err) {
		return found, err
	}
	made, err := volumes.Create(api, opts, nil)
	if err == nil {
		return made, nil
	}
	// Another may have been a moment faster; the service has no status for it.
	if found, inspectErr := volumes.Inspect(api, opts.Name, nil); inspectErr == nil {
		return found, nil
	}
	return nil, err
}

// put unpacks what write makes into a directory of a container that was never
// started, with the owners that the archive names.
func (b *podmanBackend) put(api context.Context, engineID, dir string, write func(*tar.Writer) error) error {
	r, w := io.Pipe()
	go func() {
		t := tar.NewWriter(w)
		_ = w.CloseWithError(errors.Join(write(t), t.Close())) // the reader gets it
	}()
	defer func() { _ = r.Close() }()
	copyIn, err := containers.CopyFromArchiveWithOptions(api, engineID, dir, r, new(containers.CopyOptions).WithChown(false))
	if err != nil {
		return err
	}
	if err := copyIn(); err != nil {
		return fmt.Errorf("put files into a container: %w", err)
	}
	return nil
}
