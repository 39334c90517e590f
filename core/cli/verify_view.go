package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/deep-sandbox/deep/core/backend/backendtest"
)

// ruleResult is what `deep plugin verify --json` prints of a rule.
type ruleResult struct {
	Rule string `json:"rule"`
	// Result is pass, fail or skip.
	Result string `json:"result"`
	// Reason it failed, a line for each problem, or was skipped.
	Reason     string `json:"reason"`
	Sentence   string `json:"sentence"`
	DurationMS int64  `json:"duration_ms"`
}

// listedRule is what `deep plugin verify --list --json` prints of a rule.
type listedRule struct {
	Rule     string `json:"rule"`
	Sentence string `json:"sentence"`
}

// listRules prints the rules and what they stand for.
func listRules(out io.Writer, rules []backendtest.Rule, asJSON bool) error {
	list := make([]listedRule, 0, len(rules))
	for _, r := range rules {
		list = append(list, listedRule{r.Name, r.Sentence})
	}
	if asJSON {
		return printJSON(out, list)
	}
	paint := palette(colourful(out))
	var b strings.Builder
	for _, r := range list {
		fmt.Fprintf(&b, "%s\n", paint.bold(r.Rule))
		for _, line := range wrap(r.Sentence, 76) {
			fmt.Fprintf(&b, "    %s\n", line)
		}
	}
	_, err := fmt.Fprint(out, b.String())
	return err
}

// A verification shows what comes of the rules: findings as they are made, how far
// it is on a terminal, and a summary at the end.
type verification struct {
	app    *app
	rules  []backendtest.Rule
	asJSON bool

	results []backendtest.Result
	failed  int
}

func newVerification(a *app, rules []backendtest.Rule, asJSON bool) *verification {
	v := &verification{app: a, rules: rules, asJSON: asJSON}
	v.progress()
	return v
}

// report takes one result. It is the callback of backendtest.Check.
func (v *verification) report(r backendtest.Result) {
	v.results = append(v.results, r)
	if r.Status == backendtest.Fail {
		v.failed++
		if !v.asJSON {
			v.app.console.status("")
			v.finding(r)
		}
	}
	v.progress()
}

// progress shows how many rules were tried, and which one is.
func (v *verification) progress() {
	n := len(v.results)
	if n >= len(v.rules) {
		v.app.console.status("")
		return
	}
	broken := ""
	if v.failed > 0 {
		broken = fmt.Sprintf(", %d broken", v.failed)
	}
	v.app.console.status(fmt.Sprintf("%d of %s%s: %s …", n, count(len(v.rules), "rule"), broken, v.rules[n].Name))
}

// finding prints a rule that is broken.
func (v *verification) finding(r backendtest.Result) {
	paint := palette(colourful(v.app.Out))
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s\n", paint.red("✗"), paint.bold(r.Rule.Name))
	for _, line := range wrap(r.Rule.Sentence, 76) {
		fmt.Fprintf(&b, "    %s\n", line)
	}
	for line := range strings.SplitSeq(r.Reason, "\n") {
		fmt.Fprintf(&b, "  | %s\n", escapeLine(line))
	}
	_, _ = fmt.Fprint(v.app.Out, b.String()) // the summary's error tells
}

// end prints the summary, or everything as JSON. The error is the exit code.
func (v *verification) end() error {
	v.app.console.status("")
	var err error
	if v.asJSON {
		err = printJSON(v.app.Out, v.json())
	} else {
		_, err = fmt.Fprint(v.app.Out, v.summary())
	}
	if err == nil && v.failed > 0 {
		return &exitError{code: exitFailed}
	}
	return err
}

func (v *verification) json() []ruleResult {
	list := make([]ruleResult, 0, len(v.results))
	for _, r := range v.results {
		list = append(list, ruleResult{
			Rule: r.Rule.Name, Result: string(r.Status), Reason: r.Reason, Sentence: r.Rule.Sentence, DurationMS: r.Duration.Milliseconds(),
		})
	}
	return list
}

// summary counts what came of the rules, and says why some were skipped.
func (v *verification) summary() string {
	var reasons []string // in the order they came up
	skipped := map[string]int{}
	skips := 0
	for _, r := range v.results {
		if r.Status == backendtest.Skip {
			skips++
			if !slices.Contains(reasons, r.Reason) {
				reasons = append(reasons, r.Reason)
			}
			skipped[r.Reason]++
		}
	}
	tried := count(len(v.results), "rule")
	if n := len(v.rules); len(v.results) < n {
		tried = fmt.Sprintf("%d of %s", len(v.results), count(n, "rule"))
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %d pass, %d fail, %d skipped", tried, len(v.results)-v.failed-skips, v.failed, skips)
	if skips > 0 {
		b.WriteString(":")
	}
	b.WriteString("\n")
	for _, reason := range reasons {
		fmt.Fprintf(&b, "  %d: %s\n", skipped[reason], escapeLine(reason))
	}
	return b.String()
}
