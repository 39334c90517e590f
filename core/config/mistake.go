package config

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/hashicorp/hcl/v2"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/host"
)

// A Mistake is something wrong in the file.
type Mistake struct {
	// File, and where in it, counted from 1; the end is exclusive. Line is 0 where
	// no place can be named.
	File            string
	Line, Column    int
	EndLine, EndCol int
	// What is wrong, in one line.
	What string
	// Hint says what to do about it, or what may have been meant; "" if unknown.
	Hint string
	// Quote is the line with its number, and a second one that underlines the
	// place. Empty where the line may hold a secret.
	Quote string
}

// String returns file:line,col-col: what; hint.
func (m Mistake) String() string {
	s := m.Place()
	if s != "" {
		s += ": "
	}
	s += m.What
	if m.Hint != "" {
		s += "; " + m.Hint
	}
	return s
}

// Place returns file:line,col-col, or file:line,col-line,col over several lines.
func (m Mistake) Place() string {
	switch {
	case m.Line == 0:
		return backend.Printable(m.File)
	case m.Line == m.EndLine:
		return fmt.Sprintf("%s:%d,%d-%d", backend.Printable(m.File), m.Line, m.Column, m.EndCol)
	}
	return fmt.Sprintf("%s:%d,%d-%d,%d", backend.Printable(m.File), m.Line, m.Column, m.EndLine, m.EndCol)
}

// Error holds every mistake found, in the order of the file.
type Error struct {
	Mistakes []Mistake
	// Err is what a plugin said, where the mistake is one that it found.
	Err error
}

// Error returns each mistake with its line.
func (e *Error) Error() string {
	var b strings.Builder
	for i, m := range e.Mistakes {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(m.String())
		if m.Quote != "" {
			b.WriteByte('\n')
			b.WriteString(m.Quote)
		}
	}
	return b.String()
}

// Unwrap returns what a plugin said, or backend.ErrInvalid.
func (e *Error) Unwrap() error {
	if e.Err != nil {
		return e.Err
	}
	return backend.ErrInvalid
}

// Merge puts the mistakes of all errors that are *Error into one, at the front;
// the others follow as they are.
func Merge(errs []error) []error {
	var all Error
	var others []error
	for _, err := range errs {
		var e *Error
		if errors.As(err, &e) {
			all.Mistakes = append(all.Mistakes, e.Mistakes...)
		} else {
			others = append(others, err)
		}
	}
	if len(all.Mistakes) == 0 {
		return others
	}
	return append([]error{&all}, others...)
}

// mistakes makes an *Error of what HCL and the decoder found, nil if nothing.
func mistakes(src *source, diags hcl.Diagnostics) error {
	if !diags.HasErrors() {
		return nil
	}
	e := &Error{}
	for _, d := range diags {
		m := Mistake{File: src.path, What: oneLine(d.Summary), Hint: oneLine(d.Detail)}
		if _, own := d.Extra.(ownWords); !own && m.Hint != "" {
			// HCL's summary is a title; its detail says all.
			m.What, m.Hint = strings.TrimPrefix(m.Hint, `Invalid value for "name" parameter: `), ""
		}
		if d.Subject != nil {
			m.at(src, *d.Subject)
		}
		if _, secret := d.Extra.(host.SensitiveExtra); secret {
			m.hide()
		}
		e.Mistakes = append(e.Mistakes, m)
	}
	slices.SortStableFunc(e.Mistakes, func(a, b Mistake) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
	return e
}

// ownWords marks a diagnostic of ours: its summary says what is wrong, its detail
// what to do.
type ownWords struct{}

// at puts the mistake at a place of the file and quotes the line.
func (m *Mistake) at(src *source, r hcl.Range) {
	if r.Start.Line == 0 {
		return // something that is missing
	}
	m.Line, m.Column, m.EndLine, m.EndCol = r.Start.Line, r.Start.Column, r.End.Line, r.End.Column
	m.Quote = src.quote(r)
}

// secretLine finds lines whose value is not to be shown, in a terminal or in the
// log of a machine: keys that are named as secrets are, and addresses with a
// password.
var secretLine = regexp.MustCompile(`(?i)(key|token|secret\w*|passw\w*|credential\w*)"?\s*[=:]|://[^/"@]*:[^"]*@`)

// nameLine finds lines that hold the name of a variable and nothing else that
// could be a secret: no default, and no comment, which may be an old value.
var nameLine = regexp.MustCompile(`^\s*(\w+\s*\{\s*)?"?[\w-]+"?\s*[=:]\s*env\(\s*"[A-Za-z_]\w*"\s*(,\s*""\s*)?\)\s*,?\s*\}?\s*$`)

// hide takes the quote away from a mistake in what must not be shown.
func (m *Mistake) hide() {
	line, _, _ := strings.Cut(m.Quote, "\n")
	if _, line, _ = strings.Cut(line, " | "); !nameLine.MatchString(line) {
		m.Quote = ""
	}
}

// quote returns the first line of a range, underlined. The line is shown as it
// is, but for control characters.
func (src *source) quote(r hcl.Range) string {
	if r.Start.Byte > len(src.text) || r.End.Byte < r.Start.Byte {
		return "" // a range of another text
	}
	begin := bytes.LastIndexByte(src.text[:r.Start.Byte], '\n') + 1
	end := len(src.text)
	if n := bytes.IndexByte(src.text[r.Start.Byte:], '\n'); n >= 0 {
		end = r.Start.Byte + n
	}
	line := strings.TrimSuffix(string(src.text[begin:end]), "\r")
	if secretLine.MatchString(line) && !nameLine.MatchString(line) || !utf8.ValidString(line) {
		return ""
	}
	from := min(r.Start.Byte-begin, len(line))
	to := max(from, min(r.End.Byte-begin, len(line)))
	number := fmt.Sprintf("%5d | ", r.Start.Line)
	return number + visible(line) + "\n" + strings.Repeat(" ", len(number)-2) + "| " + blank(line[:from]) +
		strings.Repeat("^", max(1, utf8.RuneCountInString(line[from:to])))
}

// blank returns spaces as wide as s; tabs stay, so that they are as wide.
func blank(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' {
			return r
		}
		return ' '
	}, s)
}

// visible replaces control characters but tabs.
func visible(s string) string {
	return strings.Map(func(r rune) rune {
		if r != '\t' && backend.Printable(string(r)) != string(r) {
			return '\uFFFD'
		}
		return r
	}, s)
}

// oneLine joins what HCL breaks into paragraphs.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
