// Package e2e runs the built programs as a user does: in a terminal, without
// one, interrupted and killed, on real engines.
package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/test/require"
)

// backends that every test here runs on.
var backends = []string{"docker", "podman", "local"}

// programs is the directory with deep, plugins/ and guest/.
var programs string

func TestMain(m *testing.M) {
	programs = os.Getenv("DEEP_TEST_BIN")
	if programs == "" {
		fmt.Fprintln(os.Stderr, "e2e: set DEEP_TEST_BIN to the directory that `make build` filled; `make test` does")
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// A user is somebody with an empty home who calls deep.
type user struct {
	t    *testing.T
	home string
	// tag is in the environment of every command run in a sandbox, so that a scan
	// of /proc finds what is left of it.
	tag string
}

func newUser(t *testing.T) *user {
	t.Helper()
	home := t.TempDir()
	// A test directory may be below a world-writable one; the home is not.
	if err := os.Chmod(home, 0o700); err != nil {
		t.Fatal(err)
	}
	return &user{t: t, home: home, tag: backend.NewID()}
}

// configure writes the user's config.hcl.
func (u *user) configure(hcl string) {
	u.t.Helper()
	dir := filepath.Join(u.home, "config", "deep")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		u.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config.hcl"), []byte(hcl), 0o600); err != nil {
		u.t.Fatal(err)
	}
}

// command is deep with these arguments, in a session without a terminal.
func (u *user) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(programs, "deep"), args...)
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"),
		"HOME=" + u.home,
		"TMPDIR=" + os.TempDir(),
		"XDG_CONFIG_HOME=" + filepath.Join(u.home, "config"),
		"XDG_STATE_HOME=" + filepath.Join(u.home, "state"),
		"XDG_DATA_HOME=" + filepath.Join(u.home, "data"),
	}
	cmd.Dir = u.home
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

// deep runs to the end and returns standard output, standard error, exit code.
func (u *user) deep(args ...string) (stdout, stderr string, code int) {
	u.t.Helper()
	ctx, cancel := context.WithTimeout(u.t.Context(), 2*time.Minute)
	defer cancel()
	cmd := u.command(ctx, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		u.t.Fatalf("deep %q: %v\n%s", args, err, errs.String())
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// image returns the flags that choose a test image on backends that have images.
func image(name string) []string {
	if name == "local" {
		return nil
	}
	return []string{"--image", require.Python}
}

// on runs a test on each backend that can be had.
func on(t *testing.T, test func(t *testing.T, name string)) {
	for _, name := range backends {
		t.Run(name, func(t *testing.T) {
			require.Backend(t, name)
			test(t, name)
		})
	}
}

// tagged returns the processes with the user's tag in their environment.
func (u *user) tagged() []string {
	var found []string
	paths, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, p := range paths {
		env, err := os.ReadFile(p)
		if err == nil && bytes.Contains(env, []byte(u.tag)) {
			cmdline, _ := os.ReadFile(filepath.Join(filepath.Dir(p), "cmdline"))
			found = append(found, filepath.Base(filepath.Dir(p))+" "+strings.ReplaceAll(string(cmdline), "\x00", " "))
		}
	}
	return found
}

// eventually waits until ok, and fails when it is not in time.
func eventually(t *testing.T, within time.Duration, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(within); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", within, what)
		}
	}
}
