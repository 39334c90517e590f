package backendtest

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/deep-sandbox/deep/core/backend"
)

func (t *T) remove(name string, recursive bool) error {
	return t.sandbox().Remove(t.ctx, &backend.RemoveRequest{Path: name, Recursive: recursive})
}

func (t *T) rename(from, to string, noReplace bool) error {
	return t.sandbox().Rename(t.ctx, &backend.RenameRequest{From: t.path(from), To: t.path(to), NoReplace: noReplace})
}

var treeRules = []Rule{
	{
		Name:     "mkdir",
		Sentence: "Mkdir makes a directory and its parents, and is idempotent.",
		run: func(t *T) {
			for range 2 {
				t.must("mkdir", t.sandbox().Mkdir(t.ctx, &backend.MkdirRequest{Path: t.path("a/b/c")}))
			}
			if i := t.stat("a/b/c"); i.Type != backend.TypeDirectory || i.Mode&0o777 != 0o755 {
				t.Errorf("%+v", i)
			}
			t.must("with a mode", t.sandbox().Mkdir(t.ctx, &backend.MkdirRequest{Path: t.path("closed"), Mode: 0o700}))
			if i := t.stat("closed"); i.Mode&0o777 != 0o700 {
				t.Errorf("mode %#o", i.Mode)
			}
		},
	},
	{
		Name:     "mkdir-refused",
		Sentence: "Another kind of file in its place is ErrExists, below a file it is ErrNotDirectory.",
		run: func(t *T) {
			t.write("f", "x")
			t.wantKind("a file", t.sandbox().Mkdir(t.ctx, &backend.MkdirRequest{Path: t.path("f")}), backend.ErrExists)
			t.wantKind("below a file", t.sandbox().Mkdir(t.ctx, &backend.MkdirRequest{Path: t.path("f/d")}), backend.ErrNotDirectory)
			for what, p := range badPaths {
				t.wantKind(what, t.sandbox().Mkdir(t.ctx, &backend.MkdirRequest{Path: p}), backend.ErrInvalid)
			}
			t.wantContent("f", "x")
			t.wantKind("setuid", t.sandbox().Mkdir(t.ctx, &backend.MkdirRequest{Path: t.path("s"), Mode: 0o4755}), backend.ErrInvalid)
			if t.exists("s") {
				t.Errorf("it was made")
			}
		},
	},
	{
		Name:     "mkdir-link",
		Sentence: "A link to a directory is one to Mkdir; a dangling one is ErrNotFound, and stays.",
		Shell:    true,
		run: func(t *T) {
			t.write("d/f", "x")
			t.sh("ln -s d link; ln -s nowhere dangling")
			t.must("a link", t.sandbox().Mkdir(t.ctx, &backend.MkdirRequest{Path: t.path("link")}))
			t.must("below a link", t.sandbox().Mkdir(t.ctx, &backend.MkdirRequest{Path: t.path("link/made")}))
			if i := t.stat("d/made"); i.Type != backend.TypeDirectory {
				t.Errorf("%+v", i)
			}
			t.wantKind("a dangling link", t.sandbox().Mkdir(t.ctx, &backend.MkdirRequest{Path: t.path("dangling")}), backend.ErrNotFound)
			if i := t.stat("dangling"); i.Type != backend.TypeSymlink || t.exists("nowhere") {
				t.Errorf("%+v", i)
			}
		},
	},
	{
		Name:     "mkdir-at-once",
		Sentence: "Of calls at once for the same directories, all find them made.",
		run: func(t *T) {
			sb := t.sandbox()
			var wg sync.WaitGroup
			for i := range 16 {
				wg.Go(func() {
					if err := sb.Mkdir(t.ctx, &backend.MkdirRequest{Path: t.path("a/b/c/d")}); err != nil {
						t.Errorf("mkdir: %v", err)
					}
					if err := t.writeErr(t.path(fmt.Sprintf("w/x/y/%d", i)), 0, nil); err != nil {
						t.Errorf("write: %v", err)
					}
				})
			}
			wg.Wait()
			if names := t.names("w/x/y"); len(names) != 16 {
				t.Errorf("%q", names)
			}
		},
	},
	{
		Name:     "remove",
		Sentence: "Remove removes a file, an empty directory, or a tree if asked.",
		run: func(t *T) {
			t.writeAll(map[string]string{"f": "x", "tree/a/b": "x", "tree/c": "x"})
			t.must("mkdir", t.sandbox().Mkdir(t.ctx, &backend.MkdirRequest{Path: t.path("empty")}))
			t.must("a file", t.remove(t.path("f"), false))
			t.must("an empty directory", t.remove(t.path("empty"), false))
			t.wantKind("a tree", t.remove(t.path("tree"), false), backend.ErrConflict)
			t.wantContent("tree/a/b", "x")
			t.must("a tree, asked to", t.remove(t.path("tree"), true))
			if names := t.names(""); len(names) != 0 {
				t.Errorf("left: %q", names)
			}
			t.wantKind("what is not there", t.remove(t.path("f"), false), backend.ErrNotFound)
			t.wantKind("what is not there, recursively", t.remove(t.path("f"), true), backend.ErrNotFound)
		},
	},
	{
		Name:     "remove-refuses",
		Sentence: "Remove refuses / and the workspace itself, however they are written.",
		run: func(t *T) {
			t.write("f", "x")
			ws := t.sandbox().Info().Workspace
			for _, p := range []string{"/", ".", "./", ws, ws + "/", ws + "/.", ws + "/../" + ws[strings.LastIndex(ws, "/")+1:], "/..", t.rule.Name + "/.."} {
				t.wantKind(p, t.remove(p, true), backend.ErrInvalid)
			}
			t.wantContent("f", "x")
		},
	},
	{
		Name:     "remove-links",
		Sentence: "Remove never follows links.",
		Shell:    true,
		run: func(t *T) {
			t.write("kept/f", "x")
			t.write("tree/g", "x")
			t.sh("ln -s kept link; ln -s ../kept tree/link")
			t.must("a link", t.remove(t.path("link"), true))
			t.must("a tree with a link", t.remove(t.path("tree"), true))
			t.wantContent("kept/f", "x")
			if names := t.names(""); !slices.Equal(names, []string{"kept"}) {
				t.Errorf("left: %q", names)
			}
		},
	},
	{
		Name:     "rename",
		Sentence: "Rename moves a file or directory, replacing a file that is there.",
		run: func(t *T) {
			t.writeAll(map[string]string{"f": "1", "g": "2", "d/x": "3"})
			t.must("a file", t.rename("f", "h", false))
			t.wantContent("h", "1")
			t.must("over a file", t.rename("h", "g", false))
			t.wantContent("g", "1")
			t.must("a directory", t.rename("d", "e", false))
			t.wantContent("e/x", "3")
			t.must("into a directory", t.rename("g", "e/g", false))
			t.wantContent("e/g", "1")
			if names := t.names(""); !slices.Equal(names, []string{"e"}) {
				t.Errorf("left: %q", names)
			}
		},
	},
	{
		Name:     "rename-refused",
		Sentence: "With NoReplace what is there is ErrExists; a missing source or directory is ErrNotFound, on whatever file system.",
		run: func(t *T) {
			t.writeAll(map[string]string{"f": "1", "g": "2", "d/x": ""})
			t.wantKind("no replace", t.rename("f", "g", true), backend.ErrExists)
			t.wantContent("g", "2")
			t.wantKind("missing", t.rename("missing", "x", false), backend.ErrNotFound)
			across := &backend.RenameRequest{From: t.path("missing"), To: "/tmp/missing"}
			t.wantKind("missing, to another file system", t.sandbox().Rename(t.ctx, across), backend.ErrNotFound)
			t.wantKind("into a missing directory", t.rename("f", "no/where", false), backend.ErrNotFound)
			t.wantKind("a file over a directory", t.rename("f", "d", false), backend.ErrIsDirectory)
			t.wantKind("a directory over a file", t.rename("d", "f", false), backend.ErrNotDirectory)
			t.wantContent("f", "1")
			t.must("no replace, free", t.rename("f", "h", true))
		},
	},
	{
		Name:     "rename-no-replace-race",
		Sentence: "Of moves at once to one name with NoReplace, one is made; the others are ErrExists.",
		run: func(t *T) {
			const n = 12
			for i := range n {
				t.write(fmt.Sprint("f", i), fmt.Sprint(i))
			}
			errs := make([]error, n)
			var wg sync.WaitGroup
			for i := range n {
				wg.Go(func() { errs[i] = t.rename(fmt.Sprint("f", i), "to", true) })
			}
			wg.Wait()
			made := 0
			for i, err := range errs {
				if err == nil {
					made++
					t.wantContent("to", fmt.Sprint(i))
					continue
				}
				t.wantKind("rename", err, backend.ErrExists)
				t.wantContent(fmt.Sprint("f", i), fmt.Sprint(i))
			}
			if made != 1 {
				t.Errorf("%d were made", made)
			}
		},
	},
	{
		Name:     "rename-directory",
		Sentence: "A directory replaces an empty one; over one that is not empty it is ErrConflict, into itself ErrInvalid.",
		run: func(t *T) {
			t.writeAll(map[string]string{"d/f": "x", "full/f": "y"})
			t.must("mkdir", t.sandbox().Mkdir(t.ctx, &backend.MkdirRequest{Path: t.path("empty")}))
			t.wantKind("over a full one", t.rename("d", "full", false), backend.ErrConflict)
			t.wantKind("into itself", t.rename("d", "d/e", false), backend.ErrInvalid)
			t.must("over an empty one", t.rename("d", "empty", false))
			t.wantContent("empty/f", "x")
			t.wantContent("full/f", "y")
			if names := t.names(""); !slices.Equal(names, []string{"empty", "full"}) {
				t.Errorf("left: %q", names)
			}
		},
	},
	{
		Name:     "rename-refuses",
		Sentence: "The workspace itself is not moved, nor replaced.",
		run: func(t *T) {
			t.write("f", "x")
			sb := t.sandbox()
			ws := sb.Info().Workspace
			for _, p := range []string{".", ws, ws + "/", "/"} {
				if err := sb.Rename(t.ctx, &backend.RenameRequest{From: p, To: t.path("moved")}); err == nil {
					t.Errorf("%s was moved", p)
				}
				if err := sb.Rename(t.ctx, &backend.RenameRequest{From: t.rule.Name, To: p}); err == nil {
					t.Errorf("%s was replaced", p)
				}
			}
			t.wantContent("f", "x")
		},
	},
	{
		Name:     "rename-link",
		Sentence: "Rename moves a symbolic link, not its target.",
		Shell:    true,
		run: func(t *T) {
			t.write("f", "x")
			t.sh("ln -s f link")
			t.must("rename", t.rename("link", "other", false))
			if i := t.stat("other"); i.Type != backend.TypeSymlink || i.Target != "f" {
				t.Errorf("%+v", i)
			}
			t.wantContent("f", "x")
		},
	},
}
