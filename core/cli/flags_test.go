package cli

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/deep-sandbox/deep/core/agent"
)

// TestDecisions: a reason goes with the denial before it.
func TestDecisions(t *testing.T) {
	parse := func(args ...string) ([]agent.Decision, error) {
		c := newRunResumeCommand(&app{})
		var got []agent.Decision
		c.Flags().Lookup("approve").Value = decisionFlag{&got, "approve"}
		c.Flags().Lookup("deny").Value = decisionFlag{&got, "deny"}
		c.Flags().Lookup("reason").Value = decisionFlag{&got, "reason"}
		err := c.ParseFlags(args)
		return got, err
	}
	got, err := parse("--deny", "a", "--reason", "no", "--approve", "b", "--deny", "c", "--deny", "d", "--reason=why")
	want := []agent.Decision{{CallID: "a", Reason: "no"}, {CallID: "b", Approve: true}, {CallID: "c"}, {CallID: "d", Reason: "why"}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%+v, %v, want %+v", got, err, want)
	}
	for _, bad := range [][]string{{"--reason", "x"}, {"--approve", "a", "--reason", "x"}, {"--deny", "a", "--reason", "x", "--reason", "y"}} {
		if got, err := parse(bad...); err == nil {
			t.Errorf("%v is taken as %+v", bad, got)
		}
	}
}

func TestEnvironment(t *testing.T) {
	t.Setenv("DEEP_TEST_SET", "value")
	got, err := environment([]string{"A=b=c", "EMPTY=", "DEEP_TEST_SET", "A=later"})
	if want := map[string]string{"A": "later", "EMPTY": "", "DEEP_TEST_SET": "value"}; err != nil || !maps.Equal(got, want) {
		t.Errorf("%v, %v, want %v", got, err, want)
	}
	for _, bad := range []string{"=x", "", "DEEP_TEST_CERTAINLY_NOT_SET"} {
		if got, err := environment([]string{bad}); err == nil {
			t.Errorf("%q is taken as %v", bad, got)
		}
	}
}

func TestDirectory(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(dir, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	for _, path := range []string{".", "link", dir} {
		if got, err := directory("--workspace", path); err != nil || got != dir {
			t.Errorf("directory(%q) = %q, %v, want %q", path, got, err, dir)
		}
	}
}

func TestShellQuote(t *testing.T) {
	for in, want := range map[string]string{
		"call_3_1": "call_3_1", "": "''", "a b": "'a b'", "it's": `'it'\''s'`, "$(x)": "'$(x)'", "~/x": "'~/x'", "a\nb": `'a\nb'`,
	} {
		if got := shellQuote(in); got != want {
			t.Errorf("shellQuote(%q) = %s, want %s", in, got, want)
		}
	}
}

func TestTable(t *testing.T) {
	var out testWriter
	if err := (table{{"A", "LONG", "C"}, {"é日", "x", "\x1b"}, {"b", "", ""}}).print(&out); err != nil {
		t.Fatal(err)
	}
	if want := "A   LONG  C\né日  x     \\x1b\nb\n"; string(out) != want {
		t.Errorf("table:\n%s\nwant:\n%s", out, want)
	}
}

type testWriter []byte

func (w *testWriter) Write(p []byte) (int, error) { *w = append(*w, p...); return len(p), nil }

// TestEmptyFlags: a flag that was given and says nothing is not its default.
func TestEmptyFlags(t *testing.T) {
	for _, args := range [][]string{
		{"run", "--workspace", "", "task"}, {"run", "--model=", "task"}, {"run", "--max-turns", "0", "task"},
		{"run", "--max-tokens=-1", "task"}, {"--config", "", "doctor"}, {"run", "--backend", " ", "task"},
	} {
		var out bytes.Buffer
		code := Main(t.Context(), args, Streams{In: strings.NewReader(""), Out: &out, Err: &out})
		if code != exitUsage || !strings.Contains(out.String(), "or leave it out") {
			t.Errorf("%q: exit code %d, %s", args, code, out.String())
		}
	}
}
