// Package contract holds every backend to the rules of core/backend/backendtest:
// the real plugins, started as deep starts them, on real engines.
package contract

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/backend/backendtest"
	"github.com/deep-sandbox/deep/core/host"
	"github.com/deep-sandbox/deep/test/require"
)

func TestDocker(t *testing.T) { conforms(t, "docker") }
func TestPodman(t *testing.T) { conforms(t, "podman") }
func TestLocal(t *testing.T)  { conforms(t, "local") }

func conforms(t *testing.T, name string) {
	require.Backend(t, name)
	bin := os.Getenv("DEEP_TEST_BIN")
	if bin == "" {
		t.Fatal("set DEEP_TEST_BIN to the directory that `make build` filled; `make test` does")
	}
	backendtest.Run(t, func(t *testing.T) (backend.Backend, backendtest.Opts) {
		state := filepath.Join(t.TempDir(), "state") // made by Launch, with mode 0700
		p, err := host.Launch(t.Context(), host.Options{
			Name:     name,
			Path:     filepath.Join(bin, "plugins", "deep-backend-"+name),
			GuestDir: filepath.Join(bin, "guest"),
			StateDir: state,
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			if err := p.Close(ctx); err != nil {
				t.Error(err)
			}
		})
		return p, backendtest.Opts{
			Spec:  backend.Spec{Image: require.Busybox, Pull: backend.PullNever},
			Shell: true,
		}
	})
}
