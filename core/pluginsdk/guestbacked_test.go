package pluginsdk_test

// The tests of the guest-backed backend run it in this process, on an engine of
// directories whose guests are processes; see core/internal/plugintest.

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/internal/plugintest"
	"github.com/deep-sandbox/deep/core/internal/procid"
	"github.com/deep-sandbox/deep/core/pluginsdk"
)

func TestMain(m *testing.M) {
	plugintest.RunGuest()
	plugintest.RunPlugin(nil)
	os.Exit(m.Run())
}

// serve returns a configured backend on the engine in dir.
func serve(t *testing.T, dir string) backend.Backend {
	t.Helper()
	goroutines := goleak.IgnoreCurrent()
	b, err := pluginsdk.NewForTest(pluginsdk.Plugin{
		Name: "engine", Version: "1", Summary: "x",
		Capabilities: []backend.Capability{backend.CapKeepWorkspace, backend.CapBind},
		NewProvisioner: func(context.Context, pluginsdk.Env) (pluginsdk.Provisioner, error) {
			return plugintest.NewEngine(dir), nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	owner, err := procid.Self()
	if err != nil {
		t.Fatal(err)
	}
	req := &backend.ConfigureRequest{StateDir: filepath.Join(t.TempDir(), "state"), GuestDir: t.TempDir(), Owner: owner}
	if err := b.Configure(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
		defer cancel()
		if err := b.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		for _, id := range plugintest.Sandboxes(dir) {
			if err := plugintest.NewEngine(dir).Destroy(ctx, &backend.DestroyRequest{ID: id}); err != nil {
				t.Error(err)
			}
		}
		if err := goleak.Find(goroutines); err != nil && !t.Failed() {
			t.Error(err)
		}
	})
	return b
}

func create(t *testing.T, b backend.Backend, id string, spec backend.Spec) backend.Sandbox {
	t.Helper()
	sb, err := b.Create(t.Context(), &backend.CreateRequest{ID: id, Spec: spec})
	if err != nil {
		t.Fatal(err)
	}
	return sb
}

func echo(t *testing.T, sb backend.Sandbox, text string) error {
	t.Helper()
	var out bytes.Buffer
	res, err := sb.Exec(t.Context(), &backend.ExecRequest{ID: backend.NewID(), Argv: []string{"echo", text}, Stdout: &out})
	if err != nil {
		return err
	}
	if out.String() != text+"\n" || res.Outcome != backend.OutcomeExit || res.ExitCode != 0 {
		t.Errorf("echo answered %q, %+v", out.String(), res)
	}
	return nil
}

func TestCreateAndExec(t *testing.T) {
	dir := plugintest.Dir(t)
	b := serve(t, dir)
	var phases []backend.Phase
	sb, err := b.Create(t.Context(), &backend.CreateRequest{ID: "one", Progress: func(p backend.Progress) { phases = append(phases, p.Phase) }})
	if err != nil {
		t.Fatal(err)
	}
	info := sb.Info()
	if info.ID != "one" || info.Backend != "engine" || info.State != backend.StateRunning || info.Workspace != "/workspace" ||
		info.Ephemeral || info.Owner.PID != os.Getpid() || info.User != fmt.Sprintf("%d:%d", os.Getuid(), os.Getgid()) {
		t.Errorf("Info() = %+v", info)
	}
	if fmt.Sprint(phases) != "[start ready]" {
		t.Errorf("phases %v", phases)
	}
	if err := echo(t, sb, "hello"); err != nil {
		t.Error(err)
	}
	list, err := b.List(t.Context(), &backend.ListRequest{})
	if err != nil || len(list.Sandboxes) != 1 || list.Sandboxes[0].Backend != "engine" || list.Sandboxes[0].Created.IsZero() {
		t.Errorf("List() = %+v, %v", list, err)
	}
}

func TestCreateRefuses(t *testing.T) {
	dir := plugintest.Dir(t)
	b := serve(t, dir)
	for _, c := range []struct {
		req  backend.CreateRequest
		kind error
	}{
		{backend.CreateRequest{ID: "../x"}, backend.ErrInvalid},
		{backend.CreateRequest{ID: ""}, backend.ErrInvalid},
		{backend.CreateRequest{ID: "x", Spec: backend.Spec{Memory: 1}}, backend.ErrInvalid},
		{backend.CreateRequest{ID: "x", Spec: backend.Spec{Network: backend.NetworkFull}}, backend.ErrUnsupported},
	} {
		_, err := b.Create(t.Context(), &c.req)
		var e *backend.Error
		if !errors.As(err, &e) || !errors.Is(err, c.kind) || e.Backend != "engine" || e.Op != "create" || e.Path != c.req.ID && e.Path == "" {
			t.Errorf("%+v: %v", c.req, err)
		}
	}
	if left := plugintest.Sandboxes(dir); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func TestConcurrentCreatesOfOneID(t *testing.T) {
	dir := plugintest.Dir(t)
	b := serve(t, dir)
	const callers = 20
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		won  []backend.Sandbox
		lost int
	)
	for range callers {
		wg.Go(func() {
			sb, err := b.Create(t.Context(), &backend.CreateRequest{ID: "same"})
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				won = append(won, sb)
			case errors.Is(err, backend.ErrExists):
				lost++
			default:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if len(won) != 1 || lost != callers-1 {
		t.Fatalf("%d won and %d lost", len(won), lost)
	}
	if err := echo(t, won[0], "still here"); err != nil {
		t.Error(err)
	}
}

// Another plugin process has the id already: its sandbox is not harmed.
func TestCreateOfAnIDInUse(t *testing.T) {
	dir := plugintest.Dir(t)
	first := create(t, serve(t, dir), "same", backend.Spec{})
	if _, err := serve(t, dir).Create(t.Context(), &backend.CreateRequest{ID: "same"}); !errors.Is(err, backend.ErrExists) {
		t.Errorf("%v, want ErrExists", err)
	}
	if err := echo(t, first, "still here"); err != nil {
		t.Error(err)
	}
}

func touch(t *testing.T, dir, name string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestCancelledCreateLeavesNothing(t *testing.T) {
	for _, fault := range []string{plugintest.HoldFile, plugintest.DeafFile} {
		t.Run(fault, func(t *testing.T) {
			dir := plugintest.Dir(t)
			b := serve(t, dir)
			touch(t, dir, fault)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			done := make(chan error, 1)
			go func() {
				_, err := b.Create(ctx, &backend.CreateRequest{ID: "x", Spec: backend.Spec{Ephemeral: true}})
				done <- err
			}()
			pid := 0
			plugintest.Eventually(t, "the sandbox is half made", func() bool {
				pid = plugintest.GuestPID(dir, "x")
				return fault == plugintest.HoldFile && len(plugintest.Sandboxes(dir)) == 1 || pid != 0
			})
			cancel()
			if err := <-done; !errors.Is(err, context.Canceled) {
				t.Errorf("%v, want Canceled", err)
			}
			if left := plugintest.Sandboxes(dir); len(left) > 0 || plugintest.Alive(pid) {
				t.Errorf("left: %v, process %d", left, pid)
			}
			if err := os.Remove(filepath.Join(dir, fault)); err != nil {
				t.Fatal(err)
			}
			if err := echo(t, create(t, b, "x", backend.Spec{}), "the id is free again"); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestGuestKilled(t *testing.T) {
	dir := plugintest.Dir(t)
	b := serve(t, dir)
	sb := create(t, b, "x", backend.Spec{})
	started := make(chan struct{})
	done := make(chan error, 1)
	go func() {
		_, err := sb.Exec(t.Context(), &backend.ExecRequest{
			ID: backend.NewID(), Shell: "echo $$; sleep 1000", Stdout: writerFunc(func(p []byte) { close(started) }),
		})
		done <- err
	}()
	<-started
	plugintest.Kill(dir, "x")
	wantGone(t, "the exec", <-done, "x")
	wantGone(t, "the next call", echo(t, sb, "x"), "x")
	_, err := b.Open(t.Context(), &backend.OpenRequest{ID: "x"})
	wantGone(t, "Open", err, "x")
}

// wantGone fails unless err is an ErrGone in the words that are the same whoever
// noticed it, with what to do next.
func wantGone(t *testing.T, what string, err error, id string) {
	t.Helper()
	var e *backend.Error
	if want := pluginsdk.Gone(id); !errors.As(err, &e) || !errors.Is(err, backend.ErrGone) || e.Path != id || e.Message != want.Message || e.Hint != want.Hint {
		t.Errorf("%s ended with %v, want %v", what, err, want)
	}
}

// A call in flight learns that its sandbox was ended on purpose.
func TestEndedUnderACall(t *testing.T) {
	for name, end := range map[string]func(backend.Backend) error{
		"stop":    func(b backend.Backend) error { return b.Stop(t.Context(), &backend.StopRequest{ID: "x"}) },
		"destroy": func(b backend.Backend) error { return b.Destroy(t.Context(), &backend.DestroyRequest{ID: "x"}) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := plugintest.Dir(t)
			b := serve(t, dir)
			sb := create(t, b, "x", backend.Spec{Ephemeral: true})
			started := make(chan struct{})
			done := make(chan error, 1)
			go func() {
				_, err := sb.Exec(t.Context(), &backend.ExecRequest{
					ID: backend.NewID(), Shell: "echo started; exec sleep 1000", Stdout: writerFunc(func([]byte) { close(started) }),
				})
				done <- err
			}()
			<-started
			if err := end(b); err != nil {
				t.Error(err)
			}
			wantGone(t, "the exec", <-done, "x")
			wantGone(t, "the next call", echo(t, sb, "x"), "x")
		})
	}
}

type writerFunc func([]byte)

func (f writerFunc) Write(p []byte) (int, error) {
	f(p)
	return len(p), nil
}

func TestOpen(t *testing.T) {
	dir := plugintest.Dir(t)
	first := create(t, serve(t, dir), "x", backend.Spec{Workspace: backend.Workspace{Path: "/work"}})
	b := serve(t, dir)
	sb, err := b.Open(t.Context(), &backend.OpenRequest{ID: "x"})
	if err != nil {
		t.Fatal(err)
	}
	if info := sb.Info(); info.Workspace != "/work" || info.User != first.Info().User || info.State != backend.StateRunning {
		t.Errorf("Info() = %+v", info)
	}
	if err := echo(t, sb, "opened"); err != nil {
		t.Error(err)
	}
	if err := b.Stop(t.Context(), &backend.StopRequest{ID: "x"}); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"x", "nothing"} {
		_, err := b.Open(t.Context(), &backend.OpenRequest{ID: id})
		wantGone(t, "Open", err, id)
	}
	if _, err := b.Inspect(t.Context(), &backend.InspectRequest{ID: "nothing"}); !errors.Is(err, backend.ErrNotFound) {
		t.Errorf("Inspect: %v, want ErrNotFound", err)
	}
}

// An ephemeral sandbox outlives its lease while its host is there, though every
// stream breaks.
func TestStreamBreaks(t *testing.T) {
	dir := plugintest.Dir(t)
	b := serve(t, dir)
	sb := create(t, b, "x", backend.Spec{Ephemeral: true, Lease: 2 * time.Second})
	pid := plugintest.GuestPID(dir, "x")
	for range 3 {
		pluginsdk.BreakStream(b, "x")
		// A call that was on its way then is lost, and says so.
		plugintest.Eventually(t, "a call gets through", func() bool { return echo(t, sb, "again") == nil })
	}
	pluginsdk.BreakStream(b, "x")
	plugintest.Eventually(t, "somebody holds the sandbox", func() bool { return pluginsdk.Connected(b, "x") })
	if !plugintest.Alive(pid) {
		t.Error("the guest has ended")
	}
}

func TestEngineDown(t *testing.T) {
	dir := plugintest.Dir(t)
	b := serve(t, dir)
	touch(t, dir, plugintest.DownFile)
	defer os.Remove(filepath.Join(dir, plugintest.DownFile))
	_, err := b.Create(t.Context(), &backend.CreateRequest{ID: "x"})
	var e *backend.Error
	if !errors.As(err, &e) || !errors.Is(err, backend.ErrUnavailable) || e.Backend != "engine" || e.Op != "create" || e.Hint != "start it" {
		t.Errorf("%v", err)
	}
}

func TestShutdown(t *testing.T) {
	dir := plugintest.Dir(t)
	b := serve(t, dir)
	create(t, b, "mine", backend.Spec{Ephemeral: true})
	create(t, b, "kept", backend.Spec{})
	sb := create(t, b, "gone", backend.Spec{Ephemeral: true})
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			if err := b.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if left := plugintest.Sandboxes(dir); len(left) != 1 || left[0] != "kept" {
		t.Errorf("left: %v", left)
	}
	if err := echo(t, sb, "x"); !errors.Is(err, backend.ErrUnavailable) {
		t.Errorf("a call after Shutdown: %v", err)
	}
	if _, err := b.Create(t.Context(), &backend.CreateRequest{ID: "new"}); !errors.Is(err, backend.ErrUnavailable) {
		t.Errorf("Create after Shutdown: %v", err)
	}
}

func TestShutdownCancelsCreate(t *testing.T) {
	dir := plugintest.Dir(t)
	b := serve(t, dir)
	touch(t, dir, plugintest.HoldFile)
	done := make(chan error, 1)
	go func() {
		_, err := b.Create(t.Context(), &backend.CreateRequest{ID: "x"})
		done <- err
	}()
	plugintest.Eventually(t, "the sandbox is half made", func() bool { return len(plugintest.Sandboxes(dir)) == 1 })
	if err := b.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if left := plugintest.Sandboxes(dir); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	if err := <-done; err == nil {
		t.Error("Create succeeded")
	}
}

func TestConfigure(t *testing.T) {
	b, err := pluginsdk.NewForTest(pluginsdk.Plugin{
		Name: "engine", Version: "1", Summary: "x", Config: &plugintest.Config{},
		NewProvisioner: func(context.Context, pluginsdk.Env) (pluginsdk.Provisioner, error) {
			return plugintest.NewEngine("/nowhere"), nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Check(t.Context()); !errors.Is(err, backend.ErrInvalid) {
		t.Errorf("Check before Configure: %v", err)
	}
	open := t.TempDir()
	if err := os.Chmod(open, 0o755); err != nil {
		t.Fatal(err)
	}
	private := filepath.Join(t.TempDir(), "a", "b")
	for _, c := range []struct {
		name string
		req  backend.ConfigureRequest
		kind error
		path string
	}{
		{"unknown option", backend.ConfigureRequest{Config: []byte(`{"dir":"/x","dri":"/y"}`), StateDir: private}, backend.ErrInvalid, "dri"},
		{"missing option", backend.ConfigureRequest{StateDir: private}, backend.ErrInvalid, "dir"},
		{"open state directory", backend.ConfigureRequest{Config: []byte(`{"dir":"/x"}`), StateDir: open}, backend.ErrPermission, open},
		{"no state directory", backend.ConfigureRequest{Config: []byte(`{"dir":"/x"}`)}, backend.ErrInvalid, "state directory"},
	} {
		err := b.Configure(t.Context(), &c.req)
		var e *backend.Error
		if !errors.As(err, &e) || !errors.Is(err, c.kind) || e.Path != c.path || e.Backend != "engine" || e.Op != "configure" {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	good := &backend.ConfigureRequest{Config: []byte(`{"dir":"/x"}`), StateDir: private}
	if err := b.Configure(t.Context(), good); err != nil {
		t.Fatal(err)
	}
	if err := b.Configure(t.Context(), good); !errors.Is(err, backend.ErrExists) {
		t.Errorf("a second Configure: %v, want ErrExists", err)
	}
	if info, err := os.Stat(private); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("state directory %v, %v", info, err)
	}
	if err := b.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestReconcile(t *testing.T) {
	me, err := procid.Self()
	if err != nil {
		t.Fatal(err)
	}
	dead, rebooted, foreign := me, me, me
	dead.StartTime--
	rebooted.BootID = "an-earlier-boot"
	foreign.HostID, foreign.StartTime = "another", 1
	old, young := time.Now().Add(-time.Minute), time.Now()
	dir := plugintest.Dir(t)
	for _, c := range []struct {
		id        string
		owner     backend.Owner
		created   time.Time
		ephemeral bool
	}{
		{"dead", dead, old, true},
		{"rebooted", rebooted, old, true},
		{"keep-alive", me, old, true},
		{"keep-young", dead, young, true},
		{"keep-session", dead, old, false},
		{"keep-foreign", foreign, old, true},
		{"keep-unknown", backend.Owner{}, old, true},
	} {
		if err := os.Mkdir(filepath.Join(dir, "sb-"+c.id), 0o700); err != nil {
			t.Fatal(err)
		}
		labels, err := json.Marshal(map[string]string{
			pluginsdk.LabelManaged: "true", pluginsdk.LabelSandbox: c.id, pluginsdk.LabelOwner: c.owner.String(),
			pluginsdk.LabelCreated: c.created.UTC().Format(time.RFC3339Nano), pluginsdk.LabelEphemeral: fmt.Sprint(c.ephemeral),
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "sb-"+c.id, "labels.json"), labels, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	serve(t, dir)
	plugintest.Eventually(t, "two of the sandboxes are destroyed", func() bool { return len(plugintest.Sandboxes(dir)) <= 5 })
	for _, id := range plugintest.Sandboxes(dir) {
		if !strings.HasPrefix(id, "keep-") {
			t.Errorf("%s was not destroyed", id)
		}
	}
	if n := len(plugintest.Sandboxes(dir)); n != 5 {
		t.Errorf("%d sandboxes are left, want 5: %v", n, plugintest.Sandboxes(dir))
	}
}

func newNothing(context.Context, pluginsdk.Env) (pluginsdk.Provisioner, error) {
	return plugintest.NewEngine("/nowhere"), nil
}
