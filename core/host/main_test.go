package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	goplugin "github.com/hashicorp/go-plugin"
	"go.uber.org/goleak"
	"google.golang.org/grpc"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/internal/handshake"
	"github.com/deep-sandbox/deep/core/internal/plugintest"
	"github.com/deep-sandbox/deep/core/pluginsdk"
)

// hostKey makes the test's program a host that is to be killed, see runHost.
const hostKey = "HOST_TEST_HOST"

func TestMain(m *testing.M) {
	// The race detector waits for a second at a program's exit otherwise.
	_ = os.Setenv("GORACE", "atexit_sleep_ms=0")
	plugintest.RunGuest()
	plugintest.RunPlugin(badPlugins)
	runHost()
	os.Exit(m.Run())
}

// serveRaw serves nothing, with a handshake of the test's own.
func serveRaw(cookie string, version int) {
	goplugin.Serve(&goplugin.ServeConfig{
		HandshakeConfig:  goplugin.HandshakeConfig{MagicCookieKey: handshake.CookieKey, MagicCookieValue: cookie},
		VersionedPlugins: map[int]goplugin.PluginSet{version: {handshake.PluginKey: emptyPlugin{}}},
		GRPCServer:       func(opts []grpc.ServerOption) *grpc.Server { return grpc.NewServer(opts...) },
	})
}

type emptyPlugin struct {
	goplugin.NetRPCUnsupportedPlugin
}

func (emptyPlugin) GRPCServer(*goplugin.GRPCBroker, *grpc.Server) error { return nil }

func (emptyPlugin) GRPCClient(context.Context, *goplugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, errors.New("not a client")
}

func serveAs(name string, configure func(context.Context) error) {
	pluginsdk.Serve(pluginsdk.Plugin{
		Name: name, Version: "1", Summary: "bad",
		NewProvisioner: func(ctx context.Context, _ pluginsdk.Env) (pluginsdk.Provisioner, error) {
			return plugintest.NewEngine("/nowhere"), configure(ctx)
		},
	})
}

func socketPath(name string) string { return filepath.Join(os.Getenv("PLUGIN_UNIX_SOCKET_DIR"), name) }

// badPlugins are plugins by what is wrong with them.
var badPlugins = map[string]func(){
	"cookie":  func() { serveRaw("another", 1) },
	"version": func() { serveRaw(handshake.CookieValue, 2) },
	"noise": func() {
		fmt.Fprintln(os.Stderr, "I speak first")
		fmt.Println("Hello \x1b[31mfrom the plugin")
		serveRaw(handshake.CookieValue, 1)
	},
	"exits":  func() { fmt.Fprintln(os.Stderr, "no license found"); os.Exit(3) },
	"hangs":  func() { fmt.Fprintln(os.Stderr, "thinking"); time.Sleep(time.Hour) },
	"core":   func() { fmt.Println("9|1|unix|" + socketPath("x") + "|grpc|c"); time.Sleep(time.Hour) },
	"tcp":    func() { fmt.Println("1|1|tcp|127.0.0.1:1|grpc|c"); time.Sleep(time.Hour) },
	"astray": func() { fmt.Println("1|1|unix|/var/run/docker.sock|grpc|c"); time.Sleep(time.Hour) },
	"netrpc": func() { fmt.Println("1|1|unix|" + socketPath("x") + "|netrpc|c"); time.Sleep(time.Hour) },
	"open":   func() { fmt.Println("1|1|unix|" + socketPath("x") + "|grpc|"); time.Sleep(time.Hour) },
	"lies": func() {
		fmt.Println("1|1|unix|" + socketPath("x") + "|grpc|" + strings.Repeat("A", 100))
		time.Sleep(time.Hour)
	},
	"empty":   func() { serveRaw(handshake.CookieValue, 1) },
	"renamed": func() { serveAs("another", func(context.Context) error { return nil }) },
	"stuck":   func() { serveAs("stuck", func(context.Context) error { select {} }) },
	"refuses": func() {
		serveAs("refuses", func(context.Context) error {
			return &backend.Error{Kind: backend.ErrUnavailable, Path: "/run/it.sock", Message: "no engine", Hint: "start it"}
		})
	},
	"panics": func() { serveAs("panics", func(context.Context) error { panic("while configuring") }) },
}

// testLog is a log that can be read while it is written.
type testLog struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *testLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *testLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// options for a plugin of this test's program.
func options(t testing.TB, name, engine string) (Options, *testLog) {
	t.Helper()
	log := &testLog{}
	dir := plugintest.Install(t, name)
	o := Options{
		Name: name, Path: filepath.Join(dir, handshake.BinaryPrefix+name),
		Env: []string{"GORACE"}, GuestDir: t.TempDir(), StateDir: filepath.Join(t.TempDir(), "state"),
		Logger:       slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		StartTimeout: 60 * time.Second,
	}
	if engine != "" {
		o.Config = []byte(fmt.Sprintf(`{"dir":%q}`, engine))
	}
	return o, log
}

// launch starts a plugin on an engine in a new directory. At the end of the test
// it checks that nothing of the plugin is left.
func launch(t testing.TB, name string) (*Plugin, string, *testLog) {
	t.Helper()
	leaks(t)
	engine := plugintest.Dir(t)
	o, log := options(t, name, engine)
	p, err := Launch(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(context.Background()); err != nil {
			t.Error(err)
		}
		for _, id := range plugintest.Sandboxes(engine) {
			if err := plugintest.NewEngine(engine).Destroy(context.Background(), &backend.DestroyRequest{ID: id}); err != nil {
				t.Error(err)
			}
		}
	})
	return p, engine, log
}

// leaks checks at the end of a test that it left no goroutine, no child process,
// no open file and no directory of a socket.
func leaks(t testing.TB) {
	t.Helper()
	goroutines := goleak.IgnoreCurrent()
	files, children, sockets := openFiles(), childProcesses(), socketDirs()
	t.Cleanup(func() {
		if t.Failed() {
			return // whatever is left is a consequence
		}
		if err := goleak.Find(goroutines); err != nil {
			t.Error(err)
		}
		var left []string
		for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
			left = slices.Concat(added(files, openFiles()), added(children, childProcesses()), added(sockets, socketDirs()))
			if len(left) == 0 {
				return
			}
			if time.Now().After(deadline) {
				t.Errorf("left: %s", strings.Join(left, "\n"))
				return
			}
			runtime.GC() // a file may only wait for its finalizer
		}
	})
}

func added(before, after []string) []string {
	var more []string
	for _, s := range after {
		if !slices.Contains(before, s) {
			more = append(more, s)
		}
	}
	return more
}

func openFiles() []string {
	entries, _ := os.ReadDir("/proc/self/fd")
	var files []string
	for _, e := range entries {
		target, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err != nil || strings.HasPrefix(target, "/proc/") || strings.HasPrefix(target, "anon_inode:") {
			continue // the listing itself, and the runtime's poller
		}
		files = append(files, "file "+target)
	}
	return files
}

func childProcesses() []string {
	var children []string
	tasks, _ := filepath.Glob("/proc/self/task/*/children")
	for _, task := range tasks {
		data, _ := os.ReadFile(task)
		for pid := range strings.FieldsSeq(string(data)) {
			name, _ := os.ReadFile("/proc/" + pid + "/comm")
			children = append(children, "process "+pid+" "+strings.TrimSpace(string(name)))
		}
	}
	return children
}

func socketDirs() []string {
	dirs, _ := filepath.Glob(filepath.Join(os.TempDir(), handshake.SocketDirPrefix+"*"))
	return dirs
}

func create(t testing.TB, p backend.Backend, id string, spec backend.Spec) backend.Sandbox {
	t.Helper()
	sb, err := p.Create(t.Context(), &backend.CreateRequest{ID: id, Spec: spec})
	if err != nil {
		t.Fatal(err)
	}
	return sb
}

func echo(t testing.TB, sb backend.Sandbox, text string) error {
	t.Helper()
	var out bytes.Buffer
	res, err := sb.Exec(t.Context(), &backend.ExecRequest{ID: backend.NewID(), Argv: []string{"echo", text}, Stdout: &out})
	if err != nil {
		return err
	}
	if out.String() != text+"\n" || res.ExitCode != 0 {
		t.Errorf("echo answered %q, %+v", out.String(), res)
	}
	return nil
}

// runHost launches an engine, makes an ephemeral and a lasting sandbox, prints
// the plugin's pid and waits to be killed.
func runHost() {
	engine := os.Getenv(hostKey)
	if engine == "" {
		return
	}
	self, err := os.Executable()
	if err != nil {
		panic(err)
	}
	link := filepath.Join(engine, handshake.BinaryPrefix+"engine")
	if err := os.Symlink(self, link); err != nil {
		panic(err)
	}
	ctx := context.Background()
	p, err := Launch(ctx, Options{
		Name: "engine", Path: link, Env: []string{"GORACE"}, GuestDir: engine, StateDir: filepath.Join(engine, "state"),
		Config: []byte(fmt.Sprintf(`{"dir":%q}`, engine)), StartTimeout: 60 * time.Second,
	})
	if err != nil {
		panic(err)
	}
	if _, err := p.Create(ctx, &backend.CreateRequest{ID: "ephemeral", Spec: backend.Spec{Ephemeral: true, Lease: time.Hour}}); err != nil {
		panic(err)
	}
	if _, err := p.Create(ctx, &backend.CreateRequest{ID: "lasting"}); err != nil {
		panic(err)
	}
	if os.Getenv(hostKey+"_BUSY") != "" {
		if err := os.WriteFile(filepath.Join(engine, plugintest.HoldFile), nil, 0o600); err != nil {
			panic(err)
		}
		go func() { _, _ = p.Create(ctx, &backend.CreateRequest{ID: "half-made"}) }()
		for len(plugintest.Sandboxes(engine)) < 3 {
			time.Sleep(time.Millisecond)
		}
	}
	fmt.Println(p.PID())
	select {}
}

// startHost starts runHost in a process of its own and returns it with its
// plugin's pid.
func startHost(t *testing.T, engine string, env ...string) (*exec.Cmd, int) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), append(env, hostKey+"="+engine)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	var pid int
	if _, err := fmt.Fscan(out, &pid); err != nil || pid == 0 {
		t.Fatalf("the host says %d, %v", pid, err)
	}
	return cmd, pid
}

func childrenOf(pid int) []int {
	var pids []int
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, task := range tasks {
		data, _ := os.ReadFile(task)
		for field := range strings.FieldsSeq(string(data)) {
			child := 0
			if _, err := fmt.Sscan(field, &child); err == nil {
				pids = append(pids, child)
			}
		}
	}
	return pids
}

// connections counts the open connections to a guest's socket, by the kernel's
// table; the listener is not one.
func connections(engine, id string) int {
	data, _ := os.ReadFile("/proc/net/unix")
	n := 0
	for line := range strings.Lines(string(data)) {
		f := strings.Fields(line)
		// The sixth column is the state, 03 is connected.
		if len(f) == 8 && f[5] == "03" && f[7] == filepath.Join(engine, "sb-"+id, "guest.sock") {
			n++
		}
	}
	return n
}
