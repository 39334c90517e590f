package backendtest

import (
	"fmt"
	"slices"

	"github.com/deep-sandbox/deep/core/backend"
)

// globPaths returns what a pattern finds below the rule's directory, by path.
func (t *T) globPaths(req backend.GlobRequest) []string {
	if req.Path == "" {
		req.Path = t.rule.Name
	}
	if req.Order == "" {
		req.Order = backend.OrderPath
	}
	r, err := t.sandbox().Glob(t.ctx, &req)
	t.must("glob "+req.Pattern, err)
	if r.Truncated || r.Total != len(r.Matches) {
		t.Errorf("%s: truncated %v, total %d of %d", req.Pattern, r.Truncated, r.Total, len(r.Matches))
	}
	var paths []string
	for _, m := range r.Matches {
		paths = append(paths, m.Path)
	}
	return paths
}

func (t *T) wantGlob(req backend.GlobRequest, want ...string) {
	if got := t.globPaths(req); !slices.Equal(got, want) {
		t.Errorf("%q (hidden %v, directories %v) finds %q, want %q", req.Pattern, req.Hidden, req.Directories, got, want)
	}
}

func (t *T) globErr(req backend.GlobRequest) error {
	_, err := t.sandbox().Glob(t.ctx, &req)
	return err
}

var globRules = []Rule{
	{
		Name:     "glob-dialect",
		Sentence: "*, ?, [a-z], {a,b} and **; * does not cross /; *.py is the base directory only, **/*.py any depth.",
		run: func(t *T) {
			t.writeAll(map[string]string{"a.py": "", "b.py": "", "c.txt": "", "src/d.py": "", "src/deep/e.py": "", "src/deep/f.txt": "", "abc": ""})
			for pattern, want := range map[string][]string{
				"*.py":               {"a.py", "b.py"},
				"**/*.py":            {"a.py", "b.py", "src/d.py", "src/deep/e.py"},
				"?.py":               {"a.py", "b.py"},
				"[a-b].*":            {"a.py", "b.py"},
				"[!a].py":            {"b.py"},
				"{a,c}.*":            {"a.py", "c.txt"},
				"*.{py,txt}":         {"a.py", "b.py", "c.txt"},
				"src/*":              {"src/d.py"},
				"src/**":             {"src/d.py", "src/deep/e.py", "src/deep/f.txt"},
				"src/**/*.py":        {"src/d.py", "src/deep/e.py"},
				"**/deep/*":          {"src/deep/e.py", "src/deep/f.txt"},
				"*/*/*.txt":          {"src/deep/f.txt"},
				"**":                 {"a.py", "abc", "b.py", "c.txt", "src/d.py", "src/deep/e.py", "src/deep/f.txt"},
				"a?c":                {"abc"},
				"a.py":               {"a.py"},
				"A.py":               nil,
				"src":                nil,
				"*.md":               nil,
				"{src,nowhere}/*.py": {"src/d.py"},
			} {
				t.wantGlob(backend.GlobRequest{Pattern: pattern}, want...)
			}
		},
	},
	{
		Name:     "glob-hidden",
		Sentence: "A leading dot is matched only by a dot, unless Hidden.",
		run: func(t *T) {
			t.writeAll(map[string]string{".env": "", "a": "", ".git/config": "", "d/.h": "", "d/b": ""})
			t.wantGlob(backend.GlobRequest{Pattern: "*"}, "a")
			t.wantGlob(backend.GlobRequest{Pattern: "**"}, "a", "d/b")
			t.wantGlob(backend.GlobRequest{Pattern: ".*"}, ".env")
			t.wantGlob(backend.GlobRequest{Pattern: ".git/*"}, ".git/config")
			t.wantGlob(backend.GlobRequest{Pattern: "*", Hidden: true}, ".env", "a")
			t.wantGlob(backend.GlobRequest{Pattern: "**", Hidden: true}, ".env", ".git/config", "a", "d/.h", "d/b")
		},
	},
	{
		Name:     "glob-directories",
		Sentence: "Only regular files are found, unless asked.",
		Shell:    true,
		run: func(t *T) {
			t.writeAll(map[string]string{"a": "", "d/f": ""})
			t.sh("ln -s a link; mkfifo pipe")
			t.wantGlob(backend.GlobRequest{Pattern: "*"}, "a")
			t.wantGlob(backend.GlobRequest{Pattern: "*", Directories: true}, "a", "d", "link", "pipe")
		},
	},
	{
		Name:     "glob-order",
		Sentence: "Newest first, with path as tie-break, or by path.",
		Shell:    true,
		run: func(t *T) {
			for i, name := range []string{"c", "a", "b"} {
				if i > 0 {
					t.sh("sleep 0.05")
				}
				t.write(name, name)
			}
			r, err := t.sandbox().Glob(t.ctx, &backend.GlobRequest{Path: t.rule.Name, Pattern: "*"})
			t.must("glob", err)
			var got []string
			for _, m := range r.Matches {
				got = append(got, m.Path)
				if m.Type != backend.TypeRegular || m.Size != 1 || m.ModTime.IsZero() {
					t.Errorf("%+v", m)
				}
			}
			if !slices.Equal(got, []string{"b", "a", "c"}) {
				t.Errorf("newest first: %q", got)
			}
			t.wantGlob(backend.GlobRequest{Pattern: "*", Order: backend.OrderPath}, "a", "b", "c")
		},
	},
	{
		Name:     "glob-limit",
		Sentence: "A limit tells that it cut, and how many there were.",
		run: func(t *T) {
			for i := range 9 {
				t.write(fmt.Sprintf("f%d", i), "")
			}
			r, err := t.sandbox().Glob(t.ctx, &backend.GlobRequest{Path: t.rule.Name, Pattern: "*", Order: backend.OrderPath, Limit: 4})
			t.must("glob", err)
			if len(r.Matches) != 4 || !r.Truncated || r.Total != 9 || r.Matches[3].Path != "f3" {
				t.Errorf("%d matches, truncated %v, total %d", len(r.Matches), r.Truncated, r.Total)
			}
			r, err = t.sandbox().Glob(t.ctx, &backend.GlobRequest{Path: t.rule.Name, Pattern: "*", Limit: 9})
			t.must("glob", err)
			if len(r.Matches) != 9 || r.Truncated {
				t.Errorf("a limit just reached: %d matches, truncated %v", len(r.Matches), r.Truncated)
			}
		},
	},
	{
		Name:     "glob-refused",
		Sentence: "A missing directory is ErrNotFound, a file ErrNotDirectory, a bad pattern or order ErrInvalid: a failed search is never no matches.",
		run: func(t *T) {
			t.write("f", "")
			t.wantKind("missing", t.globErr(backend.GlobRequest{Path: t.path("missing"), Pattern: "*"}), backend.ErrNotFound)
			t.wantKind("a file", t.globErr(backend.GlobRequest{Path: t.path("f"), Pattern: "*"}), backend.ErrNotDirectory)
			for _, pattern := range []string{"", "[a", "{a", "a\x00"} {
				t.wantKind(short(pattern), t.globErr(backend.GlobRequest{Path: t.dir(), Pattern: pattern}), backend.ErrInvalid)
			}
			t.wantKind("an order", t.globErr(backend.GlobRequest{Path: t.dir(), Pattern: "*", Order: "random"}), backend.ErrInvalid)
		},
	},
	{
		Name:     "glob-loops",
		Sentence: "Symlink loops end; links to directories are not searched.",
		Shell:    true,
		run: func(t *T) {
			t.write("d/f", "")
			t.sh("ln -s .. d/up; ln -s . self; ln -s loop loop")
			t.wantGlob(backend.GlobRequest{Pattern: "**/f"}, "d/f")
		},
	},
	{
		Name:     "glob-unreadable",
		Sentence: "A directory that cannot be searched is told, and does not spoil the rest.",
		Shell:    true,
		run: func(t *T) {
			t.writeAll(map[string]string{"a/f": "", "closed/f": ""})
			t.sh("chmod 000 closed")
			r, err := t.sandbox().Glob(t.ctx, &backend.GlobRequest{Path: t.rule.Name, Pattern: "**"})
			t.must("glob", err)
			if len(r.Matches) != 1 || !slices.Equal(r.Unreadable, []string{"closed"}) {
				t.Errorf("matches %v, unreadable %q", r.Matches, r.Unreadable)
			}
			t.sh("chmod 755 closed")
		},
	},
	{
		Name:     "glob-order-tie",
		Sentence: "Of files of one time, the path breaks the tie.",
		Shell:    true,
		run: func(t *T) {
			t.write("c", "x")
			t.sh("ln c a; ln c b; ln c d")
			r, err := t.sandbox().Glob(t.ctx, &backend.GlobRequest{Path: t.rule.Name, Pattern: "*"})
			t.must("glob", err)
			var got []string
			for _, m := range r.Matches {
				got = append(got, m.Path)
			}
			if !slices.Equal(got, []string{"a", "b", "c", "d"}) {
				t.Errorf("%q", got)
			}
		},
	},
	{
		Name:     "glob-escapes",
		Sentence: "A backslash takes what follows as it is; a class may be negated and hold what would be special.",
		run: func(t *T) {
			t.writeAll(map[string]string{"a*b": "", "axb": "", "{a,b}": "", "[x]": "", "a?": "", "-": "", "!": ""})
			for pattern, want := range map[string][]string{
				`a\*b`: {"a*b"}, "a*b": {"a*b", "axb"}, `\{a,b\}`: {"{a,b}"}, `\[x\]`: {"[x]"}, `a\?`: {"a?"}, `[a-]`: {"-"}, "[!a-z{[]": {"!", "-"}, "a[*?]b": {"a*b"},
			} {
				t.wantGlob(backend.GlobRequest{Pattern: pattern}, want...)
			}
		},
	},
	{
		Name:     "glob-braces",
		Sentence: "Braces nest, may be empty on a side and hold slashes.",
		run: func(t *T) {
			t.writeAll(map[string]string{"a": "", "ab": "", "abc": "", "d/x.go": "", "e/y.go": "", "e/y.py": ""})
			for pattern, want := range map[string][]string{
				"a{,b}": {"a", "ab"}, "a{b{,c},}": {"a", "ab", "abc"}, "{d/x,e/*}.{go,md}": {"d/x.go", "e/y.go"}, "**/*.{go,py}": {"d/x.go", "e/y.go", "e/y.py"}, "{a}": {"a"},
			} {
				t.wantGlob(backend.GlobRequest{Pattern: pattern}, want...)
			}
		},
	},
	{
		Name:     "glob-bytes",
		Sentence: "A pattern is bytes, and ? is one character or one byte that is none.",
		run: func(t *T) {
			t.writeAll(map[string]string{"\xff\xfe": "", "\xffa": "", "é": "", "日": "", "new\nline": ""})
			for pattern, want := range map[string][]string{
				"\xff*": {"\xffa", "\xff\xfe"}, "?": {"é", "日"}, "??": {"\xffa", "\xff\xfe"}, "[é日]": {"é", "日"}, "new?line": {"new\nline"}, "new\n*": {"new\nline"},
			} {
				t.wantGlob(backend.GlobRequest{Pattern: pattern}, want...)
			}
		},
	},
	{
		Name:     "glob-stays-below",
		Sentence: "A pattern is relative to its directory and leads nowhere else: one with .. or a slash in front is ErrInvalid.",
		run: func(t *T) {
			t.write("d/f", "")
			for _, pattern := range []string{"../*", "d/../*", "/etc/*", "/"} {
				t.wantKind(pattern, t.globErr(backend.GlobRequest{Path: t.path("d"), Pattern: pattern}), backend.ErrInvalid)
			}
		},
	},
	{
		Name:     "glob-default",
		Sentence: "No path searches the workspace; a link to a directory may be one to search.",
		Shell:    true,
		run: func(t *T) {
			t.write("d/f", "")
			t.sh("ln -s d link")
			r, err := t.sandbox().Glob(t.ctx, &backend.GlobRequest{Pattern: t.rule.Name + "/d/*"})
			t.must("glob", err)
			if len(r.Matches) != 1 || r.Matches[0].Path != t.path("d/f") {
				t.Errorf("%+v", r.Matches)
			}
			t.wantGlob(backend.GlobRequest{Path: t.path("link"), Pattern: "*"}, "f")
			t.wantKind("a negative limit", t.globErr(backend.GlobRequest{Pattern: "*", Limit: -1}), backend.ErrInvalid)
		},
	},
}
