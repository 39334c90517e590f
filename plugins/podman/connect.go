package main

import (
	"context"
	"crypto/rand"
	"io"
	"strings"

	"github.com/containers/podman/v5/pkg/api/handlers"
	"github.com/containers/podman/v5/pkg/bindings/containers"
	dockercontainer "github.com/docker/docker/api/types/container"

	"github.com/deep-sandbox/deep/core/pluginsdk"
)

// Connect implements pluginsdk.Provisioner: one exec that bridges to the guest's
// socket, attached for as long as the stream is open.
func (b *podmanBackend) Connect(ctx context.Context, id string) (io.ReadWriteCloser, error) {
	found, err := b.Running(ctx, id)
	if err != nil {
		return nil, err
	}
	api, err := b.api(ctx)
	if err != nil {
		return nil, err
	}
	exec, err := containers.ExecCreate(api, found.EngineID, &handlers.ExecCreateConfig{ExecOptions: dockercontainer.ExecOptions{
		User:         pluginsdk.EngineUser,
		Cmd:          pluginsdk.EngineConnect(),
		AttachStdin:  true,
		AttachStdout: true,
		AttachStderr: true,
		DetachKeys:   detachKeys(),
	}})
	if err != nil {
		return nil, b.connectFailure(ctx, err, id)
	}
	log := b.env.Log.With("sandbox", id)
	stream, err := b.attach(api, exec, func(line string) { log.Debug("connect: " + line) })
	if err != nil {
		return nil, b.connectFailure(ctx, err, id)
	}
	return stream, nil
}

// detachKeys returns keys that nobody types. Podman looks for them without a
// terminal too, and takes none for its default, by which 0x10 0x11 in what is
// sent ends the stream. So they are 130 bits of chance.
func detachKeys() string {
	return strings.Join(strings.Split(rand.Text(), ""), ",")
}

// connectFailure tells what ended or was paused meanwhile: the service has no
// status for it.
func (b *podmanBackend) connectFailure(ctx context.Context, err error, id string) error {
	if status(err) != 0 {
		if _, runErr := b.Running(ctx, id); runErr != nil {
			return runErr
		}
	}
	return b.failure(err, id)
}
