package backend

import (
	"strings"
	"testing"
)

func TestErrorCutsLongPath(t *testing.T) {
	for _, fill := range []string{"a", "é", "漢", "😀"} {
		for shift := range 4 {
			path := "/begin/" + strings.Repeat("x", shift) + strings.Repeat(fill, 1000) + "/end"
			e := &Error{Kind: ErrInvalid, Op: "stat", Path: path, Message: "path too long"}
			text := e.Error()
			if len(text) > 240 || !strings.HasPrefix(text, "stat: /begin/") || !strings.HasSuffix(text, "/end: path too long") || e.Path != path {
				t.Errorf("%d bytes: %s", len(text), text)
			}
		}
	}
	for _, short := range []string{"", "a", strings.Repeat("é", 100)} {
		if got := PrintablePath(short); got != short {
			t.Errorf("%q became %q", short, got)
		}
	}
	if got := PrintablePath(strings.Repeat("\xff", 4096)); len(got) > 1000 {
		t.Errorf("%d bytes of what is not UTF-8", len(got))
	}
	if got := PrintablePath(strings.Repeat("\n", 4096)); strings.Contains(got, "\n") {
		t.Error("a line end was printed")
	}
}
