// Package require says what a test needs that not every machine has: an engine,
// namespaces. A test without it is skipped by name, and the suite lists it at
// its end; where DEEP_TEST_REQUIRE names the thing, a skip is a failure.
package require

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Images that `make engines` builds.
const (
	Busybox = "deep-test/busybox:1"
	Python  = "deep-test/python:1"
	Bare    = "deep-test/bare:1"
	Trap    = "deep-test/trap:1"
)

// sockets the engines answer at by default.
var sockets = map[string]string{
	"docker": "/var/run/docker.sock",
	"podman": "/run/podman/podman.sock",
}

// Socket is where the engine name, "docker" or "podman", answers by default.
func Socket(name string) string { return sockets[name] }

// Missing returns why the backend name, "docker", "podman" or "local", cannot be
// had here, nil if it can: whether the engine answers on its default socket, and
// whether this user may make the namespaces that backend local needs.
func Missing(ctx context.Context, name string) error {
	if name == "local" {
		// It does nothing but start.
		cmd := exec.CommandContext(ctx, "true")
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID}
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("no user namespaces: %w %s", err, out)
		}
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", sockets[name])
	if err != nil {
		return fmt.Errorf("no engine answers, try `make engines`: %w", err)
	}
	return conn.Close()
}

// Engine skips unless the engine name, "docker" or "podman", answers on its
// default socket.
func Engine(t testing.TB, name string) {
	t.Helper()
	Backend(t, name)
}

// Local skips unless this user may make the namespaces that backend local needs.
func Local(t testing.TB) {
	t.Helper()
	Backend(t, "local")
}

// Backend skips unless the backend name can be had here.
func Backend(t testing.TB, name string) {
	t.Helper()
	if err := Missing(t.Context(), name); err != nil {
		Skip(t, name, err.Error())
	}
}

// Required reports whether DEEP_TEST_REQUIRE, a list separated by commas, names
// what.
func Required(what string) bool {
	return slices.Contains(strings.Split(os.Getenv("DEEP_TEST_REQUIRE"), ","), what)
}

// Skip skips the test for want of what, or fails it where DEEP_TEST_REQUIRE, a
// list separated by commas, names what.
func Skip(t testing.TB, what, reason string) {
	t.Helper()
	if Required(what) {
		t.Fatalf("%s is required here: %s", what, reason)
	}
	t.Skipf("needs %s: %s", what, reason)
}
