package replay_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/deep-sandbox/deep/core/internal/llm"
)

// TestExamples plays each example with tools that do on this machine what they would do in the sandbox.
func TestExamples(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ recording, program, interpreter string }{
		{"fibonacci.json", "/workspace/fibonacci.py", "python3"},
		{"fibonacci-sh.json", "/workspace/fibonacci.sh", "sh"},
	} {
		t.Run(tc.recording, func(t *testing.T) {
			t.Parallel()
			if _, err := exec.LookPath(tc.interpreter); err != nil {
				t.Skipf("needs %s", tc.interpreter)
			}
			workspace := t.TempDir()
			tools := func(c llm.ToolCall) string {
				var args struct {
					Path, Content, Command string
					Timeout                int
					Todos                  []struct{ Content, Status string }
				}
				dec := json.NewDecoder(strings.NewReader(c.Arguments))
				dec.DisallowUnknownFields()
				if err := dec.Decode(&args); err != nil {
					t.Fatal(err)
				}
				switch c.Name {
				case "write_todos":
					if len(args.Todos) < 2 || args.Todos[0].Status != "in_progress" {
						t.Errorf("plan %+v", args.Todos)
					}
					return "3 todos"
				case "write_file":
					if args.Path != tc.program {
						t.Errorf("writes %s", args.Path)
					}
					if err := os.WriteFile(filepath.Join(workspace, filepath.Base(args.Path)), []byte(args.Content), 0o600); err != nil {
						t.Fatal(err)
					}
					return "Wrote 9 lines to " + args.Path
				case "execute":
					if args.Command != tc.interpreter+" "+tc.program || args.Timeout != 120 {
						t.Errorf("runs %s for %d s", args.Command, args.Timeout)
					}
					out, err := exec.Command(tc.interpreter, filepath.Join(workspace, filepath.Base(tc.program))).CombinedOutput()
					if err != nil {
						t.Errorf("%v: %s", err, out)
					}
					return string(out)
				}
				t.Fatalf("calls %s", c.Name)
				return ""
			}

			rec := load(t, filepath.Join("../../../examples/replay", tc.recording))
			s := play(t, rec)
			conversation := task("Create a program that prints the first 10 Fibonacci numbers.")
			var last *llm.Response
			for range rec.Steps {
				var err error
				if last, err = s.turn(t.Context(), &conversation, tools); err != nil {
					t.Fatal(err)
				}
			}
			if len(last.Message.ToolCalls) != 0 || !strings.Contains(last.Message.Content, "0, 1, 1, 2, 3, 5, 8, 13, 21, 34") {
				t.Errorf("ends with %+v", last.Message)
			}
		})
	}
}

// TestDocumentation loads the recordings that docs/replay.md shows.
func TestDocumentation(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../../docs/replay.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```json\n(.*?)```").FindAllSubmatch(page, -1)
	whole := 0
	for _, b := range blocks {
		if strings.Contains(string(b[1]), `"version"`) {
			parse(t, string(b[1]))
			whole++
		} else {
			parse(t, `{"version": 1, "steps": [`+string(b[1])+`]}`)
		}
	}
	if whole == 0 {
		t.Error("no full example")
	}
}
