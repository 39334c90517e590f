package tools

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// plural returns "1 line", "2 lines".
func plural(n int64, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}

// size returns bytes as people and models read them, exact below 10 KiB.
func size(n int64) string {
	switch {
	case n < 10<<10:
		return fmt.Sprintf("%d B", n)
	case n < 10<<20:
		return fmt.Sprintf("%d KiB", n>>10)
	default:
		return fmt.Sprintf("%d MiB", n>>20)
	}
}

// clipRunes returns at most max characters of s, and whether that is all.
func clipRunes(s string, max int) (string, bool) {
	if len(s) <= max || utf8.RuneCountInString(s) <= max {
		return s, true
	}
	n := 0
	for i := range s {
		if n == max {
			return s[:i], false
		}
		n++
	}
	return s, true
}

// lines counts the lines of s, a last one without its end too.
func lines(s string) int64 {
	n := int64(strings.Count(s, "\n"))
	if s != "" && !strings.HasSuffix(s, "\n") {
		n++
	}
	return n
}
