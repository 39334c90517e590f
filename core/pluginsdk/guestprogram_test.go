package pluginsdk

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/deep-sandbox/deep/core/backend"
)

func TestGuestProgram(t *testing.T) {
	dir := t.TempDir()
	g := NewGuestProgram(dir)
	if _, err := g.Path("riscv64"); !errors.Is(err, backend.ErrUnsupported) {
		t.Errorf("riscv64: %v", err)
	}
	if _, err := g.SHA256("amd64"); !errors.Is(err, backend.ErrNotFound) || backend.HintOf(err) == "" {
		t.Errorf("missing: %v", err)
	}
	path := filepath.Join(dir, "deep-guest-linux-amd64")
	write := func(content string) {
		t.Helper()
		if err := os.WriteFile(path+".new", []byte(content), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	for content, want := range map[string]string{
		"one": "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed",
		"two": "3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3",
	} {
		write(content)
		if got, err := g.Path("amd64"); err != nil || got != path {
			t.Errorf("Path() = %q, %v", got, err)
		}
		for range 2 { // counted, then remembered
			if got, err := g.SHA256("amd64"); err != nil || got != want {
				t.Errorf("SHA256() of %q = %q, %v", content, got, err)
			}
		}
	}
}
