package host

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/deep-sandbox/deep/core/internal/handshake"
)

// The path of a plugin's socket fits whatever the user's directories are.
func TestSocketDir(t *testing.T) {
	short, err := os.MkdirTemp("/tmp", "s")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(short); err != nil {
			t.Error(err)
		}
	})
	// padded is a directory below short with a path of n bytes.
	padded := func(t *testing.T, n int) string {
		dir := short + "/" + strings.Repeat("x", n-len(short)-1)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	runtime := filepath.Join(short, "run")
	if err := os.Mkdir(runtime, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, tmp, want string
	}{
		{"fits", padded(t, maxSocketBase), padded(t, maxSocketBase)},
		{"one byte too long", padded(t, maxSocketBase+1), runtime},
		{"120 bytes", padded(t, 120), runtime},
		{"not there", filepath.Join(short, "nothing"), runtime},
	} {
		t.Run(test.name, func(t *testing.T) {
			o, _ := options(t, "engine", "")
			t.Setenv("TMPDIR", test.tmp)
			t.Setenv("XDG_RUNTIME_DIR", runtime)
			dir, err := socketDir()
			if err != nil {
				t.Fatal(err)
			}
			info, err := os.Stat(dir)
			if err != nil || info.Mode().Perm() != 0o700 || filepath.Dir(dir) != test.want {
				t.Errorf("made %s, %v, %v, want it private in %s", dir, info, err, test.want)
			}
			if err := os.Remove(dir); err != nil {
				t.Error(err)
			}
			if _, err := Describe(t.Context(), o); err != nil {
				t.Errorf("a plugin started there: %v", err)
			}
			if left, _ := filepath.Glob(filepath.Join(test.want, handshake.SocketDirPrefix+"*")); len(left) > 0 {
				t.Errorf("left: %v", left)
			}
		})
	}
}
