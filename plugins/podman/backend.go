package main

import (
	"cmp"
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/pluginsdk"
)

// podmanBackend makes sandboxes with one service.
type podmanBackend struct {
	*pluginsdk.EngineLifecycle
	config  Config
	env     pluginsdk.Env
	address pluginsdk.EngineAddress

	mu sync.Mutex
	// conn carries the connection for the bindings; nil before the first call.
	conn  context.Context // how the bindings keep a connection
	known *facts
	// asked is when known was learnt.
	asked time.Time
}

var _ pluginsdk.Provisioner = (*podmanBackend)(nil)

// newBackend asks the service nothing: one that is not there is for the first
// call to tell.
func newBackend(config Config, env pluginsdk.Env) (*podmanBackend, error) {
	config.Host = cmp.Or(config.Host, os.Getenv("CONTAINER_HOST"), defaultHost())
	address := pluginsdk.EngineAddress{
		Engine: "Podman service", Address: config.Host,
		Start: "start it, as in `sudo systemctl start podman.socket` (`systemctl --user …` for a user's own), or install it, as in `sudo apt install podman`",
		Join:  "use this user's own service, as in `systemctl --user start podman.socket`",
	}
	scheme, rest, _ := strings.Cut(config.Host, "://")
	switch scheme {
	case "unix":
		address.Socket = rest
	case "tcp", "ssh":
	default:
		return nil, &backend.Error{Kind: backend.ErrInvalid, Path: "host",
			Message: backend.Printable(config.Host) + " is no address of a Podman service",
			Hint:    "write unix:///run/podman/podman.sock, tcp://HOST:PORT or ssh://USER@HOST/run/podman/podman.sock"}
	}
	b := &podmanBackend{config: config, env: env, address: address}
	b.EngineLifecycle = pluginsdk.NewEngineLifecycle(b)
	return b, nil
}

// defaultHost is where Podman's own tools look.
func defaultHost() string {
	dir := "/run"
	if uid := os.Getuid(); uid != 0 {
		dir = os.Getenv("XDG_RUNTIME_DIR")
		if dir == "" {
			dir = "/run/user/" + strconv.Itoa(uid)
		}
	}
	return "unix://" + filepath.Join(dir, "podman/podman.sock")
}

// Close implements pluginsdk.Provisioner.
func (b *podmanBackend) Close() error {
	b.disconnect()
	return nil
}
