package structure

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// tracked returns the files of the checkout that git knows.
func tracked(t *testing.T) []string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", "ls-files", "-z")
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		t.Skip("no git checkout: " + err.Error())
	}
	return strings.FieldsFunc(string(out), func(r rune) bool { return r == 0 })
}

// TestNoReplace: a replace directive is ignored in whoever requires this module,
// so that what we test is not what they get.
func TestNoReplace(t *testing.T) {
	for _, name := range tracked(t) {
		if filepath.Base(name) != "go.mod" {
			continue
		}
		data, err := os.ReadFile(filepath.Join("../..", name))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(data)) {
			if strings.HasPrefix(strings.TrimSpace(line), "replace") {
				t.Errorf("%s: %s", name, strings.TrimSpace(line))
			}
		}
	}
}

// TestNoBinaries: the guest and the plugins are built, never committed.
func TestNoBinaries(t *testing.T) {
	for _, name := range tracked(t) {
		f, err := os.Open(filepath.Join("../..", name))
		if os.IsNotExist(err) {
			continue // removed and not yet committed
		}
		if err != nil {
			t.Fatal(err)
		}
		head := make([]byte, 4)
		n, _ := f.Read(head)
		_ = f.Close()
		if n == 4 && string(head) == "\x7fELF" {
			t.Errorf("%s is a program: build it instead", name)
		}
	}
}
