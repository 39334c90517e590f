package backendtest

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/deep-sandbox/deep/core/backend"
)

// grepLines returns what a search finds below the rule's directory, each match as
// path:line:text, context with dashes.
func (t *T) grepLines(req backend.GrepRequest) []string {
	if req.Path == "" {
		req.Path = t.rule.Name
	}
	r, err := t.sandbox().Grep(t.ctx, &req)
	t.must("grep "+req.Pattern, err)
	var lines []string
	for _, m := range r.Matches {
		sep := ":"
		if m.Context {
			sep = "-"
		}
		switch req.Mode {
		case backend.GrepFiles:
			lines = append(lines, m.Path)
		case backend.GrepCount:
			lines = append(lines, fmt.Sprintf("%s:%d", m.Path, m.Count))
		default:
			lines = append(lines, fmt.Sprintf("%s%s%d%s%s", m.Path, sep, m.Line, sep, m.Text))
		}
	}
	return lines
}

func (t *T) wantGrep(req backend.GrepRequest, want ...string) {
	if got := t.grepLines(req); !slices.Equal(got, want) {
		t.Errorf("%+v finds %q, want %q", req, got, want)
	}
}

func (t *T) grepErr(req backend.GrepRequest) error {
	_, err := t.sandbox().Grep(t.ctx, &req)
	return err
}

var grepRules = []Rule{
	{
		Name:     "grep-lines",
		Sentence: "Grep finds lines by RE2, sorted by path, then line, without their ends.",
		run: func(t *T) {
			t.writeAll(map[string]string{"b": "needle one\nother\nneedle two", "a": "x\nneedle\n", "d/c": "a needle here\n", "empty": ""})
			t.wantGrep(backend.GrepRequest{Pattern: "needle"}, "a:2:needle", "b:1:needle one", "b:3:needle two", "d/c:1:a needle here")
			t.wantGrep(backend.GrepRequest{Pattern: "^needle$"}, "a:2:needle")
			t.wantGrep(backend.GrepRequest{Pattern: `n[aeiou]+d\w* (one|two)`}, "b:1:needle one", "b:3:needle two")
			t.wantGrep(backend.GrepRequest{Pattern: "no such thing"})
			r, err := t.sandbox().Grep(t.ctx, &backend.GrepRequest{Path: t.rule.Name, Pattern: "needle"})
			t.must("grep", err)
			if r.Truncated || r.Searched != 4 {
				t.Errorf("truncated %v, searched %d", r.Truncated, r.Searched)
			}
		},
	},
	{
		Name:     "grep-literal",
		Sentence: "Literal takes the pattern as plain bytes; IgnoreCase takes upper and lower case alike.",
		run: func(t *T) {
			t.write("f", "a.b(c\nA.B(C\naxb(c\n\xff\xfe bytes\n")
			t.wantGrep(backend.GrepRequest{Pattern: "a.b(c", Literal: true}, "f:1:a.b(c")
			t.wantGrep(backend.GrepRequest{Pattern: "a.b(c", Literal: true, IgnoreCase: true}, "f:1:a.b(c", "f:2:A.B(C")
			t.wantGrep(backend.GrepRequest{Pattern: `a.b\(c`}, "f:1:a.b(c", "f:3:axb(c")
			t.wantGrep(backend.GrepRequest{Pattern: `A\.B`, IgnoreCase: true}, "f:1:a.b(c", "f:2:A.B(C")
			t.wantGrep(backend.GrepRequest{Pattern: "bytes"}, "f:4:\xff\xfe bytes")
		},
	},
	{
		Name:     "grep-modes",
		Sentence: "Whole files, counts or lines.",
		run: func(t *T) {
			t.writeAll(map[string]string{"a": "x\nx\ny\n", "b": "x\n", "c": "y\n"})
			t.wantGrep(backend.GrepRequest{Pattern: "x", Mode: backend.GrepFiles}, "a", "b")
			t.wantGrep(backend.GrepRequest{Pattern: "x", Mode: backend.GrepCount}, "a:2", "b:1")
			t.wantGrep(backend.GrepRequest{Pattern: "x", Mode: backend.GrepLines}, "a:1:x", "a:2:x", "b:1:x")
			t.wantKind("another mode", t.grepErr(backend.GrepRequest{Path: t.rule.Name, Pattern: "x", Mode: "words"}), backend.ErrInvalid)
		},
	},
	{
		Name:     "grep-context",
		Sentence: "Lines before and after a match are marked as context, each line once; more than 20 are ErrInvalid.",
		run: func(t *T) {
			t.write("f", "1\n2\nhit\n4\nhit\n6\n7\n8\n")
			t.wantGrep(backend.GrepRequest{Pattern: "hit", Before: 1, After: 1}, "f-2-2", "f:3:hit", "f-4-4", "f:5:hit", "f-6-6")
			t.wantGrep(backend.GrepRequest{Pattern: "hit", After: 2}, "f:3:hit", "f-4-4", "f:5:hit", "f-6-6", "f-7-7")
			t.wantGrep(backend.GrepRequest{Pattern: "hit", Before: 20}, "f-1-1", "f-2-2", "f:3:hit", "f-4-4", "f:5:hit")
			t.wantKind("21 lines", t.grepErr(backend.GrepRequest{Path: t.rule.Name, Pattern: "x", Before: 21}), backend.ErrInvalid)
			t.wantKind("-1 lines", t.grepErr(backend.GrepRequest{Path: t.rule.Name, Pattern: "x", After: -1}), backend.ErrInvalid)
		},
	},
	{
		Name:     "grep-include-exclude",
		Sentence: "Include and Exclude are globs on the relative path; one without a slash is matched against the name.",
		run: func(t *T) {
			t.writeAll(map[string]string{"a.py": "x", "a.txt": "x", "src/b.py": "x", "src/test/c.py": "x"})
			files := func(include, exclude []string) backend.GrepRequest {
				return backend.GrepRequest{Pattern: "x", Mode: backend.GrepFiles, Include: include, Exclude: exclude}
			}
			t.wantGrep(files([]string{"*.py"}, nil), "a.py", "src/b.py", "src/test/c.py")
			t.wantGrep(files([]string{"src/*.py"}, nil), "src/b.py")
			t.wantGrep(files([]string{"src/**/*.py", "*.txt"}, nil), "a.txt", "src/b.py", "src/test/c.py")
			t.wantGrep(files(nil, []string{"*.py"}), "a.txt")
			t.wantGrep(files([]string{"*.py"}, []string{"src/test/*"}), "a.py", "src/b.py")
			t.wantKind("a bad glob", t.grepErr(backend.GrepRequest{Path: t.rule.Name, Pattern: "x", Include: []string{"[a"}}), backend.ErrInvalid)
		},
	},
	{
		Name:     "grep-hidden",
		Sentence: "Hidden files and directories are skipped unless asked.",
		run: func(t *T) {
			t.writeAll(map[string]string{"a": "x", ".env": "x", ".git/c": "x", "d/.h": "x"})
			t.wantGrep(backend.GrepRequest{Pattern: "x", Mode: backend.GrepFiles}, "a")
			t.wantGrep(backend.GrepRequest{Pattern: "x", Mode: backend.GrepFiles, Hidden: true}, ".env", ".git/c", "a", "d/.h")
		},
	},
	{
		Name:     "grep-binary",
		Sentence: "Binary files are skipped.",
		run: func(t *T) {
			t.writeAll(map[string]string{"binary": "needle\x00needle\n", "text": "needle\n"})
			t.wantGrep(backend.GrepRequest{Pattern: "needle"}, "text:1:needle")
		},
	},
	{
		Name:     "grep-named-file",
		Sentence: "A file named explicitly is always searched: hidden, ignored or binary.",
		run: func(t *T) {
			t.writeAll(map[string]string{".gitignore": "*", ".hidden": "needle\n", "ignored": "needle\n", "binary": "\x00\nneedle\n"})
			for name, want := range map[string]string{".hidden": ".hidden:1:needle", "ignored": "ignored:1:needle", "binary": "binary:2:needle"} {
				t.wantGrep(backend.GrepRequest{Path: t.path(name), Pattern: "needle"}, want)
			}
		},
	},
	{
		Name:     "grep-long-line",
		Sentence: "A long line is cut around the match, and marked.",
		run: func(t *T) {
			t.write("f", strings.Repeat("a", 50_000)+"needle"+strings.Repeat("b", 50_000)+"\nshort needle\n")
			r, err := t.sandbox().Grep(t.ctx, &backend.GrepRequest{Path: t.rule.Name, Pattern: "needle"})
			t.must("grep", err)
			if len(r.Matches) != 2 {
				t.Fatalf("%d matches", len(r.Matches))
			}
			if m := r.Matches[0]; !m.Cut || len(m.Text) > backend.MaxGrepLine || !strings.Contains(m.Text, "needle") {
				t.Errorf("cut %v, %d bytes", m.Cut, len(m.Text))
			}
			if m := r.Matches[1]; m.Cut || m.Text != "short needle" {
				t.Errorf("%+v", m)
			}
		},
	},
	{
		Name:     "grep-limit",
		Sentence: "A limit tells that it cut.",
		run: func(t *T) {
			t.write("f", strings.Repeat("x\n", 10))
			for limit, cut := range map[int]bool{4: true, 10: false, 11: false} {
				r, err := t.sandbox().Grep(t.ctx, &backend.GrepRequest{Path: t.rule.Name, Pattern: "x", Limit: limit})
				t.must("grep", err)
				if len(r.Matches) != min(limit, 10) || r.Truncated != cut {
					t.Errorf("limit %d: %d matches, truncated %v", limit, len(r.Matches), r.Truncated)
				}
			}
		},
	},
	{
		Name:     "grep-many",
		Sentence: "A long answer comes whole.",
		run: func(t *T) {
			line := strings.Repeat("long line ", 20)
			t.write("f", strings.Repeat(line+"\n", 5000))
			if got := t.grepLines(backend.GrepRequest{Pattern: "long"}); len(got) != 5000 || got[4999] != "f:5000:"+line {
				t.Errorf("%d lines", len(got))
			}
		},
	},
	{
		Name:     "grep-refused",
		Sentence: "An invalid pattern and a missing path are errors, never no matches.",
		run: func(t *T) {
			t.write("f", "x")
			err := t.grepErr(backend.GrepRequest{Path: t.rule.Name, Pattern: "a(b"})
			t.wantKind("a pattern that does not compile", err, backend.ErrInvalid)
			t.wantKind("missing", t.grepErr(backend.GrepRequest{Path: t.path("missing"), Pattern: "x"}), backend.ErrNotFound)
			t.wantKind("below a file", t.grepErr(backend.GrepRequest{Path: t.path("f/x"), Pattern: "x"}), backend.ErrNotDirectory)
		},
	},
	{
		Name:     "grep-special",
		Sentence: "FIFOs and links are passed over without blocking; a FIFO named explicitly is ErrInvalid.",
		Shell:    true,
		run: func(t *T) {
			t.write("d/f", "x\n")
			t.sh("mkfifo pipe; ln -s d link; ln -s . loop")
			t.wantGrep(backend.GrepRequest{Pattern: "x"}, "d/f:1:x")
			t.wantKind("a FIFO", t.grepErr(backend.GrepRequest{Path: t.path("pipe"), Pattern: "x"}), backend.ErrInvalid)
		},
	},
	{
		Name:     "grep-unreadable",
		Sentence: "What cannot be read is told, and does not spoil the rest.",
		Shell:    true,
		run: func(t *T) {
			t.writeAll(map[string]string{"a": "x\n", "closed": "x\n"})
			t.sh("chmod 000 closed")
			r, err := t.sandbox().Grep(t.ctx, &backend.GrepRequest{Path: t.rule.Name, Pattern: "x"})
			t.must("grep", err)
			if len(r.Matches) != 1 || !slices.Equal(r.Unreadable, []string{"closed"}) {
				t.Errorf("matches %v, unreadable %q", r.Matches, r.Unreadable)
			}
		},
	},
	{
		Name:     "grep-position",
		Sentence: "An invalid pattern is ErrInvalid with the position.",
		run: func(t *T) {
			t.write("f", "x")
			for pattern, at := range map[string]string{"abc[de": "3", "ab*cd**": "5", "abcd(?P<n": "4", `ab\q`: "2"} {
				err := t.grepErr(backend.GrepRequest{Path: t.rule.Name, Pattern: pattern})
				t.wantKind(pattern, err, backend.ErrInvalid)
				if e := (*backend.Error)(nil); errors.As(err, &e) && !strings.Contains(e.Message, at) {
					t.Errorf("%s: no position %s in %q", pattern, at, e.Message)
				}
			}
		},
	},
	{
		Name:     "grep-line-ends",
		Sentence: "A pattern is matched against each line without its end, which may be CRLF or missing.",
		run: func(t *T) {
			t.writeAll(map[string]string{"crlf": "one\r\ntwo\r\n\r\n", "last": "one\ntwo", "empty lines": "\n\none\n"})
			t.wantGrep(backend.GrepRequest{Pattern: "e$"}, "crlf:1:one", "empty lines:3:one", "last:1:one")
			t.wantGrep(backend.GrepRequest{Pattern: "^two$"}, "crlf:2:two", "last:2:two")
			t.wantGrep(backend.GrepRequest{Pattern: "^$"}, "crlf:3:", "empty lines:1:", "empty lines:2:")
			t.wantGrep(backend.GrepRequest{Pattern: `one\s+two`})
		},
	},
	{
		Name:     "grep-context-files",
		Sentence: "Context ends at the ends of a file, and does not count as a match.",
		run: func(t *T) {
			t.writeAll(map[string]string{"a": "hit\nafter a\n", "b": "before b\nhit\n", "c": "no\n"})
			t.wantGrep(backend.GrepRequest{Pattern: "hit", Before: 3, After: 3}, "a:1:hit", "a-2-after a", "b-1-before b", "b:2:hit")
			r, err := t.sandbox().Grep(t.ctx, &backend.GrepRequest{Path: t.rule.Name, Pattern: "hit", Before: 1, After: 1, Limit: 2})
			t.must("grep", err)
			if r.Truncated || len(r.Matches) != 4 {
				t.Errorf("truncated %v, %d lines", r.Truncated, len(r.Matches))
			}
			t.wantGrep(backend.GrepRequest{Pattern: "hit", After: 2, Mode: backend.GrepCount}, "a:1", "b:1")
		},
	},
	{
		Name:     "grep-default",
		Sentence: "No path searches the workspace; a link to a directory or a file may be what to search.",
		Shell:    true,
		run: func(t *T) {
			t.write("d/f", "needle in "+t.rule.Name+"\n")
			t.sh("ln -s d link; ln -s d/f file")
			r, err := t.sandbox().Grep(t.ctx, &backend.GrepRequest{Pattern: "needle in " + t.rule.Name})
			t.must("grep", err)
			if len(r.Matches) != 1 || r.Matches[0].Path != t.path("d/f") {
				t.Errorf("%+v", r.Matches)
			}
			t.wantGrep(backend.GrepRequest{Path: t.path("link"), Pattern: "needle"}, "f:1:needle in "+t.rule.Name)
			t.wantGrep(backend.GrepRequest{Path: t.path("file"), Pattern: "needle"}, "file:1:needle in "+t.rule.Name)
		},
	},
	{
		Name:     "grep-count-limit",
		Sentence: "A limit counts files where files are told; it tells that it cut.",
		run: func(t *T) {
			t.writeAll(map[string]string{"a": "x\nx\n", "b": "x\nx\nx\n", "c": "x\n"})
			for _, mode := range []backend.GrepMode{backend.GrepFiles, backend.GrepCount} {
				for limit, cut := range map[int]bool{2: true, 3: false} {
					r, err := t.sandbox().Grep(t.ctx, &backend.GrepRequest{Path: t.rule.Name, Pattern: "x", Mode: mode, Limit: limit})
					t.must("grep", err)
					if len(r.Matches) != limit || r.Truncated != cut || r.Matches[1].Path != "b" {
						t.Errorf("%s, limit %d: %+v, truncated %v", mode, limit, r.Matches, r.Truncated)
					}
				}
			}
			t.wantKind("a negative limit", t.grepErr(backend.GrepRequest{Path: t.rule.Name, Pattern: "x", Limit: -1}), backend.ErrInvalid)
		},
	},
	{
		Name:     "grep-expressions",
		Sentence: "RE2: classes, alternatives, word boundaries and flags of its own; what RE2 does not know is ErrInvalid.",
		run: func(t *T) {
			t.write("f", "Foo bar\nfoobar\nnaïve 日本\n12-34\n")
			for pattern, want := range map[string]string{
				`\bbar\b`: "f:1:Foo bar", "(?i)^foo ": "f:1:Foo bar", `^\d{2}-\d+$`: "f:4:12-34", `\p{Han}+`: "f:3:naïve 日本", "na.ve": "f:3:naïve 日本", "o{2}b|zzz": "f:2:foobar",
			} {
				t.wantGrep(backend.GrepRequest{Pattern: pattern}, want)
			}
			for _, pattern := range []string{`(a)\1`, "(?=x)", "(?<!x)y", "a{2000}"} {
				t.wantKind(pattern, t.grepErr(backend.GrepRequest{Path: t.rule.Name, Pattern: pattern}), backend.ErrInvalid)
			}
		},
	},
	{
		Name:     "search-changing",
		Sentence: "What vanishes while it is searched does not spoil the rest.",
		run: func(t *T) {
			var want []string
			for i := range 8 {
				name := fmt.Sprintf("f%02d", i)
				t.write("d/"+name, "needle")
				want = append(want, name)
			}
			defer t.churn("d")()
			for range 15 {
				got := t.globPaths(backend.GlobRequest{Path: t.path("d"), Pattern: "f*"})
				if !slices.Equal(got, want) {
					t.Errorf("glob: %q", got)
				}
				got = t.grepLines(backend.GrepRequest{Path: t.path("d"), Pattern: "needle", Mode: backend.GrepFiles})
				if !slices.Equal(got, want) {
					t.Errorf("grep: %q", got)
				}
			}
		},
	},
}
