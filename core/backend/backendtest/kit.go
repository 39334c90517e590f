package backendtest

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/deep-sandbox/deep/core/backend"
)

// DefaultTimeout is how long one rule may take. It is there for a backend that
// hangs, not to measure one.
const DefaultTimeout = 2 * time.Minute

// Opts say how to test a backend.
type Opts struct {
	// Spec is what the sandboxes are made by; its Image, for example.
	Spec backend.Spec
	// Shell says that sandboxes made so have /bin/sh and the usual commands.
	// Rules that run commands are skipped without.
	Shell bool
	// Bare, if set, is an image of nothing but one static program, /bin/bare, and no
	// settings. Trap, if set, is one with a shell and settings that no sandbox takes
	// over. test/engines/images says how they are made. Rules about them are skipped
	// without.
	Bare, Trap string
	// Another, if set, gives a further backend on the same engine, as another
	// process of deep has it: Shutdown of it ends its connections and nothing else.
	// Rules about a lost connection are skipped without.
	Another func(ctx context.Context) (backend.Backend, error)
	// Only are patterns, as path.Match has them, of the names of the rules to try;
	// all if empty. One that no rule matches is an error.
	Only []string
	// Timeout of a rule, DefaultTimeout if 0. One that takes longer is broken, and
	// the others go on; see Check for a backend that hangs again and again.
	Timeout time.Duration
}

// Rule is one thing every backend does alike.
type Rule struct {
	// Name of the rule, as of a test.
	Name string
	// Sentence of the contract it enforces.
	Sentence string
	// Shell: it needs Opts.Shell.
	Shell bool
	// Another: it needs Opts.Another.
	Another bool
	// Bare and Trap: it needs the image.
	Bare, Trap bool
	// Needs a capability, if not empty.
	Needs backend.Capability

	run func(*T)
}

// Rules returns all rules, in the order they are tried.
func Rules() []Rule {
	var all []Rule
	for _, part := range [][]Rule{
		backendRules, capabilityRules, lifecycleRules, isolationRules, endRules, imageRules, bareRules, execRules, stopRules, killRules, backgroundRules, outputRules, ttyRules, processRules, dialRules, statRules, readRules, writeRules, editRules, listRules,
		globRules, grepRules, treeRules, nameRules, conditionRules, batchRules, ignoredRules, pathRules, procRules, specialRules, putArchiveRules, getArchiveRules, hostileRules,
	} {
		all = append(all, part...)
	}
	return append(all, closing)
}

// Select returns the rules that patterns name, as in Opts.Only, in the order they
// are tried.
func Select(patterns []string) ([]Rule, error) {
	all := Rules()
	if len(patterns) == 0 {
		return all, nil
	}
	var wanted []Rule
	used := make([]bool, len(patterns))
	for _, rule := range all {
		take := false
		for i, pattern := range patterns {
			matches, err := path.Match(pattern, rule.Name)
			if err != nil {
				return nil, noRule(pattern, "a malformed pattern", `write it as in 'exec-*' or 'read-[a-m]*'`)
			}
			used[i] = used[i] || matches
			take = take || matches
		}
		if take {
			wanted = append(wanted, rule)
		}
	}
	if i := slices.Index(used, false); i >= 0 {
		return nil, noRule(patterns[i], "no rule has such a name", "the names are "+all[0].Name+", "+all[1].Name+", …; '*' is all of them")
	}
	return wanted, nil
}

func noRule(pattern, message, hint string) error {
	return &backend.Error{Kind: backend.ErrInvalid, Op: "select rules", Path: pattern, Message: message, Hint: hint}
}

// skip returns why a rule does not apply, "" if it does. There is no other skip: a
// rule that applies and does nothing is not possible.
func (r Rule) skip(caps []backend.Capability, opts Opts) string {
	switch {
	case r.Shell && !opts.Shell:
		return "the sandboxes have no shell"
	case r.Another && opts.Another == nil:
		return "there is no second way to the backend"
	case r.Needs != "" && !slices.Contains(caps, r.Needs):
		return fmt.Sprintf("the backend does not declare the capability %s", r.Needs)
	case r.Bare && opts.Bare == "":
		return "there is no image of one program to try"
	case r.Trap && opts.Trap == "":
		return "there is no image with settings that are not taken over to try"
	}
	return ""
}

// Status is what came of a rule.
type Status string

// What may come of a rule.
const (
	Pass Status = "pass"
	Fail Status = "fail"
	// Skip: it does not apply, for want of a capability, a shell or an image.
	Skip Status = "skip"
)

// Result is what came of one rule.
type Result struct {
	Rule   Rule
	Status Status
	// Reason it failed, a line for each problem, or was skipped; "" if it passed.
	Reason   string
	Duration time.Duration
}

// Err returns the finding, nil if there is none.
func (r Result) Err() error {
	if r.Status != Fail {
		return nil
	}
	return &Finding{Rule: r.Rule, Problems: strings.Split(r.Reason, "\n")}
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

// Check tries the rules on b, one after the other, and reports what came of each
// as it is known. What it made is gone when it returns, or the last rule is
// broken. Its error says why there are rules of which nothing is known: a pattern
// that names none, a backend that does not describe itself, the end of ctx.
//
// A panic, in a rule or in a call of b, breaks the rule and no more. So does a
// call that hangs, but a backend is not waited for without end: after 3 rules that
// hung the others get a sixth of the time, and after 10 they are broken untried.
func Check(ctx context.Context, b backend.Backend, opts Opts, report func(Result)) error {
	s, err := start(ctx, b, opts)
	if err != nil {
		return err
	}
	for _, rule := range s.rules {
		if rule.Name == closing.Name {
			continue
		}
		r := s.try(ctx, rule)
		if ctx.Err() != nil {
			break // what it found, it may have found because of that
		}
		report(r)
	}
	if r := s.finish(ctx); r.Status == Fail || s.closes() && ctx.Err() == nil {
		report(r)
	}
	return ctx.Err()
}

// Test tries the rules as Check does and returns all findings, joined.
func Test(ctx context.Context, b backend.Backend, opts Opts) error {
	var findings []error
	err := Check(ctx, b, opts, func(r Result) { findings = append(findings, r.Err()) })
	return errors.Join(append(findings, err)...)
}

// Run makes a subtest of each rule, on the backend that factory makes.
func Run(t *testing.T, factory func(t *testing.T) (backend.Backend, Opts)) {
	t.Helper()
	b, opts := factory(t)
	s, err := start(t.Context(), b, opts)
	if err != nil {
		t.Fatal(err)
	}
	for _, rule := range s.rules {
		if rule.Name == closing.Name {
			continue
		}
		t.Run(rule.Name, func(t *testing.T) { subtest(t, s.try(t.Context(), rule)) })
	}
	// Not in a subtest, which -run may leave out.
	last := s.finish(t.Context())
	if err := last.Err(); err != nil {
		t.Error(err)
	}
}

func subtest(t *testing.T, r Result) {
	t.Helper()
	if r.Status == Skip {
		t.Skip(r.Reason)
	}
	if err := r.Err(); err != nil {
		t.Error(err)
	}
}
