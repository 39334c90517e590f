package llm

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxMessageBytes bounds foreign text in an error. Large enough for the diff of a replayed conversation.
const maxMessageBytes = 8 << 10

// sanitizer makes text from the endpoint fit to be printed. Some servers quote the key they refuse.
type sanitizer struct{ secret string }

// clean hides the secret, replaces what could drive a terminal, and cuts. Lines stay. Characters are replaced, never
// dropped, so that no two halves of a secret can meet; the cut comes last, so that it cannot leave half a secret.
func (s sanitizer) clean(text string) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	if s.secret != "" {
		text = strings.ReplaceAll(text, s.secret, "[API key]")
	}
	text = strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return r
		case unicode.IsControl(r), unicode.Is(unicode.Cf, r), r == '\u2028', r == '\u2029':
			return '\uFFFD'
		}
		return r
	}, strings.ReplaceAll(text, "\r\n", "\n"))
	return cut(strings.TrimSpace(text), maxMessageBytes)
}

// cut shortens text to at most n bytes and a mark, between two characters.
func cut(text string, n int) string {
	if len(text) <= n {
		return text
	}
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n] + " … (cut)"
}
