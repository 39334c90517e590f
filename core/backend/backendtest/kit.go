package backendtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/deep-sandbox/deep/core/backend"
)

// ruleTimeout bounds one rule. It is there for a backend that hangs, not to
// measure one.
const ruleTimeout = 2 * time.Minute

// Opts say how to test a backend.
type Opts struct {
	// Spec is what the sandboxes are made by; its Image, for example.
	Spec backend.Spec
	// Shell says that sandboxes made so have /bin/sh and the usual commands.
	// Rules that run commands are skipped without.
	Shell bool
	// Only names the rules to try; all if empty.
	Only []string
}

// Rule is one thing every backend does alike.
type Rule struct {
	// Name of the rule, as of a test.
	Name string
	// Sentence of the contract it enforces.
	Sentence string
	// Shell: it needs Opts.Shell.
	Shell bool
	// Needs a capability, if not empty.
	Needs backend.Capability

	run func(*T)
}

// Rules returns all rules, in the order they are tried.
func Rules() []Rule {
	var all []Rule
	for _, part := range [][]Rule{
		backendRules, lifecycleRules, execRules, stopRules, statRules, readRules, writeRules, editRules, listRules,
		globRules, grepRules, treeRules, nameRules,
	} {
		all = append(all, part...)
	}
	return all
}

// skip returns why a rule does not apply, "" if it does.
func (r Rule) skip(d *backend.Description, opts Opts) string {
	if len(opts.Only) > 0 && !slices.Contains(opts.Only, r.Name) {
		return "not asked for"
	}
	if r.Shell && !opts.Shell {
		return "the sandboxes have no shell"
	}
	if r.Needs != "" {
		for _, c := range d.Capabilities {
			if c == r.Needs {
				return ""
			}
		}
		return fmt.Sprintf("the backend has not the capability %q", r.Needs)
	}
	return ""
}

// A Finding is a rule that was broken.
type Finding struct {
	Rule Rule
	// Problems, one a line.
	Problems []string
}

func (f *Finding) Error() string {
	return fmt.Sprintf("%s: %s\n\t%s", f.Rule.Name, f.Rule.Sentence, strings.Join(f.Problems, "\n\t"))
}

// Test tries all rules that apply to b and returns the findings, joined. What it
// made is gone when it returns, or that is a finding too.
func Test(ctx context.Context, b backend.Backend, opts Opts) error {
	d, err := b.Describe(ctx)
	if err != nil {
		return fmt.Errorf("describe: %w", err)
	}
	k := newKit(b, opts)
	var findings []error
	for _, rule := range Rules() {
		if rule.skip(d, opts) != "" {
			continue
		}
		if f := k.try(ctx, rule); f != nil {
			findings = append(findings, f)
		}
	}
	if err := k.close(ctx); err != nil {
		findings = append(findings, err)
	}
	return errors.Join(findings...)
}

// Run makes a subtest of each rule, on the backend that factory makes.
func Run(t *testing.T, factory func(t *testing.T) (backend.Backend, Opts)) {
	t.Helper()
	b, opts := factory(t)
	d, err := b.Describe(t.Context())
	if err != nil {
		t.Fatalf("describe: %v", err)
	}
	k := newKit(b, opts)
	for _, rule := range Rules() {
		t.Run(rule.Name, func(t *testing.T) {
			if why := rule.skip(d, opts); why != "" {
				t.Skip(why)
			}
			if f := k.try(t.Context(), rule); f != nil {
				t.Error(f)
			}
		})
	}
	if err := k.close(t.Context()); err != nil {
		t.Error(err)
	}
}

// kit holds what the rules share: one sandbox, in which each has a directory of
// its own.
type kit struct {
	b    backend.Backend
	opts Opts

	shared backend.Sandbox
	mu     sync.Mutex
	ids    []string // of all sandboxes made
}

func newKit(b backend.Backend, opts Opts) *kit { return &kit{b: b, opts: opts} }

// try runs one rule.
func (k *kit) try(ctx context.Context, rule Rule) error {
	ctx, cancel := context.WithTimeout(ctx, ruleTimeout)
	defer cancel()
	t := &T{kit: k, ctx: ctx, rule: rule}
	done := make(chan any, 1)
	go func() {
		defer func() { done <- recover() }()
		rule.run(t)
	}()
	var p any
	select {
	case p = <-done:
	case <-time.After(ruleTimeout + 30*time.Second):
		return &Finding{rule, []string{fmt.Sprintf("it did not end within %v, though its context had", ruleTimeout)}}
	}
	if _, stopped := p.(stopRule); p != nil && !stopped {
		t.Errorf("panic: %v", p)
	}
	for i := len(t.cleanups) - 1; i >= 0; i-- {
		t.cleanups[i]()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.problems) == 0 {
		return nil
	}
	return &Finding{rule, t.problems}
}

// close removes what the rules made.
func (k *kit) close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), ruleTimeout)
	defer cancel()
	var errs []error
	if k.shared != nil {
		errs = append(errs, k.shared.Close())
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	mine := map[string]bool{}
	for _, id := range k.ids {
		mine[id] = true
		errs = append(errs, k.b.Destroy(ctx, &backend.DestroyRequest{ID: id}))
	}
	r, err := k.b.List(ctx, &backend.ListRequest{})
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	for _, s := range r.Sandboxes {
		if mine[s.ID] {
			errs = append(errs, fmt.Errorf("sandbox %s is still there after it was destroyed", s.ID))
		}
	}
	return errors.Join(errs...)
}

// T is what a rule works with.
type T struct {
	kit      *kit
	ctx      context.Context
	rule     Rule
	cleanups []func()

	mu       sync.Mutex
	problems []string
}

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
	if !backend.ValidID(id) {
		return
	}
	t.kit.mu.Lock()
	defer t.kit.mu.Unlock()
	t.kit.ids = append(t.kit.ids, id)
}

// sandbox returns the shared one, making it if there is none that answers.
func (t *T) sandbox() backend.Sandbox {
	k := t.kit
	if k.shared != nil {
		if _, err := k.shared.Stat(t.ctx, &backend.StatRequest{Path: "/"}); err == nil {
			return k.shared
		}
	}
	id := backend.NewID()
	t.track(id)
	sb, err := k.b.Create(t.ctx, &backend.CreateRequest{ID: id, Spec: k.opts.Spec})
	t.must("create the shared sandbox", err)
	k.shared = sb
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
