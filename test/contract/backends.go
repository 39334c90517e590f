// Package contract holds every backend to the rules of core/backend/backendtest:
// the real plugins, started as deep starts them, on real engines, and the fake that
// other tests trust, in this process and over the wire.
package contract

import (
	"context"
	"os"
	"path/filepath"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/backend/backendtest"
	"github.com/deep-sandbox/deep/core/host"
	"github.com/deep-sandbox/deep/core/pluginsdk"
	"github.com/deep-sandbox/deep/test/require"
)

// The backends that are none of the plugins: the fake in this process, and in one
// of its own.
const (
	Fake     = "fake"
	FakeWire = "fake-wire"
)

// Names of all backends, in the order of a table.
var Names = []string{Fake, FakeWire, "local", "docker", "podman"}

// fakeProgram is the name under which the program that calls ServeFake is the
// fake's plugin.
const fakeProgram = "deep-backend-fake"

// ServeFake serves the fake, and does not return, in a process that Launch started
// as its plugin. Call it first in main.
func ServeFake() {
	if filepath.Base(os.Args[0]) != fakeProgram {
		return
	}
	fake := newFake()
	d, err := fake.Describe(context.Background())
	if err != nil {
		panic(err)
	}
	pluginsdk.Serve(pluginsdk.Plugin{
		Name: d.Name, Version: d.Version, Summary: d.Summary, Capabilities: d.Capabilities,
		NewBackend: func(context.Context, pluginsdk.Env) (backend.Backend, error) { return fake, nil },
	})
	os.Exit(0)
}

func newFake() *backendtest.Fake {
	return backendtest.NewFakeOfImages(require.Busybox, require.Bare, require.Trap)
}

// Missing returns why a backend cannot be had on this machine, nil if it can.
func Missing(ctx context.Context, name string) error {
	if name == Fake || name == FakeWire {
		return nil
	}
	return require.Missing(ctx, name)
}

// Subject is a backend to hold to the rules, and how.
type Subject struct {
	backend.Backend
	Opts backendtest.Opts
}

// Launch starts a backend. bin is the directory that `make build` filled; in dir,
// which exists, go the state and what else is needed. Shutdown ends it.
func Launch(ctx context.Context, name, bin, dir string) (*Subject, error) {
	opts := backendtest.Opts{
		Spec:  backend.Spec{Image: require.Busybox, Pull: backend.PullNever},
		Shell: true, Bare: require.Bare, Trap: require.Trap,
	}
	o := host.Options{
		Name: name, Path: filepath.Join(bin, "plugins", "deep-backend-"+name),
		GuestDir: filepath.Join(bin, "guest"),
		StateDir: filepath.Join(dir, "state"), // made by host.Launch, with mode 0700
	}
	switch name {
	case Fake:
		fake := newFake()
		opts.Another = fake.Another
		return &Subject{fake, opts}, nil
	case FakeWire:
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		o.Name, o.Path, o.GuestDir = "fake", filepath.Join(dir, fakeProgram), dir
		if err := os.Symlink(self, o.Path); err != nil {
			return nil, err
		}
	default:
		// A further process of the fake has a memory of its own.
		opts.Another = func(ctx context.Context) (backend.Backend, error) { return launch(ctx, o) }
	}
	p, err := launch(ctx, o)
	if err != nil {
		return nil, err
	}
	return &Subject{p, opts}, nil
}

// launch is host.Launch, without the pitfall of a nil *host.Plugin.
func launch(ctx context.Context, o host.Options) (backend.Backend, error) {
	p, err := host.Launch(ctx, o)
	if err != nil {
		return nil, err
	}
	return p, nil
}
