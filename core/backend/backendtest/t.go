package backendtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/deep-sandbox/deep/core/backend"
)

// T is what a rule works with.
type T struct {
	kit      *kit
	ctx      context.Context
	rule     Rule
	cleanups []func()

	mu       sync.Mutex
	problems []string
}

// kit is what a rule finds: the backend, watched on the rule's behalf, and what
// all rules share.
type kit struct {
	b    backend.Backend
	opts Opts
	// caps are the capabilities the backend declares.
	caps []backend.Capability
	*pool
}

// declares reports whether the backend says that it has a capability.
func (t *T) declares(c backend.Capability) bool { return slices.Contains(t.kit.caps, c) }

// stopRule ends a rule that cannot go on.
type stopRule struct{}

// Errorf notes a problem.
func (t *T) Errorf(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.problems = append(t.problems, fmt.Sprintf(format, args...))
}

// Fatalf notes a problem and ends the rule.
func (t *T) Fatalf(format string, args ...any) {
	t.Errorf(format, args...)
	panic(stopRule{})
}

// must ends the rule if err is not nil.
func (t *T) must(what string, err error) {
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// wantKind notes a problem unless err is of that kind and of no other, and is a
// *backend.Error that names its operation.
func (t *T) wantKind(what string, err, kind error) {
	if err == nil {
		t.Errorf("%s: no error, want %q", what, kind)
		return
	}
	for _, k := range backend.Kinds {
		if errors.Is(err, k) != errors.Is(kind, k) {
			t.Errorf("%s: %q is of the kind %q, want %q", what, err, backend.KindOf(err), kind)
			return
		}
	}
	var e *backend.Error
	if !errors.As(err, &e) {
		t.Errorf("%s: a %T, want a *backend.Error: %v", what, err, err)
	} else if e.Op == "" {
		t.Errorf("%s: the error names no operation: %v", what, err)
	}
}

// newSandbox makes a sandbox for this rule, removed with it.
func (t *T) newSandbox(change func(*backend.Spec)) backend.Sandbox {
	sb, err := t.create(backend.NewID(), change)
	t.must("create", err)
	return sb
}

// create tries to make one.
func (t *T) create(id string, change func(*backend.Spec)) (backend.Sandbox, error) {
	return t.createWith(t.ctx, id, change, nil)
}

func (t *T) createWith(ctx context.Context, id string, change func(*backend.Spec), progress func(backend.Progress)) (backend.Sandbox, error) {
	spec := t.kit.opts.Spec
	if change != nil {
		change(&spec)
	}
	t.track(id)
	sb, err := t.kit.b.Create(ctx, &backend.CreateRequest{ID: id, Spec: spec, Progress: progress})
	if err == nil {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.cleanups = append(t.cleanups, func() {
			if err := errors.Join(sb.Close(), t.kit.b.Destroy(context.WithoutCancel(ctx), &backend.DestroyRequest{ID: id})); err != nil {
				t.Errorf("cleaning up: %v", err)
			}
		})
	}
	return sb, err
}

func (t *T) track(id string) {
	if backend.ValidID(id) {
		t.kit.track(id)
	}
}

// sandbox returns the shared one, making it if there is none that answers.
func (t *T) sandbox() backend.Sandbox {
	if sb := t.kit.get(); sb != nil {
		watched := &watchedSandbox{sb, t}
		if _, err := watched.Stat(t.ctx, &backend.StatRequest{Path: "/"}); err == nil {
			return watched
		}
	}
	id := backend.NewID()
	t.track(id)
	sb, err := t.kit.b.Create(t.ctx, &backend.CreateRequest{ID: id, Spec: t.kit.opts.Spec})
	t.must("create the shared sandbox", err)
	t.kit.share(sb.(*watchedSandbox).Sandbox)
	return sb
}

// path returns one in the rule's own directory, relative to the workspace.
func (t *T) path(name string) string { return t.rule.Name + "/" + name }

// dir makes the rule's own directory.
func (t *T) dir() string {
	t.must("mkdir", t.sandbox().Mkdir(t.ctx, &backend.MkdirRequest{Path: t.rule.Name}))
	return t.rule.Name
}

func (t *T) write(name, content string) {
	_, err := t.sandbox().WriteFile(t.ctx, &backend.WriteFileRequest{Path: t.path(name), Content: strings.NewReader(content)})
	t.must("write "+name, err)
}

func (t *T) writeAll(files map[string]string) {
	for name, content := range files {
		t.write(name, content)
	}
}

func (t *T) read(name string) string {
	s, err := readAll(t.ctx, t.sandbox(), &backend.ReadFileRequest{Path: t.path(name)})
	t.must("read "+name, err)
	return s
}

// wantContent notes a problem unless the file holds want.
func (t *T) wantContent(name, want string) {
	if got := t.read(name); got != want {
		t.Errorf("%s holds %s, want %s", name, short(got), short(want))
	}
}

func (t *T) stat(name string) *backend.FileInfo {
	info, err := t.sandbox().Stat(t.ctx, &backend.StatRequest{Path: t.path(name)})
	t.must("stat "+name, err)
	return info
}

// names returns the entries of a directory of the rule's.
func (t *T) names(dir string) []string {
	r, err := t.sandbox().List(t.ctx, &backend.ListDirRequest{Path: strings.TrimSuffix(t.path(dir), "/")})
	t.must("list "+dir, err)
	var names []string
	for _, e := range r.Entries {
		names = append(names, e.Path)
	}
	return names
}

// short quotes s, and not all of it if it is long.
func short(s string) string {
	if len(s) > 80 {
		return fmt.Sprintf("%q… (%d bytes)", s[:80], len(s))
	}
	return fmt.Sprintf("%q", s)
}
