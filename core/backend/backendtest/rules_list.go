package backendtest

import (
	"fmt"
	"slices"
	"strings"

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
