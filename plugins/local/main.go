// Command deep-backend-local makes sandboxes of this machine's own namespaces: no
// daemon, no image, no root.
package main

import (
	"context"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/pluginsdk"
)

// Config is what a block `config { }` may hold: nothing.
type Config struct{}

func main() {
	pluginsdk.Serve(pluginsdk.Plugin{
		Name:    "local",
		Version: pluginsdk.Version(),
		Summary: "namespaces of this machine, without a daemon or root",
		Config:  &Config{},
		Capabilities: []backend.Capability{
			backend.CapBind, backend.CapNetworkFull, backend.CapKeepWorkspace,
		},
		NewProvisioner: func(_ context.Context, env pluginsdk.Env) (pluginsdk.Provisioner, error) {
			return newBackend(env)
		},
	})
}
