package registry

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/host"
)

// engines the same is expected of.
var engines = []string{"docker", "podman"}

// on runs a test on each engine, on both at once, with the real plugin as a child
// process.
func on(t *testing.T, test func(t *testing.T, e *engine)) {
	for _, name := range engines {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, newEngine(t, name))
		})
	}
}

// An engine is one engine, and the plugin that makes sandboxes with it.
type engine struct {
	*Engine
	t      *testing.T
	plugin *host.Plugin
}

func newEngine(t *testing.T, name string) *engine {
	t.Helper()
	return &engine{OpenEngine(t, name), t, launch(t, name, nil)}
}

// launch starts a plugin with options as in its block `config { }`; it ends with
// the test.
func launch(t *testing.T, name string, options map[string]any) *host.Plugin {
	t.Helper()
	p, err := start(t, name, options, nil)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func start(t *testing.T, name string, options map[string]any, log *slog.Logger) (*host.Plugin, error) {
	t.Helper()
	programs := os.Getenv("DEEP_TEST_BIN")
	if programs == "" {
		t.Fatal("set DEEP_TEST_BIN to the directory that `make build` filled; `make test` does")
	}
	config, err := json.Marshal(options)
	if err != nil {
		t.Fatal(err)
	}
	p, err := host.Launch(t.Context(), host.Options{
		Name: name, Path: filepath.Join(programs, "plugins", "deep-backend-"+name), GuestDir: filepath.Join(programs, "guest"),
		StateDir: filepath.Join(t.TempDir(), "state"), Config: config, Logger: log,
	})
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
		defer cancel()
		if err := p.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return p, nil
}

// login writes what `docker login` and `podman login` write.
func login(t *testing.T, host, user, password string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "auth.json")
	data := fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, host, base64.StdEncoding.EncodeToString([]byte(user+":"+password)))
	if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// A pulling is a Create, and what came of it.
type pulling struct {
	id    string
	sb    backend.Sandbox
	err   error
	steps []backend.Progress
}

// create makes a sandbox of an image, and destroys it with the test. each is
// called with every step, and may be nil.
func create(ctx context.Context, t *testing.T, p *host.Plugin, image string, pull backend.PullPolicy, each func(backend.Progress)) *pulling {
	t.Helper()
	made := &pulling{id: backend.NewID()}
	var mu sync.Mutex
	made.sb, made.err = p.Create(ctx, &backend.CreateRequest{
		ID:   made.id,
		Spec: backend.Spec{Image: image, Pull: pull, Ephemeral: true},
		Progress: func(step backend.Progress) {
			mu.Lock()
			defer mu.Unlock()
			made.steps = append(made.steps, step)
			if each != nil {
				each(step)
			}
		},
	})
	if made.err == nil {
		t.Cleanup(func() { made.destroy(t, p) })
	}
	return made
}

func (made *pulling) destroy(t *testing.T, p *host.Plugin) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
	defer cancel()
	if err := p.Destroy(ctx, &backend.DestroyRequest{ID: made.id}); err != nil {
		t.Error(err)
	}
}

// pulled reports whether a registry was asked.
func (made *pulling) pulled() bool {
	for _, s := range made.steps {
		if s.Phase == backend.PhasePull {
			return true
		}
	}
	return false
}

// works fails unless the sandbox runs a command.
func (made *pulling) works(t *testing.T) {
	t.Helper()
	if made.err != nil {
		t.Fatal(made.err)
	}
	res, err := made.sb.Exec(t.Context(), &backend.ExecRequest{Argv: []string{"/bin/busybox", "true"}})
	if err != nil || res.ExitCode != 0 {
		t.Fatalf("true in the sandbox: %+v, %v", res, err)
	}
}

// failed fails unless the error is of a kind, says these words and gives a
// remedy, and nothing is left of the sandbox.
func (e *engine) failed(t *testing.T, made *pulling, kind error, words ...string) {
	t.Helper()
	if made.err == nil {
		t.Fatalf("no error, want %v", kind)
	}
	t.Log(made.err)
	if got := backend.KindOf(made.err); got != kind { //nolint:errorlint // the very kind
		t.Errorf("kind %v, want %v", got, kind)
	}
	for _, w := range words {
		if !strings.Contains(made.err.Error(), w) {
			t.Errorf("the error does not say %q", w)
		}
	}
	if backend.HintOf(made.err) == "" {
		t.Error("the error does not say what to do")
	}
	if n := e.Containers(made.id); n > 0 {
		t.Errorf("%d containers are left", n)
	}
}
