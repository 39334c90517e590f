package e2e

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What was built together is run together, and only while nobody else can have
// put something else in its place.
func TestChangedPrograms(t *testing.T) {
	own := programs
	t.Cleanup(func() { programs = own })
	plugin, guest := filepath.Join("plugins", "deep-backend-local"), filepath.Join("guest", "deep-guest-linux-*")
	for _, c := range []struct {
		name   string
		change func(t *testing.T, dir string)
		want   []string
	}{
		{"nothing", func(*testing.T, string) {}, nil},
		{"another plugin", func(t *testing.T, dir string) {
			f, err := os.OpenFile(filepath.Join(dir, plugin), os.O_WRONLY|os.O_APPEND, 0)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.WriteString("\n"); err != nil {
				t.Fatal(err)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
		}, []string{"its sha256 is ", ", want ", "not the one that was built with this deep"}},
		{"everybody's plugin", chmod(plugin, 0o757), []string{"everybody could have changed it", "chmod go-w"}},
		{"the group's plugin", chmod(plugin, 0o775), []string{"its group could have changed it"}},
		{"everybody's plugins", chmod("plugins", 0o777), []string{"everybody could have replaced it"}},
		{"the group's plugins", chmod("plugins", 0o775), []string{"its group could have replaced it"}},
		{"everybody's guest", chmod(guest, 0o757), []string{"everybody can write", "deep-guest-linux-"}},
		{"everybody's guests", chmod("guest", 0o777), []string{"everybody can write", "guest"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			programs = t.TempDir()
			if err := os.CopyFS(programs, os.DirFS(own)); err != nil {
				t.Fatal(err)
			}
			for _, dir := range []string{"", "plugins", "guest"} {
				if err := os.Chmod(filepath.Join(programs, dir), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			c.change(t, programs)
			var stderr bytes.Buffer
			cmd := newUser(t).command(t.Context(), "exec", "--backend", "local", "--", "true")
			cmd.Stderr = &stderr
			if err := cmd.Run(); (err == nil) != (c.want == nil) {
				t.Errorf("%v: %s", err, stderr.String())
			}
			for _, want := range c.want {
				if !strings.Contains(stderr.String(), want) {
					t.Errorf("it does not say %q:\n%s", want, stderr.String())
				}
			}
		})
	}
}

func chmod(pattern string, mode os.FileMode) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		paths, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil || len(paths) == 0 {
			t.Fatalf("%v: %v", paths, err)
		}
		for _, path := range paths {
			if err := os.Chmod(path, mode); err != nil {
				t.Fatal(err)
			}
		}
	}
}
