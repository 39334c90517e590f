package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// status of an attack on a target.
type status string

const (
	held          status = "held"
	vacuous       status = "vacuous"
	notApplicable status = "not applicable"
	failed        status = "failed"
)

// result is what came of an attack on a target.
type result struct {
	status status
	// reason of every status but held.
	reason string
	// without says why there was no control, "" if there was one.
	without string
	took    time.Duration
}

func (r result) mark() string {
	switch r.status {
	case held:
		if r.without != "" {
			return "○"
		}
		return "✓"
	case vacuous:
		return "VACUOUS"
	case notApplicable:
		return "-"
	case failed:
		return "FAILED"
	}
	return "?"
}

type cell struct{ attack, target string }

// results of all attacks.
type results struct {
	attacks []attack
	targets []string

	mu    sync.Mutex
	cells map[cell]result
}

func (r *results) set(a *attack, target string, res result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cells[cell{a.name, target}] = res
}

func (r *results) get(a *attack, target string) result {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.cells[cell{a.name, target}]
}

// table is attacks by targets, and below it what is wrong and what was not tried.
// It reports whether nothing is wrong.
func (r *results) table() (ok bool, text string) {
	var b, wrong strings.Builder
	width := 0
	for _, a := range r.attacks {
		width = max(width, len(a.name))
	}
	line := func(first string, cell func(target string) string) {
		text := fmt.Sprintf("  %-*s", width, first)
		for _, name := range r.targets {
			text += fmt.Sprintf("  %-7s", cell(name))
		}
		b.WriteString(strings.TrimRight(text, " ") + "\n")
	}
	family, counts, cases, uncontrolled := "", map[status]int{}, 0, 0
	skipped := map[string][]string{}
	for i := range r.attacks {
		a := &r.attacks[i]
		if a.family != family {
			family = a.family
			fmt.Fprintf(&b, "%s\n", family)
		}
		line(a.name, func(target string) string {
			if !a.on(target) {
				return ""
			}
			return r.get(a, target).mark()
		})
		for _, name := range r.targets {
			if !a.on(name) {
				continue
			}
			cases++
			res := r.get(a, name)
			counts[res.status]++
			switch {
			case res.status == notApplicable:
				skipped["- "+name+": "+res.reason] = append(skipped["- "+name+": "+res.reason], a.name)
			case res.status != held:
				fmt.Fprintf(&wrong, "%s %s on %s: %s\n", strings.ToUpper(string(res.status)), a.name, name, res.reason)
			case res.without != "":
				uncontrolled++
				skipped["○ "+res.without] = append(skipped["○ "+res.without], a.name)
			}
		}
	}
	b.WriteString("\n" + wrong.String())
	for _, reason := range slices.Sorted(maps.Keys(skipped)) {
		fmt.Fprintf(&b, "%s\n    %s\n", reason, strings.Join(slices.Compact(skipped[reason]), ", "))
	}
	fmt.Fprintf(&b, "\n✓ held, and succeeded with the defence open   ○ held, and no control can be   - not applicable\n")
	fmt.Fprintf(&b, "%d attacks on %s: %d held (%d of them without a control), %d vacuous, %d not applicable, %d failed; slowest: %s\n",
		len(r.attacks), strings.Join(r.targets, ", "), counts[held], uncontrolled, counts[vacuous], counts[notApplicable], counts[failed], r.slowest(5))
	return counts[held]+counts[notApplicable] == cases, b.String()
}

// slowest names the n cells that took longest.
func (r *results) slowest(n int) string {
	all := slices.SortedFunc(maps.Keys(r.cells), func(x, y cell) int { return int(r.cells[y].took - r.cells[x].took) })
	var names []string
	for _, c := range all[:min(n, len(all))] {
		names = append(names, fmt.Sprintf("%s on %s %s", c.attack, c.target, r.cells[c].took.Round(100*time.Millisecond)))
	}
	return strings.Join(names, ", ")
}
