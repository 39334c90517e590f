package guest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/deep-sandbox/deep/core/backend"
)

func searchCases(t *testing.T) {
	f := newFixture(t)
	for _, c := range []struct {
		name string
		run  func(f *fixture)
	}{
		{"Glob", caseGlob},
		{"GlobOrder", caseGlobOrder},
		{"GlobLinks", caseGlobLinks},
		{"GlobRefused", caseGlobRefused},
		{"Grep", caseGrep},
		{"GrepSelects", caseGrepSelects},
		{"GrepIgnore", caseGrepIgnore},
		{"GrepContext", caseGrepContext},
		{"GrepBlocks", caseGrepBlocks},
		{"GrepLongLine", caseGrepLongLine},
		{"GrepLimits", caseGrepLimits},
		{"GrepRefused", caseGrepRefused},
		{"GrepMany", caseGrepMany},
		{"GrepSpecial", caseGrepSpecial},
	} {
		t.Run(c.name, func(t *testing.T) {
			inner := *f
			inner.t = t
			check(t, emptyDir(f.dir))
			c.run(&inner)
		})
	}
}

func TestGroupSearch(t *testing.T) { inNamespaces(t, modeGroup, searchCases) }
func TestPIDNSSearch(t *testing.T) { inNamespaces(t, modePIDNS, searchCases) }

func (f *fixture) glob(req backend.GlobRequest) []string {
	f.t.Helper()
	r, err := f.Glob(f.t.Context(), &req)
	check(f.t, err)
	var paths []string
	for _, m := range r.Matches {
		paths = append(paths, m.Path)
	}
	return paths
}

func caseGlob(f *fixture) {
	for _, name := range []string{
		"a.py", "b.py", "b.txt", ".hidden.py", "src/c.py", "src/deep/er/d.py", "src/.secret/e.py", "test/f.go", "src/odd [1].py",
		"caf\u00e9.py", "bad\xff.py",
	} {
		f.put(name, name)
	}
	for _, c := range []struct {
		pattern string
		hidden  bool
		want    []string
	}{
		{"*.py", false, []string{"a.py", "b.py", "bad\xff.py", "café.py"}},
		{"*.py", true, []string{".hidden.py", "a.py", "b.py", "bad\xff.py", "café.py"}},
		{".*.py", false, []string{".hidden.py"}},
		{"?.py", false, []string{"a.py", "b.py"}},
		{"caf?.py", false, []string{"café.py"}},
		{"bad?.py", false, []string{"bad\xff.py"}},
		{"[ab].*", false, []string{"a.py", "b.py", "b.txt"}},
		{"[!a].py", false, []string{"b.py"}},
		{"{a,b}.{py,txt}", false, []string{"a.py", "b.py", "b.txt"}},
		{"**/*.py", false, []string{"a.py", "b.py", "bad\xff.py", "café.py", "src/c.py", "src/deep/er/d.py", "src/odd [1].py"}},
		{"**/d.py", false, []string{"src/deep/er/d.py"}},
		{"src/**", false, []string{"src/c.py", "src/deep/er/d.py", "src/odd [1].py"}},
		{"src/**/*.py", true, []string{"src/.secret/e.py", "src/c.py", "src/deep/er/d.py", "src/odd [1].py"}},
		{"{src,test}/*", false, []string{"src/c.py", "src/odd [1].py", "test/f.go"}},
		{"src/.secret/*", false, []string{"src/.secret/e.py"}},
		{`src/odd \[1\].py`, false, []string{"src/odd [1].py"}},
		{"./a.py", false, []string{"a.py"}},
		{"A.py", false, nil},
		{"src", false, nil},
	} {
		got := f.glob(backend.GlobRequest{Pattern: c.pattern, Hidden: c.hidden, Order: backend.OrderPath})
		if !slices.Equal(got, c.want) {
			f.t.Errorf("%s: %q, want %q", c.pattern, got, c.want)
		}
	}
	if got := f.glob(backend.GlobRequest{Path: "src", Pattern: "*.py", Order: backend.OrderPath}); !slices.Equal(got, []string{"c.py", "odd [1].py"}) {
		f.t.Errorf("in src: %q", got)
	}
	if got := f.glob(backend.GlobRequest{Pattern: "s*", Directories: true}); !slices.Equal(got, []string{"src"}) {
		f.t.Errorf("directories: %q", got)
	}
}

func caseGlobOrder(f *fixture) {
	now := time.Now()
	for i, name := range []string{"c", "a", "b", "d"} {
		f.put(name, "")
		when := now.Add(time.Duration(i/2) * time.Hour) // two pairs of the same age
		check(f.t, os.Chtimes(f.path(name), when, when))
	}
	if got := f.glob(backend.GlobRequest{Pattern: "*"}); !slices.Equal(got, []string{"b", "d", "a", "c"}) {
		f.t.Errorf("%q", got)
	}
	r, err := f.Glob(f.t.Context(), &backend.GlobRequest{Pattern: "*", Limit: 2})
	check(f.t, err)
	if len(r.Matches) != 2 || r.Matches[0].Path != "b" || !r.Truncated || r.Total != 4 {
		f.t.Errorf("%+v", r)
	}
	r, err = f.Glob(f.t.Context(), &backend.GlobRequest{Pattern: "*", Limit: 4})
	if check(f.t, err); r.Truncated || len(r.Matches) != 4 {
		f.t.Errorf("%+v", r)
	}
}

func caseGlobLinks(f *fixture) {
	f.put("real/file", "")
	check(f.t, os.Symlink("real", f.path("link")))
	check(f.t, os.Symlink("..", f.path("real/up")))
	check(f.t, os.Symlink("real/file", f.path("alias")))
	if got := f.glob(backend.GlobRequest{Pattern: "**/file", Order: backend.OrderPath}); !slices.Equal(got, []string{"real/file"}) {
		f.t.Errorf("%q", got)
	}
	if got := f.glob(backend.GlobRequest{Pattern: "*/file", Order: backend.OrderPath}); !slices.Equal(got, []string{"link/file", "real/file"}) {
		f.t.Errorf("%q", got)
	}
	r, err := f.Glob(f.t.Context(), &backend.GlobRequest{Pattern: "**", Directories: true, Order: backend.OrderPath})
	check(f.t, err)
	var got []string
	for _, m := range r.Matches {
		got = append(got, fmt.Sprint(m.Path, " ", m.Type, " ", m.Target))
	}
	want := []string{"alias symlink real/file", "link symlink real", "real directory ", "real/file file ", "real/up symlink .."}
	if !slices.Equal(got, want) {
		f.t.Errorf("%q", got)
	}
}

func caseGlobRefused(f *fixture) {
	f.put("file", "")
	for _, pattern := range []string{"", "/etc/*", "a/../b", "[a", "{a", "a}", `a\`, "[z-a]", strings.Repeat("{a,b}", 12)} {
		_, err := f.Glob(f.t.Context(), &backend.GlobRequest{Pattern: pattern})
		wantKind(f.t, err, backend.ErrInvalid)
	}
	_, err := f.Glob(f.t.Context(), &backend.GlobRequest{Pattern: "ab[c", Path: "."})
	if e := wantKind(f.t, err, backend.ErrInvalid); !strings.Contains(e.Message, "byte 2") {
		f.t.Errorf("no position in %q", e.Message)
	}
	_, err = f.Glob(f.t.Context(), &backend.GlobRequest{Pattern: "*", Order: "odd"})
	wantKind(f.t, err, backend.ErrInvalid)
	_, err = f.Glob(f.t.Context(), &backend.GlobRequest{Pattern: "*", Path: "none"})
	wantKind(f.t, err, backend.ErrNotFound)
	_, err = f.Glob(f.t.Context(), &backend.GlobRequest{Pattern: "*", Path: "file"})
	wantKind(f.t, err, backend.ErrNotDirectory)
	ctx, cancel := context.WithCancel(f.t.Context())
	cancel()
	_, err = f.Glob(ctx, &backend.GlobRequest{Pattern: "*"})
	wantKind(f.t, err, context.Canceled)
}

// grep returns matches as "path:line:text", context with '-'.
func (f *fixture) grep(req backend.GrepRequest) []string {
	f.t.Helper()
	r, err := f.Grep(f.t.Context(), &req)
	check(f.t, err)
	if r.Truncated {
		f.t.Errorf("%+v: truncated", req)
	}
	return lines(r)
}

func lines(r *backend.GrepReply) []string {
	var out []string
	for _, m := range r.Matches {
		switch {
		case m.Count > 0:
			out = append(out, fmt.Sprintf("%s=%d", m.Path, m.Count))
		case m.Line == 0:
			out = append(out, m.Path)
		case m.Context:
			out = append(out, fmt.Sprintf("%s-%d-%s", m.Path, m.Line, m.Text))
		default:
			out = append(out, fmt.Sprintf("%s:%d:%s", m.Path, m.Line, m.Text))
		}
	}
	return out
}

func caseGrep(f *fixture) {
	f.put("a.txt", "foo\nbar foo\n\nFoo\nbaz")
	f.put("crlf", "foo\r\nbar\r\n")
	f.put("sub/b.txt", "x.y foo(1)\n\xff foo \xfe\n")
	for _, c := range []struct {
		req  backend.GrepRequest
		want []string
	}{
		{backend.GrepRequest{Pattern: "foo"}, []string{"a.txt:1:foo", "a.txt:2:bar foo", "crlf:1:foo", "sub/b.txt:1:x.y foo(1)", "sub/b.txt:2:\xff foo \xfe"}},
		{backend.GrepRequest{Pattern: "foo", Literal: true, Path: "sub"}, []string{"b.txt:1:x.y foo(1)", "b.txt:2:\xff foo \xfe"}},
		{backend.GrepRequest{Pattern: "o(1", Literal: true}, []string{"sub/b.txt:1:x.y foo(1)"}},
		{backend.GrepRequest{Pattern: "X.Y", Literal: true, IgnoreCase: true}, []string{"sub/b.txt:1:x.y foo(1)"}},
		{backend.GrepRequest{Pattern: "^foo$"}, []string{"a.txt:1:foo", "crlf:1:foo"}},
		{backend.GrepRequest{Pattern: `\Afoo\z`}, []string{"a.txt:1:foo", "crlf:1:foo"}},
		{backend.GrepRequest{Pattern: "^foo$", IgnoreCase: true}, []string{"a.txt:1:foo", "a.txt:4:Foo", "crlf:1:foo"}},
		{backend.GrepRequest{Pattern: "^$"}, []string{"a.txt:3:"}},
		{backend.GrepRequest{Pattern: "z$"}, []string{"a.txt:5:baz"}},
		{backend.GrepRequest{Pattern: "b.."}, []string{"a.txt:2:bar foo", "a.txt:5:baz", "crlf:2:bar"}},
		{backend.GrepRequest{Pattern: "foo.*bar"}, nil}, // not across lines
		{backend.GrepRequest{Pattern: `o\s*b`}, nil},
		{backend.GrepRequest{Pattern: `[^x]b`}, nil},
		{backend.GrepRequest{Pattern: "foo\nbar", Literal: true}, nil},
		{backend.GrepRequest{Pattern: `\r`}, nil}, // the end is not part of the line
		{backend.GrepRequest{Pattern: "\r", Literal: true}, nil},
		{backend.GrepRequest{Pattern: `\bfoo\b`, Path: "a.txt"}, []string{"a.txt:1:foo", "a.txt:2:bar foo"}},
		{backend.GrepRequest{Pattern: "foo|baz", Path: "a.txt"}, []string{"a.txt:1:foo", "a.txt:2:bar foo", "a.txt:5:baz"}},
		{backend.GrepRequest{Pattern: "foo", Mode: backend.GrepFiles}, []string{"a.txt", "crlf", "sub/b.txt"}},
		{backend.GrepRequest{Pattern: "foo", Mode: backend.GrepCount}, []string{"a.txt=2", "crlf=1", "sub/b.txt=2"}},
		{backend.GrepRequest{Pattern: "", Path: "a.txt", Mode: backend.GrepCount}, []string{"a.txt=5"}},
		{backend.GrepRequest{Pattern: "x*", Path: "a.txt", Mode: backend.GrepCount}, []string{"a.txt=5"}},
		{backend.GrepRequest{Pattern: "nothing"}, nil},
	} {
		if got := f.grep(c.req); !slices.Equal(got, c.want) {
			f.t.Errorf("%+v:\n%q, want\n%q", c.req, got, c.want)
		}
	}
}

func caseGrepSelects(f *fixture) {
	for _, name := range []string{"a.go", "a-b.go", "a/x.go", "a/y.txt", ".hidden", ".dir/z.go", "b/vendor/v.go", "B.GO"} {
		f.put(name, "needle\n")
	}
	f.put("binary", "needle\n\x00\n")
	f.put("late", "needle\n"+strings.Repeat("x", binaryProbe)+"\x00\n")
	check(f.t, os.Symlink("a.go", f.path("link.go")))
	check(f.t, os.Symlink(".", f.path("loop")))
	files := func(req backend.GrepRequest) []string {
		req.Pattern, req.Mode = "needle", backend.GrepFiles
		return f.grep(req)
	}
	for _, c := range []struct {
		req  backend.GrepRequest
		want []string
	}{
		{backend.GrepRequest{}, []string{"B.GO", "a-b.go", "a.go", "a/x.go", "a/y.txt", "b/vendor/v.go", "late"}},
		{backend.GrepRequest{Hidden: true, Include: []string{"*.go"}}, []string{".dir/z.go", "a-b.go", "a.go", "a/x.go", "b/vendor/v.go"}},
		{backend.GrepRequest{Include: []string{"*.go"}}, []string{"a-b.go", "a.go", "a/x.go", "b/vendor/v.go"}},
		{backend.GrepRequest{Include: []string{"a/*", "*.GO"}}, []string{"B.GO", "a/x.go", "a/y.txt"}},
		{backend.GrepRequest{Include: []string{"**/*.{go,txt}"}, Exclude: []string{"vendor", "a-*"}}, []string{"a.go", "a/x.go", "a/y.txt"}},
		{backend.GrepRequest{Exclude: []string{"a/**", "*.GO", "late"}}, []string{"a-b.go", "a.go", "b/vendor/v.go"}},
		{backend.GrepRequest{Path: "binary"}, []string{"binary"}},
		{backend.GrepRequest{Path: ".hidden"}, []string{".hidden"}},
		{backend.GrepRequest{Path: "link.go"}, []string{"link.go"}},
		{backend.GrepRequest{Path: "loop/a"}, []string{"x.go", "y.txt"}},
	} {
		if got := files(c.req); !slices.Equal(got, c.want) {
			f.t.Errorf("%+v:\n%q, want\n%q", c.req, got, c.want)
		}
	}
	r, err := f.Grep(f.t.Context(), &backend.GrepRequest{Pattern: "none"})
	if check(f.t, err); r.Searched != 7 {
		f.t.Errorf("searched %d", r.Searched)
	}
}

func caseGrepIgnore(f *fixture) {
	f.put(".gitignore", "*.log\n/build/\n!keep.log\nnode_modules\ndocs/*.tmp\n# comment\n")
	f.put("sub/.gitignore", "!x.log\nlocal\n")
	for _, name := range []string{
		"a.txt", "a.log", "keep.log", "build/x", "sub/build/y", "node_modules/m/i.js", "sub/node_modules/j", "docs/d.tmp", "docs/deep/e.tmp",
		"sub/x.log", "sub/y.log", "sub/local", "local",
	} {
		f.put(name, "needle\n")
	}
	files := func(req backend.GrepRequest) []string {
		req.Pattern, req.Mode = "needle", backend.GrepFiles
		return f.grep(req)
	}
	want := []string{"a.txt", "docs/deep/e.tmp", "keep.log", "local", "sub/build/y", "sub/x.log"}
	if got := files(backend.GrepRequest{}); !slices.Equal(got, want) {
		f.t.Errorf("%q, want %q", got, want)
	}
	// The files above hold below.
	if got := files(backend.GrepRequest{Path: "sub"}); !slices.Equal(got, []string{"build/y", "x.log"}) {
		f.t.Errorf("in sub: %q", got)
	}
	if got := files(backend.GrepRequest{Path: "docs"}); !slices.Equal(got, []string{"deep/e.tmp"}) {
		f.t.Errorf("in docs: %q", got)
	}
	if got := files(backend.GrepRequest{Path: "a.log"}); !slices.Equal(got, []string{"a.log"}) {
		f.t.Errorf("a file that was named: %q", got)
	}
	if got := files(backend.GrepRequest{NoIgnore: true}); len(got) != 13 {
		f.t.Errorf("with ignored ones: %q", got)
	}
}

func caseGrepContext(f *fixture) {
	f.put("f", "1\n2\n3 hit\n4\n5\n6\n7\n8 hit\n9 hit\n10\n11\n12\n")
	for _, c := range []struct {
		before, after int
		want          string
	}{
		{0, 0, "f:3:3 hit f:8:8 hit f:9:9 hit"},
		{1, 0, "f-2-2 f:3:3 hit f-7-7 f:8:8 hit f:9:9 hit"},
		{0, 1, "f:3:3 hit f-4-4 f:8:8 hit f:9:9 hit f-10-10"},
		{2, 3, "f-1-1 f-2-2 f:3:3 hit f-4-4 f-5-5 f-6-6 f-7-7 f:8:8 hit f:9:9 hit f-10-10 f-11-11 f-12-12"},
		{20, 20, "f-1-1 f-2-2 f:3:3 hit f-4-4 f-5-5 f-6-6 f-7-7 f:8:8 hit f:9:9 hit f-10-10 f-11-11 f-12-12"},
	} {
		got := strings.Join(f.grep(backend.GrepRequest{Pattern: "hit", Before: c.before, After: c.after}), " ")
		if got != c.want {
			f.t.Errorf("%d, %d: %q, want %q", c.before, c.after, got, c.want)
		}
	}
	r, err := f.Grep(f.t.Context(), &backend.GrepRequest{Pattern: "hit", Before: 3, After: 1, Limit: 1})
	check(f.t, err)
	if got := strings.Join(lines(r), " "); got != "f-1-1 f-2-2 f:3:3 hit f-4-4" || !r.Truncated {
		f.t.Errorf("limited: %q", got)
	}
}

// caseGrepBlocks compares the search of a file of many blocks with a simple one.
func caseGrepBlocks(f *fixture) {
	var content []string
	for i := range 60_000 {
		line := fmt.Sprintf("line %d %s", i, strings.Repeat("x", i%37))
		if i%9973 == 0 || i%13001 == 1 {
			line += " needle"
		}
		content = append(content, line)
	}
	f.put("big", strings.Join(content, "\n"))
	for _, pattern := range []string{"needle", "need[l]e", "ne+dle$"} {
		for _, around := range []int{0, 3} {
			var want []string
			shown := -1
			for i, line := range content {
				if !strings.Contains(line, "needle") {
					continue
				}
				for j := max(shown+1, i-around); j <= min(i+around, len(content)-1); j++ {
					mark := "-"
					if strings.Contains(content[j], "needle") {
						mark = ":"
					}
					want = append(want, fmt.Sprintf("big%s%d%s%s", mark, j+1, mark, content[j]))
					shown = j
				}
				_ = line
			}
			got := f.grep(backend.GrepRequest{Pattern: pattern, Before: around, After: around})
			if !slices.Equal(got, want) {
				f.t.Errorf("%s, %d around: %d lines, want %d", pattern, around, len(got), len(want))
			}
		}
	}
}

func caseGrepLongLine(f *fixture) {
	const size = 3*grepBlock + 12345
	long := func(at int, mark string) string {
		line := []byte(strings.Repeat("abcdefghij", size/10+1)[:size])
		copy(line[at:], mark)
		return string(line)
	}
	const mark = "MARK\u00e9"
	requests := []backend.GrepRequest{
		{Pattern: "MARK", Literal: true}, {Pattern: "MARK"}, {Pattern: "M[A]RK"}, {Pattern: "mar[k]", IgnoreCase: true},
	}
	for i, at := range []int{0, 1000, grepBlock - 3, grepBlock, 2*grepBlock - 1, size - len(mark)} {
		end := []string{"\n", "\r\n"}[i%2]
		f.put("long", "before"+end+long(at, mark)+end+"after"+end+long(at, "other")+end+"last MARK"+end)
		// Each with the first, which is quick, and one other.
		for _, req := range []backend.GrepRequest{requests[0], requests[1+i%3]} {
			req.Before, req.After = 1, 1
			r, err := f.Grep(f.t.Context(), &req)
			check(f.t, err)
			var got []string
			for _, m := range r.Matches {
				got = append(got, fmt.Sprintf("%d %v %v", m.Line, m.Context, m.Cut))
				if len(m.Text) > backend.MaxGrepLine || m.Line == 2 && !strings.Contains(m.Text, mark) || strings.HasSuffix(m.Text, "\r") {
					f.t.Errorf("at %d, %+v: line %d is %d bytes", at, req, m.Line, len(m.Text))
				}
			}
			want := []string{"1 true false", "2 false true", "3 true false", "4 true true", "5 false false"}
			if !slices.Equal(got, want) {
				f.t.Errorf("at %d, %+v: %q", at, req, got)
			}
		}
	}
	// Anchors hold for the whole line and not for a piece of it.
	f.put("long", long(0, mark)+"\r\n"+long(size-len(mark), mark)+"\n")
	for pattern, want := range map[string]string{"^MARKé": "1", "MARKé$": "2", "^cdef": ""} {
		r, err := f.Grep(f.t.Context(), &backend.GrepRequest{Pattern: pattern})
		check(f.t, err)
		got := ""
		for _, m := range r.Matches {
			got += fmt.Sprint(m.Line)
		}
		if got != want {
			f.t.Errorf("%s: lines %q, want %q", pattern, got, want)
		}
	}
}

func caseGrepLimits(f *fixture) {
	for i := range 300 {
		f.put(fmt.Sprintf("d/%03d", i), "hit\nhit\nmiss\n")
	}
	for _, limit := range []int{1, 2, 3, 599, 600, 601} {
		r, err := f.Grep(f.t.Context(), &backend.GrepRequest{Pattern: "hit", Limit: limit})
		check(f.t, err)
		if len(r.Matches) != min(limit, 600) || r.Truncated != (limit < 600) {
			f.t.Errorf("limit %d: %d matches, truncated %v", limit, len(r.Matches), r.Truncated)
		}
		for i, m := range r.Matches {
			if m.Path != fmt.Sprintf("d/%03d", i/2) || m.Line != i%2+1 {
				f.t.Fatalf("match %d is %+v", i, m)
			}
		}
	}
	r, err := f.Grep(f.t.Context(), &backend.GrepRequest{Pattern: "hit", Mode: backend.GrepFiles, Limit: 10})
	if check(f.t, err); len(r.Matches) != 10 || !r.Truncated {
		f.t.Errorf("%d files", len(r.Matches))
	}
	// More text than an answer holds.
	f.put("wide", strings.Repeat(strings.Repeat("w", 1999)+"\n", 6000))
	r, err = f.Grep(f.t.Context(), &backend.GrepRequest{Pattern: "w", Path: "wide"})
	if check(f.t, err); !r.Truncated || len(r.Matches) < 1000 || len(r.Matches) > 6000 {
		f.t.Errorf("%d wide lines, truncated %v", len(r.Matches), r.Truncated)
	}
}

func caseGrepRefused(f *fixture) {
	_, err := f.Grep(f.t.Context(), &backend.GrepRequest{Pattern: "ab(c"})
	if e := wantKind(f.t, err, backend.ErrInvalid); !strings.Contains(e.Message, "byte") || e.Hint == "" {
		f.t.Errorf("%+v", e)
	}
	for _, req := range []backend.GrepRequest{
		{Pattern: "x", Before: 21}, {Pattern: "x", After: -1}, {Pattern: "x", Limit: -1}, {Pattern: "x", Mode: "odd"}, {Pattern: "x", Include: []string{"[a"}},
		{Pattern: "x", Exclude: []string{""}}, {Pattern: "a{1001}"}, {Pattern: `\8`},
	} {
		_, err := f.Grep(f.t.Context(), &req)
		wantKind(f.t, err, backend.ErrInvalid)
	}
	_, err = f.Grep(f.t.Context(), &backend.GrepRequest{Pattern: strings.Repeat("x", maxPattern+1)})
	wantKind(f.t, err, backend.ErrTooLarge)
	_, err = f.Grep(f.t.Context(), &backend.GrepRequest{Pattern: "x", Path: "none"})
	wantKind(f.t, err, backend.ErrNotFound)
	check(f.t, unix.Mkfifo(f.path("fifo"), 0o644))
	_, err = f.Grep(f.t.Context(), &backend.GrepRequest{Pattern: "x", Path: "fifo"})
	wantKind(f.t, err, backend.ErrInvalid)
}

func caseGrepMany(f *fixture) {
	// In parallel, more than there are threads: none waits for ever.
	for i := range 500 {
		f.put(fmt.Sprintf("m%d/%d", i%10, i), fmt.Sprintf("number %d\n", i))
	}
	done := make(chan error, 20)
	for range cap(done) {
		go func() {
			r, err := f.Grep(f.t.Context(), &backend.GrepRequest{Pattern: "number [0-9]+"})
			if err == nil && len(r.Matches) != 500 {
				err = fmt.Errorf("%d matches", len(r.Matches))
			}
			done <- err
		}()
	}
	for range cap(done) {
		check(f.t, <-done)
	}
	ctx, cancel := context.WithCancel(f.t.Context())
	cancel()
	_, err := f.Grep(ctx, &backend.GrepRequest{Pattern: "x"})
	wantKind(f.t, err, context.Canceled)
}

func caseGrepSpecial(f *fixture) {
	// Files of /proc fail in many ways when they are read.
	defer f.begin("own", &backend.ExecRequest{Shell: "echo ready; exec sleep 1000"})()
	own := "/proc/" + strconv.Itoa(f.processesOf("own")[0].PID)
	r, err := f.Grep(f.t.Context(), &backend.GrepRequest{Pattern: "needle", Path: own, Exclude: []string{"task", "net"}})
	check(f.t, err)
	if len(r.Unreadable) == 0 {
		f.t.Errorf("all of %s is said to be read", own)
	}
	_, err = f.List(f.t.Context(), &backend.ListDirRequest{Path: own})
	check(f.t, err)
	// Those of the guest itself spoil no search above.
	list, err := f.Glob(f.t.Context(), &backend.GlobRequest{Pattern: "*/comm", Path: "/proc"})
	check(f.t, err)
	if list.Total == 0 || !slices.Contains(list.Unreadable, "1") {
		f.t.Errorf("%+v", list)
	}
	// Nothing in a tree blocks a search.
	check(f.t, unix.Mkfifo(f.path("fifo"), 0o644))
	check(f.t, os.Symlink("/dev/zero", f.path("zero")))
	for _, name := range oddNames {
		f.put("odd/"+name, "needle")
	}
	got := f.grep(backend.GrepRequest{Pattern: "needle", Mode: backend.GrepFiles, Hidden: true})
	var want []string
	for _, name := range oddNames {
		want = append(want, filepath.Join("odd", name))
	}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		f.t.Errorf("%q", got)
	}
}
