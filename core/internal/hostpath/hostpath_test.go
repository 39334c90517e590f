package hostpath

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRefused(t *testing.T) {
	home, good, own := filepath.Join(t.TempDir(), "me"), t.TempDir(), t.TempDir()
	if err := os.Mkdir(home, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("HOME", home)
	link := func(name, to string) string {
		path := filepath.Join(good, name)
		if err := os.Symlink(to, path); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for path, want := range map[string]string{
		"/": "all of this host", "/etc": "configures", "/etc/ssl": "configures", "/etc/../etc": "configures",
		"/etc/nosuch": "configures", "/proc": "kernel's", "/dev/null": "devices",
		"/run/docker.sock": "sockets", "/var/run/docker.sock": "sockets", "/var": "/var is not shown",
		home: "home directory", filepath.Dir(home): "home directory", filepath.Join(home, "project"): "",
		own: "own", filepath.Join(own, "x"): "own", good: "", filepath.Join(good, "nosuch"): "",
		link("to-etc", "/etc"):        "/etc is not shown",
		link("dangling", "/nosuch/x"): "", filepath.Join(link("to-run", "/run"), "nosuch.sock"): "sockets",
		// The links come first, and then the dots.
		link("to-ssl", "/etc/ssl") + "/../passwd": "configures",
	} {
		got := Refused(path, Place{own, "own"}, Place{"", "never"})
		if (want == "") != (got == "") || !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}
