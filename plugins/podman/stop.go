package main

import (
	"context"
	"errors"
	"maps"

	"github.com/containers/podman/v5/pkg/bindings/containers"
	"github.com/containers/podman/v5/pkg/domain/entities/types"
	"github.com/containers/podman/v5/pkg/specgen"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/pluginsdk"
)

// Stop implements pluginsdk.Provisioner. A container removes itself as it ends,
// its workspace with it unless that is kept by name: so another one that is
// never started takes over the volumes first, and the name afterwards.
func (b *podmanBackend) Stop(ctx context.Context, req *backend.StopRequest) error {
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
	api, err := b.api(ctx)
	if err != nil {
		return err
	}
	outlast, cancel := pluginsdk.EngineOutlast(api)
	defer cancel()
	heir, err := b.makeHeir(outlast, found)
	if err != nil {
		if there, existsErr := containers.Exists(outlast, found.ID, nil); existsErr == nil && !there {
			return nil // it ended by itself meanwhile
		}
		return b.failure(err, req.ID)
	}
	if err := b.remove(outlast, found.ID, req.ID); err != nil {
		return errors.Join(err, b.remove(outlast, heir, req.ID))
	}
	rename := new(containers.RenameOptions).WithName(pluginsdk.EngineContainer(req.ID))
	return b.failure(containers.Rename(outlast, heir, rename), req.ID)
}

// makeHeir makes the container that holds the volumes of another.
func (b *podmanBackend) makeHeir(api context.Context, of *types.ListContainer) (string, error) {
	labels := maps.Clone(of.Labels)
	labels[pluginsdk.LabelStopped] = "true"
	s := specgen.NewSpecGenerator(of.ImageID, false)
	s.Entrypoint, s.Labels = pluginsdk.EngineNeverStarted(), labels
	s.NetNS = specgen.Namespace{NSMode: specgen.NoNetwork}
	s.ImageVolumeMode = "ignore"
	s.VolumesFrom = []string{of.ID}
	made, err := containers.CreateWithSpec(api, s, nil)
	return made.ID, err
}
