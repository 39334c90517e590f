package contract

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/backend/backendtest"
	"github.com/deep-sandbox/deep/test/require"
)

func TestMain(m *testing.M) {
	ServeFake()
	os.Exit(m.Run())
}

func TestFake(t *testing.T)     { conforms(t, Fake) }
func TestFakeWire(t *testing.T) { conforms(t, FakeWire) }
func TestLocal(t *testing.T)    { conforms(t, "local") }
func TestDocker(t *testing.T)   { conforms(t, "docker") }
func TestPodman(t *testing.T)   { conforms(t, "podman") }

func conforms(t *testing.T, name string) {
	if err := Missing(t.Context(), name); err != nil {
		require.Skip(t, name, err.Error())
	}
	bin := os.Getenv("DEEP_TEST_BIN")
	if bin == "" && name != Fake && name != FakeWire {
		t.Fatal("set DEEP_TEST_BIN to the directory that `make build` filled; `make test` does")
	}
	backendtest.Run(t, func(t *testing.T) (backend.Backend, backendtest.Opts) {
		s, err := Launch(t.Context(), name, bin, t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			if err := s.Shutdown(ctx); err != nil {
				t.Error(err)
			}
		})
		return s.Backend, s.Opts
	})
}
