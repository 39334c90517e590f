// Package script runs the scripts of this directory against the built programs:
// what a user types, what comes back, with which exit code.
package script

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/deep-sandbox/deep/test/require"
)

// programs is the directory with deep, plugins/ and guest/.
var programs string

func TestMain(m *testing.M) {
	serveFaulty()
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "script:", err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (int, error) {
	programs = os.Getenv("DEEP_TEST_BIN")
	if programs == "" {
		dir, err := os.MkdirTemp("", "deep-test-script-")
		if err != nil {
			return 0, err
		}
		defer func() { _ = os.RemoveAll(dir) }()
		if err := build(dir); err != nil {
			return 0, err
		}
		programs = dir
	}
	return m.Run(), nil
}

// build builds what `make build` does, for this machine.
func build(dir string) error {
	for output, pkg := range map[string]string{
		"deep":                                     "./cmd/deep",
		"plugins/deep-backend-docker":              "./plugins/docker",
		"plugins/deep-backend-podman":              "./plugins/podman",
		"plugins/deep-backend-local":               "./plugins/local",
		"guest/deep-guest-linux-" + runtime.GOARCH: "./cmd/deep-guest",
	} {
		cmd := exec.Command("go", "build", "-tags", "remote,containers_image_openpgp", "-o", filepath.Join(dir, output), pkg)
		cmd.Dir = "../.."
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("building %s: %w\n%s", pkg, err, out)
		}
	}
	return nil
}

// TestCommands: what needs no engine and no namespaces.
func TestCommands(t *testing.T) {
	testscript.Run(t, params(".", func(*testscript.Env) error { return nil }))
}

// TestBackends: the same scripts on every backend.
func TestBackends(t *testing.T) {
	for _, name := range []string{"docker", "podman", "local"} {
		t.Run(name, func(t *testing.T) {
			require.Backend(t, name)
			testscript.Run(t, params("backend", func(env *testscript.Env) error {
				env.Setenv("BACKEND", name)
				config := fmt.Sprintf("default_backend = %q\nbackend %[1]q {\n  sandbox {\n    image = %q\n    pull  = \"never\"\n  }\n}\n", name, require.Python)
				return configure(env, config)
			}))
		})
	}
}

// configure writes the configuration of the script's user.
func configure(env *testscript.Env, text string) error {
	dir := filepath.Join(env.WorkDir, "home", ".config", "deep")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "config.hcl"), []byte(text), 0o600)
}

// params gives each script a user with an empty home, without a terminal.
func params(dir string, setup func(*testscript.Env) error) testscript.Params {
	return testscript.Params{
		Dir:                dir,
		RequireUniqueNames: true,
		Setup: func(env *testscript.Env) error {
			home := filepath.Join(env.WorkDir, "home")
			if err := os.MkdirAll(home, 0o700); err != nil {
				return err
			}
			examples, err := filepath.Abs("../../examples")
			if err != nil {
				return err
			}
			env.Vars = []string{
				"PATH=" + programs + string(os.PathListSeparator) + os.Getenv("PATH"),
				"HOME=" + home, "TMPDIR=" + os.TempDir(), "WORK=" + env.WorkDir,
				"EXAMPLES=" + examples, "EXAMPLE_CONFIG=" + filepath.Join(filepath.Dir(examples), "config.hcl.example"),
				"LANG=C.UTF-8",
			}
			return setup(env)
		},
		Condition: func(cond string) (bool, error) {
			if cond == "root" {
				return os.Geteuid() == 0, nil
			}
			return false, fmt.Errorf("unknown condition %q", cond)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"deep": runDeep, "faulty": installFaulty},
	}
}

// runDeep is `deep CODE ARGS…`: it runs deep in a session without a terminal, as a
// test of a person who sits at one would be asked questions, and wants that exit
// code.
func runDeep(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: deep CODE ARGS…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec("setsid", append([]string{"--wait", "deep"}, args[1:]...)...)
	code := 0
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		code = exit.ExitCode()
	case err != nil:
		ts.Fatalf("deep %s: %v", strings.Join(args[1:], " "), err)
	}
	if code != want {
		ts.Fatalf("deep %s: exit code %d, want %d", strings.Join(args[1:], " "), code, want)
	}
}
