package registry

import (
	"context"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"

	"github.com/deep-sandbox/deep/core/pluginsdk"
	"github.com/deep-sandbox/deep/test/require"
)

// An Engine is looked at from outside, by the API that both engines speak.
type Engine struct {
	Name string
	t    testing.TB
	api  *client.Client
}

// OpenEngine opens an engine, which the test needs, and the registries.
func OpenEngine(t testing.TB, name string) *Engine {
	t.Helper()
	require.Engine(t, name)
	Require(t, name)
	api, err := client.NewClientWithOpts(client.WithHost("unix://"+require.Socket(name)), client.WithAPIVersionNegotiation())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = api.Close() })
	return &Engine{name, t, api}
}

// cleanTime is what cleaning up may take, though the test is over.
const cleanTime = time.Minute

// Has reports whether the engine has an image of this name or id.
func (e *Engine) Has(image string) bool {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(e.t.Context()), cleanTime)
	defer cancel()
	_, err := e.api.ImageInspect(ctx, image)
	if err != nil && !errdefs.IsNotFound(err) {
		e.t.Fatal(err)
	}
	return err == nil
}

// Forget removes an image, by name or id, now and when the test ends.
func (e *Engine) Forget(name string) {
	e.t.Helper()
	e.remove(name)
	e.t.Cleanup(func() { e.remove(name) })
}

func (e *Engine) remove(name string) {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(e.t.Context()), cleanTime)
	defer cancel()
	// A container whose end is a moment ago may still use it.
	for {
		_, err := e.api.ImageRemove(ctx, name, image.RemoveOptions{Force: true})
		switch {
		case err == nil, errdefs.IsNotFound(err):
			return
		case ctx.Err() != nil:
			e.t.Errorf("image %s is left: %v", name, err)
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// Containers of a sandbox that the engine has.
func (e *Engine) Containers(id string) int {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(e.t.Context()), cleanTime)
	defer cancel()
	list, err := e.api.ContainerList(ctx, container.ListOptions{All: true,
		Filters: filters.NewArgs(filters.Arg("label", pluginsdk.LabelSandbox+"="+id))})
	if err != nil {
		e.t.Fatal(err)
	}
	return len(list)
}
