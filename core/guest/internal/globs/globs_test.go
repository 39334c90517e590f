package globs

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		pattern, path string
		want, hidden  bool // hidden: with Options.Hidden
	}{
		{"*", "a", true, true}, {"*", ".a", false, true}, {"*", "a/b", false, false}, {"*.py", "a.py", true, true}, {"*.py", ".py", false, true},
		{".*", ".a", true, true}, {"?a", ".a", false, true}, {"[.]a", ".a", false, true}, {`\.a`, ".a", true, true},
		{"**", "a", true, true}, {"**", "a/b/c", true, true}, {"**", "a/.b/c", false, true}, {"**", "a/.b", false, true},
		{"**/x", "x", true, true}, {"**/x", "a/b/x", true, true}, {"a/**/x", "a/x", true, true}, {"a/**/x", "a/b/c/x", true, true}, {"a/**/x", "b/x", false, false},
		{"a/**", "a", false, false}, {"a/**", "a/b", true, true}, {"**/**/x", "x", true, true}, {"a**b", "ab", true, true}, {"a**b", "axb", true, true}, {"a**b", "a/b", false, false},
		{"?", "é", true, true}, {"?", "\xff", true, true}, {"??", "é", false, false}, {"*\xff*", "a\xffb", true, true}, {"[é]", "é", true, true}, {"[a-z]", "m", true, true},
		{"[!a-z]", "m", false, false}, {"[^a-z]", "M", true, true}, {"[]]", "]", true, true}, {"[a-]", "-", true, true}, {`[\]]`, "]", true, true}, {`[a\-z]`, "m", false, false},
		{"{a,b}", "b", true, true}, {"{a,b}", "c", false, false}, {"{a,{b,c}d}", "cd", true, true}, {"x{,y}", "x", true, true}, {"{a/b,c}/d", "a/b/d", true, true},
		{"{a,b}{c,d}", "bd", true, true}, {`\{a,b\}`, "{a,b}", true, true}, {"[{,}]", ",", true, true}, {"a,b", "a,b", true, true}, {"{*.py,*.go}", "x.go", true, true},
		{"a*b*c", "aXXbYYc", true, true}, {"a*b*c", "aXXbYY", false, false}, {"*a*a*a", "aaa", true, true}, {"", "", false, false}, {"a//b", "a/b", true, true}, {"./a", "a", true, true},
		{"A", "a", false, false}, {"*", "new\nline", true, true}, {"*.*", "a.b.c", true, true}, {"{,.}a", ".a", true, true},
	} {
		for _, hidden := range []bool{false, true} {
			p, err := Compile(c.pattern, Options{Hidden: hidden})
			if err != nil {
				t.Errorf("%q: %v", c.pattern, err)
				continue
			}
			want := c.want
			if hidden {
				want = c.hidden
			}
			if got := p.Match(c.path); got != want {
				t.Errorf("%q on %q, hidden %v: %v", c.pattern, c.path, hidden, got)
			}
		}
	}
}

func TestErrors(t *testing.T) {
	for pattern, offset := range map[string]int{
		"[a": 0, "x[": 1, "[]": 0, "[z-a]": 0, "ab/c[d": 4, `a\`: 1, "{a": 0, "x{a,{b}": 1, "a}": 1, "{a,b}}": 5, "../x": 0, "a/../b": 2, "{a,b[}": 4, "{x,y}/[": 6,
	} {
		_, err := Compile(pattern, Options{})
		var syntax *SyntaxError
		if !errors.As(err, &syntax) || syntax.Offset != offset {
			t.Errorf("%q: %v, want byte %d", pattern, err, offset)
		}
	}
	if _, err := Compile(strings.Repeat("{a,b}", 20), Options{}); err == nil {
		t.Error("a million patterns")
	}
	if _, err := Compile(strings.Repeat("{", 100)+strings.Repeat("}", 100), Options{}); err == nil {
		t.Error("a hundred braces deep")
	}
}

func TestLinks(t *testing.T) {
	p, err := Compile("**/x/*/y", Options{})
	if err != nil {
		t.Fatal(err)
	}
	if s := p.Start().Enter("link", true); !s.Dead() {
		t.Error("** goes through a link")
	}
	if s := p.Start().Enter("x", true).Enter("link", true); !s.Match("y") {
		t.Error("a name does not go through a link")
	}
}

// TestTime: a pattern made to be slow is not.
func TestTime(t *testing.T) {
	p, err := Compile(strings.Repeat("*a", 100)+"b", Options{})
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	if p.Match(strings.Repeat("a", 255)) {
		t.Error("it matches")
	}
	if spent := time.Since(begin); spent > 10*time.Second {
		t.Errorf("it took %v", spent)
	}
}

func FuzzMatch(f *testing.F) {
	for _, s := range []string{"*", "**/*.go", "{a,b}[c-d]?", `\*`, "a/**/b", "[", "{", "\xff[\xfe]"} {
		f.Add(s, "a/b.go")
	}
	f.Fuzz(func(t *testing.T, pattern, path string) {
		p, err := Compile(pattern, Options{})
		if err != nil {
			return
		}
		p.Match(path)
		// A pattern of no special characters matches itself.
		if !strings.ContainsAny(pattern, `*?[]{}\/,`) && pattern != "" && pattern != "." && !p.Match(pattern) {
			t.Errorf("%q does not match itself", pattern)
		}
	})
}
