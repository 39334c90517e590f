package replay

import (
	"fmt"
	"strings"
	"unicode"
)

// The bounds of a diff. It travels in an error message, which clients cut at some kilobytes.
const (
	maxDiffLines   = 400  // of either side that are compared; the work is their product
	maxLineRunes   = 300  // of a line that are shown
	maxDiffBytes   = 6000 // in all
	contextLines   = 3
	noFinalNewline = "\\ no newline at the end"
)

// Diff gives Wanted and Got as a unified diff, bounded and fit for a terminal.
func (e *MismatchError) Diff() string {
	var b strings.Builder
	fmt.Fprintf(&b, "--- %s, step %d (wanted)\n+++ this run (got)\n@@ %s @@\n", e.Recording, e.Step, e.What)
	header := b.Len()
	wanted, got := splitLines(e.Wanted), splitLines(e.Got)
	if len(wanted) > 0 && len(got) > 0 && wanted[len(wanted)-1] == got[len(got)-1] {
		// Where the last lines differ anyhow, a missing end of one is noise; here it may be all the difference.
		switch w, g := strings.HasSuffix(e.Wanted, "\n"), strings.HasSuffix(e.Got, "\n"); {
		case g && !w:
			wanted = append(wanted, noFinalNewline)
		case w && !g:
			got = append(got, noFinalNewline)
		}
	}
	for _, line := range fold(diffLines(wanted, got)) {
		if b.Len()-header > maxDiffBytes {
			b.WriteString("… (cut)\n")
			break
		}
		b.WriteString(printable(line) + "\n")
	}
	return b.String()
}

// splitLines cuts text into at most maxDiffLines lines.
func splitLines(text string) []string {
	if text == "" {
		return nil
	}
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if over := len(lines) - maxDiffLines; over > 0 {
		lines = append(lines[:maxDiffLines:maxDiffLines], fmt.Sprintf("… (%d more lines)", over))
	}
	return lines
}

// diffLines marks each line as common (" "), only wanted ("-") or only got ("+"), along a longest common subsequence.
func diffLines(wanted, got []string) []string {
	// common[i][j] is the length of the longest common subsequence of wanted[i:] and got[j:].
	common := make([][]int, len(wanted)+1)
	for i := range common {
		common[i] = make([]int, len(got)+1)
	}
	for i := len(wanted) - 1; i >= 0; i-- {
		for j := len(got) - 1; j >= 0; j-- {
			if wanted[i] == got[j] {
				common[i][j] = common[i+1][j+1] + 1
			} else {
				common[i][j] = max(common[i+1][j], common[i][j+1])
			}
		}
	}

	var out []string
	i, j := 0, 0
	for i < len(wanted) || j < len(got) {
		switch {
		case i < len(wanted) && j < len(got) && wanted[i] == got[j]:
			out = append(out, " "+wanted[i])
			i++
			j++
		case j == len(got) || i < len(wanted) && common[i+1][j] >= common[i][j+1]:
			out = append(out, "-"+wanted[i])
			i++
		default:
			out = append(out, "+"+got[j])
			j++
		}
	}
	return out
}

// fold replaces long stretches of common lines by their number.
func fold(lines []string) []string {
	var out []string
	for start := 0; start < len(lines); {
		end := start
		for end < len(lines) && lines[end][0] == ' ' {
			end++
		}
		head, tail := start, end
		if start > 0 {
			head = min(end, start+contextLines)
		}
		if end < len(lines) {
			tail = max(head, end-contextLines)
		}
		out = append(out, lines[start:head]...)
		if tail > head {
			out = append(out, fmt.Sprintf(" … (%s the same)", count(tail-head, "line")))
		}
		out = append(out, lines[tail:end]...)
		if end < len(lines) {
			out = append(out, lines[end])
			end++
		}
		start = end
	}
	return out
}

// printable shortens a line and shows what could drive a terminal as an escape: what a sandbox printed comes through here.
func printable(line string) string {
	var b strings.Builder
	n := 0
	for _, r := range strings.ToValidUTF8(line, "\uFFFD") {
		if n++; n > maxLineRunes {
			b.WriteString(" … (cut)")
			break
		}
		if r != '\t' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r)) {
			fmt.Fprintf(&b, "\\u%04x", r)
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}
