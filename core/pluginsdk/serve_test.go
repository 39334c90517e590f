package pluginsdk_test

import (
	"bytes"
	"encoding/json"
	"errors"
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
		d.Schema[2].Default != "3" || strings.Join(d.Capabilities, " ") != "bind keep-workspace" {
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
