package replay_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/deep-sandbox/deep/core/internal/replay"
	"github.com/deep-sandbox/deep/test/require"
)

// TestEmbed builds the example of the README and runs it, a recording in the
// place of the model.
func TestEmbed(t *testing.T) {
	require.Local(t)
	bin := os.Getenv("DEEP_TEST_BIN")
	if bin == "" {
		require.Skip(t, "local", "set DEEP_TEST_BIN to the directory that `make build` filled; `make test` does")
	}
	rec, err := replay.Load("../../../examples/replay/fibonacci.json")
	if err != nil {
		t.Fatal(err)
	}
	endpoint, err := replay.Start(rec)
	if err != nil {
		t.Fatal(err)
	}
	defer endpoint.Close()

	home := t.TempDir()
	program := filepath.Join(home, "embed")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, "../../../examples/embed")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cmd := exec.CommandContext(t.Context(), program, "local")
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + home, "XDG_STATE_HOME=" + filepath.Join(home, "state"),
		"OPENAI_API_KEY=" + endpoint.APIKey(), "OPENAI_BASE_URL=" + endpoint.BaseURL(),
		"DEEP_PLUGIN_PATH=" + filepath.Join(bin, "plugins"), "DEEP_GUEST_DIR=" + filepath.Join(bin, "guest"),
	}
	cmd.Stdin = strings.NewReader("y\n")
	out, err := cmd.CombinedOutput()
	if err != nil || endpoint.Err() != nil {
		t.Fatalf("%v %v\n%s", err, endpoint.Err(), out)
	}
	if !strings.Contains(string(out), "Run it?") || !strings.Contains(string(out), "0, 1, 1, 2, 3, 5, 8, 13, 21, 34") {
		t.Errorf("it printed\n%s", out)
	}
}
