package replay_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/deep-sandbox/deep/core/internal/replay"
)

func TestMistakesInARecording(t *testing.T) {
	t.Parallel()
	// ^ marks the place the error must point at; it is taken out before the text is read.
	for name, tc := range map[string]struct{ text, what string }{
		"empty":             {`^`, "not JSON"},
		"cut off":           {`{"version": 1,^`, "not JSON"},
		"not JSON":          {"{\n  \"version\": 1,\n  ^steps: []\n}", "not JSON"},
		"trailing comma":    {"{\"version\": 1,\n\"steps\": [{}, ^]}", "not JSON"},
		"more after it":     {`{"version": 1, "steps": [{"reply": {"content": "a"}}]} ^x`, "not JSON"},
		"not UTF-8":         {"{\"description\": \"ü^\xff\"}", "UTF-8"},
		"a list":            {`^[]`, "must be an object"},
		"no version":        {`^{"steps": [{"reply": {"content": "a"}}]}`, `"version"`},
		"version 2":         {`{"version": ^2, "steps": []}`, "version 1"},
		"version as text":   {`{"version": ^"1"}`, "version 1"},
		"no steps":          {`^{"version": 1}`, `"steps"`},
		"empty steps":       {`{"version": 1, "steps": ^[]}`, "empty"},
		"unknown key":       {"{\"version\": 1, \"description\": \"ü\",\n\t\"steps\": [{\"reply\": {\"content\": \"a\"}}], ^\"ü\": 1, \"x\": 1}", `unknown field "ü"`},
		"unknown, place":    {"{\"version\": 1, \"steps\": [{\n  \"reply\": {\"content\": \"x\",\n    ^\"finish\": 1}}]}", `unknown field "finish"; known here: content, tool_calls, finish_reason, usage`},
		"key twice":         {`{"version": 1, ^"version": 1}`, "twice"},
		"empty step":        {`{"version": 1, "steps": [^{}]}`, `neither "reply" nor "error"`},
		"empty reply":       {`{"version": 1, "steps": [{"reply": ^{}}]}`, `neither "content"`},
		"content of number": {`{"version": 1, "steps": [{"reply": {"content": ^5}}]}`, "steps[0].reply.content: must be a string"},
		"null reply":        {`{"version": 1, "steps": [{"reply": ^null}]}`, "null"},
		"empty finish":      {`{"version": 1, "steps": [{"reply": {"content": "a", "finish_reason": ^""}}]}`, "length"},
		"call without name": {`{"version": 1, "steps": [{"reply": {"tool_calls": [^{"arguments": {}}]}}]}`, `"name"`},
		"call of odd name":  {`{"version": 1, "steps": [{"reply": {"tool_calls": [{"name": ^"a b", "arguments": {}}]}}]}`, "letters"},
		"no arguments":      {`{"version": 1, "steps": [{"reply": {"tool_calls": [^{"name": "a"}]}}]}`, "write {}"},
		"arguments as text": {`{"version": 1, "steps": [{"reply": {"tool_calls": [{"name": "a", "arguments": ^"{}"}]}}]}`, "arguments_text"},
		"both arguments":    {`{"version": 1, "steps": [{"reply": {"tool_calls": [^{"name": "a", "arguments": {}, "arguments_text": ""}]}}]}`, "remove one"},
		"usage in part":     {`{"version": 1, "steps": [{"reply": {"content": "a", "usage": ^{"prompt_tokens": 1}}}]}`, "completion_tokens"},
		"negative usage":    {`{"version": 1, "steps": [{"reply": {"content": "a", "usage": {"prompt_tokens": ^-1, "completion_tokens": 1}}}]}`, "whole number"},
		"half a token":      {`{"version": 1, "steps": [{"reply": {"content": "a", "usage": {"prompt_tokens": ^1.5, "completion_tokens": 1}}}]}`, "whole number"},
		"more cached":       {`{"version": 1, "steps": [{"reply": {"content": "a", "usage": {"prompt_tokens": 1, "completion_tokens": 1, "cached_tokens": ^2}}}]}`, "part"},
		"expects nothing":   {`{"version": 1, "steps": [{"expect": {"results": [^{"tool": "a"}]}, "reply": {"content": "a"}}]}`, "expects nothing"},
		"contains anything": {`{"version": 1, "steps": [{"expect": {"user": {"contains": ^""}}, "reply": {"content": "a"}}]}`, "every text"},
		"broken pattern":    {`{"version": 1, "steps": [{"expect": {"user": {"matches": ^"a("}}, "reply": {"content": "a"}}]}`, "RE2"},
		"status 200":        {`{"version": 1, "steps": [{"error": {"status": ^200}}]}`, "from 400 to 599"},
		"no status":         {`{"version": 1, "steps": [{"error": ^{}}]}`, `"status"`},
		"times for ever":    {`{"version": 1, "steps": [{"error": {"status": 500, "times": ^2}}]}`, `"reply"`},
		"zero times":        {`{"version": 1, "steps": [{"error": {"status": 500, "times": ^0}, "reply": {"content": "a"}}]}`, "from 1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text, at := unmark(tc.text)
			path := filepath.Join(t.TempDir(), "r.json")
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := replay.Load(path)
			var mistake *replay.ParseError
			if !errors.As(err, &mistake) {
				t.Fatalf("%v", err)
			}
			if !strings.Contains(mistake.What, tc.what) {
				t.Errorf("%v", err)
			}
			before := text[:at]
			line := strings.Count(before, "\n") + 1
			column := len([]rune(before[strings.LastIndexByte(before, '\n')+1:])) + 1
			if mistake.Path != path || mistake.Line != line || mistake.Column != column {
				t.Errorf("points at %d:%d, want %d:%d: %v", mistake.Line, mistake.Column, line, column, err)
			}
		})
	}
}

func unmark(text string) (string, int) {
	at := strings.IndexByte(text, '^')
	return text[:at] + text[at+1:], at
}

func TestWhatIsNoRecordingFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	large := filepath.Join(dir, "large")
	if err := os.WriteFile(large, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(large, 1<<40); err != nil {
		t.Fatal(err)
	}
	for path, text := range map[string]string{
		filepath.Join(dir, "none"): "docs/replay.md", dir: "not a regular file", fifo: "not a regular file", large: "over 16 MiB",
	} {
		_, err := replay.Load(path)
		if err == nil || !strings.Contains(err.Error(), text) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if _, err := replay.Load(filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}
