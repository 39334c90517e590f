package backendtest

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/deep-sandbox/deep/core/backend"
)

var listRules = []Rule{
	{
		Name:     "list-order",
		Sentence: "List: directories first, then by name; entries are bare names with type, size and mode, hidden ones too.",
		run: func(t *T) {
			t.writeAll(map[string]string{"b.txt": "12345", "a.txt": "", "z/f": "x", "A/f": "x", ".hidden": "1", "B": "x"})
			r, err := t.sandbox().List(t.ctx, &backend.ListDirRequest{Path: t.rule.Name})
			t.must("list", err)
			var got []string
			for _, e := range r.Entries {
				got = append(got, fmt.Sprintf("%s %s %d", e.Path, e.Type, e.Size))
			}
			want := []string{"A directory 0", "z directory 0", ".hidden file 1", "B file 1", "a.txt file 0", "b.txt file 5"}
			if !slices.Equal(got, want) || r.Total != 6 || r.Next != "" {
				t.Errorf("%q, total %d, next %q; want %q", got, r.Total, r.Next, want)
			}
			if e := r.Entries[len(r.Entries)-1]; e.Mode != 0o644 || e.ModTime.IsZero() {
				t.Errorf("%+v", e)
			}
		},
	},
	{
		Name:     "list-pages",
		Sentence: "List comes in pages that add up; Total counts all.",
		run: func(t *T) {
			var want []string
			for i := range 7 {
				t.write(fmt.Sprintf("f%d", i), "")
				want = append(want, fmt.Sprintf("f%d", i))
			}
			t.write("dir/f", "")
			want = append([]string{"dir"}, want...)
			var got []string
			after := ""
			for range 20 {
				r, err := t.sandbox().List(t.ctx, &backend.ListDirRequest{Path: t.rule.Name, Limit: 3, After: after})
				t.must("list", err)
				if r.Total != 8 || len(r.Entries) > 3 {
					t.Errorf("total %d, %d entries", r.Total, len(r.Entries))
				}
				for _, e := range r.Entries {
					got = append(got, e.Path)
				}
				if after = r.Next; after == "" {
					break
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("%q, want %q", got, want)
			}
		},
	},
	{
		Name:     "list-default",
		Sentence: "No path lists the workspace.",
		run: func(t *T) {
			t.dir()
			r, err := t.sandbox().List(t.ctx, &backend.ListDirRequest{})
			t.must("list", err)
			if !slices.ContainsFunc(r.Entries, func(e backend.FileInfo) bool { return e.Path == t.rule.Name }) {
				t.Errorf("%d entries without %q", len(r.Entries), t.rule.Name)
			}
		},
	},
	{
		Name:     "list-empty",
		Sentence: "An empty directory has no entries, which is no error.",
		run: func(t *T) {
			t.dir()
			if names := t.names(""); len(names) != 0 {
				t.Errorf("%q", names)
			}
		},
	},
	{
		Name:     "list-links",
		Sentence: "List tells a link's target and does not follow it.",
		Shell:    true,
		run: func(t *T) {
			t.write("d/f", "x")
			t.sh("ln -s d link; ln -s no/where dangling; mkfifo pipe")
			r, err := t.sandbox().List(t.ctx, &backend.ListDirRequest{Path: t.rule.Name})
			t.must("list", err)
			var got []string
			for _, e := range r.Entries {
				got = append(got, fmt.Sprintf("%s %s %s", e.Path, e.Type, e.Target))
			}
			if want := []string{"d directory ", "dangling symlink no/where", "link symlink d", "pipe fifo "}; !slices.Equal(got, want) {
				t.Errorf("%q, want %q", got, want)
			}
			if names := t.names("link"); !slices.Equal(names, []string{"f"}) {
				t.Errorf("through the link: %q", names)
			}
		},
	},
	{
		Name:     "list-refused",
		Sentence: "A missing directory is ErrNotFound, a file ErrNotDirectory.",
		run: func(t *T) {
			t.write("f", "x")
			_, err := t.sandbox().List(t.ctx, &backend.ListDirRequest{Path: t.path("missing")})
			t.wantKind("missing", err, backend.ErrNotFound)
			_, err = t.sandbox().List(t.ctx, &backend.ListDirRequest{Path: t.path("f")})
			t.wantKind("a file", err, backend.ErrNotDirectory)
		},
	},
	{
		Name:     "list-many",
		Sentence: "A directory of more entries than a page holds is listed in pages of 1000.",
		Shell:    true,
		run: func(t *T) {
			var script strings.Builder
			script.WriteString("touch")
			for i := range 1100 {
				fmt.Fprintf(&script, " f%04d", i)
			}
			t.sh(script.String())
			r, err := t.sandbox().List(t.ctx, &backend.ListDirRequest{Path: t.rule.Name})
			t.must("list", err)
			if len(r.Entries) != backend.MaxListEntries || r.Total != 1100 || r.Next == "" {
				t.Fatalf("%d entries of %d, next %q", len(r.Entries), r.Total, r.Next)
			}
			r, err = t.sandbox().List(t.ctx, &backend.ListDirRequest{Path: t.rule.Name, After: r.Next})
			t.must("list the rest", err)
			if len(r.Entries) != 100 || r.Entries[0].Path != "f1000" || r.Next != "" {
				t.Errorf("the rest: %d entries, next %q", len(r.Entries), r.Next)
			}
		},
	},
	{
		Name:     "list-changing",
		Sentence: "An entry that vanishes meanwhile does not spoil the rest.",
		run: func(t *T) {
			t.write("d/dir/f", "x")
			want := []string{"dir"}
			for i := range 8 {
				name := fmt.Sprintf("f%02d", i)
				t.write("d/"+name, "x")
				want = append(want, name)
			}
			defer t.churn("d")()
			for range 30 {
				got := slices.DeleteFunc(t.names("d"), func(name string) bool { return !slices.Contains(want, name) })
				if !slices.Equal(got, want) {
					t.Errorf("%q, want %q", got, want)
				}
			}
		},
	},
	{
		Name:     "list-limit",
		Sentence: "A negative limit is ErrInvalid; one above what a page holds is that.",
		run: func(t *T) {
			t.write("f", "")
			_, err := t.sandbox().List(t.ctx, &backend.ListDirRequest{Path: t.rule.Name, Limit: -1})
			t.wantKind("negative", err, backend.ErrInvalid)
			r, err := t.sandbox().List(t.ctx, &backend.ListDirRequest{Path: t.rule.Name, Limit: 1 << 40})
			t.must("large", err)
			if len(r.Entries) != 1 || r.Next != "" {
				t.Errorf("%d entries, next %q", len(r.Entries), r.Next)
			}
		},
	},
}

// churn has a file come and go under several names in a directory of the rule's,
// until it is told to stop.
func (t *T) churn(dir string) (stop func()) {
	name := func(i int) string { return fmt.Sprintf("%s/comes-and-goes-%d", dir, i%7) }
	t.write(name(0), "x")
	ended, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; ; i++ {
			select {
			case <-ended:
				return
			default:
			}
			if err := t.rename(name(i), name(i+1), true); err != nil {
				t.Errorf("%s: %v", name(i), err)
				return
			}
		}
	}()
	return func() {
		close(ended)
		<-done
	}
}

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
		Sentence: "With NoReplace what is there is ErrExists; a missing source or directory is ErrNotFound.",
		run: func(t *T) {
			t.writeAll(map[string]string{"f": "1", "g": "2", "d/x": ""})
			t.wantKind("no replace", t.rename("f", "g", true), backend.ErrExists)
			t.wantContent("g", "2")
			t.wantKind("missing", t.rename("missing", "x", false), backend.ErrNotFound)
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

// nameRules try one odd name each in every operation.
var nameRules = func() []Rule {
	var rules []Rule
	for _, n := range []struct{ rule, name string }{
		{"spaces", " a  b "},
		{"newline", "new\nline"},
		{"quotes", `q"u'o` + "`te"},
		{"leading-dash", "-rf"},
		{"not-utf8", "\xff\xfe\x80"},
		{"unicode", "ünï-日本-\u202egpj"},
		{"shell", "$HOME;*?&|<>"},
		{"glob", "[a]{b}*"},
		{"backslash", `back\slash`},
		{"control", "\x01\x1b[31m\x7f\t"},
		{"dots", "..."},
		{"long", strings.Repeat("n", 255)},
	} {
		rules = append(rules, Rule{
			Name:     "name-" + n.rule,
			Sentence: "Names are bytes and round-trip through every operation.",
			run:      func(t *T) { t.oddName(n.name) },
		})
	}
	return rules
}()

func (t *T) oddName(name string) {
	t.write(name, "needle old")
	t.wantContent(name, "needle old")
	if i := t.stat(name); i.Path != t.path(name) || i.Size != 10 {
		t.Errorf("stat: %+v", i)
	}
	_, err := t.edit(name, "old", "new", false)
	t.must("edit", err)
	t.wantContent(name, "needle new")
	if names := t.names(""); !slices.Equal(names, []string{name}) {
		t.Errorf("list: %q", names)
	}
	glob, err := t.sandbox().Glob(t.ctx, &backend.GlobRequest{Path: t.rule.Name, Pattern: "*", Hidden: true})
	t.must("glob", err)
	if len(glob.Matches) != 1 || glob.Matches[0].Path != name {
		t.Errorf("glob: %+v", glob.Matches)
	}
	grep, err := t.sandbox().Grep(t.ctx, &backend.GrepRequest{Path: t.rule.Name, Pattern: "needle", Hidden: true})
	t.must("grep", err)
	if len(grep.Matches) != 1 || grep.Matches[0].Path != name {
		t.Errorf("grep: %+v", grep.Matches)
	}
	t.must("rename", t.rename(name, "plain", false))
	t.must("rename back", t.rename("plain", name, true))
	t.must("remove", t.remove(t.path(name), false))
	t.must("mkdir", t.sandbox().Mkdir(t.ctx, &backend.MkdirRequest{Path: t.path(name)}))
	t.write(name+"/f", "below")
	t.wantContent(name+"/f", "below")
	t.must("remove the tree", t.remove(t.path(name), true))
	if names := t.names(""); len(names) != 0 {
		t.Errorf("left: %q", names)
	}
}
