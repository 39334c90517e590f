package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/hashicorp/hcl/v2"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/host"
)

var hclStart = hcl.InitialPos

// TestWhichFile: the first one there is, and no other.
func TestWhichFile(t *testing.T) {
	dir := home(t)
	t.Chdir(dir)
	named := write(t, filepath.Join(dir, "named.hcl"), "")
	variable := write(t, filepath.Join(dir, "variable.hcl"), "")
	xdg := write(t, filepath.Join(dir, "xdg", "deep", "config.hcl"), "")
	user := write(t, filepath.Join(dir, ".config", "deep", "config.hcl"), "")
	here := write(t, filepath.Join(dir, "config.hcl"), "this is never read")

	locate := func(named, want string) {
		t.Helper()
		got, err := Locate(named)
		if want == "" && strings.HasPrefix(got, systemDir) {
			return // this machine has one
		}
		if err != nil || got != want {
			t.Errorf("Locate(%q) = %q, %v, want %q", named, got, err, want)
		}
	}
	locate("", user)
	t.Setenv("XDG_CONFIG_HOME", "xdg") // relative: as if not set
	locate("", user)
	t.Setenv("XDG_CONFIG_HOME", filepath.Join(dir, "xdg"))
	locate("", xdg)
	t.Setenv("DEEP_CONFIG", variable)
	locate("", variable)
	locate(named, named)
	t.Setenv("DEEP_CONFIG", "")
	if err := os.Remove(xdg); err != nil {
		t.Fatal(err)
	}
	locate("", "")

	if got := Ignored(user); got != "config.hcl" {
		t.Errorf("Ignored = %q, want the file of the working directory", got)
	}
	if got := Ignored(here); got != "" {
		t.Errorf("Ignored = %q though it is the one that is read", got)
	}
}

// TestTrust: what others can write, or is no plain file, is refused.
func TestTrust(t *testing.T) {
	for _, c := range []struct {
		name string
		make func(t *testing.T, dir string) string
		want string
	}{
		{"writable by all", func(t *testing.T, dir string) string {
			p := write(t, filepath.Join(dir, "a", "c.hcl"), "")
			chmod(t, p, 0o666)
			return p
		}, "refused: everybody can write it — it decides what sandboxes may do: check it, then chmod go-w"},
		{"writable by the group", func(t *testing.T, dir string) string {
			p := write(t, filepath.Join(dir, "a", "c.hcl"), "")
			chmod(t, p, 0o660)
			return p
		}, "refused: its group can write it"},
		{"directory writable by all", func(t *testing.T, dir string) string {
			p := write(t, filepath.Join(dir, "a", "c.hcl"), "")
			chmod(t, filepath.Dir(p), 0o777)
			return p
		}, "refused: everybody can write its directory"},
		{"link from a directory that is", func(t *testing.T, dir string) string {
			p := write(t, filepath.Join(dir, "a", "c.hcl"), "")
			l := filepath.Join(dir, "b", "link.hcl")
			write(t, filepath.Join(dir, "b", "x"), "")
			if err := os.Symlink(p, l); err != nil {
				t.Fatal(err)
			}
			chmod(t, filepath.Dir(l), 0o777)
			return l
		}, "refused: everybody can write its directory"},
		{"link into a directory that is", func(t *testing.T, dir string) string {
			p := write(t, filepath.Join(dir, "a", "c.hcl"), "")
			l := filepath.Join(dir, "link.hcl")
			if err := os.Symlink(p, l); err != nil {
				t.Fatal(err)
			}
			chmod(t, filepath.Dir(p), 0o777)
			return l
		}, "refused: everybody can write its directory"},
		{"directory", func(_ *testing.T, dir string) string { return dir }, "is not a regular file"},
		{"device", func(*testing.T, string) string { return "/dev/null" }, "is not a regular file"},
		{"FIFO", func(t *testing.T, dir string) string {
			p := filepath.Join(dir, "fifo")
			if err := syscall.Mkfifo(p, 0o600); err != nil {
				t.Fatal(err)
			}
			return p
		}, "is not a regular file"},
		{"missing", func(_ *testing.T, dir string) string { return filepath.Join(dir, "none.hcl") }, "cannot open the configuration: no such file or directory — see config.hcl.example"},
		{"too large", func(t *testing.T, dir string) string {
			return write(t, filepath.Join(dir, "c.hcl"), strings.Repeat("#\n", maxBytes/2+1))
		}, "larger than 1 MiB"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Load(Options{Path: c.make(t, home(t)), Installed: installed})
			var e *FileError
			if !errors.As(err, &e) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one that says %q", err, c.want)
			}
		})
	}
	t.Run("of another user", func(t *testing.T) {
		if os.Geteuid() != 0 {
			t.Skip("only root can give a file away")
		}
		p := write(t, filepath.Join(home(t), "c.hcl"), "")
		if err := os.Chown(p, 1234, 0); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(Options{Path: p}); err == nil || !strings.Contains(err.Error(), "another user (uid 1234) can write it") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("sticky directory", func(t *testing.T) {
		p := write(t, filepath.Join(home(t), "a", "c.hcl"), "")
		chmod(t, filepath.Dir(p), 0o777|fs.ModeSticky)
		if _, err := Load(Options{Path: p}); err != nil {
			t.Error(err)
		}
	})
}

func chmod(t *testing.T, path string, mode fs.FileMode) {
	t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

// TestExplain: what a plugin refuses is shown where it was written.
func TestExplain(t *testing.T) {
	t.Setenv("DEEP_TEST_SET", "s3cret")
	c, err := load(t, `
backend "docker" {
  config {
    host  = "nonsense"
    token = "s3cret"
    port  = "x"
    pin   = env("DEEP_TEST_SET")
  }
  sandbox {
    network  = "full"
    work_dir = "/w"
  }
}
`)
	if err != nil {
		t.Fatal(err)
	}
	b := c.backends["docker"]
	schema := backend.Schema{
		{Name: "host", Type: backend.TypeString}, {Name: "token", Type: backend.TypeString, Sensitive: true},
		{Name: "pin", Type: backend.TypeString, Sensitive: true},
	}
	_, err = b.Launch().Decode(schema)
	if err == nil || !strings.Contains(err.Error(), "6,5-9: ") || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("an option that is none: %v", err)
	}
	_, err = b.Launch().Decode(append(slices.Clone(schema), backend.Attribute{Name: "port", Type: backend.TypeString}, backend.Attribute{Name: "zone", Type: backend.TypeString, Required: true}))
	if err == nil || !strings.Contains(err.Error(), `"zone" is required`) {
		t.Errorf("an option that is missing: %v", err)
	}
	data, err := b.Launch().Decode(append(slices.Clone(schema), backend.Attribute{Name: "port", Type: backend.TypeString}))
	if err != nil || string(data) != `{"host":"nonsense","pin":"s3cret","port":"x","token":"s3cret"}` {
		t.Fatalf("%s, %v", data, err)
	}

	refusal := func(kind error, path string) error {
		return &backend.Error{Kind: kind, Backend: "docker", Path: path, Message: "bad", Hint: "do better"}
	}
	for _, e := range []struct {
		err  error
		want string
	}{
		{b.ExplainOptions(refusal(backend.ErrInvalid, "host")), `:4,13-23: host: bad; do better`},
		{b.ExplainSandbox(refusal(backend.ErrUnsupported, "network")), `:10,16-22: network: bad; do better`},
		{b.ExplainSandbox(refusal(backend.ErrInvalid, "workspace")), `:11,16-20: work_dir: bad; do better`},
	} {
		var m *Error
		if !errors.As(e.err, &m) || !strings.HasSuffix(m.Mistakes[0].String(), e.want) {
			t.Errorf("explained as %v, want %s", e.err, e.want)
		}
		if backend.KindOf(e.err) == nil {
			t.Errorf("%v has no kind", e.err)
		}
	}
	if err := b.ExplainOptions(refusal(backend.ErrInvalid, "token")); strings.Contains(err.Error(), "s3cret") {
		t.Errorf("a secret is quoted: %v", err)
	}
	if err := b.ExplainOptions(refusal(backend.ErrInvalid, "pin")); !strings.Contains(err.Error(), `    7 |     pin   = env("DEEP_TEST_SET")`) {
		t.Errorf("the name of a variable is not quoted: %v", err)
	}
	for _, err := range []error{
		b.ExplainSandbox(refusal(backend.ErrInvalid, "network"), "network"), // set on the command line
		b.ExplainSandbox(refusal(backend.ErrInvalid, "memory")),             // not in the file
		b.ExplainSandbox(refusal(backend.ErrUnavailable, "network")),
		b.ExplainOptions(refusal(backend.ErrInvalid, "zone")),
	} {
		var m *Error
		if errors.As(err, &m) {
			t.Errorf("explained as %v", err)
		}
	}
}

// TestExplainProgram: a program that cannot be run is a mistake where it is named.
func TestExplainProgram(t *testing.T) {
	dir := t.TempDir()
	program := write(t, filepath.Join(dir, "deep-backend-sum"), "#!/bin/sh\n")
	chmod(t, program, 0o700)
	c, err := load(t, `
backend "none" {
  plugin = "/nosuch/deep-backend-none"
}
backend "dir" {
  plugin = "`+dir+`"
}
backend "sum" {
  plugin = "`+program+`"
  sha256 = "`+strings.Repeat("0", 64)+`"
}
`)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"none": `:3,12-39: plugin: /nosuch/deep-backend-none: missing`,
		"dir":  `:6,12-` + strconv.Itoa(14+len(dir)) + `: plugin: ` + dir + `: a directory`,
		"sum":  `:10,12-78: sha256: ` + program + `: its sha256 is `,
	} {
		o := c.backends[name].Launch()
		o.GuestDir, o.StateDir = dir, filepath.Join(dir, "state")
		_, err := host.Launch(t.Context(), o)
		err = c.backends[name].ExplainOptions(err)
		var (
			e     *Error
			start *host.StartError
		)
		if !errors.As(err, &e) || !strings.Contains(e.Mistakes[0].String(), want) || !strings.Contains(e.Mistakes[0].Quote, "^^^") || e.Mistakes[0].Hint == "" {
			t.Errorf("%s: %v, want %s", name, err, want)
		}
		if !errors.As(err, &start) {
			t.Errorf("%s: the reason is lost in %v", name, err)
		}
	}
	err = &host.StartError{Reason: host.ReasonExited, Err: &backend.Error{Kind: backend.ErrUnavailable}, Output: []string{"why"}}
	if got := c.backends["none"].ExplainOptions(err); errors.As(got, new(*Error)) {
		t.Errorf("what a program printed is lost in %v", got)
	}
}

// TestCheckSandbox: what a backend does not have is not to be asked for.
func TestCheckSandbox(t *testing.T) {
	c, err := load(t, `
backend "local" {
  sandbox {
    image   = "python:3.12-slim"
    pull    = "never"
    network = "full"
    memory  = "2GiB"
  }
}
`)
	if err != nil {
		t.Fatal(err)
	}
	b := c.backends["local"]
	if err := b.CheckSandbox(everything); err != nil {
		t.Errorf("by a backend that has everything: %v", err)
	}
	err = b.CheckSandbox(nil)
	var e *Error
	if !errors.As(err, &e) || len(e.Mistakes) != 3 {
		t.Fatalf("error %v, want 3 mistakes", err)
	}
	for i, want := range []string{":6,15-21: network: ", ":4,15-33: image: the backend local has no images; leave it out", ":5,15-22: pull: the backend local has no images"} {
		if m := e.Mistakes[i]; !strings.Contains(m.String(), want) || m.Quote == "" {
			t.Errorf("mistake %v, want %s", m, want)
		}
	}
	if b, err := c.Backend("podman"); err != nil || b.CheckSandbox(nil) != nil {
		t.Errorf("a backend without a block: %v", err)
	}
}
