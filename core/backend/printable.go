package backend

import (
	"strconv"
	"unicode"
	"unicode/utf8"
)

// Printable returns s as it may be shown on a terminal: unchanged when it holds
// only printable characters, else as a Go string literal. Names and output of a
// sandbox are hostile: a newline forges a log line, an escape moves the cursor,
// a bidirectional control reverses what is read.
func Printable(s string) string {
	if !utf8.ValidString(s) {
		return strconv.QuoteToASCII(s)
	}
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return strconv.Quote(s)
		}
	}
	return s
}
