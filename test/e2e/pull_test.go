package e2e

import (
	"bytes"
	"context"
	"encoding/base64"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/test/registry"
)

// onEngines runs a test on each engine that pulls images, on both at once.
func onEngines(t *testing.T, test func(t *testing.T, e *registry.Engine)) {
	for _, name := range []string{"docker", "podman"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, registry.OpenEngine(t, name))
		})
	}
}

// missing pushes an image that the engine has not, and returns REPOSITORY:TAG.
func missing(t *testing.T, e *registry.Engine, img v1.Image) string {
	t.Helper()
	e.Forget(registry.ID(t, img))
	repository := "e2e/" + backend.NewID() + ":1"
	registry.Push(t, img, repository)
	return repository
}

// TestPullLines: without a terminal a pull is plain lines on standard error, and
// standard output is the command's.
func TestPullLines(t *testing.T) {
	onEngines(t, func(t *testing.T, e *registry.Engine) {
		image := e.At(registry.Open) + "/" + missing(t, e, registry.Small(t))
		stdout, stderr, code := newUser(t).deep("exec", "--backend", e.Name, "--image", image, "--", "/bin/busybox", "echo", "hello")
		if stdout != "hello\n" || code != 0 {
			t.Errorf("exit code %d, output %q", code, stdout)
		}
		lines := regexp.MustCompile(`^deep: pulling ` + image + `\n(deep: pulling ` + image + `: \d+\.\d of \d+\.\d MiB, \d layers?\n)*deep: pulling ` + image + `: done\n$`)
		if !lines.MatchString(stderr) {
			t.Errorf("standard error:\n%q", stderr)
		}
	})
}

// TestPullBar: on a terminal it is a bar that fills up.
func TestPullBar(t *testing.T) {
	onEngines(t, func(t *testing.T, e *registry.Engine) {
		image := e.Proxy(registry.Open, registry.Slow(2<<20)) + "/" + missing(t, e, registry.Fixed(t, 3, 4<<20))
		term := newUser(t).open("exec", "--backend", e.Name, "--image", image, "--", "/bin/busybox", "echo", "hello")
		term.see("hello")
		if code := term.wait(); code != 0 {
			t.Errorf("exit code %d", code)
		}
		if bar := regexp.MustCompile(`pulling ` + image + ` \[#+\.+\] \d+\.\d of \d+\.\d MiB, `); !bar.MatchString(term.screen()) {
			t.Errorf("no bar on the screen:\n%s", term.screen())
		}
	})
}

// TestPullInterrupted: Ctrl-C in the middle of a pull ends deep at once, with
// nothing left.
func TestPullInterrupted(t *testing.T) {
	onEngines(t, func(t *testing.T, e *registry.Engine) {
		image := e.Proxy(registry.Open, registry.Slow(1<<20)) + "/" + missing(t, e, registry.Fixed(t, 4, 4<<20))
		term := newUser(t).open("exec", "--backend", e.Name, "--image", image, "--", "/bin/busybox", "true")
		term.see("pulling " + image + " [")
		began := time.Now()
		term.press("\x03")
		if code := term.wait(); code != 130 {
			t.Errorf("exit code %d, want 130; the screen:\n%s", code, term.screen())
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("it took %v to end", took)
		}
		if e.Has(image) {
			t.Error("the image is there")
		}
	})
}

// TestPullLoggedIn: what `docker login` and `podman login` leave is used without
// any configuration, and the secret is on no command line meanwhile.
func TestPullLoggedIn(t *testing.T) {
	onEngines(t, func(t *testing.T, e *registry.Engine) {
		private := e.Proxy(registry.Private, registry.Slow(1<<20))
		image := private + "/" + missing(t, e, registry.Small(t))
		for _, c := range []struct{ name, variable, file string }{
			{"of docker in the home", "", ".docker/config.json"},
			{"of docker elsewhere", "DOCKER_CONFIG", "elsewhere/config.json"},
			{"of podman", "REGISTRY_AUTH_FILE", "auth.json"},
		} {
			if e.Name == "docker" && c.variable == "REGISTRY_AUTH_FILE" || e.Name == "podman" && c.variable == "DOCKER_CONFIG" {
				continue // the other's own
			}
			t.Run(c.name, func(t *testing.T) {
				u := newUser(t)
				file := filepath.Join(u.home, c.file)
				logIn(t, e.Name, private, file)
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				cmd := u.command(ctx, "exec", "--backend", e.Name, "--image", image, "--verbose", "--", "/bin/busybox", "echo", "hello")
				// What root's own podman knows is not this user's.
				cmd.Env = append(cmd.Env, "XDG_RUNTIME_DIR="+u.home)
				switch c.variable {
				case "DOCKER_CONFIG":
					cmd.Env = append(cmd.Env, c.variable+"="+filepath.Dir(file))
				case "REGISTRY_AUTH_FILE":
					cmd.Env = append(cmd.Env, c.variable+"="+file)
				}
				var out bytes.Buffer
				cmd.Stdout, cmd.Stderr = &out, &out
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				ended := make(chan error, 1)
				go func() { ended <- cmd.Wait() }()
				for {
					select {
					case err := <-ended:
						if err != nil || !strings.Contains(out.String(), "hello\n") {
							t.Errorf("%v\n%s", err, out.String())
						}
						if s := secret(out.String()); s != "" {
							t.Errorf("%q was told:\n%s", s, out.String())
						}
						return
					case <-time.After(20 * time.Millisecond):
						if line := toldInArguments(); line != "" {
							t.Errorf("on a command line: %q", line)
						}
					}
				}
			})
			e.Forget(image)
		}
	})
}

// logIn logs in with the engine's own command, into a file.
func logIn(t *testing.T, engine, host, file string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "docker", "login", "--username", registry.User, "--password-stdin", host)
	cmd.Env = append(os.Environ(), "DOCKER_CONFIG="+filepath.Dir(file))
	if engine == "podman" {
		cmd = exec.CommandContext(t.Context(), "podman", "login", "--username", registry.User, "--password-stdin", "--authfile", file, host)
	}
	cmd.Stdin = strings.NewReader(registry.Password)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// secret returns what of the credentials is in a text.
func secret(text string) string {
	for _, s := range []string{registry.Password, base64.StdEncoding.EncodeToString([]byte(registry.User + ":" + registry.Password))} {
		if strings.Contains(text, s) {
			return s
		}
	}
	return ""
}

// toldInArguments returns the arguments of a process of ours that has a secret
// among them.
func toldInArguments() string {
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range lines {
		data, err := os.ReadFile(path)
		if err == nil && strings.Contains(string(data), "deep") && secret(string(data)) != "" {
			return string(data)
		}
	}
	return ""
}
