// Package require says what a test needs that not every machine has: an engine,
// namespaces. A test without it is skipped by name, and the suite lists it at
// its end; where DEEP_TEST_REQUIRE names the thing, a skip is a failure.
package require

import (
	"context"
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
)

// sockets the engines answer at by default.
var sockets = map[string]string{
	"docker": "/var/run/docker.sock",
	"podman": "/run/podman/podman.sock",
}

// Engine skips unless the engine name, "docker" or "podman", answers on its
// default socket.
func Engine(t testing.TB, name string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", sockets[name])
	if err != nil {
		Skip(t, name, "no engine answers, try `make engines`: "+err.Error())
		return
	}
	_ = conn.Close()
}

// Local skips unless this user may make the namespaces that backend local needs.
func Local(t testing.TB) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^$")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID}
	if out, err := cmd.CombinedOutput(); err != nil {
		Skip(t, "local", "no user namespaces: "+err.Error()+" "+string(out))
	}
}

// Backend skips unless the backend name can be had here.
func Backend(t testing.TB, name string) {
	t.Helper()
	if name == "local" {
		Local(t)
		return
	}
	Engine(t, name)
}

// Skip skips the test for want of what, or fails it where DEEP_TEST_REQUIRE, a
// list separated by commas, names what.
func Skip(t testing.TB, what, reason string) {
	t.Helper()
	if slices.Contains(strings.Split(os.Getenv("DEEP_TEST_REQUIRE"), ","), what) {
		t.Fatalf("%s is required here: %s", what, reason)
	}
	t.Skipf("needs %s: %s", what, reason)
}
