package host

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/deep-sandbox/deep/core/backend"
)

func plant(t *testing.T, dir, name string) string {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "deep-backend-"+name)
	if err := os.WriteFile(path, nil, 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFind(t *testing.T) {
	first, second, data, cwd := t.TempDir(), t.TempDir(), t.TempDir(), t.TempDir()
	t.Setenv("DEEP_PLUGIN_PATH", strings.Join([]string{first, "", ".", "relative", second}, ":"))
	t.Setenv("XDG_DATA_HOME", data)
	t.Setenv("PATH", cwd)
	t.Chdir(cwd)
	plant(t, cwd, "stranger")
	plant(t, filepath.Join(cwd, "relative"), "stranger")
	both := plant(t, first, "both")
	plant(t, second, "both")
	two := plant(t, second, "two")
	users := plant(t, filepath.Join(data, "deep", "plugins"), "users")
	plant(t, second, "No_Name")

	for name, want := range map[string]string{"both": both, "two": two, "users": users} {
		if got, err := Find(name); err != nil || got != want {
			t.Errorf("Find(%s) = %q, %v, want %q", name, got, err, want)
		}
	}
	for _, name := range []string{"stranger", "", "../two", "No_Name"} {
		got, err := Find(name)
		var e *StartError
		if !errors.As(err, &e) || e.Reason != ReasonMissing || !errors.Is(err, backend.ErrNotFound) {
			t.Errorf("Find(%q) = %q, %v", name, got, err)
			continue
		}
		for _, part := range []string{first, second, "both, two, users", "DEEP_PLUGIN_PATH"} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("Find(%q) says nothing of %s: %v", name, part, err)
			}
		}
	}
	found, err := List()
	if err != nil || len(found) != 3 || found[0] != (Found{"both", both}) || found[1] != (Found{"two", two}) || found[2] != (Found{"users", users}) {
		t.Errorf("List() = %v, %v", found, err)
	}
}

func TestFindNothing(t *testing.T) {
	t.Setenv("DEEP_PLUGIN_PATH", filepath.Join(t.TempDir(), "nowhere"))
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	_, err := Find("docker")
	if !errors.Is(err, backend.ErrNotFound) || !strings.Contains(err.Error(), "no plugin at all") {
		t.Errorf("%v", err)
	}
}
