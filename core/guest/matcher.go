package guest

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strconv"
	"strings"

	"github.com/deep-sandbox/deep/core/backend"
)

// maxPattern bounds a pattern, in bytes.
const maxPattern = 32 << 10

// matcher finds the lines a pattern matches in a block of many lines. It may be
// used by several goroutines.
type matcher struct {
	// literal, if not nil, is on each line that matches; line, if not nil,
	// decides then. Searching for bytes is some fifty times faster.
	literal []byte
	line    *regexp.Regexp
	// block finds in a whole block where a match may begin; used without literal.
	block *regexp.Regexp
	// never: it matches nothing.
	never bool
}

// match is a line that matches.
type match struct {
	lineStart, textEnd int // the line without its end
	next               int // where the next line begins
	start, end         int // the match
}

func newMatcher(req *backend.GrepRequest) (*matcher, error) {
	if len(req.Pattern) > maxPattern {
		return nil, &backend.Error{Kind: backend.ErrTooLarge, Message: fmt.Sprintf("a pattern of %d bytes, above %d", len(req.Pattern), maxPattern),
			Hint: "search for a part of it"}
	}
	if req.Literal && !req.IgnoreCase {
		return &matcher{literal: []byte(req.Pattern), never: strings.Contains(req.Pattern, "\n")}, nil
	}
	pattern, flags := req.Pattern, syntax.Perl
	if req.Literal {
		pattern = regexp.QuoteMeta(pattern)
	}
	if req.IgnoreCase {
		flags |= syntax.FoldCase
	}
	tree, err := syntax.Parse(pattern, flags)
	if err != nil {
		return nil, badExpression(pattern, err)
	}
	m := &matcher{}
	if m.line, err = regexp.Compile(tree.String()); err != nil {
		return nil, badExpression(pattern, err)
	}
	if m.literal = required(tree); m.literal != nil {
		return m, nil
	}
	if m.block, err = regexp.Compile(withinLine(tree).String()); err != nil {
		return nil, badExpression(pattern, err)
	}
	return m, nil
}

// badExpression tells where a pattern does not compile.
func badExpression(pattern string, err error) error {
	e := &backend.Error{Kind: backend.ErrInvalid, Message: err.Error(), Hint: "to search for plain text, ask for a literal search"}
	var se *syntax.Error
	if !errors.As(err, &se) {
		return e
	}
	at := -1
	switch {
	case se.Code == syntax.ErrMissingParen || se.Code == syntax.ErrUnexpectedParen:
		// The parser gives the whole pattern.
		at = unmatchedParen(pattern)
	case se.Expr != "" && strings.Count(pattern, se.Expr) == 1:
		at = strings.Index(pattern, se.Expr)
	}
	if at < 0 {
		e.Message = fmt.Sprintf("the pattern fails, at %s: %s", excerpt(se.Expr), se.Code)
	} else {
		e.Message = fmt.Sprintf("the pattern fails at byte %d, %s: %s", at, excerpt(pattern[at:]), se.Code)
	}
	return e
}

// excerpt quotes the beginning of a part of a pattern.
func excerpt(part string) string {
	const most = 40
	if len(part) > most {
		return strconv.Quote(part[:most]) + "…"
	}
	return strconv.Quote(part)
}

// unmatchedParen returns where in a pattern the first ')' is that closes nothing,
// or else the last '(' that is not closed; -1 if there is neither.
func unmatchedParen(pattern string) int {
	var open []int
	for i := 0; i < len(pattern); i++ {
		switch pattern[i] {
		case '\\':
			i++
			if i < len(pattern) && pattern[i] == 'Q' {
				end := strings.Index(pattern[i:], `\E`)
				if end < 0 {
					i = len(pattern)
				} else {
					i += end + 1
				}
			}
		case '[':
			i = classEnd(pattern, i)
		case '(':
			open = append(open, i)
		case ')':
			if len(open) == 0 {
				return i
			}
			open = open[:len(open)-1]
		}
	}
	if len(open) == 0 {
		return -1
	}
	return open[len(open)-1]
}

// classEnd returns where the class that begins at pattern[i] ends.
func classEnd(pattern string, i int) int {
	i++
	if strings.HasPrefix(pattern[i:], "^") {
		i++
	}
	// A ']' that comes first is one of the characters.
	for first := i; i < len(pattern); i++ {
		switch {
		case pattern[i] == '\\':
			i++
		case strings.HasPrefix(pattern[i:], "[:"):
			if end := strings.Index(pattern[i:], ":]"); end > 0 {
				i += end + 1
			}
		case pattern[i] == ']' && i > first:
			return i
		}
	}
	return i
}

// required returns bytes that each match holds, nil if none are known.
func required(t *syntax.Regexp) []byte {
	var longest []byte
	switch t.Op {
	case syntax.OpLiteral:
		if t.Flags&syntax.FoldCase == 0 {
			for _, r := range t.Rune {
				if r == '\n' || r == 0xFFFD {
					// The first is on no line; the second matches bytes that are not
					// UTF-8, too.
					return nil
				}
			}
			return []byte(string(t.Rune))
		}
	case syntax.OpConcat:
		for _, sub := range t.Sub {
			if l := required(sub); len(l) > len(longest) {
				longest = l
			}
		}
	case syntax.OpCapture, syntax.OpPlus:
		return required(t.Sub[0])
	case syntax.OpRepeat:
		if t.Min > 0 {
			return required(t.Sub[0])
		}
	}
	return longest
}

// withinLine returns a copy of t that finds, in many lines, at least what t finds
// in each, and nothing that crosses the end of one. What it finds is to be
// confirmed on the line.
func withinLine(t *syntax.Regexp) *syntax.Regexp {
	c := *t
	c.Sub = make([]*syntax.Regexp, len(t.Sub))
	for i, sub := range t.Sub {
		c.Sub[i] = withinLine(sub)
	}
	never := &syntax.Regexp{Op: syntax.OpNoMatch}
	switch t.Op {
	case syntax.OpBeginText:
		c.Op = syntax.OpBeginLine
	case syntax.OpEndText, syntax.OpEndLine:
		// A line may end in "\r\n".
		return &syntax.Regexp{Op: syntax.OpConcat, Sub: []*syntax.Regexp{
			{Op: syntax.OpQuest, Sub: []*syntax.Regexp{{Op: syntax.OpLiteral, Rune: []rune{'\r'}}}},
			{Op: syntax.OpEndLine},
		}}
	case syntax.OpAnyChar:
		c.Op = syntax.OpAnyCharNotNL
	case syntax.OpLiteral:
		for _, r := range t.Rune {
			if r == '\n' {
				return never
			}
		}
	case syntax.OpCharClass:
		if c.Rune = withoutNewline(t.Rune); len(c.Rune) == 0 {
			return never
		}
	}
	return &c
}

// withoutNewline removes '\n' from a class: pairs of both ends of a range.
func withoutNewline(class []rune) []rune {
	var out []rune
	for i := 0; i+1 < len(class); i += 2 {
		low, high := class[i], class[i+1]
		if low > '\n' || high < '\n' {
			out = append(out, low, high)
			continue
		}
		if low < '\n' {
			out = append(out, low, '\n'-1)
		}
		if high > '\n' {
			out = append(out, '\n'+1, high)
		}
	}
	return out
}

// next finds the first line that matches in block[pos:], where a line begins.
func (m *matcher) next(block []byte, pos int) (match, bool) {
	for !m.never && pos < len(block) {
		i := m.candidate(block[pos:])
		if i < 0 || pos+i >= len(block) && len(block) > 0 && block[len(block)-1] == '\n' {
			break
		}
		r := lineAt(block, pos, pos+i)
		if start, end, ok := m.inLine(block[r.lineStart:r.textEnd]); ok {
			r.start, r.end = r.lineStart+start, r.lineStart+end
			return r, true
		}
		pos = r.next
	}
	return match{}, false
}

// candidate returns where in lines a match may begin or be, -1 if nowhere.
func (m *matcher) candidate(lines []byte) int {
	if m.block == nil {
		return bytes.Index(lines, m.literal)
	}
	if loc := m.block.FindIndex(lines); loc != nil {
		return loc[0]
	}
	return -1
}

// lineAt returns the line around block[at], not looking before pos.
func lineAt(block []byte, pos, at int) match {
	r := match{lineStart: pos, textEnd: len(block), next: len(block)}
	if i := bytes.LastIndexByte(block[pos:at], '\n'); i >= 0 {
		r.lineStart = pos + i + 1
	}
	if i := bytes.IndexByte(block[at:], '\n'); i >= 0 {
		r.textEnd, r.next = at+i, at+i+1
	}
	r.textEnd = r.lineStart + len(withoutCR(block[r.lineStart:r.textEnd]))
	return r
}

// inLine looks for the match in one line without its end.
func (m *matcher) inLine(text []byte) (start, end int, ok bool) {
	if m.line == nil {
		start = bytes.Index(text, m.literal)
		return start, start + len(m.literal), start >= 0
	}
	loc := m.line.FindIndex(text)
	if loc == nil {
		return 0, 0, false
	}
	return loc[0], loc[1], true
}

// inLong looks for the match in a line that does not fit into memory.
func (m *matcher) inLong(l *longLine) (start, end int64, ok bool, err error) {
	if m.never {
		return 0, 0, false, nil
	}
	if m.line != nil {
		loc := m.line.FindReaderIndex(l)
		if l.failed != nil || loc == nil {
			return 0, 0, false, l.failed
		}
		return int64(loc[0]), int64(loc[1]), true, nil
	}
	for {
		if err := l.more(); err != nil {
			return 0, 0, false, err
		}
		rest := l.s.buf[l.at:l.stop]
		if i := bytes.Index(rest, m.literal); i >= 0 {
			start = l.size + int64(i)
			return start, start + int64(len(m.literal)), true, nil
		}
		if l.last {
			return 0, 0, false, nil
		}
		// The literal may lie across the end of what is in memory.
		l.take(len(rest) - min(len(rest), max(0, len(m.literal)-1)))
	}
}
