package main

import (
	"context"
	"io"
	"net/url"
	"os"

	"github.com/containers/podman/v5/pkg/auth"
	"github.com/containers/podman/v5/pkg/bindings/images"
	"github.com/distribution/reference"
	imagetypes "go.podman.io/image/v5/types"

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
func (b *podmanBackend) resolve(ctx context.Context, f *facts, spec backend.Spec, progress func(backend.Progress)) (*resolved, error) {
	if _, err := reference.ParseAnyReference(spec.Image); err != nil {
		return nil, pluginsdk.EngineImageReference(spec.Image, err)
	}
	api, err := b.api(ctx)
	if err != nil {
		return nil, err
	}
	if spec.Pull == backend.PullAlways {
		if err := b.pull(api, spec.Image, progress); err != nil {
			return nil, err
		}
	}
	found, err := images.GetImage(api, spec.Image, nil)
	if notFound(err) && spec.Pull == backend.PullMissing {
		if err := b.pull(api, spec.Image, progress); err != nil {
			return nil, err
		}
		found, err = images.GetImage(api, spec.Image, nil)
	}
	switch {
	case notFound(err):
		return nil, pluginsdk.EngineImageMissing(spec.Image)
	case err != nil:
		return nil, b.failure(err, spec.Image)
	}
	r := &resolved{id: found.ID, arch: pluginsdk.EngineArch(found.Os, found.Architecture)}
	if r.arch == "" || r.arch != f.arch {
		return nil, pluginsdk.EngineImageArch(spec.Image, found.Os, found.Architecture, f.info.Host.Arch)
	}
	if found.Config != nil {
		for v := range found.Config.Volumes {
			r.volumes = append(r.volumes, v)
		}
	}
	return r, nil
}

// pull gets an image from its registry.
func (b *podmanBackend) pull(api context.Context, name string, progress func(backend.Progress)) error {
	named, err := reference.ParseDockerRef(name)
	if err != nil {
		return pluginsdk.EngineImageReference(name, err)
	}
	file := b.config.Auth
	if file == "" {
		file = os.Getenv("REGISTRY_AUTH_FILE")
	}
	header, err := auth.MakeXRegistryAuthHeader(&imagetypes.SystemContext{AuthFilePath: file}, "", "")
	if err != nil {
		// The error may quote from the file.
		return &backend.Error{Kind: backend.ErrInvalid, Path: file, Message: "cannot read the credentials of registries",
			Hint: "see the file named by auth_file, or where podman login writes it"}
	}
	return pluginsdk.EnginePull(api, named.String(), progress, func(api context.Context) (io.ReadCloser, error) {
		answer, err := b.dockerAPI(api, "/images/create?fromImage="+url.QueryEscape(named.String()), header)
		if err != nil {
			return nil, b.pullFailure(named.String(), err)
		}
		return answer.Body, nil
	})
}

// pullFailure tells a pull that failed in the engine from an engine that is gone.
func (b *podmanBackend) pullFailure(name string, err error) error {
	if status(err) == 0 {
		return b.failure(err, name)
	}
	return pluginsdk.EngineImageError(name, err.Error())
}
