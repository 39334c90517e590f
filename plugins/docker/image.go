package main

import (
	"context"
	"io"

	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/pluginsdk"
)

// resolved is an image the engine has.
type resolved struct {
	// id is the content: what a tag means can change between two calls.
	id string
	// arch of its programs, in Go's words.
	arch string
	// volumes it declares.
	volumes []string
}

// resolve returns the image of a sandbox, pulling it as policy says.
func (b *dockerBackend) resolve(ctx context.Context, f *facts, spec backend.Spec, progress func(backend.Progress)) (*resolved, error) {
	if _, err := reference.ParseAnyReference(spec.Image); err != nil {
		return nil, pluginsdk.EngineImageReference(spec.Image, err)
	}
	if spec.Pull == backend.PullAlways {
		if err := b.pull(ctx, spec.Image, progress); err != nil {
			return nil, err
		}
	}
	found, err := b.api.ImageInspect(ctx, spec.Image)
	if errdefs.IsNotFound(err) && spec.Pull == backend.PullMissing {
		if err := b.pull(ctx, spec.Image, progress); err != nil {
			return nil, err
		}
		found, err = b.api.ImageInspect(ctx, spec.Image)
	}
	switch {
	case errdefs.IsNotFound(err):
		return nil, pluginsdk.EngineImageMissing(spec.Image)
	case errdefs.IsInvalidArgument(err):
		return nil, pluginsdk.EngineImageReference(spec.Image, err)
	case err != nil:
		return nil, b.failure(err, spec.Image)
	}
	r := &resolved{id: found.ID, arch: pluginsdk.EngineArch(found.Os, found.Architecture)}
	if r.arch == "" || r.arch != f.arch {
		return nil, pluginsdk.EngineImageArch(spec.Image, found.Os, found.Architecture, f.info.Architecture)
	}
	if found.Config != nil {
		for v := range found.Config.Volumes {
			r.volumes = append(r.volumes, v)
		}
	}
	return r, nil
}

// pull gets an image from its registry.
func (b *dockerBackend) pull(ctx context.Context, name string, progress func(backend.Progress)) error {
	named, err := reference.ParseDockerRef(name)
	if err != nil {
		return pluginsdk.EngineImageReference(name, err)
	}
	auth, err := b.credentials(ctx, reference.Domain(named))
	if err != nil {
		return err
	}
	return pluginsdk.EnginePull(ctx, named.String(), progress, func(ctx context.Context) (io.ReadCloser, error) {
		answer, err := b.api.ImagePull(ctx, named.String(), image.PullOptions{RegistryAuth: auth})
		if err != nil {
			return nil, b.pullFailure(named.String(), err)
		}
		return answer, nil
	})
}

// pullFailure tells a pull that failed in the engine from an engine that is gone.
func (b *dockerBackend) pullFailure(name string, err error) error {
	if client.IsErrConnectionFailed(err) {
		return b.failure(err, name)
	}
	return pluginsdk.EngineImageError(name, err.Error())
}
