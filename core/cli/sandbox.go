package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/config"
)

// sandboxFlags are those of every command that makes a sandbox.
type sandboxFlags struct {
	backend, image, workspace string
}

func (f *sandboxFlags) add(a *app, c *cobra.Command) {
	c.Flags().StringVarP(&f.backend, "backend", "b", "", "use this `BACKEND` instead of the configured one")
	c.Flags().StringVar(&f.image, "image", "", "make the sandbox from this `IMAGE`")
	c.Flags().StringVar(&f.workspace, "workspace", "", "show this host `DIR` at the workspace inside, to read and write")
	_ = c.RegisterFlagCompletionFunc("backend", a.completeBackends)
	_ = c.MarkFlagDirname("workspace")
}

// spec returns what the sandbox shall be: what is configured, and over it what
// the command line says. overridden names those keys, as Spec.Settle does.
func (f *sandboxFlags) spec(b *config.Backend, caps []backend.Capability) (spec backend.Spec, overridden []string, err error) {
	spec = b.Sandbox
	if f.image != "" {
		if !slices.Contains(caps, backend.CapImages) {
			return spec, nil, &usageError{"--image: the backend " + b.Name + " has no images", "leave it out, or choose another backend with --backend"}
		}
		spec.Image = f.image
		overridden = append(overridden, "image")
	}
	if f.workspace != "" {
		if spec.Workspace.Source, err = directory("--workspace", f.workspace); err != nil {
			return spec, nil, err
		}
		overridden = append(overridden, "workspace")
	}
	return spec, overridden, nil
}

// directory returns the absolute path, links resolved, of a directory that is
// there.
func directory(flag, path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err == nil {
		abs, err = filepath.EvalSymlinks(abs)
	}
	var info fs.FileInfo
	if err == nil {
		info, err = os.Stat(abs)
	}
	var at *fs.PathError
	if errors.As(err, &at) { // without the system call that failed
		err = fmt.Errorf("%s: %w", escapeLine(at.Path), at.Err)
	}
	if err != nil {
		return "", &usageError{fmt.Sprintf("%s: %v", flag, err), "name a directory of this host"}
	}
	if !info.IsDir() {
		return "", &usageError{flag + ": " + escapeLine(path) + " is not a directory", "name a directory of this host"}
	}
	return abs, nil
}

// environment reads the values of --env: K=V, or K for the variable of that name
// here, which keeps a secret off the command line that everybody can see.
func environment(pairs []string) (map[string]string, error) {
	env := make(map[string]string, len(pairs))
	for _, pair := range pairs {
		key, value, given := strings.Cut(pair, "=")
		if key == "" {
			return nil, &usageError{"--env: the name is missing in " + escapeLine(pair), "write --env NAME=VALUE, or --env NAME to pass on your own"}
		}
		if !given {
			var set bool
			if value, set = os.LookupEnv(key); !set {
				return nil, &usageError{"--env: " + escapeLine(key) + " is not set here", "write --env NAME=VALUE, or set it"}
			}
		}
		env[key] = value
	}
	return env, nil
}
