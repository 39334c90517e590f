// Package isolation_test makes sandboxes with backends that silently leave out a
// layer which they were told to apply, and wants none of them to start.
package isolation_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/control"
	"github.com/deep-sandbox/deep/core/host"
	"github.com/deep-sandbox/deep/test/require"
)

// A lapse is a defence that is left out, and the layers that are then not in force;
// the first is what the error is about.
type lapse struct {
	defence string
	layers  []string
}

var lapses = []lapse{
	{control.Seccomp, []string{backend.NameSeccomp}},
	{control.Landlock, []string{backend.NameLandlock}},
	// Without it the kernel takes no filter.
	{control.NoNewPrivileges, []string{backend.NameSeccomp, backend.NameNoNewPrivileges}},
	{control.Capabilities, []string{backend.NameCapabilities}},
	{control.RootFileSystem, []string{backend.NameRootFileSystem}},
	{control.Network, []string{backend.NameNetwork}},
	{control.MemoryLimit, []string{backend.NameMemoryLimit, backend.NameSwapLimit}},
	{control.PIDsLimit, []string{backend.NamePIDsLimit}},
	{control.CPULimit, []string{backend.NameCPULimit}},
	// Commands that are the guest's user have what it can.
	{control.UserSplit, []string{backend.NameUserSplit, backend.NameCapabilities}},
	{control.ResourceLimits, []string{backend.NameResourceLimits}},
}

// without are the defences that a backend has not, or cannot be without.
var without = map[string][]string{
	"docker": {control.Landlock},
	"podman": {control.Landlock},
	// The kernel lets nobody confine a command that could gain privileges: what
	// should come of it, the guest fails to.
	"local": {control.NoNewPrivileges},
}

func TestLapses(t *testing.T) {
	for _, name := range []string{"docker", "podman", "local"} {
		t.Run(name, func(t *testing.T) {
			require.Backend(t, name)
			if name == "local" && os.Getuid() != 0 {
				require.Skip(t, "root", "an ordinary user may have no cgroup to leave out")
			}
			testLapses(t, name)
		})
	}
}

func testLapses(t *testing.T, name string) {
	bin := build(t, name)
	t.Run("nothing", func(t *testing.T) {
		sb, err := create(t, launch(t, bin, name, ""), backend.NewID(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if d := sb.Info().Degraded; len(d) > 0 {
			t.Errorf("degraded: %q", d)
		}
	})
	for _, l := range lapses {
		if slices.Contains(without[name], l.defence) {
			continue
		}
		t.Run(l.defence, func(t *testing.T) {
			p := launch(t, bin, name, l.defence)
			id := backend.NewID()
			_, err := create(t, p, id, nil)
			var e *backend.Error
			if !errors.Is(err, backend.ErrUnsupported) || !errors.As(err, &e) || e.Path != l.layers[0] || e.Message == "" || !strings.Contains(e.Hint, "accept_degraded") {
				t.Errorf("create: %v, want an error about %q", err, l.layers[0])
			}
			if r, err := p.Inspect(t.Context(), &backend.InspectRequest{ID: id}); !errors.Is(err, backend.ErrNotFound) {
				t.Errorf("left: %v, %v", r, err)
			}
			sb, err := create(t, p, backend.NewID(), l.layers)
			if err != nil {
				t.Fatalf("with what the operator can do without: %v", err)
			}
			res, err := sb.Exec(t.Context(), &backend.ExecRequest{Argv: []string{"true"}})
			if err != nil {
				t.Fatal(err)
			}
			var degraded []string
			for _, d := range res.Degraded {
				degraded = append(degraded, backend.DegradedLayer(d))
			}
			if !slices.Equal(degraded, l.layers) || !slices.Equal(sb.Info().Degraded, res.Degraded) {
				t.Errorf("a result is degraded by %q, want %q", res.Degraded, l.layers)
			}
		})
	}
}

// build makes a plugin and its guest whose defences can be opened.
func build(t *testing.T, name string) string {
	t.Helper()
	dir := t.TempDir()
	for _, p := range []struct{ out, pkg string }{
		{filepath.Join("plugins", "deep-backend-"+name), "./plugins/" + name},
		{filepath.Join("guest", "deep-guest-linux-"+runtime.GOARCH), "./cmd/deep-guest"},
	} {
		cmd := exec.CommandContext(t.Context(), "go", "build", "-tags", "deep_control,remote,containers_image_openpgp,exclude_graphdriver_btrfs",
			"-o", filepath.Join(dir, p.out), p.pkg)
		cmd.Dir = "../.."
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	return dir
}

// launch starts a backend without a defence.
func launch(t *testing.T, bin, name, defence string) *host.Plugin {
	t.Helper()
	t.Setenv(control.Env, defence)
	p, err := host.Launch(t.Context(), host.Options{
		Name: name, Path: filepath.Join(bin, "plugins", "deep-backend-"+name), GuestDir: filepath.Join(bin, "guest"),
		StateDir: filepath.Join(t.TempDir(), "state"), StartTimeout: time.Minute, Env: []string{control.Env},
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
	return p
}

// create makes a sandbox that ends with the plugin.
func create(t *testing.T, p *host.Plugin, id string, accept []string) (backend.Sandbox, error) {
	t.Helper()
	return p.Create(t.Context(), &backend.CreateRequest{ID: id, Spec: backend.Spec{
		Image: require.Busybox, Pull: backend.PullNever, Ephemeral: true, AcceptDegraded: accept,
	}})
}
