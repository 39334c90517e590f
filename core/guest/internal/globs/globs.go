// Package globs matches path names against patterns, byte by byte where a name is
// not UTF-8.
//
// In a pattern, '*' matches any run of characters within a name and '?' one,
// [a-z] one of a class ([!a-z] or [^a-z] one that is not), {a,b} either of what
// is between the commas, a backslash takes the next character for itself, and
// '**' as a whole name matches any number of directories.
package globs

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// maxAlternatives bounds what the braces of one pattern may expand to.
const maxAlternatives = 1024

// A SyntaxError says what is wrong with a pattern, and at which byte.
type SyntaxError struct {
	Pattern string
	Offset  int
	Message string
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("pattern %q, at byte %d: %s", e.Pattern, e.Offset, e.Message)
}

// Options of a pattern.
type Options struct {
	// Hidden lets '*', '?', a class and '**' match a leading dot.
	Hidden bool
	// NoBraces takes braces for themselves.
	NoBraces bool
}

// Pattern is a compiled pattern. It may be used by several goroutines.
type Pattern struct {
	alternatives [][]segment
	opts         Options
	start        State
}

// Compile compiles a pattern of names separated by slashes.
func Compile(pattern string, opts Options) (*Pattern, error) {
	p := &Pattern{opts: opts}
	alternatives := []piece{{text: pattern}}
	if !opts.NoBraces {
		var err error
		if alternatives, err = expand(pattern); err != nil {
			return nil, err
		}
	}
	for _, a := range alternatives {
		names, err := compileNames(pattern, a, opts)
		if err != nil {
			return nil, err
		}
		p.alternatives = append(p.alternatives, names)
	}
	p.start.p = p
	for i := range p.alternatives {
		p.start.add(place{i, 0})
	}
	return p, nil
}

func compileNames(pattern string, a piece, opts Options) ([]segment, error) {
	var names []segment
	offset := 0
	for text := range strings.SplitSeq(a.text, "/") {
		at := offset
		offset += len(text) + 1
		switch text {
		case "", ".":
			continue
		case "..":
			return nil, &SyntaxError{pattern, a.offset(at), "\"..\" cannot be matched"}
		case "**":
			if n := len(names); n == 0 || !names[n-1].deep {
				names = append(names, segment{deep: true})
			}
			continue
		}
		s, bad, message := compileSegment(text, opts)
		if message != "" {
			return nil, &SyntaxError{pattern, a.offset(at + bad), message}
		}
		names = append(names, s)
	}
	return names, nil
}

// Match reports whether the whole of path, names separated by slashes, matches.
func (p *Pattern) Match(path string) bool {
	state := p.Start()
	for {
		name, rest, more := strings.Cut(path, "/")
		if !more {
			return state.Match(name)
		}
		if state = state.Enter(name, false); state.Dead() {
			return false
		}
		path = rest
	}
}

// MatchName reports whether name, which holds no slash, matches a pattern that
// holds none either.
func (p *Pattern) MatchName(name string) bool { return p.Start().Match(name) }

// State is how far the directories on the way to a name have matched.
type State struct {
	p *Pattern
	// at holds places where the next name may match: alternative and index.
	at []place
}

type place struct{ alternative, index int }

// Start is the state in the directory the pattern is relative to.
func (p *Pattern) Start() State { return p.start }

// add adds a place, and the one behind a "**" that matches no directory.
func (s *State) add(at place) {
	for _, have := range s.at {
		if have == at {
			return
		}
	}
	s.at = append(s.at, at)
	names := s.p.alternatives[at.alternative]
	if at.index+1 < len(names) && names[at.index].deep {
		s.add(place{at.alternative, at.index + 1})
	}
}

// Dead reports that nothing can match any more.
func (s State) Dead() bool { return len(s.at) == 0 }

// Match reports whether a name in this directory ends a match.
func (s State) Match(name string) bool {
	for _, at := range s.at {
		names := s.p.alternatives[at.alternative]
		if at.index == len(names)-1 && names[at.index].match(name, s.p.opts) {
			return true
		}
	}
	return false
}

// Enter is the state in the directory name. Through a link no "**" goes on: so a
// walk that follows links where the pattern has a name for them still ends.
func (s State) Enter(name string, link bool) State {
	next := State{p: s.p}
	for _, at := range s.at {
		names := s.p.alternatives[at.alternative]
		if at.index >= len(names) || !names[at.index].match(name, s.p.opts) {
			continue
		}
		if !names[at.index].deep {
			if at.index+1 < len(names) {
				next.add(place{at.alternative, at.index + 1})
			}
		} else if !link {
			next.add(at)
		}
	}
	return next
}

// segment matches one name, or any number of directories.
type segment struct {
	deep bool
	// literal is used if tokens is nil.
	literal string
	tokens  []token
}

type token struct {
	kind    byte // one of those below
	literal string
	class   []span
	negated bool
}

const (
	literalToken = 'l'
	anyToken     = '?'
	starToken    = '*'
	classToken   = '['
)

// span is a range of characters, both ends included.
type span struct{ low, high rune }

// compileSegment compiles one name of a pattern. If it cannot, it says why and
// at which byte.
func compileSegment(text string, opts Options) (s segment, bad int, message string) {
	var literal strings.Builder
	flush := func() {
		if literal.Len() > 0 {
			s.tokens = append(s.tokens, token{kind: literalToken, literal: literal.String()})
			literal.Reset()
		}
	}
	for i := 0; i < len(text); {
		switch c := text[i]; c {
		case '\\':
			if i+1 == len(text) {
				return s, i, "a backslash at the end"
			}
			_, size := utf8.DecodeRuneInString(text[i+1:])
			literal.WriteString(text[i+1 : i+1+size])
			i += 1 + size
		case '?':
			flush()
			s.tokens = append(s.tokens, token{kind: anyToken})
			i++
		case '*':
			flush()
			if n := len(s.tokens); n == 0 || s.tokens[n-1].kind != starToken {
				s.tokens = append(s.tokens, token{kind: starToken})
			}
			i++
		case '[':
			flush()
			t, size, message := compileClass(text[i:])
			if message != "" {
				return s, i, message
			}
			s.tokens = append(s.tokens, t)
			i += size
		default:
			literal.WriteByte(c)
			i++
		}
	}
	if len(s.tokens) == 0 {
		s.literal = literal.String()
		return s, 0, ""
	}
	flush()
	return s, 0, ""
}

// compileClass compiles the class text begins with, and tells its length.
func compileClass(text string) (t token, size int, message string) {
	t.kind = classToken
	i := 1
	if i < len(text) && (text[i] == '!' || text[i] == '^') {
		t.negated = true
		i++
	}
	next := func() (rune, bool) {
		if i < len(text) && text[i] == '\\' {
			i++
		}
		if i >= len(text) {
			return 0, false
		}
		r, n := decode(text[i:])
		i += n
		return r, true
	}
	for first := true; ; first = false {
		if i >= len(text) {
			return t, 0, "the class is not closed by ']'"
		}
		if text[i] == ']' && !first {
			return t, i + 1, ""
		}
		low, ok := next()
		if !ok {
			return t, 0, "the class is not closed by ']'"
		}
		high := low
		if i+1 < len(text) && text[i] == '-' && text[i+1] != ']' {
			i++
			if high, ok = next(); !ok {
				return t, 0, "the class is not closed by ']'"
			}
			if high < low {
				return t, 0, "the class has a range that is upside down"
			}
		}
		t.class = append(t.class, span{low, high})
	}
}

// decode returns the first character of s. A byte that is not UTF-8 is one of
// its own, beyond all characters.
func decode(s string) (r rune, size int) {
	r, size = utf8.DecodeRuneInString(s)
	if r == utf8.RuneError && size == 1 {
		r = utf8.MaxRune + 1 + rune(s[0])
	}
	return r, size
}

func (s *segment) match(name string, opts Options) bool {
	hidden := name != "" && name[0] == '.' && !opts.Hidden
	if s.deep {
		return !hidden
	}
	if s.tokens == nil {
		return name == s.literal
	}
	if hidden && (s.tokens[0].kind != literalToken || s.tokens[0].literal[0] != '.') {
		return false
	}
	return matchTokens(s.tokens, name)
}

// matchTokens goes back to the last '*' only: an earlier one could match no more
// than that one can make up for. So it takes time in proportion to the product
// of both lengths at the worst.
func matchTokens(tokens []token, name string) bool {
	starToken, starName := -1, 0
	t, n := 0, 0
	for {
		if t < len(tokens) && tokens[t].kind == '*' {
			starToken, starName = t, n
			t++
			continue
		}
		if t == len(tokens) && n == len(name) {
			return true
		}
		if t < len(tokens) {
			if size, ok := tokens[t].match(name[n:]); ok {
				t++
				n += size
				continue
			}
		}
		if starToken < 0 || starName >= len(name) {
			return false
		}
		_, size := decode(name[starName:])
		starName += size
		t, n = starToken+1, starName
	}
}

// match matches what name begins with, and tells how much of it.
func (t *token) match(name string) (size int, ok bool) {
	if t.kind == literalToken {
		return len(t.literal), strings.HasPrefix(name, t.literal)
	}
	if name == "" {
		return 0, false
	}
	r, size := decode(name)
	if t.kind == anyToken {
		return size, true
	}
	for _, s := range t.class {
		if s.low <= r && r <= s.high {
			return size, !t.negated
		}
	}
	return size, t.negated
}
