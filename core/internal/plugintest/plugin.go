package plugintest

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/internal/handshake"
	"github.com/deep-sandbox/deep/core/pluginsdk"
)

// CrashFile in an engine's directory makes the plugin panic in Check.
const CrashFile = "crash"

// SlowFile in an engine's directory makes Check take as long as the call does.
const SlowFile = "slow"

// Config of the backends "engine" and "native".
type Config struct {
	Dir   string `deep:"dir,required" doc:"Directory that is the engine."`
	Token string `deep:"token,sensitive" doc:"Key to it."`
	Tries int64  `deep:"tries" default:"3" doc:"How often to try."`
}

// RunPlugin runs the plugin, and does not return, in a process that was started
// as one, under the name of a link that Install made. Call it in TestMain, after
// RunGuest, with what the test's own plugins are.
func RunPlugin(more map[string]func()) {
	name, ok := strings.CutPrefix(filepath.Base(os.Args[0]), handshake.BinaryPrefix)
	if !ok {
		return
	}
	switch serve := more[name]; {
	case serve != nil:
		serve()
	case name == "engine":
		config := &Config{}
		pluginsdk.Serve(pluginsdk.Plugin{
			Name: "engine", Version: "1.2.3", Summary: "processes in a directory",
			Config:       config,
			Capabilities: []backend.Capability{backend.CapKeepWorkspace, backend.CapBind},
			NewProvisioner: func(_ context.Context, env pluginsdk.Env) (pluginsdk.Provisioner, error) {
				env.Log.Info("configured", "dir", config.Dir)
				return &troubled{NewEngine(config.Dir)}, nil
			},
		})
	case name == "native":
		config := &Config{}
		pluginsdk.Serve(pluginsdk.Plugin{
			Name: "native", Version: "1.2.3", Summary: "directories",
			Config: config,
			NewBackend: func(context.Context, pluginsdk.Env) (backend.Backend, error) {
				return newNative(config.Dir), nil
			},
		})
	}
	os.Exit(0)
}

// troubled is an Engine whose Check does what its directory says.
type troubled struct{ *Engine }

func (e *troubled) Check(ctx context.Context) (*backend.CheckReport, error) {
	if e.has(CrashFile) {
		// Beyond what recovers a panic in a call.
		go func() { panic("\x1b[31mthe engine is on fire") }()
		<-ctx.Done()
	}
	if e.has(SlowFile) {
		<-ctx.Done()
	}
	return e.Engine.Check(ctx)
}

// Install makes this test's program the plugin of the given names, in a new
// directory.
func Install(t testing.TB, names ...string) (dir string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	for _, name := range names {
		if err := os.Symlink(self, filepath.Join(dir, handshake.BinaryPrefix+name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// Eventually waits until ok, and fails with what when that takes too long.
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}
