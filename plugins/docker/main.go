// Command deep-backend-docker makes sandboxes of containers of a Docker Engine,
// 20.10 or later, on this host or another.
package main

import (
	"context"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/pluginsdk"
)

// Config is what a block `config { }` may hold.
type Config struct {
	Host    string `deep:"host" doc:"Address of the engine: unix:///PATH, tcp://HOST:PORT or ssh://USER@HOST. Empty means $DOCKER_HOST, else unix:///var/run/docker.sock."`
	Remote  bool   `deep:"remote" default:"false" doc:"The engine does not see this host's files though its address is a local socket, as with a virtual machine or a forwarded socket."`
	TLSCA   string `deep:"tls_ca" doc:"File with the certificate authority of a tcp engine. With it, or a client certificate, TLS is used."`
	TLSCert string `deep:"tls_cert" doc:"File with the client certificate for a tcp engine."`
	TLSKey  string `deep:"tls_key" doc:"File with the key of tls_cert."`
	Runtime string `deep:"runtime" doc:"OCI runtime the engine shall use, as it is named in the engine's configuration. Empty means the engine's default."`
	Auth    string `deep:"auth_file" doc:"File with the credentials of registries. Empty means the one of docker login: $DOCKER_CONFIG/config.json, else ~/.docker/config.json."`
}

func main() {
	config := &Config{}
	pluginsdk.Serve(pluginsdk.Plugin{
		Name:    "docker",
		Version: pluginsdk.Version(),
		Summary: "containers of a Docker Engine",
		Config:  config,
		Capabilities: []backend.Capability{
			backend.CapImages, backend.CapBind, backend.CapNetworkFull, backend.CapKeepWorkspace,
		},
		NewProvisioner: func(_ context.Context, env pluginsdk.Env) (pluginsdk.Provisioner, error) {
			return newBackend(*config, env)
		},
	})
}
