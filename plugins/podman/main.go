// Command deep-backend-podman makes sandboxes of containers of Podman's API
// service, 4.3 or later, rootful or rootless, on this host or another.
package main

import (
	"context"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/pluginsdk"
)

// Config is what a block `config { }` may hold.
type Config struct {
	Host    string `deep:"host" doc:"Address of the API service: unix:///PATH, tcp://HOST:PORT or ssh://USER@HOST/PATH. Empty means $CONTAINER_HOST, else this user's own: unix:///run/podman/podman.sock for root, else the one below $XDG_RUNTIME_DIR."`
	Remote  bool   `deep:"remote" default:"false" doc:"The service does not see this host's files though its address is a local socket, as with a virtual machine or a forwarded socket."`
	SSHKey  string `deep:"ssh_key" doc:"File with the private key for an ssh address. Empty means what ssh's configuration and agent have."`
	Runtime string `deep:"runtime" doc:"OCI runtime the service shall use, as \"runc\" or \"crun\". Empty means the service's default."`
	Auth    string `deep:"auth_file" doc:"File with the credentials of registries. Empty means the one of podman login: $REGISTRY_AUTH_FILE, else containers/auth.json below $XDG_RUNTIME_DIR, else docker login's."`
}

func main() {
	config := &Config{}
	pluginsdk.Serve(pluginsdk.Plugin{
		Name:    "podman",
		Version: pluginsdk.Version(),
		Summary: "containers of Podman",
		Config:  config,
		Capabilities: []backend.Capability{
			backend.CapImages, backend.CapBind, backend.CapNetworkFull, backend.CapKeepWorkspace,
		},
		NewProvisioner: func(_ context.Context, env pluginsdk.Env) (pluginsdk.Provisioner, error) {
			return newBackend(*config, env)
		},
	})
}
