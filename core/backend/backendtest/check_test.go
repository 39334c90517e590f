package backendtest_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/backend/backendtest"
)

// check returns what came of each rule, by its name.
func check(t *testing.T, ctx context.Context, b backend.Backend, opts backendtest.Opts) (map[string]backendtest.Result, error) {
	t.Helper()
	opts.Shell = true
	results := map[string]backendtest.Result{}
	err := backendtest.Check(ctx, b, opts, func(r backendtest.Result) {
		if _, twice := results[r.Rule.Name]; twice {
			t.Errorf("%s was reported twice", r.Rule.Name)
		}
		if (r.Status == backendtest.Pass) != (r.Reason == "") || (r.Status == backendtest.Fail) != (r.Err() != nil) {
			t.Errorf("%s: status %s, reason %q, error %v", r.Rule.Name, r.Status, r.Reason, r.Err())
		}
		results[r.Rule.Name] = r
	})
	return results, err
}

// wantFail wants a rule to be broken for a reason with those words, and the others
// kept.
func wantFail(t *testing.T, results map[string]backendtest.Result, rule string, words ...string) {
	t.Helper()
	for name, r := range results {
		if name != rule && r.Status == backendtest.Fail {
			t.Errorf("%s: %s", name, r.Reason)
		}
	}
	r := results[rule]
	for _, w := range words {
		if r.Status != backendtest.Fail || !strings.Contains(r.Reason, w) {
			t.Errorf("%s: %s, %q; want a failure with %q", rule, r.Status, r.Reason, w)
		}
	}
}

// left wants nothing of what was made to be there.
func left(t *testing.T, fake *backendtest.Fake) {
	t.Helper()
	r, err := fake.List(context.Background(), &backend.ListRequest{})
	if err != nil || len(r.Sandboxes) > 0 {
		t.Errorf("left: %v, %v", r, err)
	}
}

// TestCheckReportsAll: each rule is reported once, in order, and skipped only for
// want of a capability or a shell.
func TestCheckReportsAll(t *testing.T) {
	t.Parallel()
	var got, want []string
	err := backendtest.Check(t.Context(), backendtest.NewFake(), backendtest.Opts{}, func(r backendtest.Result) {
		got = append(got, r.Rule.Name)
		switch {
		case r.Status == backendtest.Fail:
			t.Error(r.Err())
		case r.Status == backendtest.Skip && !r.Rule.Shell && r.Rule.Needs == "":
			t.Errorf("%s was skipped: %s", r.Rule.Name, r.Reason)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range backendtest.Rules() {
		want = append(want, r.Name)
	}
	if !slices.Equal(got, want) {
		t.Errorf("reported %q, want %q", got, want)
	}
}

// TestPatterns: Only takes patterns; one that names no rule is not passed over.
func TestPatterns(t *testing.T) {
	t.Parallel()
	results, err := check(t, t.Context(), backendtest.NewFake(), backendtest.Opts{Only: []string{"exec-en[vw]", "stat-*"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range backendtest.Rules() {
		_, tried := results[r.Name]
		if tried != (r.Name == "exec-env" || strings.HasPrefix(r.Name, "stat-")) {
			t.Errorf("%s: tried %v", r.Name, tried)
		}
	}
	for _, pattern := range []string{"nosuch-*", "exec-[", ""} {
		results, err := check(t, t.Context(), backendtest.NewFake(), backendtest.Opts{Only: []string{"exec-env", pattern}})
		var e *backend.Error
		if !errors.As(err, &e) || !errors.Is(err, backend.ErrInvalid) || e.Path != pattern || e.Hint == "" || len(results) > 0 {
			t.Errorf("%q: %v after %d results", pattern, err, len(results))
		}
	}
}

// TestPanics: a panic of the backend breaks the rule, also one in a goroutine of
// the rule's, and no other.
func TestPanics(t *testing.T) {
	t.Parallel()
	fake := backendtest.NewFake()
	b := &brokenBackend{Backend: fake, sandbox: brokenSandbox{
		stat: func(s backend.Sandbox, ctx context.Context, req *backend.StatRequest) (*backend.FileInfo, error) {
			if strings.HasPrefix(req.Path, "stat-file") {
				panic("no such luck")
			}
			return s.Stat(ctx, req)
		},
		exec: func(s backend.Sandbox, ctx context.Context, req *backend.ExecRequest) (*backend.ExecResult, error) {
			if strings.Contains(req.Shell, `echo "$W" >&2`) {
				panic("in a goroutine")
			}
			return s.Exec(ctx, req)
		},
	}}
	results, err := check(t, t.Context(), b, backendtest.Opts{Only: []string{"stat-*", "exec-*"}})
	if err != nil {
		t.Fatal(err)
	}
	for rule, want := range map[string]string{"stat-file": "stat: panic: no such luck, at ", "exec-many-at-once": "exec: panic: in a goroutine, at "} {
		r, tried := results[rule]
		delete(results, rule)
		if !tried || r.Status != backendtest.Fail || !strings.Contains(r.Reason, want) || !strings.Contains(r.Reason, "check_test.go:") {
			t.Errorf("%s: %+v", rule, r)
		}
	}
	wantFail(t, results, "")
	left(t, fake)
}

// TestHangs: a call that hangs, deaf to its context, breaks the rule; the others
// are tried, in a new sandbox.
func TestHangs(t *testing.T) {
	t.Parallel()
	fake := backendtest.NewFake()
	forever := make(chan struct{})
	defer close(forever)
	b := &brokenBackend{Backend: fake, sandbox: brokenSandbox{
		mkdir: func(s backend.Sandbox, ctx context.Context, req *backend.MkdirRequest) error {
			if req.Path == "stat-file" {
				<-forever
			}
			return s.Mkdir(ctx, req)
		},
		write: func(s backend.Sandbox, ctx context.Context, req *backend.WriteFileRequest) (*backend.WriteFileReply, error) {
			if strings.HasPrefix(req.Path, "stat-file/") {
				<-forever
			}
			return s.WriteFile(ctx, req)
		},
	}}
	results, err := check(t, t.Context(), b, backendtest.Opts{Only: []string{"stat-*"}, Timeout: 15 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	wantFail(t, results, "stat-file", "it did not end within 15s, nor after its context had")
	if len(results) < 5 {
		t.Errorf("%d results", len(results))
	}
	left(t, fake)
}

// TestHangsAlways: a backend that hangs in every call is given up.
func TestHangsAlways(t *testing.T) {
	t.Parallel()
	b := &brokenBackend{Backend: backendtest.NewFake()}
	var tried atomic.Int32
	b.create = func(_ backend.Backend, ctx context.Context, _ *backend.CreateRequest) (backend.Sandbox, error) {
		tried.Add(1)
		<-ctx.Done()
		return nil, &backend.Error{Kind: ctx.Err(), Op: "create"}
	}
	results, err := check(t, t.Context(), b, backendtest.Opts{Only: []string{"stat-*", "read-*", "write-*", "edit-*"}, Timeout: 3 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	untried, applied := 0, 0
	for name, r := range results {
		if r.Status == backendtest.Skip {
			continue
		}
		applied++
		if r.Status != backendtest.Fail {
			t.Errorf("%s: %+v", name, r)
		}
		if strings.HasPrefix(r.Reason, "it was not tried: 10 rules before it hung") {
			untried++
		}
	}
	if untried != applied-10 || untried == 0 || tried.Load() < 10 {
		t.Errorf("%d of %d were not tried, %d sandboxes were", untried, applied, tried.Load())
	}
}

// TestDescribeHangs: what does not say what it is cannot be tested.
func TestDescribeHangs(t *testing.T) {
	t.Parallel()
	forever := make(chan struct{})
	defer close(forever)
	results, err := check(t, t.Context(), mute{backendtest.NewFake(), forever}, backendtest.Opts{Timeout: 400 * time.Millisecond})
	if !errors.Is(err, backend.ErrUnavailable) || len(results) > 0 {
		t.Errorf("%v after %d results", err, len(results))
	}
}

type mute struct {
	backend.Backend
	forever chan struct{}
}

func (m mute) Describe(context.Context) (*backend.Description, error) {
	<-m.forever
	return nil, errors.New("too late")
}

// TestFalseCapability: what is declared and does not work is a finding, and so is
// what works and is not declared.
func TestFalseCapability(t *testing.T) {
	t.Parallel()
	for name, caps := range map[string][]backend.Capability{
		"declared":   {backend.CapBind, backend.CapDial, backend.CapKeepWorkspace, backend.CapNetworkFull, backend.CapProcesses, backend.CapTTY},
		"undeclared": {},
	} {
		fake := backendtest.NewFake()
		results, err := check(t, t.Context(), claims{fake, caps}, backendtest.Opts{Only: []string{"capability-*", "workspace-*"}})
		if err != nil {
			t.Fatal(err)
		}
		r := results["capability-undeclared"]
		if broken := r.Status == backendtest.Fail; broken != (name == "undeclared") {
			t.Errorf("%s: %+v", name, r)
		}
		if kept := results["workspace-kept"]; (kept.Status == backendtest.Skip) != (name == "undeclared") {
			t.Errorf("%s: %+v", name, kept)
		}
		left(t, fake)
	}
	// Whatever a rule makes of it: the call itself is what betrays.
	b := &brokenBackend{Backend: backendtest.NewFake(), sandbox: brokenSandbox{
		list: func(backend.Sandbox, context.Context, *backend.ListDirRequest) (*backend.ListDirReply, error) {
			return nil, &backend.Error{Kind: backend.ErrUnsupported, Op: "list"}
		},
	}}
	results, err := check(t, t.Context(), b, backendtest.Opts{Only: []string{"list-refused"}})
	if err != nil {
		t.Fatal(err)
	}
	wantFail(t, results, "list-refused", "list is not supported, and no capability makes that right")
}

// claims is a backend with false capabilities.
type claims struct {
	backend.Backend
	caps []backend.Capability
}

func (c claims) Describe(ctx context.Context) (*backend.Description, error) {
	d, err := c.Backend.Describe(ctx)
	if err == nil {
		d.Capabilities = c.caps
	}
	return d, err
}

// TestCancelled: the end of the context ends the rule that runs, reports none that
// it broke, and leaves nothing behind.
func TestCancelled(t *testing.T) {
	t.Parallel()
	fake := backendtest.NewFake()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	b := &brokenBackend{Backend: fake, sandbox: brokenSandbox{
		read: func(s backend.Sandbox, c context.Context, req *backend.ReadFileRequest) (*backend.File, error) {
			cancel()
			return s.ReadFile(c, req)
		},
	}}
	results, err := check(t, ctx, b, backendtest.Opts{Only: []string{"stat-*", "read-*", "write-*"}})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	wantFail(t, results, "")
	for name := range results {
		if strings.HasPrefix(name, "write-") || name == "nothing-left" {
			t.Errorf("%s was reported", name)
		}
	}
	if len(results) == 0 {
		t.Error("nothing was reported of the rules before")
	}
	left(t, fake)
}
