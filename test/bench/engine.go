package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/client"
	"github.com/docker/docker/pkg/stdcopy"
	"github.com/docker/go-units"
)

// An engine does by its own API what deep does through the guest. Both engines
// are asked through the API they share.
type engine struct {
	api *client.Client
	id  string
}

// sockets of the engines.
var sockets = map[string]string{
	"docker": "unix:///var/run/docker.sock",
	"podman": "unix:///run/podman/podman.sock",
}

// newEngine connects and starts a container that waits.
func newEngine(ctx context.Context, name, image string) (*engine, error) {
	api, err := client.NewClientWithOpts(client.WithHost(sockets[name]), client.WithAPIVersionNegotiation())
	if err != nil {
		return nil, err
	}
	e := &engine{api: api}
	e.id, err = e.start(ctx, image)
	return e, err
}

// start creates and starts a container with the limits ours have.
func (e *engine) start(ctx context.Context, image string) (string, error) {
	pids := int64(512)
	created, err := e.api.ContainerCreate(ctx,
		&container.Config{Image: image, Entrypoint: []string{"sleep"}, Cmd: []string{"600"}, Labels: map[string]string{"deep.bench": "true"}},
		&container.HostConfig{
			AutoRemove:  true,
			NetworkMode: "none",
			LogConfig:   container.LogConfig{Type: "none"},
			Resources: container.Resources{
				Memory: 1 << 30, MemorySwap: 1 << 30, NanoCPUs: 2e9, PidsLimit: &pids,
				Ulimits: []*units.Ulimit{{Name: "nofile", Soft: 4096, Hard: 4096}, {Name: "nproc", Soft: 4096, Hard: 4096}},
			},
		}, nil, nil, "")
	if err != nil {
		return "", err
	}
	return created.ID, e.api.ContainerStart(ctx, created.ID, container.StartOptions{})
}

func (e *engine) remove(id string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	return e.api.ContainerRemove(ctx, id, container.RemoveOptions{Force: true, RemoveVolumes: true})
}

// exec runs a command to its end, as `docker exec` does: create, attach, read
// all, ask for the status.
func (e *engine) exec(ctx context.Context, argv ...string) error { return e.feed(ctx, nil, argv...) }

// feed is exec with input, nil for none.
func (e *engine) feed(ctx context.Context, stdin io.Reader, argv ...string) error {
	created, err := e.api.ContainerExecCreate(ctx, e.id, container.ExecOptions{
		Cmd: argv, AttachStdin: stdin != nil, AttachStdout: true, AttachStderr: true,
	})
	if err != nil {
		return err
	}
	attached, err := e.api.ContainerExecAttach(ctx, created.ID, container.ExecAttachOptions{})
	if err != nil {
		return err
	}
	defer attached.Close()
	if stdin != nil {
		go func() {
			_, _ = io.Copy(attached.Conn, stdin)
			_ = attached.CloseWrite()
		}()
	}
	if _, err := stdcopy.StdCopy(io.Discard, io.Discard, attached.Reader); err != nil {
		return err
	}
	state, err := e.api.ContainerExecInspect(ctx, created.ID)
	if err != nil {
		return err
	}
	if state.ExitCode != 0 {
		return fmt.Errorf("engine exec of %q: exit code %d", argv, state.ExitCode)
	}
	return nil
}

func (e *engine) close() error {
	err := e.remove(e.id)
	_ = e.api.Close()
	return err
}
