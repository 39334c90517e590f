package guest

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/deep-sandbox/deep/core/backend"
)

// FuzzMatcher: whatever the pattern and the bytes, the lines found in a block are
// those the expression matches one by one.
func FuzzMatcher(f *testing.F) {
	for _, pattern := range []string{
		"needle", `^a.*b$`, `\bx\b|^$`, `[^a]+$`, `(?i)Straße`, `(?s)a.b`, `\x{FFFD}`, `a*`, "[a\n]", `\r$`, "(", `(?m)^x`, "\xff", `é?`, `\Aab\z`, `a{3}|\pN`,
	} {
		f.Add(pattern, false, false, []byte("a needle b\r\nab\n\n\xff x y\nnoneedle\r\r\nSTRASSE 7"))
		f.Add(pattern, true, len(pattern)%2 == 0, []byte(pattern+"\nx"+strings.ToUpper(pattern)))
	}
	f.Fuzz(func(t *testing.T, pattern string, literal, ignoreCase bool, block []byte) {
		m, err := newMatcher(&backend.GrepRequest{Pattern: pattern, Literal: literal, IgnoreCase: ignoreCase})
		if err != nil {
			if k := backend.KindOf(err); k != backend.ErrInvalid && k != backend.ErrTooLarge {
				t.Errorf("%q: %v", pattern, err)
			}
			return
		}
		expression := pattern
		if literal {
			expression = regexp.QuoteMeta(pattern)
		}
		if ignoreCase {
			expression = "(?i)" + expression
		}
		re, err := regexp.Compile(expression)
		if err != nil {
			return // a literal of bytes that are no UTF-8
		}
		var want, got []int
		for i, line := range bytes.SplitAfter(block, []byte("\n")) {
			if len(line) > 0 && re.Match(withoutCR(bytes.TrimSuffix(line, []byte("\n")))) {
				want = append(want, i)
			}
		}
		for pos := 0; ; {
			r, ok := m.next(block, pos)
			if !ok {
				break
			}
			if r.lineStart < pos || r.next <= r.lineStart || r.start < r.lineStart || r.end > r.textEnd || r.start > r.end {
				t.Fatalf("%q in %q from %d: %+v", pattern, block, pos, r)
			}
			got = append(got, bytes.Count(block[:r.lineStart], []byte("\n")))
			pos = r.next
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q (literal %v, ignore case %v) in %q: lines %v, want %v", pattern, literal, ignoreCase, block, got, want)
		}
	})
}

// FuzzPath: a path is refused, or is one the kernel takes and comes apart into
// what it is made of.
func FuzzPath(f *testing.F) {
	for _, path := range []string{"", "/", "a", "a/b/", "//a//b//", "../..", "a\x00b", strings.Repeat("x", 256), strings.Repeat("x/", 2048), "/a/./b/..", "\xff\n"} {
		f.Add(path)
	}
	s := &Sandbox{workspace: "/workspace"}
	f.Fuzz(func(t *testing.T, path string) {
		abs, err := s.abs(path)
		if err != nil {
			if !errors.Is(err, backend.ErrInvalid) {
				t.Errorf("%q: %v", path, err)
			}
			return
		}
		var st unix.Stat_t
		if abs[0] != '/' || !strings.HasSuffix(abs, path) {
			t.Errorf("%q became %q", path, abs)
		}
		if err := unix.Lstat(abs, &st); err == unix.EINVAL || err == unix.ENAMETOOLONG {
			t.Errorf("the kernel refuses %q: %v", abs, err)
		}
		dir, name, slash := splitPath(path)
		if strings.Contains(name, "/") || (name == "") != (strings.Trim(path, "/") == "") || name != "" && slash != strings.HasSuffix(path, "/") {
			t.Errorf("%q is %q, %q, %v", path, dir, name, slash)
		}
		if joined := filepath.Clean(dir + "/" + name); name != ".." && name != "." && joined != filepath.Clean(path) {
			t.Errorf("%q is %q and %q, which is %q", path, dir, name, joined)
		}
	})
}

// FuzzTarget: where a write to a path would end up is where the kernel finds it.
func FuzzTarget(f *testing.F) {
	root := f.TempDir()
	for _, dir := range []string{"d/e", "closed"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			f.Fatal(err)
		}
	}
	for _, file := range []string{"f", "d/g", "d/e/h"} {
		if err := os.WriteFile(filepath.Join(root, file), nil, 0o644); err != nil {
			f.Fatal(err)
		}
	}
	for name, to := range map[string]string{
		"link": "f", "dir": "d/e", "up": "..", "d/back": "../link", "loop": "loop", "dangling": "d/new", "d/e/far": "../../dir/h", "slash": "d/", "chain": "d/back", "here": ".",
	} {
		if err := os.Symlink(to, filepath.Join(root, name)); err != nil {
			f.Fatal(err)
		}
	}
	for _, path := range []string{"f", "link", "dir/h", "dir/../g", "d/back", "loop", "loop/x", "dangling", "d/e/far", "slash", "chain", "chain/", "here/here/f", "f/", "f/x", "no/where", "d/./e/../g", "dir/far"} {
		f.Add(path)
	}
	f.Fuzz(func(t *testing.T, path string) {
		// Below the root of the test, as far as its own links go.
		if strings.Contains(path, "..") && !strings.HasPrefix(filepath.Clean("/x/y/"+path), "/x/y/") || strings.Contains(path, "up") {
			return
		}
		full := root + "/" + path
		if checkPath(full) != nil {
			return
		}
		var st unix.Stat_t
		statErr := unix.Stat(full, &st)
		at, err := findTarget(full, false)
		if err != nil {
			if statErr == nil && typeOf(st.Mode) == backend.TypeRegular {
				t.Errorf("%q: %v, and the kernel finds a file", path, err)
			}
			return
		}
		defer at.close()
		switch {
		case at.old == nil && statErr == nil, at.old != nil && statErr != nil, at.old != nil && (at.old.Ino != st.Ino || at.old.Dev != st.Dev):
			t.Errorf("%q is %+v, and to the kernel %v, %v", path, at, st.Ino, statErr)
		case at.old == nil && statErr != unix.ENOENT:
			t.Errorf("%q is to be made, and the kernel says %v", path, statErr)
		}
	})
}
