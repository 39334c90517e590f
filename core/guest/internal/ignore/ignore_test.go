package ignore

import "testing"

func TestIgnored(t *testing.T) {
	for _, c := range []struct {
		rules, path string
		dir, want   bool
	}{
		{"foo", "foo", false, true}, {"foo", "a/foo", false, true}, {"foo", "a/foo", true, true}, {"foo", "foobar", false, false},
		{"foo/", "foo", false, false}, {"foo/", "foo", true, true}, {"foo/", "a/foo", true, true}, {"/foo", "foo", false, true}, {"/foo", "a/foo", false, false},
		{"a/b", "a/b", false, true}, {"a/b", "x/a/b", false, false}, {"a/b/", "a/b", true, true}, {"**/b", "x/y/b", false, true}, {"a/**", "a/x/y", false, true}, {"a/**", "a", true, false},
		{"a/**/b", "a/b", false, true}, {"a/**/b", "a/x/y/b", false, true}, {"*.log", "x.log", false, true}, {"*.log", "d/x.log", false, true}, {"*.log", ".log", false, true},
		{"*.log\n!keep.log", "keep.log", false, false}, {"!keep.log\n*.log", "keep.log", false, true}, {"keep\n!keep\nkeep", "keep", false, true},
		{"#foo", "#foo", false, false}, {`\#foo`, "#foo", false, true}, {`\!foo`, "!foo", false, true}, {"foo  ", "foo", false, true}, {`foo\ `, "foo ", false, true},
		{"", "x", false, false}, {"/", "x", false, false}, {"\n\r\n", "x", false, false}, {"foo\r\n", "foo", false, true}, {"{a,b}", "a", false, false}, {"{a,b}", "{a,b}", false, true},
		{"[", "[", false, false}, {"f[ao]o", "fao", false, true}, {"f?o", "f/o", false, false}, {"doc/*.txt", "doc/a.txt", false, true}, {"doc/*.txt", "doc/a/b.txt", false, false},
		{"*", ".x", false, true}, {"*\n!*.c", "a.c", false, false}, {"*\n!*/\n!*.c", "d", true, false}, {"name\n!name/", "name", true, false}, {"name\n!name/", "name", false, true},
	} {
		rules := Parse(c.rules)
		var s *Stack
		s = s.Push("", rules)
		if got := s.Ignored(c.path, c.dir); got != c.want {
			t.Errorf("%q on %q, directory %v: %v", c.rules, c.path, c.dir, got)
		}
	}
}

func TestStack(t *testing.T) {
	var none *Stack
	if none.Ignored("x", false) {
		t.Error("no rules ignore something")
	}
	s := none.Push("", Parse("*.log\n/top\nsub/x")).Push("sub", nil).Push("sub", Parse("!a.log\n/here")).Push("sub/deep", Parse("*.tmp"))
	for path, want := range map[string]bool{
		"sub/deep/a.log": false, "sub/deep/b.log": true, "sub/deep/c.tmp": true, "sub/deep/top": false, "sub/deep/here": false,
	} {
		if got := s.Ignored(path, false); got != want {
			t.Errorf("%s: %v", path, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("*.log\n!x\n/a/**/b/\n[a", "a/b")
	f.Fuzz(func(_ *testing.T, rules, path string) {
		var s *Stack
		s.Push("", Parse(rules)).Ignored(path, false)
	})
}
