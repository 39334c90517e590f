package pluginsdk_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/internal/plugintest"
)

// found makes the guests of an engine find something else in force than what was
// configured.
func found(t *testing.T, dir, change string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, plugintest.FoundFile), []byte(change), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestLayerLapses: a layer that is not in force stops the start, by name, and
// nothing is left; unless the operator can do without.
func TestLayerLapses(t *testing.T) {
	for layer, change := range map[string]string{
		backend.NameMemoryLimit:     `{"memory":"-1"}`,
		backend.NameSwapLimit:       `{"swap":"-1"}`,
		backend.NamePIDsLimit:       `{"pids":"-2"}`,
		backend.NameCPULimit:        `{"cpus":-1}`,
		backend.NameUserSplit:       `{"userSplit":false}`,
		backend.NameCapabilities:    `{"bounding":"1"}`,
		backend.NameNoNewPrivileges: `{"noNewPrivileges":false}`,
		backend.NameNetwork:         `{"interfaces":["eth0"]}`,
		backend.NameRootFileSystem:  `{"readOnlyRoot":false}`,
		backend.NameResourceLimits:  `{"openFiles":"-1"}`,
		backend.NameLandlock:        `{"landlock":0}`,
	} {
		t.Run(layer, func(t *testing.T) {
			dir := plugintest.Dir(t)
			b := serve(t, dir)
			found(t, dir, change)
			_, err := b.Create(t.Context(), &backend.CreateRequest{ID: "x", Spec: backend.Spec{AcceptDegraded: []string{backend.NameSeccomp}}})
			var e *backend.Error
			if !errors.Is(err, backend.ErrUnsupported) || !errors.As(err, &e) || e.Path != layer || !strings.Contains(e.Hint, `"`+layer+`" in accept_degraded`) {
				t.Errorf("create: %v", err)
			}
			if left := plugintest.Sandboxes(dir); len(left) > 0 {
				t.Errorf("left: %v", left)
			}
			sb := create(t, b, "y", backend.Spec{AcceptDegraded: []string{layer}})
			if d := sb.Info().Degraded; !slices.Equal(d, []string{layer}) {
				t.Errorf("degraded: %q", d)
			}
		})
	}
}

// TestLapsesTogether: an error names all of them, the first as what it is about.
func TestLapsesTogether(t *testing.T) {
	dir := plugintest.Dir(t)
	b := serve(t, dir)
	found(t, dir, `{"pids":"-1","landlock":0}`)
	_, err := b.Create(t.Context(), &backend.CreateRequest{ID: "x"})
	var e *backend.Error
	if !errors.As(err, &e) || e.Path != backend.NamePIDsLimit || !strings.Contains(e.Message, backend.NameLandlock) {
		t.Errorf("create: %v", err)
	}
}

// TestLapseSeenOnOpen: what made a sandbox may have died before it looked.
func TestLapseSeenOnOpen(t *testing.T) {
	dir := plugintest.Dir(t)
	b := serve(t, dir)
	sb := create(t, b, "x", backend.Spec{})
	if i := sb.Info().Isolation; i == nil || i.PIDs != backend.DefaultPIDs || i.Network != backend.NetworkNone || i.Disk != backend.DiskNone {
		t.Errorf("isolation: %+v", i)
	}
	opened, err := b.Open(t.Context(), &backend.OpenRequest{ID: "x"})
	if err != nil || opened.Info().Isolation == nil || *opened.Info().Isolation != *sb.Info().Isolation {
		t.Errorf("open: %v", err)
	}
	found(t, dir, `{"pids":"-1"}`)
	other := serve(t, dir)
	if _, err := other.Open(t.Context(), &backend.OpenRequest{ID: "x"}); !errors.Is(err, backend.ErrUnsupported) {
		t.Errorf("open: %v", err)
	}
}

// TestFindingsThatAreNone: what a guest tells is bounded like all that comes out of
// a sandbox.
func TestFindingsThatAreNone(t *testing.T) {
	dir := plugintest.Dir(t)
	b := serve(t, dir)
	found(t, dir, `{"pids":"-5"}`)
	if _, err := b.Create(t.Context(), &backend.CreateRequest{ID: "x"}); !errors.Is(err, backend.ErrUnsupported) {
		t.Errorf("create: %v", err)
	}
	if left := plugintest.Sandboxes(dir); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}
