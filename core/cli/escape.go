package cli

import (
	"fmt"
	"io"
	"iter"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// escape returns text that was not written by us as it may be shown: lines and
// tabs stay, whatever could move the cursor, change the terminal or reverse what
// is read becomes visible, as \x1b or \u202e.
func escape(s string) string {
	clean := true
	for _, r := range s {
		if !harmless(r) {
			clean = false
			break
		}
	}
	if clean && utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[0])
		case r == '\r' && strings.HasPrefix(s, "\r\n"):
			// A line end of another world. Alone it lets a line be overwritten.
		case harmless(r):
			b.WriteString(s[:n])
		case r < 0x80:
			fmt.Fprintf(&b, `\x%02x`, r)
		case r < 0x10000:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			fmt.Fprintf(&b, `\U%08x`, r)
		}
		s = s[n:]
	}
	return b.String()
}

// harmless reports whether a character does nothing but be seen. Spaces of other
// scripts are no danger; invisible and bidirectional controls are.
func harmless(r rune) bool {
	if unicode.Is(unicode.Other_Default_Ignorable_Code_Point, r) || r == '\u2800' {
		return false // fillers: letters by name, and nothing to see
	}
	return r == '\n' || r == '\t' || unicode.IsPrint(r) || unicode.Is(unicode.Zs, r) || r == '\u200d' || unicode.Is(unicode.Variation_Selector, r)
}

// escapeAll is escape for what somebody decides on: nothing in it is invisible, or
// looks like a blank and is none. notes says what was made visible, "" if nothing
// was, since \x1b may be what the text says, too.
func escapeAll(s string) (shown, notes string) {
	var b strings.Builder
	seen := map[string]int{}
	var order []string
	for piece := range pieces(s) {
		if plainlySeen(piece) {
			b.WriteString(piece)
			continue
		}
		mark := escape(piece)
		if r, _ := utf8.DecodeRuneInString(piece); mark == piece || piece == "\r" {
			mark = strings.Trim(strconv.QuoteRuneToASCII(r), "'")
		}
		if seen[mark]++; seen[mark] == 1 {
			order = append(order, mark)
		}
		b.WriteString(mark)
	}
	for i, mark := range order {
		order[i] = fmt.Sprintf("%s (%s)", mark, count(seen[mark], "time"))
	}
	return b.String(), strings.Join(order, ", ")
}

// pieces are the characters of s; a byte that begins none is one by itself.
func pieces(s string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for len(s) > 0 {
			_, n := utf8.DecodeRuneInString(s)
			if !yield(s[:n]) {
				return
			}
			s = s[n:]
		}
	}
}

// plainlySeen reports whether a character is seen as what it is.
func plainlySeen(piece string) bool {
	r, n := utf8.DecodeRuneInString(piece)
	switch {
	case r == utf8.RuneError && n == 1:
		return false
	case r == '\n' || r == ' ':
		return true
	}
	return r != '\t' && harmless(r) && !unicode.Is(unicode.Zs, r) && !unicode.Is(unicode.Variation_Selector, r) && r != '\u200d'
}

// escapeLine is escape for what must stay on one line.
func escapeLine(s string) string {
	return strings.ReplaceAll(escape(s), "\n", `\n`)
}

// An escaper is a writer that escapes what is written, in pieces that may end
// within a character.
type escaper struct {
	w io.Writer
	// rest is the beginning of a character, or a carriage return that may be the
	// beginning of a line end.
	rest []byte
}

func (e *escaper) Write(p []byte) (int, error) {
	all := string(append(e.rest, p...))
	whole := len(all) - incomplete(all)
	e.rest = []byte(all[whole:])
	if _, err := io.WriteString(e.w, escape(all[:whole])); err != nil {
		return 0, err
	}
	return len(p), nil
}

// flush writes what is left over.
func (e *escaper) flush() error {
	rest := string(e.rest)
	e.rest = nil
	_, err := io.WriteString(e.w, escape(rest))
	return err
}

// incomplete returns how many bytes at the end of s may belong to something that
// is still to come.
func incomplete(s string) int {
	if strings.HasSuffix(s, "\r") {
		return 1
	}
	for n := 1; n < utf8.UTFMax && n <= len(s); n++ {
		if last := s[len(s)-n:]; utf8.RuneStart(last[0]) {
			if utf8.FullRuneInString(last) {
				return 0
			}
			return n
		}
	}
	return 0
}
