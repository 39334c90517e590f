package procrunner

import (
	"os"
	"slices"
)

// passed are the variables of this process that every plugin gets. Each tells
// who and where the user is; none is a place for a secret. Proxy variables are
// not among them: they carry passwords.
var passed = []string{
	"PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR",
	"XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME",
	"SSL_CERT_FILE", "SSL_CERT_DIR",
	// Where the engine is that the user's own tools talk to.
	"DOCKER_HOST", "CONTAINER_HOST",
	// Where that user's tools keep what they log in to registries with.
	"DOCKER_CONFIG", "REGISTRY_AUTH_FILE",
}

// Environment returns what a plugin gets of this process's environment: the
// harmless few, and what names asks for.
func Environment(names []string) []string {
	var env []string
	for _, name := range slices.Compact(slices.Sorted(slices.Values(slices.Concat(passed, names)))) {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}
