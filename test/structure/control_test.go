package structure

import (
	"bytes"
	"debug/buildinfo"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/deep-sandbox/deep/core/control"
)

// TestControlClosed: without its tag, no program can be asked to open a defence.
func TestControlClosed(t *testing.T) {
	t.Setenv(control.Env, control.Seccomp)
	if control.Built || control.Opened(control.Seccomp) {
		t.Error("defences can be opened in an ordinary build")
	}
}

// TestReleasedClosed: no program that `make build` made was built with the tag, nor
// holds the name of the variable that opens defences.
func TestReleasedClosed(t *testing.T) {
	bin := os.Getenv("DEEP_TEST_BIN")
	if bin == "" {
		t.Fatal("set DEEP_TEST_BIN to the directory that `make build` filled; `make test` does")
	}
	var programs []string
	for _, pattern := range []string{"deep", "plugins/*", "guest/*"} {
		found, err := filepath.Glob(filepath.Join(bin, pattern))
		if err != nil || len(found) == 0 {
			t.Fatalf("no program %s in %s: %v", pattern, bin, err)
		}
		programs = append(programs, found...)
	}
	for _, path := range programs {
		info, err := buildinfo.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		tags := ""
		for _, s := range info.Settings {
			if s.Key == "-tags" {
				tags = s.Value
			}
		}
		if tags == "" || strings.Contains(tags, "control") {
			t.Errorf("%s was built with the tags %q", path, tags)
		}
		program, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(program, []byte(control.Env)) {
			t.Errorf("%s holds the name %s", path, control.Env)
		}
	}
}
