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

// How much of a long path PrintablePath keeps of its beginning and of its end.
const (
	pathHead = 100
	pathTail = 100
)

// PrintablePath is Printable for a message, where a path of 4 KiB would bury what
// is said of it: of a long one it keeps the beginning and the end.
func PrintablePath(path string) string {
	if len(path) <= pathHead+pathTail {
		return Printable(path)
	}
	head, tail := pathHead, len(path)-pathTail
	for range utf8.UTFMax - 1 {
		if !utf8.RuneStart(path[head]) {
			head--
		}
		if !utf8.RuneStart(path[tail]) {
			tail++
		}
	}
	return Printable(path[:head] + "…" + path[tail:])
}
