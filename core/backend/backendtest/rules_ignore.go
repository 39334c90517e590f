package backendtest

import (
	"strings"

	"github.com/deep-sandbox/deep/core/backend"
)

var ignoredRules = []Rule{
	{
		Name:     "grep-ignored",
		Sentence: "What .gitignore files exclude is skipped unless asked; a deeper file wins, and ! takes back.",
		run: func(t *T) {
			t.writeAll(map[string]string{
				".gitignore": "# comment\n*.log\nbuild/\n/only-here\n!keep.log\n",
				"a.log":      "x", "keep.log": "x", "a": "x", "build/b": "x", "only-here": "x", "d/only-here": "x",
				"d/.gitignore": "!d.log\nlocal\n", "d/d.log": "x", "d/e.log": "x", "d/local": "x", "local": "x",
			})
			files := backend.GrepRequest{Pattern: "x", Mode: backend.GrepFiles}
			t.wantGrep(files, "a", "d/d.log", "d/only-here", "keep.log", "local")
			files.NoIgnore = true
			t.wantGrep(files, "a", "a.log", "build/b", "d/d.log", "d/e.log", "d/local", "d/only-here", "keep.log", "local", "only-here")
		},
	},
	{
		Name:     "grep-ignored-above",
		Sentence: "The .gitignore files above the directory searched, up to the workspace, hold too.",
		run: func(t *T) {
			t.writeAll(map[string]string{
				".gitignore": "*.log\n/d/anchored\n", "d/e/.gitignore": "!kept.log\n", "d/e/a.log": "x", "d/e/kept.log": "x", "d/e/a": "x", "d/anchored/a": "x",
			})
			t.wantGrep(backend.GrepRequest{Path: t.path("d/e"), Pattern: "x", Mode: backend.GrepFiles}, "a", "kept.log")
			t.wantGrep(backend.GrepRequest{Path: t.path("d"), Pattern: "x", Mode: backend.GrepFiles}, "e/a", "e/kept.log")
		},
	},
	{
		Name:     "grep-ignore-syntax",
		Sentence: "A .gitignore pattern is read as git reads it: anchored by a slash, for directories by one at its end, the last that matches decides.",
		run: func(t *T) {
			t.writeAll(map[string]string{
				".gitignore": strings.Join([]string{
					"# a comment", "", `\#file`, `\!file`, "dir/", "/top", "a/b", "**/deep", "tree/**", "x/**/y", "f[0-3].txt", "?q", "trailing   ", `kept\ `, "{p,q}",
					"*.tmp", "!important.tmp", "crlf\r", "[", "gone", "!gone", "gone",
				}, "\n"),
				"#file": "x", "!file": "x", "# a comment": "x", "dir/f": "x", "n/dir/f": "x", "n/m/dir": "x", "top": "x", "n/top": "x",
				"a/b": "x", "n/a/b": "x", "n/m/deep": "x", "tree/f": "x", "n/tree/f": "x", "x/y": "x", "x/1/2/y": "x", "x/z": "x",
				"f2.txt": "x", "f4.txt": "x", "aq": "x", "q": "x", "trailing": "x", "kept ": "x", "kept": "x", "p": "x", "{p,q}": "x",
				"a.tmp": "x", "n/important.tmp": "x", "crlf": "x", "[": "x", "gone": "x",
			})
			t.wantGrep(backend.GrepRequest{Pattern: "x", Mode: backend.GrepFiles},
				"# a comment", "[", "f4.txt", "kept", "n/a/b", "n/important.tmp", "n/m/dir", "n/top", "n/tree/f", "p", "q", "x/z")
		},
	},
	{
		Name:     "grep-ignored-directory",
		Sentence: "What is in a directory left out stays out, whatever takes it back below.",
		run: func(t *T) {
			t.writeAll(map[string]string{".gitignore": "out/\n!out/kept\n", "out/kept": "x", "out/.gitignore": "!*\n", "out/f": "x", "in": "x"})
			t.wantGrep(backend.GrepRequest{Pattern: "x", Mode: backend.GrepFiles}, "in")
		},
	},
}
