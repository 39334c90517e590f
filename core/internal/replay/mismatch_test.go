package replay_test

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/deep-sandbox/deep/core/internal/llm"
	"github.com/deep-sandbox/deep/core/internal/replay"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares text with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; got:\n%s", path, got)
	}
}

func TestMismatches(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		recording string // the steps
		change    func(conversation []llm.Message) []llm.Message
		step      int
		what      string
		wanted    string
		got       string
	}{
		"user": {`{"expect": {"user": {"contains": "tea"}}, "reply": {"content": "a"}}`,
			nil, 1, "last user message does not contain", "tea", "coffee, please"},
		"equals": {`{"reply": {"tool_calls": [{"name": "ls", "arguments": {}}]}}, {"expect": {"results": [{"equals": "x"}]}, "reply": {"content": "a"}}`,
			nil, 2, "result 1 does not equal", "x", "result of ls {}"},
		"pattern": {`{"reply": {"tool_calls": [{"name": "ls", "arguments": {}}]}}, {"expect": {"results": [{"tool": "ls", "matches": "^[0-9]+$"}]}, "reply": {"content": "a"}}`,
			nil, 2, "result 1, of ls, does not match", "^[0-9]+$", "result of ls {}"},
		"all conditions hold": {`{"reply": {"tool_calls": [{"name": "ls", "arguments": {}}]}}, {"expect": {"results": [{"contains": "ls", "matches": "^x"}]}, "reply": {"content": "a"}}`,
			nil, 2, "does not match", "^x", "result of ls {}"},
		"second of a tool": {`{"reply": {"tool_calls": [{"name": "ls", "arguments": {"n": 1}}, {"name": "rm", "arguments": {}}, {"name": "ls", "arguments": {"n": 2}}]}},
			{"expect": {"results": [{"tool": "ls", "contains": "1"}, {"tool": "ls", "contains": "3"}]}, "reply": {"content": "a"}}`,
			nil, 2, "result 2, of ls, does not contain", "3", `result of ls {"n":2}`},
		"no such result": {`{"reply": {"tool_calls": [{"name": "ls", "arguments": {}}]}}, {"expect": {"results": [{"tool": "rm", "contains": "x"}]}, "reply": {"content": "a"}}`,
			nil, 2, "result 1, of rm, is missing", "x", "tool: result of ls {}\n"},
		"past the end": {`{"reply": {"tool_calls": [{"name": "ls", "arguments": {}}]}}`,
			nil, 2, "goes past its end", "(the end, after 1 step)", "tool: result of ls {}\n"},
		"tampered turn": {`{"reply": {"tool_calls": [{"name": "ls", "arguments": {"a": 1, "b": 2}}]}}, {"reply": {"content": "a"}}`,
			func(c []llm.Message) []llm.Message {
				for i := range c {
					for j := range c[i].ToolCalls {
						c[i].ToolCalls[j].Arguments = `{"b": 2, "a": 3}`
					}
				}
				return c
			}, 1, "not the recorded one", `[call_1_1] ls {"a":1,"b":2}` + "\n", `[call_1_1] ls {"a":3,"b":2}` + "\n"},
		"turn of another recording": {`{"reply": {"tool_calls": [{"name": "ls", "arguments": {}}]}}, {"reply": {"content": "a"}}`,
			func(c []llm.Message) []llm.Message {
				return append(c, llm.Message{Role: llm.RoleAssistant, Content: "b"})
			}, 1, "not the recorded one", "[call_1_1] ls {}\n", "b\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := play(t, parse(t, `{"version": 1, "steps": [`+tc.recording+`]}`))
			conversation := task("coffee, please")
			var err error
			for range 3 {
				if tc.change != nil {
					conversation = tc.change(conversation)
				}
				if _, err = s.turn(t.Context(), &conversation, func(c llm.ToolCall) string { return "result of " + c.Name + " " + c.Arguments }); err != nil {
					break
				}
			}
			var refused *llm.Error
			if !errors.As(err, &refused) || refused.Status != replay.StatusMismatch || refused.Code != "replay_mismatch" || s.retries != 0 {
				t.Fatalf("%v after %d retries", err, s.retries)
			}
			var mismatch *replay.MismatchError
			if !errors.As(s.Err(), &mismatch) {
				t.Fatalf("Err is %v", s.Err())
			}
			if mismatch.Recording != "test.json" || mismatch.Step != tc.step || mismatch.Wanted != tc.wanted || mismatch.Got != tc.got || !strings.Contains(mismatch.What, tc.what) {
				t.Errorf("%+v", mismatch)
			}
			if !strings.Contains(refused.Message, strings.TrimSpace(mismatch.Diff())) {
				t.Errorf("the client's error lacks the diff:\n%s", refused.Message)
			}
		})
	}
}

func TestFirstMismatchIsKept(t *testing.T) {
	t.Parallel()
	s := play(t, parse(t, `{"version": 1, "steps": [{"expect": {"user": {"equals": "x"}}, "reply": {"content": "a"}}]}`))
	for _, text := range []string{"first", "second"} {
		conversation := task(text)
		if _, err := s.turn(t.Context(), &conversation, nil); err == nil {
			t.Fatal("no error")
		}
	}
	var mismatch *replay.MismatchError
	if !errors.As(s.Err(), &mismatch) || mismatch.Got != "first" {
		t.Errorf("%v", s.Err())
	}
}

func TestDiff(t *testing.T) {
	t.Parallel()
	var long strings.Builder
	for i := range 30 {
		long.WriteString(strings.Repeat("x", i+1) + "\n")
	}
	changed := strings.Replace(long.String(), "\n"+strings.Repeat("x", 15)+"\n", "\nchanged\nand more\n", 1)
	for name, e := range map[string]replay.MismatchError{
		"word":     {Wanted: "0, 1, 1, 2", Got: "Command failed (exit code 127)\nsh: python3: not found\n"},
		"middle":   {Wanted: long.String(), Got: changed},
		"newline":  {Wanted: "a\nb\n", Got: "a\nb"},
		"end":      {Wanted: "word", Got: "word\n"},
		"nothing":  {Wanted: "a\n", Got: ""},
		"terminal": {Wanted: "plain", Got: "\x1b[2J\u202eevil\r\x00\tend \xff"},
	} {
		e.Recording, e.Step, e.What = "r.json", 4, "result 1 does not equal the recorded text"
		golden(t, "diff-"+name+".txt", e.Diff())
	}
}

func TestDiffIsBounded(t *testing.T) {
	t.Parallel()
	for name, got := range map[string]string{
		"many lines": strings.Repeat("line\n", 1<<18),
		"one line":   strings.Repeat("é", 1<<20),
		"wide lines": strings.Repeat(strings.Repeat("w", 5000)+"\n", 1000),
		"bytes":      strings.Repeat("\x01", 1<<20),
	} {
		e := replay.MismatchError{Wanted: "x", Got: got}
		if diff := e.Diff(); len(diff) > 8<<10 || !strings.Contains(diff, "cut") && !strings.Contains(diff, "more lines") {
			t.Errorf("%s: %d bytes", name, len(diff))
		}
	}
}
