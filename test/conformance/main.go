// Command conformance holds all backends to the rules of core/backend/backendtest,
// prints a table of rules and backends and writes conformance.json.
//
// A backend that cannot be had is a failure, or, where DEEP_TEST_REQUIRE is set
// and does not name it, a skip.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/deep-sandbox/deep/core/backend/backendtest"
	"github.com/deep-sandbox/deep/test/contract"
	"github.com/deep-sandbox/deep/test/require"
)

// atOnce is how many backends are tested at a time: the rules wait for most of
// their time, so that two cores carry more than two.
const atOnce = 2

func main() {
	contract.ServeFake()
	bin := flag.String("bin", "bin", "`directory` that make build filled")
	out := flag.String("o", "conformance.json", "`file` to write")
	only := flag.String("backends", strings.Join(contract.Names, ","), "which, separated by `commas`")
	var rules []string
	flag.Func("rule", "try the rules whose names match this `glob`; may be repeated", func(s string) error {
		rules = append(rules, s)
		return nil
	})
	worker := flag.String("worker", "", "test one backend as a part of another process, with its state in this `directory`")
	flag.Parse()
	if *worker != "" {
		if err := work(*only, *bin, *worker, rules); err != nil {
			fmt.Fprintln(os.Stderr, "conformance:", err)
			os.Exit(1)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ok, err := conformance(ctx, *bin, *out, strings.Split(*only, ","), rules)
	if err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
	}
	if !ok || err != nil {
		stop()
		os.Exit(1)
	}
}

// conformance reports whether every rule was kept.
func conformance(ctx context.Context, bin, out string, names, patterns []string) (bool, error) {
	for _, name := range names {
		if !slices.Contains(contract.Names, name) {
			return false, fmt.Errorf("there is no backend %q, only %s", name, strings.Join(contract.Names, ", "))
		}
	}
	rules, err := backendtest.Select(patterns)
	if err != nil {
		return false, err
	}
	bin, err = filepath.Abs(bin)
	if err != nil {
		return false, err
	}
	dir, err := os.MkdirTemp("", "deep-conformance-")
	if err != nil {
		return false, err
	}
	defer func() { _ = os.RemoveAll(dir) }()

	started := time.Now()
	columns := make([]*column, len(names))
	gate := make(chan struct{}, atOnce)
	var wg sync.WaitGroup
	for i, name := range slices.Backward(names) { // those with an engine, the slowest, first
		c := &column{name: name, rules: rules, results: map[string]result{}}
		columns[i] = c
		gate <- struct{}{}
		wg.Go(func() {
			defer func() { <-gate }()
			c.run(ctx, bin, dir, patterns)
		})
	}
	wg.Wait()
	if ctx.Err() != nil {
		return false, errors.New("interrupted")
	}
	ok, text := table(rules, columns)
	fmt.Print(text)
	fmt.Printf("%d rules on %d backends in %s\n", len(rules), len(columns), time.Since(started).Round(100*time.Millisecond))
	return ok, write(out, rules, columns)
}

// result is what came of one rule on one backend, as in conformance.json.
type result struct {
	Rule    string             `json:"rule"`
	Backend string             `json:"backend"`
	Result  backendtest.Status `json:"result"`
	Reason  string             `json:"reason"`

	took time.Duration
}

// A column is what came of all rules on one backend.
type column struct {
	name    string
	rules   []backendtest.Rule
	results map[string]result
}

func (c *column) set(rule string, status backendtest.Status, reason string, took time.Duration) {
	c.results[rule] = result{rule, c.name, status, reason, took}
}

// run tries all rules. What kept it from trying some is the result of those.
func (c *column) run(ctx context.Context, bin, dir string, patterns []string) {
	started := time.Now()
	err := c.check(ctx, bin, dir, patterns)
	if ctx.Err() != nil {
		return
	}
	if status, reason := verdict(c.name, err); err != nil {
		for _, rule := range c.rules {
			if c.results[rule.Name].Result == "" {
				c.set(rule.Name, status, reason, 0)
			}
		}
	}
	n := c.counts()
	fmt.Fprintf(os.Stderr, "conformance: %s: %d pass, %d fail, %d skip in %s; slowest: %s\n", c.name, n[backendtest.Pass], n[backendtest.Fail], n[backendtest.Skip],
		time.Since(started).Round(100*time.Millisecond), c.slowest(5))
}

// missing is the error of a backend that cannot be had here.
type missing struct{ error }

// verdict is what a backend that could not be tested comes to.
func verdict(name string, err error) (backendtest.Status, string) {
	var m missing
	switch {
	case err == nil:
		return backendtest.Pass, ""
	case errors.As(err, &m) && os.Getenv("DEEP_TEST_REQUIRE") != "" && !require.Required(name):
		return backendtest.Skip, "it is not required, and not here: " + err.Error()
	}
	return backendtest.Fail, "it could not be tested: " + err.Error()
}

func (c *column) check(ctx context.Context, bin, dir string, patterns []string) error {
	if err := contract.Missing(ctx, c.name); err != nil {
		return missing{err}
	}
	return delegate(ctx, c.name, bin, dir, patterns, func(m message) { c.set(m.Rule, m.Status, m.Reason, m.Took) })
}

func (c *column) counts() map[backendtest.Status]int {
	n := map[backendtest.Status]int{}
	for _, r := range c.results {
		n[r.Result]++
	}
	return n
}

// write writes all results, by rule and then by backend.
func write(path string, rules []backendtest.Rule, columns []*column) error {
	all := []result{}
	for _, rule := range rules {
		for _, c := range columns {
			all = append(all, c.results[rule.Name])
		}
	}
	data, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(data, '\n'), 0o644)
}
