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
		{"\U000e0041", `\U000e0041`}, // a tag, which is not seen
	} {
		if got := escape(c.in); got != c.want {
			t.Errorf("escape(%q) = %q, want %q", c.in, got, c.want)
		}
	}
	if got := escapeLine("a\nb"); got != `a\nb` {
		t.Errorf("escapeLine = %q", got)
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
