package main

import (
	"context"
	"io"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/container"

	"github.com/deep-sandbox/deep/core/pluginsdk"
)

// Connect implements pluginsdk.Provisioner: one exec that bridges to the guest's
// socket, attached for as long as the stream is open.
func (b *dockerBackend) Connect(ctx context.Context, id string) (io.ReadWriteCloser, error) {
	found, err := b.Running(ctx, id)
	if err != nil {
		return nil, err
	}
	created, err := b.api.ContainerExecCreate(ctx, found.EngineID, container.ExecOptions{
		User:         pluginsdk.EngineUser,
		Cmd:          pluginsdk.EngineConnect(),
		AttachStdin:  true,
		AttachStdout: true,
		AttachStderr: true,
	})
	if err != nil {
		return nil, b.connectFailure(ctx, err, id)
	}
	attached, err := b.attach(ctx, created.ID)
	if err != nil {
		return nil, b.connectFailure(ctx, err, id)
	}
	log := b.env.Log.With("sandbox", id)
	return pluginsdk.NewEngineStream(attached.Conn, attached.Reader, func(line string) { log.Debug("connect: " + line) }), nil
}

// attach starts an exec. The client waits for the engine's answer without an eye
// on ctx.
func (b *dockerBackend) attach(ctx context.Context, exec string) (types.HijackedResponse, error) {
	type answer struct {
		attached types.HijackedResponse
		err      error
	}
	done := make(chan answer, 1)
	go func() {
		attached, err := b.api.ContainerExecAttach(context.WithoutCancel(ctx), exec, container.ExecAttachOptions{})
		done <- answer{attached, err}
	}()
	select {
	case a := <-done:
		return a.attached, a.err
	case <-ctx.Done():
		go func() {
			if a := <-done; a.err == nil {
				a.attached.Close()
			}
		}()
		return types.HijackedResponse{}, ctx.Err()
	}
}

// connectFailure tells what ended or was paused meanwhile.
func (b *dockerBackend) connectFailure(ctx context.Context, err error, id string) error {
	if errdefs.IsConflict(err) || errdefs.IsNotFound(err) {
		if _, runErr := b.Running(ctx, id); runErr != nil {
			return runErr
		}
	}
	return b.failure(err, id)
}
