package tools_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/backend/backendtest"
	"github.com/deep-sandbox/deep/core/tools"
)

// A bench is a set of tools on a sandbox in memory.
type bench struct {
	t  *testing.T
	sb backend.Sandbox
	*tools.Set
}

func newBench(t *testing.T) *bench {
	t.Helper()
	sb, err := backendtest.NewFake().Create(t.Context(), &backend.CreateRequest{ID: backend.NewID()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sb.Close(); err != nil {
			t.Error(err)
		}
	})
	return benchOn(t, sb)
}

func benchOn(t *testing.T, sb backend.Sandbox) *bench {
	t.Helper()
	return &bench{t, sb, tools.New(tools.Options{
		Sandbox: func(context.Context) (backend.Sandbox, error) { return sb, nil },
	}, tools.State{})}
}

// args makes the JSON of a call; a string is taken as it is.
func args(t *testing.T, v any) json.RawMessage {
	t.Helper()
	if s, ok := v.(string); ok {
		return json.RawMessage(s)
	}
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

type m = map[string]any

// call runs a tool that must answer.
func (b *bench) call(name string, v any) tools.Answer {
	b.t.Helper()
	a, err := b.Call(b.t.Context(), name, args(b.t, v))
	if err != nil {
		b.t.Fatalf("%s: %v", name, err)
	}
	if !utf8.ValidString(a.Text) {
		b.t.Errorf("%s answers with invalid UTF-8: %q", name, a.Text)
	}
	return a
}

// ok wants exactly this answer, and success.
func (b *bench) ok(name string, v any, want string) {
	b.t.Helper()
	if a := b.call(name, v); a.Failed || a.Text != want {
		b.t.Errorf("%s(%v) = failed %v\n%s\nwant\n%s", name, v, a.Failed, a.Text, want)
	}
}

// fails wants exactly this answer, and failure.
func (b *bench) fails(name string, v any, want string) {
	b.t.Helper()
	if a := b.call(name, v); !a.Failed || a.Text != want {
		b.t.Errorf("%s(%v) = failed %v\n%s\nwant\n%s", name, v, a.Failed, a.Text, want)
	}
}

func (b *bench) file(path, content string) {
	b.t.Helper()
	if _, err := b.sb.WriteFile(b.t.Context(), &backend.WriteFileRequest{Path: path, Content: strings.NewReader(content)}); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) content(path string) string {
	b.t.Helper()
	f, err := b.sb.ReadFile(b.t.Context(), &backend.ReadFileRequest{Path: path})
	if err != nil {
		b.t.Fatal(err)
	}
	defer f.Close()
	content, err := io.ReadAll(f)
	if err != nil {
		b.t.Fatal(err)
	}
	return string(content)
}

func (b *bench) sh(command string) {
	b.t.Helper()
	var out bytes.Buffer
	res, err := b.sb.Exec(b.t.Context(), &backend.ExecRequest{Shell: command, Stdout: &out, Stderr: &out})
	if err != nil || res.ExitCode != 0 {
		b.t.Fatalf("%s: %+v, %v, %s", command, res, err, out.String())
	}
}

func TestSpecs(t *testing.T) {
	var names []string
	for _, spec := range newBench(t).Specs() {
		names = append(names, spec.Name)
		var schema struct {
			Type       string
			Properties map[string]struct{ Type, Description string }
			Required   []string
			Additional *bool `json:"additionalProperties"`
		}
		if err := json.Unmarshal(spec.Parameters, &schema); err != nil {
			t.Errorf("%s: %v", spec.Name, err)
		}
		if schema.Type != "object" || schema.Additional == nil || *schema.Additional || spec.Description == "" {
			t.Errorf("%s: its schema is open, or it is not described", spec.Name)
		}
		for _, r := range schema.Required {
			if schema.Properties[r].Type == "" {
				t.Errorf("%s: requires %s, which it does not describe", spec.Name, r)
			}
		}
	}
	want := "ls read_file write_file edit_file glob grep execute execute_background read_output kill write_todos read_todos"
	if got := strings.Join(names, " "); got != want {
		t.Errorf("tools are %s, want %s", got, want)
	}
	if got := strings.Join(tools.Names(), " "); got != want {
		t.Errorf("Names() = %s, want %s", got, want)
	}
}

// TestDenied: a tool that is denied is not offered, and calling it anyway is like
// calling one that never was.
func TestDenied(t *testing.T) {
	b := newBench(t)
	b.Set = tools.New(tools.Options{
		Sandbox: func(context.Context) (backend.Sandbox, error) { return b.sb, nil },
		Deny:    []string{"execute", "write_file", "edit_file", "write_todos"}, // and with execute, all that runs commands
	}, tools.State{})
	const want = `The tools are: ls, read_file, glob, grep, read_todos.`
	b.fails("execute", m{"command": "true"}, `There is no tool "execute". `+want)
	b.fails("nonsense\x1b[2J", m{}, `There is no tool "nonsense\x1b[2J". `+want)
	if n := len(b.Specs()); n != 5 {
		t.Errorf("%d tools are offered, want 5", n)
	}
}

func TestArgumentsThatDoNotFit(t *testing.T) {
	b := newBench(t)
	const usage = ` Usage: read_file(path, offset=0, limit=2000)`
	b.fails("read_file", `{`, `The arguments cannot be used: they are not whole JSON (unexpected EOF).`+usage)
	b.fails("read_file", `path`, `The arguments cannot be used: they are not whole JSON (invalid character 'p' looking for beginning of value).`+usage)
	b.fails("read_file", `[]`, `The arguments cannot be used: they must be a JSON object, not array.`+usage)
	b.fails("read_file", `{"path":"a"} {}`, `The arguments cannot be used: there is something after the object.`+usage)
	b.fails("read_file", `{"path":["a"]}`, `The arguments cannot be used: path must be a string, not array.`+usage)
	b.fails("read_file", `{"path":"a","limit":"9"}`, `The arguments cannot be used: limit must be a whole number, not string.`+usage)
	b.fails("read_file", `{"path":"a","limit":1.5}`, `The arguments cannot be used: limit must be a whole number, not number 1.5.`+usage)
	b.fails("read_file", `{"path":"a","lines":1}`, `The arguments cannot be used: unknown field "lines".`+usage)
	b.fails("read_file", ``, `path is required.`+usage)
	b.fails("read_file", `null`, `path is required.`+usage)
	b.fails("edit_file", `{"path":"a","old_string":"a","new_string":"b","replace_all":"yes"}`,
		`The arguments cannot be used: replace_all must be true or false, not string. Usage: edit_file(path, old_string, new_string, replace_all=false)`)
	b.fails("read_todos", `{"a":1}`, `The arguments cannot be used: unknown field "a". Usage: read_todos()`)
	b.ok("ls", ``, `The directory is empty.`)
}

// A broken sandbox fails as it is told to.
type broken struct {
	backend.Sandbox
	err error
}

func (b broken) List(context.Context, *backend.ListDirRequest) (*backend.ListDirReply, error) {
	return nil, b.err
}
func (b broken) ReadFile(context.Context, *backend.ReadFileRequest) (*backend.File, error) {
	return nil, b.err
}
func (b broken) WriteFile(context.Context, *backend.WriteFileRequest) (*backend.WriteFileReply, error) {
	return nil, b.err
}
func (b broken) Edit(context.Context, *backend.EditRequest) (*backend.EditReply, error) {
	return nil, b.err
}
func (b broken) Glob(context.Context, *backend.GlobRequest) (*backend.GlobReply, error) {
	return nil, b.err
}
func (b broken) Grep(context.Context, *backend.GrepRequest) (*backend.GrepReply, error) {
	return nil, b.err
}
func (b broken) Exec(context.Context, *backend.ExecRequest) (*backend.ExecResult, error) {
	return nil, b.err
}
func (b broken) Start(context.Context, *backend.ExecRequest) (*backend.StartReply, error) {
	return nil, b.err
}
func (b broken) Outcome(context.Context, *backend.OutcomeRequest) (*backend.OutcomeReply, error) {
	return nil, b.err
}
func (b broken) Kill(context.Context, *backend.KillRequest) (*backend.OutcomeReply, error) {
	return nil, b.err
}

var someCalls = map[string]any{
	"ls":         m{},
	"read_file":  m{"path": "a"},
	"write_file": m{"path": "a", "content": ""},
	"edit_file":  m{"path": "a", "old_string": "a", "new_string": "b"},
	"glob":       m{"pattern": "*"},
	"grep":       m{"pattern": "x"},
	"execute":    m{"command": "true"},

	"execute_background": m{"command": "true"},
	"read_output":        m{"id": "a"},
	"kill":               m{"id": "a"},
}

// TestErrorsThatEndTheRun: no model can mend these, so that none is asked to.
func TestErrorsThatEndTheRun(t *testing.T) {
	for _, err := range []error{
		&backend.Error{Kind: backend.ErrGone}, &backend.Error{Kind: backend.ErrUnavailable}, &backend.CrashError{Plugin: "x"},
		&backend.Error{Kind: context.Canceled}, context.DeadlineExceeded, errors.New("of no kind"),
	} {
		b := benchOn(t, broken{newBench(t).sb, err})
		for name, v := range someCalls {
			if _, got := b.Call(t.Context(), name, args(t, v)); !errors.Is(got, err) {
				t.Errorf("%s: %v, want %v", name, got, err)
			}
		}
	}
}

// TestErrorsThatAreAnswered: the model hears what is wrong and what to do, and not
// which backend it was.
func TestErrorsThatAreAnswered(t *testing.T) {
	for _, kind := range []error{backend.ErrExists, backend.ErrNotDirectory, backend.ErrPermission, backend.ErrInvalid, backend.ErrTooLarge, backend.ErrNoSpace, backend.ErrUnsupported} {
		b := benchOn(t, broken{newBench(t).sb, &backend.Error{Kind: kind, Backend: "docker", Op: "op", Path: "a\nb", Message: "it is so", Hint: "do this"}})
		for name, v := range someCalls {
			b.fails(name, v, `Error: "a\nb": it is so — do this`)
		}
	}
}

// TestNoSandbox: the error of who makes the sandbox is not for the model, whatever
// its kind.
func TestNoSandbox(t *testing.T) {
	err := &backend.Error{Kind: backend.ErrNotFound, Message: "no such image"}
	set := tools.New(tools.Options{Sandbox: func(context.Context) (backend.Sandbox, error) { return nil, err }}, tools.State{})
	for name, v := range someCalls {
		if _, got := set.Call(t.Context(), name, args(t, v)); !errors.Is(got, err) {
			t.Errorf("%s: %v, want %v", name, got, err)
		}
	}
}

// listing answers with names as a hostile sandbox may have them.
type listing struct {
	backend.Sandbox
	names []string
}

func (l listing) List(context.Context, *backend.ListDirRequest) (*backend.ListDirReply, error) {
	r := &backend.ListDirReply{Total: len(l.names)}
	for _, n := range l.names {
		r.Entries = append(r.Entries, backend.FileInfo{Path: n, Type: backend.TypeRegular})
	}
	return r, nil
}

// TestAnswersAreBounded: a directory can hold a million characters of names.
func TestAnswersAreBounded(t *testing.T) {
	l := listing{newBench(t).sb, nil}
	for i := range backend.MaxListEntries {
		l.names = append(l.names, fmt.Sprint(i)+strings.Repeat("\xff", 250))
	}
	a := benchOn(t, l).call("ls", m{})
	if n := utf8.RuneCountInString(a.Text); n > 220_000 || !a.Truncated || !strings.HasSuffix(a.Text, "[the answer was cut here: it is too long]\n") {
		t.Errorf("%d characters, truncated %v, ending %q", n, a.Truncated, a.Text[len(a.Text)-60:])
	}
}

func TestStateSurvives(t *testing.T) {
	b := newBench(t)
	b.file("a", "one\n")
	b.ok("read_file", m{"path": "a"}, "     1\tone\n")
	b.call("write_todos", `{"todos":[{"content":"x","status":"pending"}]}`)
	stored, err := json.Marshal(b.State())
	if err != nil {
		t.Fatal(err)
	}

	var state tools.State
	if err := json.Unmarshal(stored, &state); err != nil {
		t.Fatal(err)
	}
	b.Set = tools.New(tools.Options{Sandbox: func(context.Context) (backend.Sandbox, error) { return b.sb, nil }}, state)
	b.ok("read_todos", m{}, "[ ] x\n")
	b.file("a", "one, and changed\n")
	b.fails("edit_file", m{"path": "./a", "old_string": "one", "new_string": "two"},
		"./a has changed since you last read it, so it was not edited. Read it again, then edit.")
}
