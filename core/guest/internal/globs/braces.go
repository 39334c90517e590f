package globs

import "strings"

// piece is one way to read a pattern without its braces. It remembers where its
// bytes come from, so that an error can point into the pattern.
type piece struct {
	text string
	from []int // offset in the pattern of each byte; nil if they are the same
}

// offset returns where in the pattern byte i of the text comes from.
func (p piece) offset(i int) int {
	switch {
	case p.from == nil:
		return i
	case i < len(p.from):
		return p.from[i]
	case len(p.from) > 0:
		return p.from[len(p.from)-1]
	}
	return 0
}

func (p piece) join(q piece) piece {
	return piece{p.text + q.text, append(append(make([]int, 0, len(p.from)+len(q.from)), p.from...), q.from...)}
}

// expand returns all ways to choose from the braces of a pattern.
func expand(pattern string) ([]piece, error) {
	if !strings.ContainsAny(pattern, "{}") {
		return []piece{{text: pattern}}, nil
	}
	e := expander{pattern: pattern}
	all, err := e.sequence(0)
	if err != nil {
		return nil, err
	}
	if e.at < len(pattern) {
		return nil, &SyntaxError{pattern, e.at, "'}' without a '{'"}
	}
	return all, nil
}

type expander struct {
	pattern string
	at      int
}

// sequence reads up to the end, or to the comma or brace that ends a choice.
func (e *expander) sequence(depth int) ([]piece, error) {
	all := []piece{{from: []int{}}}
	for e.at < len(e.pattern) {
		var more []piece
		switch c := e.pattern[e.at]; {
		case c == '{':
			var err error
			if more, err = e.choice(depth); err != nil {
				return nil, err
			}
		case c == '}', c == ',' && depth > 0:
			return all, nil
		default:
			more = []piece{e.plain()}
		}
		if len(all)*len(more) > maxAlternatives {
			return nil, &SyntaxError{e.pattern, e.at, "the braces stand for too many patterns"}
		}
		next := make([]piece, 0, len(all)*len(more))
		for _, a := range all {
			for _, m := range more {
				next = append(next, a.join(m))
			}
		}
		all = next
	}
	return all, nil
}

// choice reads from a '{' to its '}'.
func (e *expander) choice(depth int) ([]piece, error) {
	open := e.at
	if depth >= 32 {
		return nil, &SyntaxError{e.pattern, open, "the braces are nested too deeply"}
	}
	var all []piece
	for {
		e.at++ // '{' or ','
		more, err := e.sequence(depth + 1)
		if err != nil {
			return nil, err
		}
		if all = append(all, more...); len(all) > maxAlternatives {
			return nil, &SyntaxError{e.pattern, open, "the braces stand for too many patterns"}
		}
		if e.at == len(e.pattern) {
			return nil, &SyntaxError{e.pattern, open, "the brace is not closed by '}'"}
		}
		if e.pattern[e.at] == '}' {
			e.at++
			return all, nil
		}
	}
}

// plain reads what holds no brace: up to the next one, an escaped character, or
// a class, in which braces and commas are themselves.
func (e *expander) plain() piece {
	begin := e.at
	switch e.pattern[e.at] {
	case '\\':
		e.at = min(e.at+2, len(e.pattern))
	case '[':
		if _, size, message := compileClass(e.pattern[e.at:]); message == "" {
			e.at += size
		} else {
			e.at++
		}
	default:
		for e.at < len(e.pattern) && !strings.ContainsRune(`\[{},`, rune(e.pattern[e.at])) {
			e.at++
		}
		if e.at == begin {
			e.at++ // a comma outside of braces
		}
	}
	p := piece{text: e.pattern[begin:e.at]}
	for i := begin; i < e.at; i++ {
		p.from = append(p.from, i)
	}
	return p
}
