package pluginsdk

import (
	"context"

	"github.com/hashicorp/go-hclog"

	"github.com/deep-sandbox/deep/core/backend"
)

// Plugin describes a backend to Serve. Exactly one of NewProvisioner and
// NewBackend is set.
type Plugin struct {
	// Name is the word in `backend "NAME"`, Version and Summary are for people.
	Name, Version, Summary string
	// Config is a pointer to a struct whose fields are the options of the block
	// `config { }`. Serve makes the schema of its tags and fills it in before New…:
	//
	//	Host string `deep:"host" default:"unix:///var/run/docker.sock" doc:"Address of the engine."`
	//
	// Types: string, bool, int64, float64, []string, map[string]string. After the
	// name in the tag `deep` may follow ",required" and ",sensitive".
	Config any
	// Capabilities of a backend. Those that the guest gives are added to a
	// guest-backed one's: tty, dial, processes.
	Capabilities []backend.Capability
	// NewProvisioner is called once, in Configure.
	NewProvisioner func(ctx context.Context, env Env) (Provisioner, error)
	// NewBackend is called once, in Configure, for a backend with a file and
	// process API of its own.
	NewBackend func(ctx context.Context, env Env) (backend.Backend, error)
}

// Env is what a plugin is given.
type Env struct {
	// Name the backend was configured under.
	Name string
	// StateDir is private (0700) and exists.
	StateDir string
	// Owner on whose behalf the plugin works.
	Owner backend.Owner
	// Log goes to the host, line by line.
	Log hclog.Logger
}
