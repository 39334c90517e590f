// Command deep-backend-local makes sandboxes of this machine's own namespaces: no
// daemon, no image, no root.
package main

import (
	"context"
	"os"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/pluginsdk"
)

// Config is what a block `config { }` may hold: nothing yet.
type Config struct{}

func main() {
	// The program is also what runs before and beside a sandbox; see keeper.go.
	if len(os.Args) == 2 {
		switch os.Args[1] {
		case stageKeeper:
			os.Exit(keep())
		case stageInit:
			os.Exit(initSandbox())
		case stageRemove:
			os.Exit(removeStage())
		}
	}
	pluginsdk.Serve(pluginsdk.Plugin{
		Name:         "local",
		Version:      pluginsdk.Version(),
		Summary:      "namespaces of this machine, without a daemon or root",
		Config:       &Config{},
		Capabilities: []backend.Capability{backend.CapBind, backend.CapKeepWorkspace, backend.CapNetworkFull},
		NewProvisioner: func(_ context.Context, env pluginsdk.Env) (pluginsdk.Provisioner, error) {
			return newBackend(env)
		},
	})
}
