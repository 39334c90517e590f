package cli

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestEscape(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"plain\ttext\n", "plain\ttext\n"},
		{"é 日本 👩‍💻 ½", "é 日本 👩‍💻 ½"},
		{"\x1b[31mred\x1b]0;title\a", `\x1b[31mred\x1b]0;title\x07`},
		{"\u009b31m", `\u009b31m`}, // the same in one character
		{"exe.\u202egnp", `exe.\u202egnp`},
		{"\u2066\u2069\ufeff\u200b", `\u2066\u2069\ufeff\u200b`},
		{"line\r\nend", "line\nend"},
		{"over\rwritten", `over\x0dwritten`},
		{"\x00\x7f", `\x00\x7f`},
		{"\xff\xc3", `\xff\xc3`},
		{"\U000e0041", `\U000e0041`},                             // a tag, which is not seen
		{"\u3164\u115f\uffa0\u2800", `\u3164\u115f\uffa0\u2800`}, // letters by name, and nothing to see
	} {
		if got := escape(c.in); got != c.want {
			t.Errorf("escape(%q) = %q, want %q", c.in, got, c.want)
		}
	}
	if got := escapeLine("a\nb"); got != `a\nb` {
		t.Errorf("escapeLine = %q", got)
	}
}

// TestEscapeAll: who decides sees each character as what it is, and is told where
// an escape is one.
func TestEscapeAll(t *testing.T) {
	for _, c := range []struct{ in, want, notes string }{
		{"rm -rf x\nls", "rm -rf x\nls", ""},
		{`printf '\x1b[0m'`, `printf '\x1b[0m'`, ""},
		{"printf '\x1b[0m\x1b'", `printf '\x1b[0m\x1b'`, `\x1b (2 times)`},
		{"rm\u00a0-rf\u3000/", `rm\u00a0-rf\u3000/`, `\u00a0 (1 time), \u3000 (1 time)`},
		{"a\tb\r\nc", `a\tb\r` + "\nc", `\t (1 time), \r (1 time)`},
		{"\u3164\xff", `\u3164\xff`, `\u3164 (1 time), \xff (1 time)`},
		{"a\u200db\ufe0f", `a\u200db\ufe0f`, `\u200d (1 time), \ufe0f (1 time)`},
		{"é日\ufffd", "é日\ufffd", ""},
	} {
		if got, notes := escapeAll(c.in); got != c.want || notes != c.notes {
			t.Errorf("escapeAll(%q) = %q, %q, want %q, %q", c.in, got, notes, c.want, c.notes)
		}
	}
}

// TestEscaper: what is written in pieces comes out as if it were written at once.
func TestEscaper(t *testing.T) {
	for _, text := range []string{"é日👩‍💻\x1b[0m", "a\r\nb\r", "\xe6\x97", "\xff\xe6\x97\xa5\r\n\xc3", "plain"} {
		for size := 1; size <= len(text); size++ {
			var out bytes.Buffer
			e := &escaper{w: &out}
			for rest := text; rest != ""; {
				n := min(size, len(rest))
				if written, err := e.Write([]byte(rest[:n])); written != n || err != nil {
					t.Fatal(written, err)
				}
				rest = rest[n:]
			}
			if err := e.flush(); err != nil {
				t.Fatal(err)
			}
			if got, want := out.String(), escape(text); got != want {
				t.Errorf("%q in pieces of %d: %q, want %q", text, size, got, want)
			}
		}
	}
}

func FuzzEscape(f *testing.F) {
	f.Add("a\x1b[0m\r\n\xff")
	f.Fuzz(func(t *testing.T, s string) {
		got := escape(s)
		if !utf8.ValidString(got) {
			t.Errorf("%q is not UTF-8", got)
		}
		if strings.ContainsAny(got, "\x1b\r\a\x00\u009b\u202e") {
			t.Errorf("%q still holds a control", got)
		}
	})
}
