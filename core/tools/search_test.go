package tools_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/deep-sandbox/deep/core/backend"
)

func TestGlob(t *testing.T) {
	b := newBench(t)
	b.ok("glob", m{"pattern": "*"}, "No files match.\n")
	b.file("old.py", "")
	b.file("src/new.py", "")
	b.file("src/.hidden.py", "")
	b.ok("glob", m{"pattern": "*.py"}, "old.py\n")
	b.ok("glob", m{"pattern": "**/*.py"}, "src/new.py\nold.py\n")
	// What it shows can be given to read_file as it is.
	b.ok("glob", m{"pattern": "*.py", "path": "src"}, "src/new.py\n")
	b.ok("glob", m{"pattern": "*.py", "path": "/workspace/src/"}, "/workspace/src/new.py\n")
	b.ok("glob", m{"pattern": "*.py", "path": ""}, "old.py\n")
	b.fails("glob", m{"path": "src"}, `pattern is required. Usage: glob(pattern, path=".")`)
	b.fails("glob", m{"pattern": "*", "path": "none"}, "Error: none: not found — look at what is there")
	if a := b.call("glob", m{"pattern": "[a"}); !a.Failed {
		t.Errorf("of a bad pattern it says %q", a.Text)
	}
}

func TestGlobManyMatches(t *testing.T) {
	b := newBench(t)
	for i := range 103 {
		b.file(fmt.Sprintf("f%03d", i), "")
	}
	a := b.call("glob", m{"pattern": "f*"})
	if n := strings.Count(a.Text, "\n"); n != 101 || !strings.HasSuffix(a.Text, "\n... and 3 more\n") || !a.Truncated {
		t.Errorf("%d rows, truncated %v:\n%s", n, a.Truncated, a.Text)
	}
}

func TestGrep(t *testing.T) {
	b := newBench(t)
	b.file("a.go", "func one() {}\nfunc two() {}\n")
	b.file("src/b.go", "\tfunc three() {}\n")
	b.file("src/c.txt", "func four\n")
	b.file(".env", "func hidden\n")
	b.file("bin", "func\x00binary\n")
	b.ok("grep", m{"pattern": `func \w+\(`}, "a.go:1: func one() {}\na.go:2: func two() {}\nsrc/b.go:1: \tfunc three() {}\n")
	b.ok("grep", m{"pattern": "func", "glob": "*.txt"}, "src/c.txt:1: func four\n")
	b.ok("grep", m{"pattern": "func", "path": "src", "output_mode": "files_with_matches"}, "src/b.go\nsrc/c.txt\n")
	b.ok("grep", m{"pattern": "func", "output_mode": "count", "glob": "*.go"}, "a.go: 2\nsrc/b.go: 1\n")
	b.ok("grep", m{"pattern": "hidden", "ignore_hidden": false}, ".env:1: func hidden\n")
	b.ok("grep", m{"pattern": "hidden"}, "No matches in 3 files.\n")
	// A file that is named is searched, and shown under the name it was given.
	b.ok("grep", m{"pattern": "hidden", "path": ".env"}, ".env:1: func hidden\n")
	b.ok("grep", m{"pattern": "three", "path": "src/b.go"}, "src/b.go:1: \tfunc three() {}\n")
	b.ok("grep", m{"pattern": "three", "path": "/workspace/src/b.go"}, "/workspace/src/b.go:1: \tfunc three() {}\n")
	b.file("same/same", "x\n")
	b.ok("grep", m{"pattern": "x", "path": "same"}, "same/same:1: x\n")
	b.fails("grep", m{"path": "src"}, `pattern is required. Usage: grep(pattern, path=".", glob, output_mode="content", ignore_hidden=true)`)
	b.fails("grep", m{"pattern": "x", "output_mode": "lines"}, `output_mode is "lines"; it is one of content, files_with_matches and count.`)
	b.fails("grep", m{"pattern": "x", "path": "none"}, "Error: none: not found — look at what is there")
	if a := b.call("grep", m{"pattern": "(unclosed"}); !a.Failed || !strings.Contains(a.Text, "missing closing )") {
		t.Errorf("of a bad pattern it says %q", a.Text)
	}
}

func TestGrepManyMatches(t *testing.T) {
	b := newBench(t)
	b.file("f", strings.Repeat("x\n", 60))
	a := b.call("grep", m{"pattern": "x"})
	if n := strings.Count(a.Text, "\n"); n != 51 || !a.Truncated ||
		!strings.HasSuffix(a.Text, "f:50: x\n... and more: the first 50 are shown. Narrow the search with path, glob or a longer pattern.\n") {
		t.Errorf("%d rows, truncated %v:\n%s", n, a.Truncated, a.Text)
	}
}

func TestGrepOddLines(t *testing.T) {
	b := newBench(t)
	b.file("long", strings.Repeat("a", 5000)+"needle"+strings.Repeat("b", 5000)+"\n")
	a := b.call("grep", m{"pattern": "needle"})
	if !strings.Contains(a.Text, "needle") || !strings.HasSuffix(a.Text, " [line cut]\n") || len(a.Text) > 2100 {
		t.Errorf("%d bytes, ending %q", len(a.Text), a.Text[len(a.Text)-40:])
	}
	b.file("latin1", "caf\xe9 needle\n")
	b.ok("grep", m{"pattern": "needle", "path": "latin1"}, "latin1:1: caf\uFFFD needle\n")
}

// locked finds nothing, and could not look everywhere.
type locked struct {
	backend.Sandbox
	places []string
}

func (l locked) Glob(context.Context, *backend.GlobRequest) (*backend.GlobReply, error) {
	return &backend.GlobReply{Unreadable: l.places}, nil
}

func (l locked) Grep(context.Context, *backend.GrepRequest) (*backend.GrepReply, error) {
	return &backend.GrepReply{Unreadable: l.places}, nil
}

// TestUnreadable: that nothing was found is not the whole truth then.
func TestUnreadable(t *testing.T) {
	b := benchOn(t, locked{newBench(t).sb, []string{"a", "b\nNo files match."}})
	b.ok("glob", m{"pattern": "*", "path": "src"}, "No files match.\nNot searched for want of permission: src/a, \"src/b\\nNo files match.\"\n")
	b.ok("grep", m{"pattern": "x"}, "No matches in 0 files.\nNot searched for want of permission: a, \"b\\nNo files match.\"\n")
	b = benchOn(t, locked{newBench(t).sb, strings.Fields("a b c d e f g")})
	b.ok("glob", m{"pattern": "*"}, "No files match.\nNot searched for want of permission: a, b, c, d, e and 2 more\n")
}
