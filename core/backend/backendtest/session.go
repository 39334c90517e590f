package backendtest

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/deep-sandbox/deep/core/backend"
)

const (
	// finishTimeout bounds the removal of what the rules made.
	finishTimeout = 2 * time.Minute
	// hurryAfter so many rules that hung the others get a part of the time, and
	// after giveUpAfter none: 230 rules of two minutes would be a working day.
	hurryAfter  = 3
	hurryPart   = 6
	giveUpAfter = 10
	// maxProblems of one rule are told: 200 commands that fail alike say it once.
	maxProblems = 12
)

// closing is the rule that finish tries, after all others.
var closing = Rule{
	Name:     "nothing-left",
	Sentence: "Destroy removes everything: at the end the backend lists no sandbox that was made.",
}

// A session tries rules on one backend.
type session struct {
	b     backend.Backend
	opts  Opts
	caps  []backend.Capability
	rules []Rule
	pool  *pool
	// hung counts the rules that took longer than they may.
	hung int
}

// start asks the backend what it is.
func start(ctx context.Context, b backend.Backend, opts Opts) (*session, error) {
	rules, err := Select(opts.Only)
	if err != nil {
		return nil, err
	}
	if opts.Timeout == 0 {
		opts.Timeout = DefaultTimeout
	}
	s := &session{b: b, opts: opts, rules: rules, pool: &pool{}}
	ctx, cancel := context.WithTimeout(ctx, opts.Timeout)
	defer cancel()
	t := s.newT(ctx, Rule{})
	var d *backend.Description
	ended := s.do(ctx, opts.Timeout/4, t, func(t *T) { d, err = t.kit.b.Describe(ctx) })
	switch {
	case !ended:
		return nil, &backend.Error{Kind: backend.ErrUnavailable, Op: "describe", Message: fmt.Sprintf("no answer within %v", opts.Timeout)}
	case len(t.problems) > 0:
		return nil, &backend.Error{Kind: backend.ErrUnavailable, Op: "describe", Message: t.problems[0]}
	case err != nil:
		return nil, fmt.Errorf("describe: %w", err)
	}
	s.caps = d.Capabilities
	return s, nil
}

// newT makes what a rule works with.
func (s *session) newT(ctx context.Context, rule Rule) *T {
	t := &T{ctx: ctx, rule: rule}
	opts := s.opts
	if opts.Another != nil {
		opts.Another = func(ctx context.Context) (backend.Backend, error) {
			b, err := s.opts.Another(ctx)
			if err != nil {
				return nil, err
			}
			return &watchedBackend{b, t}, nil
		}
	}
	t.kit = &kit{b: &watchedBackend{s.b, t}, opts: opts, caps: s.caps, pool: s.pool}
	return t
}

// closes reports whether the closing rule was asked for.
func (s *session) closes() bool {
	return len(s.rules) > 0 && s.rules[len(s.rules)-1].Name == closing.Name
}

// try tries one rule.
func (s *session) try(ctx context.Context, rule Rule) Result {
	if why := rule.skip(s.caps, s.opts); why != "" {
		return Result{Rule: rule, Status: Skip, Reason: why}
	}
	if s.hung >= giveUpAfter {
		return Result{Rule: rule, Status: Fail, Reason: fmt.Sprintf("it was not tried: %d rules before it hung", s.hung)}
	}
	timeout := s.opts.Timeout
	if s.hung >= hurryAfter {
		timeout /= hurryPart
	}
	started := time.Now()
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	t := s.newT(ctx, rule)
	ended := s.do(ctx, timeout/4, t, rule.run)
	if late := errors.Is(ctx.Err(), context.DeadlineExceeded); late || !ended {
		s.hung++
		s.pool.share(nil) // it may be the sandbox that hangs
		text := fmt.Sprintf("it did not end within %v", timeout)
		if !ended {
			text += ", nor after its context had"
		}
		t.Errorf("%s", text)
	}
	return t.result(time.Since(started))
}

// do runs a rule and cleans up behind it. It reports false if that has not ended
// grace after ctx has; what still runs is left alone.
func (s *session) do(ctx context.Context, grace time.Duration, t *T, run func(*T)) bool {
	done := make(chan struct{})
	go func() {
		defer close(done)
		t.guard(func() { run(t) })
		t.mu.Lock()
		cleanups := t.cleanups
		t.mu.Unlock()
		for i := len(cleanups) - 1; i >= 0; i-- {
			t.guard(cleanups[i])
		}
	}()
	select {
	case <-done:
		return true
	case <-ctx.Done():
	}
	select {
	case <-done:
		return true
	case <-time.After(grace):
		return false
	}
}

// guard runs fn; a panic is a problem.
func (t *T) guard(fn func()) {
	defer func() {
		p := recover()
		if _, stopped := p.(stopRule); p != nil && !stopped {
			t.Errorf("panic: %v, at %s", p, origin(debug.Stack()))
		}
	}()
	fn()
}

// origin is the line of the source that a panic came from, of its stack.
func origin(stack []byte) string {
	_, after, _ := strings.Cut(string(stack), "\npanic(")
	lines := strings.Split(after, "\n")
	// The rest of that call, its place, the function, and where it was.
	if len(lines) < 4 {
		return "an unknown place"
	}
	at, _, _ := strings.Cut(strings.TrimSpace(lines[3]), " ")
	return at
}

// result sums up.
func (t *T) result(took time.Duration) Result {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := Result{Rule: t.rule, Status: Pass, Duration: took}
	problems := slices.Clone(t.problems)
	if more := len(problems) - maxProblems; more > 0 {
		problems = append(problems[:maxProblems], fmt.Sprintf("and %d more", more))
	}
	if len(problems) > 0 {
		r.Status, r.Reason = Fail, strings.Join(problems, "\n")
	}
	return r
}

// finish removes what the rules made, also when ctx has ended, and looks whether
// it is gone.
func (s *session) finish(ctx context.Context) Result {
	started := time.Now()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishTimeout)
	defer cancel()
	t := s.newT(ctx, closing)
	if !s.do(ctx, s.opts.Timeout/4, t, s.pool.empty) {
		t.Errorf("what was made could not be removed within %v", finishTimeout)
	}
	return t.result(time.Since(started))
}

// pool holds what the rules share: one sandbox, in which each has a directory of
// its own.
type pool struct {
	mu     sync.Mutex
	shared backend.Sandbox
	// small is one more, of little memory.
	small backend.Sandbox
	// handles are all there were of both.
	handles []backend.Sandbox
	ids     []string // of all sandboxes made
}

func (p *pool) track(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !slices.Contains(p.ids, id) { // 50 creates of one id are destroyed once
		p.ids = append(p.ids, id)
	}
}

func (p *pool) get() backend.Sandbox {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.shared
}

// share makes sb the shared sandbox; nil makes the next rule create one.
func (p *pool) share(sb backend.Sandbox) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.shared = sb
	if sb != nil {
		p.handles = append(p.handles, sb)
	}
}

// empty destroys all sandboxes there were.
func (p *pool) empty(t *T) {
	p.mu.Lock()
	handles, ids := p.handles, p.ids
	p.mu.Unlock()
	note := func(what string, err error) {
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	for _, sb := range handles {
		note("close the shared sandbox", (&watchedSandbox{sb, t}).Close())
	}
	mine := map[string]bool{}
	for _, id := range ids {
		mine[id] = true
		note("destroy "+id, t.kit.b.Destroy(t.ctx, &backend.DestroyRequest{ID: id}))
	}
	r, err := t.kit.b.List(t.ctx, &backend.ListRequest{})
	t.must("list", err)
	for _, s := range r.Sandboxes {
		if mine[s.ID] {
			t.Errorf("sandbox %s is still there after it was destroyed", s.ID)
		}
	}
}
