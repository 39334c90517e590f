package pluginsdk_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/deep-sandbox/deep/core/internal/plugintest"
	"github.com/deep-sandbox/deep/core/pluginsdk"
)

// byHand runs a plugin as a person would and returns what it printed.
func byHand(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(plugintest.Install(t, "engine"), "deep-backend-engine"), args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

func TestDescribeByHand(t *testing.T) {
	stdout, stderr, code := byHand(t, "describe")
	if code != 0 || stderr != "" {
		t.Fatalf("exit code %d, %s", code, stderr)
	}
	var d struct {
		Name     string
		Protocol int
		Schema   []struct {
			Name, Type, Default string
			Required, Sensitive bool
		}
		Capabilities []string
	}
	if err := json.Unmarshal([]byte(stdout), &d); err != nil {
		t.Fatalf("%v in %s", err, stdout)
	}
	if d.Name != "engine" || d.Protocol != 1 || len(d.Schema) != 3 || !d.Schema[0].Required || !d.Schema[1].Sensitive ||
		d.Schema[2].Default != "3" || strings.Join(d.Capabilities, " ") != "bind dial keep-workspace processes tty" {
		t.Errorf("described as %s", stdout)
	}
}

func TestRunByHand(t *testing.T) {
	stdout, stderr, code := byHand(t)
	if code != 1 || stdout != "" || !strings.Contains(stderr, "deep exec --backend engine") {
		t.Errorf("exit code %d, %q, %q", code, stdout, stderr)
	}
}

func TestAuthorsMistakes(t *testing.T) {
	good := pluginsdk.Plugin{Name: "x", Version: "1", Summary: "x", NewProvisioner: newNothing}
	if _, err := pluginsdk.NewForTest(good); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*pluginsdk.Plugin){
		"no name":     func(p *pluginsdk.Plugin) { p.Name = "" },
		"bad name":    func(p *pluginsdk.Plugin) { p.Name = "../x" },
		"no version":  func(p *pluginsdk.Plugin) { p.Version = "" },
		"no summary":  func(p *pluginsdk.Plugin) { p.Summary = "" },
		"no backend":  func(p *pluginsdk.Plugin) { p.NewProvisioner = nil },
		"bad options": func(p *pluginsdk.Plugin) { p.Config = 5 },
	} {
		p := good
		change(&p)
		if _, err := pluginsdk.NewForTest(p); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// A host that is killed before it has connected leaves nothing either.
func TestHostGoneAtStart(t *testing.T) {
	parent, err := os.MkdirTemp("/tmp", "deep-plugin-")
	if err != nil {
		t.Fatal(err)
	}
	sockets := filepath.Join(parent, "plugin-dir1")
	if err := os.Mkdir(sockets, 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), filepath.Join(plugintest.Install(t, "engine"), "deep-backend-engine"))
	cmd.Env = []string{"DEEP_PLUGIN_COOKIE=7f3d0c7a-deep-backend", "PLUGIN_PROTOCOL_VERSIONS=1", "PLUGIN_UNIX_SOCKET_DIR=" + sockets, "GORACE=atexit_sleep_ms=0"}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "1|1|unix|"+sockets) {
		t.Errorf("handshake %q, %v", line, err)
	}
	_ = stdin.Close()
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(parent); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is left: %v", parent, err)
	}
}
