package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/host"
	"github.com/deep-sandbox/deep/core/pluginsdk"
	"github.com/deep-sandbox/deep/test/require"
)

// The tests run as root, as an ordinary user, and as one with subordinate ids:
// where they are root they start themselves anew as the other two. The plugin is
// this program under its name.

const (
	// envAs says, in a process that was started anew, as whom.
	envAs = "LOCAL_TEST_AS"
	// envDir is a directory of files that all may read: programs.
	envDir = "LOCAL_TEST_DIR"
)

// who runs the tests.
type who string

const (
	asRoot who = "root"
	asUser who = "user"
	asSub  who = "subordinate"
	// asForbidden is one who may make no user namespaces.
	asForbidden who = "forbidden"
)

// Users of the tests, who have no files. Nobody has these ids.
const (
	plainUID = 54321
	subUID   = 54322
	subBase  = 1_800_000_000
)

// programs is a directory with the plugin, and the guest in guest/.
var programs string

func TestMain(m *testing.M) {
	switch {
	case filepath.Base(os.Args[0]) == "deep-backend-local":
		main()
		return
	case len(os.Args) > 2 && os.Args[1] == attackArg:
		os.Exit(attack(os.Args[2], os.Args[3:]))
	case len(os.Args) > 1 && os.Args[1] == becomeSubArg:
		fmt.Fprintln(os.Stderr, becomeSub(os.Args[2:]))
		os.Exit(3)
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	// A race detector that waits a second at each end of a process.
	_ = os.Setenv("GORACE", "atexit_sleep_ms=0")
	programs = os.Getenv(envDir)
	if programs == "" {
		var err error
		if programs, err = install(); err != nil {
			fmt.Fprintln(os.Stderr, "install the programs:", err)
			return 1
		}
		defer func() { _ = os.RemoveAll(programs) }()
	}
	return m.Run()
}

// install puts the programs where every user may read them.
func install() (string, error) {
	dir, err := os.MkdirTemp("", "local-test")
	if err != nil {
		return "", err
	}
	name := "deep-guest-linux-" + runtime.GOARCH
	guest := filepath.Join(dir, "guest", name)
	if err := errors.Join(os.Chmod(dir, 0o755), os.Mkdir(filepath.Dir(guest), 0o755)); err != nil {
		return dir, err
	}
	if bin := os.Getenv("DEEP_TEST_BIN"); bin != "" {
		if err := copyProgram(filepath.Join(bin, "guest", name), guest); err != nil {
			return dir, err
		}
	} else {
		cmd := exec.Command("go", "build", "-o", guest, "github.com/deep-sandbox/deep/cmd/deep-guest")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false")
		if out, err := cmd.CombinedOutput(); err != nil {
			return dir, fmt.Errorf("%w: %s", err, out)
		}
	}
	plugin := filepath.Join(dir, "deep-backend-local")
	if err := copyProgram("/proc/self/exe", plugin); err != nil {
		return dir, err
	}
	return dir, os.Link(plugin, filepath.Join(dir, attackArg))
}

func copyProgram(from, to string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.WriteFile(to, data, 0o755); err != nil { //nolint:gosec // a program
		return err
	}
	return os.Chmod(to, 0o755) //nolint:gosec // whatever the umask is
}

// as runs cases as somebody: here, if that is who this process is, else in a
// process started anew.
func as(t *testing.T, w who, cases func(t *testing.T)) {
	now := who(os.Getenv(envAs))
	switch {
	case now == w, now == "" && os.Getuid() == 0 && w == asRoot, now == "" && os.Getuid() != 0 && w == asUser:
		require.Local(t)
		cases(t)
		return
	case now != "":
		t.Fatalf("started anew as %s for tests as %s", now, w)
	case os.Getuid() != 0:
		require.Skip(t, "root", "tests as "+string(w)+" need root to start")
	}
	require.Local(t)
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", testArgs(t)...)
	cmd.Env = append(os.Environ(), envAs+"="+string(w), envDir+"="+programs, "HOME=/nonexistent", "TMPDIR="+userTemp(t, w))
	cmd.Dir = "/"
	switch w {
	case asUser:
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: plainUID, Gid: plainUID}}
	case asSub:
		if _, err := exec.LookPath("newuidmap"); err != nil {
			require.Skip(t, "newuidmap", "install the package uidmap")
		}
		cmd.Args = append([]string{cmd.Args[0], becomeSubArg, t.TempDir()}, cmd.Args[1:]...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	case asForbidden:
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 1}},
		}
	}
	out, err := cmd.CombinedOutput()
	if err != nil || bytes.Contains(out, []byte("no tests to run")) {
		t.Fatalf("as %s: %v\n%s", w, err, out)
	}
	if testing.Verbose() {
		t.Logf("as %s:\n%s", w, out)
	}
}

func uidOf(w who) int {
	switch w {
	case asUser:
		return plainUID
	case asSub:
		return subUID
	}
	return 0
}

// userTemp is a directory for a user's temporary files.
func userTemp(t *testing.T, w who) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "local-test")
	check(t, err)
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	check(t, os.Chown(dir, uidOf(w), uidOf(w)))
	return dir
}

// becomeSub becomes the user with subordinate ids, in a mount namespace where
// there is one, and executes this program again.
func becomeSub(args []string) error {
	dir := args[0]
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return err
	}
	passwd, err := os.ReadFile("/etc/passwd")
	if err != nil {
		return err
	}
	ids := fmt.Sprintf("someone:1:1\nlocaltest:%d:65536\n", subBase)
	for name, text := range map[string]string{
		"passwd": string(passwd) + fmt.Sprintf("localtest:x:%d:%d::/nonexistent:/bin/sh\n", subUID, subUID),
		"subuid": ids,
		"subgid": ids,
	} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil { //nolint:gosec // for all to read
			return err
		}
		if err := syscall.Mount(file, "/etc/"+name, "", syscall.MS_BIND, ""); err != nil {
			return fmt.Errorf("/etc/%s: %w", name, err)
		}
	}
	if err := errors.Join(syscall.Setgroups(nil), syscall.Setgid(subUID), syscall.Setuid(subUID)); err != nil {
		return err
	}
	return syscall.Exec("/proc/self/exe", append([]string{os.Args[0]}, args[1:]...), os.Environ())
}

const becomeSubArg = "become-subordinate"

// testArgs are those that run the current test alone.
func testArgs(t *testing.T) []string {
	args := []string{"-test.run=^" + t.Name() + "$", "-test.timeout=10m"}
	if testing.Verbose() {
		args = append(args, "-test.v")
	}
	return args
}

// launch starts the plugin, with a state directory whose path is longer than a
// socket's may be.
func launch(t *testing.T) *host.Plugin {
	t.Helper()
	state := filepath.Join(t.TempDir(), strings.Repeat("long", 30), "state")
	p, err := host.Launch(t.Context(), host.Options{
		Name:     "local",
		Path:     filepath.Join(programs, "deep-backend-local"),
		GuestDir: filepath.Join(programs, "guest"),
		StateDir: state,
		Env:      []string{"GORACE"},
	})
	check(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := p.Close(ctx); err != nil {
			t.Error(err)
		}
		wantNothing(t, state)
	})
	return p
}

// create makes a sandbox that goes with the test.
func create(t *testing.T, p *host.Plugin, change func(*backend.Spec)) backend.Sandbox {
	t.Helper()
	var spec backend.Spec
	if change != nil {
		change(&spec)
	}
	sb, err := p.Create(t.Context(), &backend.CreateRequest{ID: backend.NewID(), Spec: spec})
	check(t, err)
	t.Cleanup(func() {
		if err := p.Destroy(context.Background(), &backend.DestroyRequest{ID: sb.Info().ID}); err != nil {
			t.Error(err)
		}
	})
	return sb
}

// sh runs a shell command and returns what came of it, and what it printed.
func sh(t *testing.T, sb backend.Sandbox, command string) (string, *backend.ExecResult) {
	t.Helper()
	return execute(t, sb, &backend.ExecRequest{Shell: command})
}

func execute(t *testing.T, sb backend.Sandbox, req *backend.ExecRequest) (string, *backend.ExecResult) {
	t.Helper()
	var out bytes.Buffer
	req.Stdout, req.Stderr = &out, &out
	res, err := sb.Exec(t.Context(), req)
	if err != nil {
		t.Fatalf("%+v: %v\n%s", req, err, out.String())
	}
	return out.String(), res
}

// provisioner makes one in this process.
func provisioner(t *testing.T, state string) *localBackend {
	t.Helper()
	log := hclog.New(&hclog.LoggerOptions{Output: testWriter{t}, Level: hclog.Debug})
	b, err := newBackend(pluginsdk.Env{Name: "local", StateDir: state, Log: log})
	check(t, err)
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// testWriter makes lines of the log lines of the test.
type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Log(string(bytes.TrimRight(p, "\n")))
	return len(p), nil
}

// request asks for a sandbox as the SDK does.
func request(t *testing.T, change func(*backend.Spec)) *pluginsdk.ProvisionRequest {
	t.Helper()
	var spec backend.Spec
	if change != nil {
		change(&spec)
	}
	spec, err := spec.Settle([]backend.Capability{backend.CapBind, backend.CapKeepWorkspace, backend.CapNetworkFull})
	check(t, err)
	id := backend.NewID()
	return &pluginsdk.ProvisionRequest{
		ID: id, Spec: spec, Guest: pluginsdk.NewGuestProgram(filepath.Join(programs, "guest")), Progress: func(backend.Progress) {},
		Labels: map[string]string{
			pluginsdk.LabelManaged: "true", pluginsdk.LabelSandbox: id, pluginsdk.LabelEphemeral: "true",
			pluginsdk.LabelCreated: time.Now().UTC().Format(time.RFC3339Nano),
		},
	}
}

// wantNothing fails unless nothing of a sandbox is left in a state directory, and
// no cgroup and no process of one.
func wantNothing(t *testing.T, state string) {
	t.Helper()
	for _, dir := range []string{"sandboxes", "workspaces"} {
		entries, err := os.ReadDir(filepath.Join(state, dir))
		check(t, err)
		for _, e := range entries {
			t.Errorf("left in %s: %s", dir, e.Name())
		}
	}
	if left := processesOf(state); len(left) > 0 {
		t.Errorf("processes are left: %v", left)
	}
}

// processesOf returns the keepers whose sandboxes are in a state directory: those
// that hold a lock in there.
func processesOf(state string) []string {
	var found []string
	fds, _ := filepath.Glob("/proc/[0-9]*/fd/4")
	for _, fd := range fds {
		target, err := os.Readlink(fd)
		pid := strings.Split(fd, "/")[2]
		if err == nil && strings.HasPrefix(target, state+"/") && pid != fmt.Sprint(os.Getpid()) {
			cmdline, _ := os.ReadFile("/proc/" + pid + "/cmdline")
			found = append(found, pid+" "+string(bytes.ReplaceAll(cmdline, []byte{0}, []byte(" "))))
		}
	}
	return found
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually waits until ok holds.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// wantError fails unless err is of that kind and says what to do.
func wantError(t testing.TB, what string, err, kind error, hint string) {
	t.Helper()
	if !errors.Is(err, kind) || !strings.Contains(backend.HintOf(err), hint) {
		t.Errorf("%s: %v, want %q with a hint on %q", what, err, kind, hint)
	}
}
