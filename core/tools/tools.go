// Package tools holds the tools a model sees: what they are called, what they
// take, and how their outcome is put into words. Everything they do happens on a
// [backend.Sandbox]; text for the model is made here and nowhere else.
package tools

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/deep-sandbox/deep/core/backend"
)

// Spec is what the model is told about a tool.
type Spec struct {
	Name        string
	Description string
	// Parameters is a JSON schema.
	Parameters json.RawMessage
}

// Answer is what the model gets back from a call.
type Answer struct {
	// Text is valid UTF-8 and at most about 200,000 characters, whatever names and
	// content the sandbox comes up with.
	Text string
	// Failed reports that the call did not do what it was asked to: the text says
	// what the model can do about it.
	Failed bool
	// Exec is the typed result of a command, or what is known of one that runs; nil
	// for tools that have nothing to do with one.
	Exec *backend.ExecResult
	// Truncated reports that the text does not hold all there was; it says so.
	Truncated bool
}

// Options of a Set.
type Options struct {
	// Sandbox returns the sandbox to work in. It is called at each use, so that
	// one can be made as late as it is needed.
	Sandbox func(ctx context.Context) (backend.Sandbox, error)
	// Deny names tools that are not offered at all. With one go those that are
	// nothing without it, or another way to do the same.
	Deny []string
	// ExecuteOutput, if not nil, gets a command's output as it comes, both
	// streams in one. For showing, not for keeping.
	ExecuteOutput io.Writer
}

// Set is the tools of one run. It is safe for concurrent use.
type Set struct {
	opts  Options
	tools []tool

	mu    sync.Mutex
	state State
	// oomKills is how many the model has been told of.
	oomKills int64
}

// State is what a Set remembers between calls; it survives a process in JSON.
type State struct {
	// Todos is the model's plan.
	Todos []Todo `json:"todos,omitempty"`
	// Seen is the SHA-256 of each file as the model last read or wrote it.
	Seen map[string]string `json:"seen,omitempty"`
	// Commands counts those that were run: the next is named by it.
	Commands int64 `json:"commands,omitempty"`
	// Read is how much of a command's output the model has read, in bytes.
	Read map[string]int64 `json:"read,omitempty"`
}

// A tool is one entry of the table in the contract.
type tool struct {
	spec Spec
	call func(s *Set, ctx context.Context, args json.RawMessage) (Answer, error)
}

// New returns the tools that opts allows. State continues an earlier run; its
// zero value begins a new one.
func New(opts Options, state State) *Set {
	s := &Set{opts: opts, state: state.clone()}
	for _, t := range []tool{
		lsTool, readTool, writeTool, editTool, globTool, grepTool, executeTool, executeBackgroundTool, readOutputTool, killTool, writeTodosTool, readTodosTool,
	} {
		if !denied(opts.Deny, t.spec.Name) {
			s.tools = append(s.tools, t)
		}
	}
	return s
}

// needs names the tool without which another is not offered.
var needs = map[string]string{"execute_background": "execute", "read_output": "execute", "kill": "execute_background"}

// denied reports whether a tool, or one that it needs, is.
func denied(deny []string, name string) bool {
	return slices.Contains(deny, name) || needs[name] != "" && denied(deny, needs[name])
}

// Names returns the names of all tools there are, offered or not.
func Names() []string {
	var names []string
	for _, spec := range New(Options{}, State{}).Specs() {
		names = append(names, spec.Name)
	}
	return names
}

// Specs returns what to tell the model, in a fixed order.
func (s *Set) Specs() []Spec {
	specs := make([]Spec, 0, len(s.tools))
	for _, t := range s.tools {
		specs = append(specs, t.spec)
	}
	return specs
}

// State returns a copy of what the set remembers.
func (s *Set) State() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state.clone()
}

func (st State) clone() State {
	st.Todos = slices.Clone(st.Todos)
	st.Seen, st.Read = copied(st.Seen), copied(st.Read)
	return st
}

// copied is a copy that can be written to.
func copied[V any](m map[string]V) map[string]V {
	c := make(map[string]V, len(m))
	maps.Copy(c, m)
	return c
}

// offers reports whether the model may use a tool.
func (s *Set) offers(name string) bool {
	return slices.ContainsFunc(s.tools, func(t tool) bool { return t.spec.Name == name })
}

// Call runs a tool. What the model can mend (a missing file, an ambiguous match,
// arguments of the wrong type, an unknown tool) is an Answer with Failed set. An
// error means that the run cannot go on: ctx ended, or the sandbox is gone or out
// of reach.
func (s *Set) Call(ctx context.Context, name string, args json.RawMessage) (Answer, error) {
	for _, t := range s.tools {
		if t.spec.Name != name {
			continue
		}
		answer, err := t.call(s, ctx, args)
		if err != nil {
			return answer, err
		}
		return answer.bounded(), nil
	}
	names := make([]string, 0, len(s.tools))
	for _, t := range s.tools {
		names = append(names, t.spec.Name)
	}
	return failed("There is no tool %q. The tools are: %s.", name, strings.Join(names, ", ")), nil
}

// maxAnswerChars leaves room for a full page of read_file and its notices. Only
// names made to be long get here: 1000 of 255 bytes, each shown as an escape.
const maxAnswerChars = maxReadChars + 10_000

func (a Answer) bounded() Answer {
	a.Text = strings.ToValidUTF8(a.Text, "\uFFFD")
	text, whole := clipRunes(a.Text, maxAnswerChars)
	if !whole {
		a.Text, a.Truncated = text+"\n[the answer was cut here: it is too long]\n", true
	}
	return a
}

// failed answers with something the model can act on.
func failed(format string, args ...any) Answer {
	return Answer{Text: fmt.Sprintf(format, args...), Failed: true}
}

// mendable are the kinds of errors that a model can do something about.
var mendable = []error{
	backend.ErrNotFound, backend.ErrExists, backend.ErrIsDirectory, backend.ErrNotDirectory,
	backend.ErrPermission, backend.ErrInvalid, backend.ErrTooLarge, backend.ErrConflict,
	backend.ErrNoSpace, backend.ErrUnsupported,
}

// problem turns an error of the sandbox into an answer, if the model can do
// something about it, or returns it.
func problem(err error) (Answer, error) {
	if !slices.Contains(mendable, backend.KindOf(err)) {
		return Answer{}, err
	}
	var e *backend.Error
	if !errors.As(err, &e) {
		return failed("%v", err), nil
	}
	// Which backend it was is nothing to the model.
	plain := *e
	plain.Backend, plain.Op = "", ""
	return failed("Error: %s", plain.Error()), nil
}

// sandbox returns the sandbox to work in.
func (s *Set) sandbox(ctx context.Context) (backend.Sandbox, error) { return s.opts.Sandbox(ctx) }

// saw remembers what the model knows of a file.
func (s *Set) saw(path, sum string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.Seen[path] = sum
}

// seen returns the sum of a file as the model knows it, "" if it never saw it.
func (s *Set) seen(path string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state.Seen[path]
}

// key names a file the same way however the model writes its path. Links are not
// resolved: two names of one file are two files to the model.
func key(sb backend.Sandbox, p string) string {
	if !strings.HasPrefix(p, "/") {
		p = sb.Info().Workspace + "/" + p
	}
	if slices.Contains(strings.Split(p, "/"), "..") {
		return p // what that leads to depends on links
	}
	return path.Clean(p)
}

// below returns the path of what was found below dir, as the model can give it to
// another tool.
func below(dir, found string) string {
	if dir == "" || dir == "." || strings.HasPrefix(found, "/") {
		return found
	}
	return strings.TrimRight(dir, "/") + "/" + found
}
