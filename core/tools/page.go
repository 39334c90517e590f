package tools

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// A page collects the lines of a window and counts the rest.
type page struct {
	window
	text  strings.Builder
	chars int
	// read counts bytes; count lines, of which shown are in text.
	read, count, shown int64
	// over: the characters did not suffice. cutLine: not even for one line.
	over, cutLine bool
	// uncounted: the file goes on after what was counted. tooFar: before the window
	// began.
	uncounted, tooFar bool
	// lossy: some bytes were not UTF-8.
	lossy bool
}

// add takes the next line.
func (p *page) add(line []byte) {
	p.count++
	if p.count <= p.offset || p.count > p.offset+p.limit || p.over {
		return
	}
	row, whole := clipRunes(fmt.Sprintf("%6d\t%s\n", p.count, line), maxReadChars-p.chars)
	if !whole {
		p.over = true
		if p.shown > 0 {
			return // lines are shown whole
		}
		p.cutLine = true
		row += "\n"
	}
	if !utf8.ValidString(row) {
		p.lossy = true
		row = strings.ToValidUTF8(row, "\uFFFD")
	}
	p.chars += utf8.RuneCountInString(row)
	p.text.WriteString(row)
	p.shown++
}

// answer puts the page into words.
func (p *page) answer(name string) Answer {
	switch {
	case p.tooFar && p.uncounted:
		return failed("Line %d of %s is further than %s into it. Use execute, for example with sed -n.", p.offset+1, name, size(maxSkipBytes))
	case p.read == 0:
		return Answer{Text: name + " is empty."}
	case p.count <= p.offset:
		return failed("%s has %s: offset %d is past its end.", name, plural(p.count, "line"), p.offset)
	case p.cutLine && p.explicit:
		return failed("Line %d of %s alone holds more than %d characters. Use execute to read it in parts, for example with cut -c.", p.offset+1, name, maxReadChars)
	case p.over && p.explicit:
		return failed("These lines of %s hold more than %d characters: ask for fewer with limit.", name, maxReadChars)
	}
	rest := p.count - p.offset - p.shown
	b := &p.text
	switch {
	case p.cutLine:
		fmt.Fprintf(b, "[line %d holds more than %d characters and was cut; use execute to read the rest of it]\n", p.offset+1, maxReadChars)
	case p.over:
		fmt.Fprintf(b, "[cut at %d characters; go on with offset=%d]\n", maxReadChars, p.offset+p.shown)
	}
	switch {
	case p.uncounted:
		fmt.Fprintf(b, "... (more than %d more lines)\n", rest)
	case rest > 0:
		fmt.Fprintf(b, "... (%d more lines)\n", rest)
	}
	if p.lossy {
		fmt.Fprintf(b, "[%s holds bytes that are not UTF-8, shown as \uFFFD; edit_file cannot match them]\n", name)
	}
	return Answer{Text: b.String(), Truncated: rest > 0 || p.uncounted || p.over}
}
