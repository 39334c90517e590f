package tools

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

const (
	// headOutput and tailOutput of a command's output are shown, in bytes: errors
	// stand at one of its ends.
	headOutput = 10_000
	tailOutput = 20_000
)

// ends is a writer that keeps the first and the last bytes of what is written.
type ends struct {
	// base is the offset of the first byte in the whole output.
	base       int64
	head, tail []byte
	total      int64
}

func (e *ends) Write(p []byte) (int, error) {
	n := len(p)
	e.total += int64(n)
	if room := headOutput - len(e.head); room > 0 {
		k := min(room, len(p))
		e.head = append(e.head, p[:k]...)
		p = p[k:]
	}
	e.tail = append(e.tail, p...)
	// Halved only when twice too long, so that small writes stay cheap.
	if len(e.tail) > 2*tailOutput {
		e.tail = append(e.tail[:0], e.tail[len(e.tail)-tailOutput:]...)
	}
	return n, nil
}

// holdBack leaves out the beginning of a character whose end is still to come.
func (e *ends) holdBack() {
	last := &e.tail
	if len(e.tail) == 0 {
		last = &e.head
	}
	n := unfinished(*last)
	*last = (*last)[:len(*last)-n]
	e.total -= int64(n)
}

// unfinished is the number of bytes at the end of b that only begin a character.
func unfinished(b []byte) int {
	for n := 1; n < utf8.UTFMax && n <= len(b); n++ {
		if c := b[len(b)-n:]; utf8.RuneStart(c[0]) {
			if utf8.FullRune(c) {
				return 0
			}
			return n
		}
	}
	return 0
}

// text returns the output, its end marked with a newline, and whether a part of
// it is missing, which it says in the place where it is missing, and with remedy
// what to do about it, given the offset where that part begins.
func (e *ends) text(remedy func(offset int64) string) (string, bool) {
	head, tail := string(e.head), string(e.tail)
	cut := e.total > headOutput+tailOutput
	if cut {
		tail = tail[len(tail)-tailOutput:]
		// Begin and end with whole lines, unless there are none.
		if i := strings.LastIndexByte(head, '\n'); i >= 0 {
			head = head[:i+1]
		}
		if i := strings.IndexByte(tail, '\n'); i >= 0 && i < len(tail)-1 {
			tail = tail[i+1:]
		}
		missing := e.total - int64(len(head)+len(tail))
		begin := e.base + int64(len(head))
		head = strings.TrimSuffix(head, "\n") + fmt.Sprintf("\n[%s of output are missing here. %s]\n", plural(missing, "byte"), remedy(begin))
	}
	return shown(head + tail), cut
}

// shown is output as it is shown: valid, and with an end to its last line.
func shown(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if s != "" && !strings.HasSuffix(s, "\n") {
		s += "\n"
	}
	return s
}
