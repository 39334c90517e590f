package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/docker/docker/client"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/control"
	"github.com/deep-sandbox/deep/core/host"
	"github.com/deep-sandbox/deep/test/require"
)

// A target is a backend under attack.
type target struct {
	name string
	// bin holds the programs as they are released, opened those whose defences can
	// be opened.
	bin, opened string
	// dir is a directory of its own.
	dir string
	// attacker is its program.
	attacker []byte
	// engine looks at what the backend made, from outside; nil on local.
	engine *client.Client
	arms   int
}

var sockets = map[string]string{
	"docker": "unix:///var/run/docker.sock",
	"podman": "unix:///run/podman/podman.sock",
}

func newTarget(name, bin, opened, dir string, attacker []byte) (*target, error) {
	t := &target{name: name, bin: bin, opened: opened, dir: dir, attacker: attacker}
	if socket := sockets[name]; socket != "" {
		var err error
		if t.engine, err = client.NewClientWithOpts(client.WithHost(socket), client.WithAPIVersionNegotiation()); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// An arm is a plugin, with some defences open or none, and a sandbox that attacks
// share.
type arm struct {
	target *target
	plugin *host.Plugin
	state  string
	// open: some defences are.
	open bool

	shared backend.Sandbox
	// workspace is the directory of this host that the shared one has as its own.
	workspace string
}

// spec of a sandbox like any other. With a defence open it is one that deep would
// not start: it looks for what is in force.
func (a *arm) spec() backend.Spec {
	s := backend.Spec{Image: require.Busybox, Pull: backend.PullNever}
	if a.open {
		s.AcceptDegraded = backend.LayerNames
	}
	return s
}

// starting is held while a plugin starts: it gets its defences by this process'
// environment.
var starting sync.Mutex

// newArm launches the plugin with these defences open, separated by commas.
func (t *target) newArm(ctx context.Context, defences string) (*arm, error) {
	t.arms++
	a := &arm{target: t, state: filepath.Join(t.dir, fmt.Sprintf("state-%d", t.arms)), open: defences != ""}
	if t.name == deepItself {
		return a, nil // each attack starts what it needs
	}
	o := host.Options{Name: t.name, StateDir: a.state, StartTimeout: time.Minute, Env: []string{secretVariable}}
	bin := t.bin
	if defences != "" {
		bin = t.opened
		o.Env = append(o.Env, control.Env)
	}
	a.workspace = a.state + "-workspace"
	if err := errors.Join(os.Mkdir(a.workspace, 0o755), os.Chown(a.workspace, backend.DefaultUID, backend.DefaultUID)); err != nil {
		return nil, err
	}
	o.Path, o.GuestDir = filepath.Join(bin, "plugins", "deep-backend-"+t.name), filepath.Join(bin, "guest")
	starting.Lock()
	defer starting.Unlock()
	if err := os.Setenv(control.Env, defences); err != nil {
		return nil, err
	}
	defer func() { _ = os.Unsetenv(control.Env) }()
	var err error
	a.plugin, err = host.Launch(ctx, o)
	return a, err
}

func (a *arm) sharedSandbox(ctx context.Context) (backend.Sandbox, error) {
	if a.shared != nil {
		if _, err := a.shared.Stat(ctx, &backend.StatRequest{Path: attackerPath}); err == nil {
			return a.shared, nil
		}
		_ = a.destroy(ctx, a.shared.Info().ID) // an attack broke it, and was told so
	}
	spec := a.spec()
	spec.Workspace.Source = a.workspace
	sb, err := a.plugin.Create(ctx, &backend.CreateRequest{ID: backend.NewID(), Spec: spec})
	if err != nil {
		return nil, err
	}
	a.shared = sb
	return sb, placeAttacker(ctx, sb, a.target.attacker)
}

// destroy removes a sandbox and its workspace, and looks whether anything is left.
func (a *arm) destroy(ctx context.Context, id string) error {
	if err := a.plugin.Destroy(ctx, &backend.DestroyRequest{ID: id}); err != nil {
		return err
	}
	return eventually(ctx, func() error { return a.target.leftOf(ctx, id) })
}

// close ends the plugin and looks whether anything is left of all that it made.
func (a *arm) close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanTime)
	defer cancel()
	var err error
	if a.shared != nil {
		err = a.destroy(ctx, a.shared.Info().ID)
	}
	if a.plugin != nil {
		err = errors.Join(err, a.plugin.Close(ctx))
	}
	return errors.Join(err, leftIn(a.state))
}
