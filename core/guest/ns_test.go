package guest

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/guest/internal/nsinit"
	"github.com/deep-sandbox/deep/test/require"
)

// The guest is process 1 and reaps every child there is, so its tests run as
// process 1 of namespaces of their own: a test starts itself again there, and
// runs its cases inside.

const (
	envMode = "GUEST_TEST_MODE" // one of the modes, inside
	envDir  = "GUEST_TEST_DIR"  // an empty directory, on which a tmpfs is mounted
	envUID  = "GUEST_TEST_UID"  // testUID, inside

	modeGroup = "group" // uid 0, commands under another uid
	modePIDNS = "pidns" // one uid, in a user namespace

	// maxProcesses bounds the processes of a uid, so that a fork bomb stays small.
	maxProcesses = 500
)

// testUID is that of commands: another one for each run of the tests, since the
// kernel counts the processes of a uid wherever they are.
var testUID = func() int {
	if uid, err := strconv.Atoi(os.Getenv(envUID)); err == nil {
		return uid
	}
	return 20_000 + os.Getpid()%40_000
}()

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && strings.HasPrefix(os.Args[1], helperPrefix) {
		os.Exit(helper(strings.TrimPrefix(os.Args[1], helperPrefix), os.Args[2:]))
	}
	if os.Getenv(envMode) != "" {
		if err := settleInside(); err != nil {
			fmt.Fprintln(os.Stderr, "set up the namespaces:", err)
			os.Exit(3)
		}
	}
	if path := os.Getenv(envStage); path != "" {
		fmt.Fprintln(os.Stderr, "stage:", stage(path))
		os.Exit(3)
	}
	code := m.Run()
	for _, f := range atExit {
		f()
	}
	os.Exit(code)
}

// atExit is run after the last test.
var atExit []func()

// inNamespaces runs cases inside namespaces: as root with another uid for the
// commands, or with one uid for both.
func inNamespaces(t *testing.T, mode string, cases func(t *testing.T)) {
	t.Helper()
	if os.Getenv(envMode) == mode {
		cases(t)
		return
	}
	// The name of this test first, then what the caller chose of its cases.
	pattern := "^" + t.Name() + "$"
	if _, sub, ok := strings.Cut(flag.Lookup("test.run").Value.String(), "/"); ok {
		pattern += "/" + sub
	}
	args := []string{"-test.run=" + pattern, "-test.v=true", "-test.timeout=" + flag.Lookup("test.timeout").Value.String()}
	if testing.Short() {
		args = append(args, "-test.short")
	}
	out, err := again(t, mode, args)
	if err != nil || bytes.Contains(out, []byte("no tests to run")) {
		t.Fatalf("inside: %v\n%s", err, out)
	}
	if testing.Verbose() {
		t.Logf("inside:\n%s", out)
	}
}

// again runs this program once more, inside.
func again(t testing.TB, mode string, args []string) (out []byte, err error) {
	t.Helper()
	attr := &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS, Setsid: true}
	owner := os.Getuid()
	switch {
	case mode == modePIDNS:
		require.Local(t)
		if owner == 0 {
			owner = testUID
			attr.Credential = &syscall.Credential{NoSetGroups: true}
		}
		attr.Cloneflags |= unix.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: owner, Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: owner, Size: 1}}
	case owner != 0:
		require.Skip(t, "root", "a guest that is uid 0 needs root to start")
	}
	dir, err := os.MkdirTemp("", "guest-test")
	check(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	check(t, os.Chmod(dir, 0o755))

	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", args...)
	cmd.SysProcAttr = attr
	cmd.Env = append(os.Environ(), envMode+"="+mode, envDir+"="+dir, envUID+"="+strconv.Itoa(testUID), "DEEP_SECRET=of the host")
	return cmd.CombinedOutput()
}

// settleInside makes the namespaces a place like a sandbox.
func settleInside() error {
	dir := os.Getenv(envDir)
	return errors.Join(
		nsinit.TakeSignals(),
		unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
		unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""),
		unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755,size=256m"),
		unix.Setrlimit(unix.RLIMIT_NPROC, &unix.Rlimit{Cur: maxProcesses, Max: maxProcesses}),
		copyProgram(filepath.Join(dir, "helper")),
	)
}

func copyProgram(to string) error {
	from, err := os.Open("/proc/self/exe")
	if err != nil {
		return err
	}
	defer func() { _ = from.Close() }()
	f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, from)
	return errors.Join(err, f.Close())
}

// fixture is a sandbox to test.
type fixture struct {
	*Sandbox
	t testing.TB
	// dir is what the test sees at the workspace's path, and the user owns.
	dir string
	// uid of the commands.
	uid uint32
}

// newFixture makes this process a guest. Cases share it one after the other.
func newFixture(t testing.TB) *fixture {
	t.Helper()
	uid := uint32(0)
	if os.Getenv(envMode) == modeGroup {
		uid = uint32(testUID)
	}
	dir := filepath.Join(os.Getenv(envDir), "workspace")
	check(t, os.RemoveAll(dir))
	check(t, os.Mkdir(dir, 0o755))
	check(t, os.Chown(dir, int(uid), int(uid)))
	sb, err := NewSandbox(Config{
		ID: "test", Workspace: dir, UID: uid, GID: uid, KeptOutput: 8 << 20,
		Env: [][]byte{[]byte("FROM_SETUP=yes"), []byte("HELPER=" + filepath.Join(os.Getenv(envDir), "helper"))},
	})
	check(t, err)
	t.Cleanup(func() {
		sb.end()
		if err := sb.release(); err != nil {
			t.Error(err)
		}
	})
	return &fixture{Sandbox: sb, t: t, dir: dir, uid: uid}
}

// path of a file in the workspace.
func (f *fixture) path(name string) string { return filepath.Join(f.dir, name) }

// put makes a file as the user would.
func (f *fixture) put(name, content string) {
	f.t.Helper()
	check(f.t, os.MkdirAll(filepath.Dir(f.path(name)), 0o755))
	check(f.t, os.WriteFile(f.path(name), []byte(content), 0o644))
	for p := name; p != "."; p = filepath.Dir(p) {
		check(f.t, os.Lchown(f.path(p), int(f.uid), int(f.uid)))
	}
}

// get reads a file of the workspace.
func (f *fixture) get(name string) string {
	f.t.Helper()
	b, err := os.ReadFile(f.path(name))
	check(f.t, err)
	return string(b)
}

// run runs a command and returns its result and output. A test that fails here
// goes on nowhere.
func (f *fixture) run(req *backend.ExecRequest) (res *backend.ExecResult, stdout, stderr string) {
	f.t.Helper()
	var out, errs bytes.Buffer
	req.Stdout, req.Stderr = &out, &errs
	res, err := f.Exec(f.t.Context(), req)
	check(f.t, err)
	return res, out.String(), errs.String()
}

// sh runs a shell command that has to succeed, and returns what it prints.
func (f *fixture) sh(command string) string {
	f.t.Helper()
	res, out, errs := f.run(&backend.ExecRequest{Shell: command})
	if res.Outcome != backend.OutcomeExit || res.ExitCode != 0 {
		f.t.Fatalf("%s: %+v\n%s%s", command, res, out, errs)
	}
	return out
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
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// wantKind checks that err is of a kind, is typed, and names what it is about.
func wantKind(t testing.TB, err, kind error) *backend.Error {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Fatalf("error %v, want %v", err, kind)
	}
	var typed *backend.Error
	if !errors.As(err, &typed) || typed.Op == "" {
		t.Fatalf("error %#v is not a *backend.Error with its operation", err)
	}
	if typed.Hint == "" && needsHint(kind) {
		t.Errorf("%v: what to do is not said", err)
	}
	return typed
}

// needsHint reports whether something can be done about an error of the kind. A
// caller who cancels knows, and what is gone is gone.
func needsHint(kind error) bool {
	return !errors.Is(kind, context.Canceled) && !errors.Is(kind, context.DeadlineExceeded) && !errors.Is(kind, backend.ErrGone)
}

// tagged returns the live processes that have tag in their environment.
func tagged(t testing.TB, tag string) []string {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	check(t, err)
	var found []string
	for _, e := range entries {
		if e.Name()[0] < '1' || e.Name()[0] > '9' {
			continue
		}
		env, err := os.ReadFile("/proc/" + e.Name() + "/environ")
		if err != nil || !bytes.Contains(env, []byte(tag)) {
			continue
		}
		status, err := os.ReadFile("/proc/" + e.Name() + "/status")
		if err != nil {
			continue
		}
		if _, dead := stateIn(status); !dead {
			name, _, _ := strings.Cut(string(status), "\n")
			found = append(found, e.Name()+" "+name)
		}
	}
	return found
}
