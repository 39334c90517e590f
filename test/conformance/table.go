package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/deep-sandbox/deep/core/backend/backendtest"
)

var marks = map[backendtest.Status]string{backendtest.Pass: "✓", backendtest.Fail: "✗", backendtest.Skip: "-"}

// table is rules by backends, and below it why some are skipped or broken. It
// reports whether none is broken.
func table(rules []backendtest.Rule, columns []*column) (ok bool, text string) {
	var b, broken strings.Builder
	width := len("rule")
	for _, r := range rules {
		width = max(width, len(r.Name))
	}
	line := func(first string, cell func(c *column) string) {
		text := fmt.Sprintf("%-*s", width, first)
		for _, c := range columns {
			text += fmt.Sprintf("  %-*s", len(c.name), cell(c))
		}
		b.WriteString(strings.TrimRight(text, " ") + "\n")
	}
	line("rule", func(c *column) string { return c.name })
	// Skips are few reasons for many rules; each failure has its own.
	skipped := map[string][]string{}
	for _, rule := range rules {
		line(rule.Name, func(c *column) string { return marks[c.results[rule.Name].Result] })
		told := false
		for _, c := range columns {
			switch r := c.results[rule.Name]; r.Result {
			case backendtest.Skip:
				reason := c.name + ": " + r.Reason
				skipped[reason] = append(skipped[reason], rule.Name)
			case backendtest.Fail:
				if !told {
					fmt.Fprintf(&broken, "\n✗ %s: %s\n", rule.Name, rule.Sentence)
					told = true
				}
				fmt.Fprintf(&broken, "  %s:\n", c.name)
				for problem := range strings.SplitSeq(r.Reason, "\n") {
					fmt.Fprintf(&broken, "    %s\n", problem)
				}
			}
		}
	}
	line("", func(*column) string { return "" })
	for _, status := range []backendtest.Status{backendtest.Pass, backendtest.Fail, backendtest.Skip} {
		line(string(status), func(c *column) string { return fmt.Sprint(c.counts()[status]) })
	}
	b.WriteString(broken.String())
	for _, reason := range slices.Sorted(maps.Keys(skipped)) {
		fmt.Fprintf(&b, "\n- %s\n  %s\n", reason, strings.Join(skipped[reason], ", "))
	}
	b.WriteByte('\n')
	return broken.Len() == 0, b.String()
}

// slowest names the n rules that took longest.
func (c *column) slowest(n int) string {
	all := slices.SortedFunc(maps.Values(c.results), func(a, b result) int { return int(b.took - a.took) })
	var names []string
	for _, r := range all[:min(n, len(all))] {
		names = append(names, fmt.Sprintf("%s %s", r.Rule, r.took.Round(10*time.Millisecond)))
	}
	return strings.Join(names, ", ")
}
