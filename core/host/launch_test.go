package host

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/internal/handshake"
	"github.com/deep-sandbox/deep/core/internal/plugintest"
)

func TestLaunch(t *testing.T) {
	t.Setenv("OPENAI_API_KEY", "s3cret")
	p, engine, log := launch(t, "engine")
	d, err := p.Describe(t.Context())
	if err != nil || d.Name != "engine" || d.Version != "1.2.3" || len(d.Schema) != 3 || !d.Schema[0].Required || !d.Schema[1].Sensitive {
		t.Errorf("Describe() = %+v, %v", d, err)
	}
	report, err := p.Check(t.Context())
	if err != nil || report.Endpoint != engine {
		t.Errorf("Check() = %+v, %v", report, err)
	}
	sb := create(t, p, "one", backend.Spec{Ephemeral: true})
	if err := echo(t, sb, "hello"); err != nil {
		t.Error(err)
	}
	if info := sb.Info(); info.Backend != "engine" || !info.Ephemeral || info.Workspace != "/workspace" {
		t.Errorf("Info() = %+v", info)
	}
	list, err := p.List(t.Context(), &backend.ListRequest{})
	if err != nil || len(list.Sandboxes) != 1 || list.Sandboxes[0].Owner.PID != os.Getpid() || !list.Sandboxes[0].Ephemeral {
		t.Errorf("List() = %+v, %v", list, err)
	}
	environ, err := os.ReadFile("/proc/" + strconv.Itoa(p.PID()) + "/environ")
	if err != nil && !errors.Is(err, fs.ErrPermission) { // undumpable: only root may look
		t.Error(err)
	}
	if strings.Contains(string(environ), "s3cret") {
		t.Error("the key reached the plugin")
	}
	if comm, _ := os.ReadFile("/proc/" + strconv.Itoa(p.PID()) + "/comm"); !strings.HasPrefix(string(comm), "deep-backend-en") {
		t.Errorf("the process is called %q", comm)
	}
	plugintest.Eventually(t, "the plugin's line is logged", func() bool {
		return strings.Contains(log.String(), "msg=configured plugin=engine dir="+engine)
	})
	if err := sb.Close(); err != nil {
		t.Error(err)
	}
	if left := plugintest.Sandboxes(engine); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	if err := sb.Close(); err != nil {
		t.Errorf("a second Close: %v", err)
	}
}

func TestNativeBackend(t *testing.T) {
	p, engine, _ := launch(t, "native")
	sb := create(t, p, "one", backend.Spec{Ephemeral: true})
	if err := echo(t, sb, "hello"); err != nil {
		t.Error(err)
	}
	create(t, p, "two", backend.Spec{})
	opened, err := p.Open(t.Context(), &backend.OpenRequest{ID: "two"})
	if err != nil {
		t.Fatal(err)
	}
	if err := echo(t, opened, "hello"); err != nil {
		t.Error(err)
	}
	if err := p.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if left := plugintest.Sandboxes(engine); len(left) != 1 || left[0] != "two" {
		t.Errorf("left: %v", left)
	}
}

func TestClose(t *testing.T) {
	p, engine, _ := launch(t, "engine")
	mine := create(t, p, "mine", backend.Spec{Ephemeral: true})
	create(t, p, "kept", backend.Spec{})
	pid := p.PID()
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left := plugintest.Sandboxes(engine); len(left) != 1 || left[0] != "kept" {
		t.Errorf("left: %v", left)
	}
	if plugintest.Alive(pid) || p.PID() != 0 {
		t.Error("the plugin still runs")
	}
	if err := mine.Close(); err != nil {
		t.Errorf("Close of a sandbox after that of its plugin: %v", err)
	}
	if err := echo(t, mine, "x"); !errors.Is(err, backend.ErrUnavailable) {
		t.Errorf("a call after Close: %v", err)
	}
	if err := p.Close(t.Context()); err != nil {
		t.Errorf("a second Close: %v", err)
	}
}

// Close ends the process also when nobody waits for what it has to destroy.
func TestCloseWithoutTime(t *testing.T) {
	leaks(t)
	engine := plugintest.Dir(t)
	o, _ := options(t, "engine", engine)
	p, err := Launch(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	create(t, p, "x", backend.Spec{Ephemeral: true})
	pid := p.PID()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Close(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Close: %v, want Canceled", err)
	}
	if plugintest.Alive(pid) {
		t.Error("the plugin still runs")
	}
	// What the host does not wait for, the plugin does as it leaves.
	if left := plugintest.Sandboxes(engine); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func TestDescribe(t *testing.T) {
	leaks(t)
	o, _ := options(t, "engine", "")
	d, err := Describe(t.Context(), o)
	if err != nil || d.Name != "engine" || len(d.Schema) != 3 {
		t.Errorf("Describe() = %+v, %v", d, err)
	}
}

func TestDecodeOption(t *testing.T) {
	leaks(t)
	engine := plugintest.Dir(t)
	o, _ := options(t, "engine", "")
	calls := 0
	o.Decode = func(schema backend.Schema) ([]byte, error) {
		calls++
		return []byte(`{"` + schema[0].Name + `":"` + engine + `"}`), nil
	}
	p, err := Launch(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close(context.Background())
	if r, err := p.Check(t.Context()); err != nil || r.Endpoint != engine || calls != 1 {
		t.Errorf("Check() = %+v, %v after %d calls", r, err, calls)
	}
	no := errors.New("no")
	o.Decode = func(backend.Schema) ([]byte, error) { return nil, no }
	if _, err := Launch(t.Context(), o); !errors.Is(err, no) {
		t.Errorf("Launch: %v, want what Decode said", err)
	}
}

func TestWrongOptions(t *testing.T) {
	leaks(t)
	o, _ := options(t, "engine", "")
	o.Config = []byte(`{"dir":"/x","dri":"/y"}`)
	_, err := Launch(t.Context(), o)
	var e *backend.Error
	if !errors.As(err, &e) || !errors.Is(err, backend.ErrInvalid) || e.Path != "dri" || !strings.Contains(e.Hint, "dir") {
		t.Errorf("%v", err)
	}
}

func TestBadPlugins(t *testing.T) {
	for _, c := range []struct {
		name string
		want Reason
		// text the whole error has, output a line among the plugin's last.
		text, output string
	}{
		{"cookie", ReasonExited, "it ended before the handshake: exited with status 1", "This binary is a plugin."},
		{"version", ReasonProtocol, "speaks version 2 of deep's protocol, this deep speaks 1", ""},
		{"noise", ReasonOutput, `"Hello \x1b[31mfrom the plugin"`, "I speak first"},
		{"exits", ReasonExited, "exited with status 3", "no license found"},
		{"core", ReasonHandshake, "version 9 of go-plugin's own protocol", ""},
		{"tcp", ReasonHandshake, "not on a unix socket", ""},
		{"astray", ReasonHandshake, "/var/run/docker.sock", ""},
		{"netrpc", ReasonHandshake, "gRPC", ""},
		{"open", ReasonHandshake, "certificate", ""},
		{"lies", ReasonFaulty, "cannot be used", ""},
		{"empty", ReasonFaulty, "cannot be used", ""},
		{"renamed", ReasonFaulty, `"another"`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			leaks(t)
			o, _ := options(t, c.name, "")
			_, err := Launch(t.Context(), o)
			var e *StartError
			if !errors.As(err, &e) || e.Reason != c.want {
				t.Fatalf("%v, want the reason %q", err, c.want)
			}
			if !strings.Contains(err.Error(), c.text) || !errors.Is(err, backend.ErrUnavailable) || e.Err.Hint == "" || e.Err.Path != o.Path {
				t.Errorf("%v", err)
			}
			if c.output != "" && !strings.Contains(strings.Join(e.Output, "\n"), c.output) {
				t.Errorf("last lines %q, want %q among them", e.Output, c.output)
			}
			if strings.ContainsRune(err.Error(), '\x1b') {
				t.Errorf("an escape reaches the terminal: %q", err.Error())
			}
		})
	}
}

func TestPluginHangs(t *testing.T) {
	// Before the handshake, and after it.
	for name, line := range map[string]string{"hangs": "thinking", "stuck": ""} {
		t.Run(name, func(t *testing.T) {
			leaks(t)
			o, _ := options(t, name, "")
			o.StartTimeout = 5 * time.Second
			_, err := Launch(t.Context(), o)
			var e *StartError
			if !errors.As(err, &e) || e.Reason != ReasonTimeout || !strings.Contains(err.Error(), "within 5s") || !strings.Contains(strings.Join(e.Output, "\n"), line) {
				t.Errorf("%v", err)
			}
		})
	}
}

// The caller's own deadline is the caller's, and no fault of the plugin.
func TestLaunchDeadline(t *testing.T) {
	leaks(t)
	o, _ := options(t, "hangs", "")
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	var e *StartError
	if _, err := Launch(ctx, o); !errors.Is(err, context.DeadlineExceeded) || errors.As(err, &e) {
		t.Errorf("%v, want DeadlineExceeded", err)
	}
}

func TestLaunchCancelled(t *testing.T) {
	leaks(t)
	o, _ := options(t, "hangs", "")
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, cancel)
	if _, err := Launch(ctx, o); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want Canceled", err)
	}
}

func TestConfigureFails(t *testing.T) {
	leaks(t)
	o, _ := options(t, "refuses", "")
	_, err := Launch(t.Context(), o)
	var e *backend.Error
	if !errors.As(err, &e) || !errors.Is(err, backend.ErrUnavailable) || e.Hint != "start it" || e.Path != "/run/it.sock" {
		t.Errorf("%v", err)
	}
	o, _ = options(t, "panics", "")
	if _, err := Launch(t.Context(), o); err == nil {
		t.Error("a panic is no error")
	} else {
		t.Log(err)
	}
}

func TestBadFiles(t *testing.T) {
	leaks(t)
	dir := t.TempDir()
	write := func(name, content string, mode os.FileMode) string {
		path := filepath.Join(dir, handshake.BinaryPrefix+name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	foreign := append([]byte{}, self[:4096]...)
	foreign[18], foreign[19] = 0x16, 0x00 // e_machine: IBM S/390
	if err := os.Mkdir(filepath.Join(dir, handshake.BinaryPrefix+"folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		path string
		want Reason
		kind error
	}{
		{"nothing", filepath.Join(dir, "nothing"), ReasonMissing, backend.ErrNotFound},
		{"folder", filepath.Join(dir, handshake.BinaryPrefix+"folder"), ReasonDirectory, backend.ErrUnavailable},
		{"plain", write("plain", "#!/bin/sh\n", 0o600), ReasonNotExecutable, backend.ErrPermission},
		{"writable", write("writable", "#!/bin/sh\n", 0o707), ReasonWritable, backend.ErrPermission},
		{"foreign", write("foreign", string(foreign), 0o700), ReasonArchitecture, backend.ErrUnavailable},
		{"text", write("text", "hello\n", 0o700), ReasonFormat, backend.ErrUnavailable},
		{"garbage", write("garbage", "#!/bin/sh\necho worse >&2; printf 'I am no plugin\\nmore\\n'; sleep 1000\n", 0o700), ReasonOutput, backend.ErrUnavailable},
		{"silent", write("silent", "#!/bin/sh\necho oops >&2\nexit 5\n", 0o700), ReasonExited, backend.ErrUnavailable},
	} {
		o := Options{Name: c.name, Path: c.path, GuestDir: dir, StateDir: filepath.Join(dir, "state")}
		_, err := Launch(t.Context(), o)
		var e *StartError
		if !errors.As(err, &e) || e.Reason != c.want || !errors.Is(err, c.kind) || e.Err.Hint == "" || e.Err.Path != c.path {
			t.Errorf("%s: %v, want the reason %q", c.name, err, c.want)
			continue
		}
		switch c.name {
		case "garbage":
			if got := strings.Join(e.Output, "|"); !strings.Contains(err.Error(), "I am no plugin") || !strings.Contains(got, "more") || !strings.Contains(got, "worse") {
				t.Errorf("last lines %q", e.Output)
			}
		case "silent":
			if len(e.Output) != 1 || e.Output[0] != "oops" || !strings.Contains(err.Error(), "exited with status 5") {
				t.Errorf("%v", err)
			}
		}
	}
	o, _ := options(t, "engine", dir)
	o.SHA256 = strings.Repeat("0", 64)
	var e *StartError
	if _, err := Launch(t.Context(), o); !errors.As(err, &e) || e.Reason != ReasonChecksum {
		t.Errorf("%v, want the reason %q", err, ReasonChecksum)
	}
}
