package backendtest

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/deep-sandbox/deep/core/backend"
)

// batch edits a file by several replacements, each "old>new".
func (t *T) batch(name string, change func(*backend.EditRequest), edits ...string) (*backend.EditReply, error) {
	req := &backend.EditRequest{Path: t.path(name)}
	for i, e := range edits {
		before, after, _ := strings.Cut(e, ">")
		if i == 0 {
			req.Old, req.New = []byte(before), []byte(after)
			continue
		}
		req.Then = append(req.Then, backend.Replacement{Old: []byte(before), New: []byte(after)})
	}
	if change != nil {
		change(req)
	}
	return t.sandbox().Edit(t.ctx, req)
}

var batchRules = []Rule{
	{
		Name:     "edit-batch",
		Sentence: "Several edits of one file may come as one batch, each made in what the one before left.",
		run: func(t *T) {
			t.write("f", "one two three three")
			r, err := t.batch("f", func(r *backend.EditRequest) { r.Then[2].All = true }, "one>two", "two two>2", "2>four", "three>3")
			t.must("edit", err)
			const want = "four 3 3"
			if r.Replaced != 5 || r.Size != int64(len(want)) || r.SHA256 != hexSum(want) {
				t.Errorf("%+v", r)
			}
			t.wantContent("f", want)
		},
	},
	{
		Name:     "edit-batch-all-or-none",
		Sentence: "Of a batch all edits are made, or none; the error says which failed.",
		run: func(t *T) {
			const content = "one two two"
			t.write("f", content)
			for _, c := range []struct {
				edits []string
				kind  error
				which string
			}{
				{[]string{"one>1", "missing>x"}, backend.ErrNotFound, "2"},
				{[]string{"one>1", "1>one", "two>2"}, backend.ErrConflict, "3"},
				{[]string{"one>1", "one>x"}, backend.ErrNotFound, "2"},
				{[]string{"one>1", ">x"}, backend.ErrInvalid, "2"},
				{[]string{"one>1", "1>2", "two>two"}, backend.ErrInvalid, "3"},
			} {
				_, err := t.batch("f", nil, c.edits...)
				what := strings.Join(c.edits, ", ")
				t.wantKind(what, err, c.kind)
				e := (*backend.Error)(nil)
				if errors.As(err, &e) && !strings.Contains(e.Message, c.which) {
					t.Errorf("%s: the error does not say that it was number %s: %v", what, c.which, err)
				}
				if errors.Is(c.kind, backend.ErrConflict) && e != nil && e.Count != 2 {
					t.Errorf("%s: count %d", what, e.Count)
				}
				t.wantContent("f", content)
			}
		},
	},
	{
		Name:     "edit-batch-conditional",
		Sentence: "A batch is conditional on the content before its first edit.",
		run: func(t *T) {
			t.write("f", "one")
			condition := func(content string) func(*backend.EditRequest) {
				return func(r *backend.EditRequest) { r.IfSHA256 = hexSum(content) }
			}
			_, err := t.batch("f", condition("two"), "one>two", "two>three")
			t.wantKind("the content after its first edit", err, backend.ErrConflict)
			t.wantContent("f", "one")
			_, err = t.batch("f", condition("one"), "one>two", "two>three")
			t.must("the content before it", err)
			t.wantContent("f", "three")
		},
	},
	{
		Name:     "edit-batch-parallel",
		Sentence: "Parallel batches of one file all land, none between the edits of another.",
		run: func(t *T) {
			// Each batch takes the mark away and puts it back: one that came between
			// would not find it.
			t.write("f", "mark")
			sb := t.sandbox()
			var wg sync.WaitGroup
			for i := range 16 {
				wg.Go(func() {
					_, err := sb.Edit(t.ctx, &backend.EditRequest{Path: t.path("f"), Old: []byte("mark"), New: []byte("taken"),
						Then: []backend.Replacement{{Old: []byte("taken"), New: fmt.Appendf(nil, "<%02d>mark", i)}}})
					if err != nil {
						t.Errorf("batch %d: %v", i, err)
					}
				})
			}
			wg.Wait()
			got := t.read("f")
			for i := range 16 {
				if strings.Count(got, fmt.Sprintf("<%02d>", i)) != 1 {
					t.Errorf("batch %d did not land once in %s", i, short(got))
				}
			}
			if len(got) != 16*4+4 {
				t.Errorf("%s", short(got))
			}
		},
	},
	{
		Name:     "edit-and-append-parallel",
		Sentence: "Parallel edits and appends of one file all land.",
		run: func(t *T) {
			var content strings.Builder
			for i := range 12 {
				fmt.Fprintf(&content, "<%02d>", i)
			}
			t.write("f", content.String())
			sb := t.sandbox()
			var wg sync.WaitGroup
			for i := range 12 {
				wg.Go(func() {
					_, err := sb.Edit(t.ctx, &backend.EditRequest{Path: t.path("f"), Old: fmt.Appendf(nil, "<%02d>", i), New: fmt.Appendf(nil, "[%02d]", i)})
					if err != nil {
						t.Errorf("edit %d: %v", i, err)
					}
				})
				wg.Go(func() {
					if _, err := t.put("f", fmt.Sprintf("(%02d)", i), appending); err != nil {
						t.Errorf("append %d: %v", i, err)
					}
				})
			}
			wg.Wait()
			got := t.read("f")
			for i := range 12 {
				for _, piece := range []string{fmt.Sprintf("[%02d]", i), fmt.Sprintf("(%02d)", i)} {
					if strings.Count(got, piece) != 1 {
						t.Errorf("%s did not land once in %s", piece, short(got))
					}
				}
			}
		},
	},
	{
		Name:     "edit-too-large",
		Sentence: "A file above what an edit takes is ErrTooLarge.",
		Shell:    true,
		run: func(t *T) {
			t.sh(fmt.Sprintf("truncate -s %d f", backend.MaxEditSize+1))
			_, err := t.edit("f", "a", "b", false)
			t.wantKind("edit", err, backend.ErrTooLarge)
		},
	},
	{
		Name:     "edit-special",
		Sentence: "A FIFO or device is not edited: ErrInvalid, without blocking; what may not be written is ErrPermission.",
		Shell:    true,
		run: func(t *T) {
			t.write("closed", "a")
			t.sh("mkfifo pipe; chmod 444 closed")
			for path, kind := range map[string]error{t.path("pipe"): backend.ErrInvalid, "/dev/zero": backend.ErrInvalid, t.path("closed"): backend.ErrPermission} {
				_, err := t.sandbox().Edit(t.ctx, &backend.EditRequest{Path: path, Old: []byte("a"), New: []byte("b")})
				t.wantKind(path, err, kind)
			}
			t.wantContent("closed", "a")
		},
	},
	{
		Name:     "edit-overlapping",
		Sentence: "Matches are counted and replaced from left to right and do not overlap.",
		run: func(t *T) {
			t.write("f", "aaaa")
			_, err := t.edit("f", "aa", "b", false)
			t.wantKind("two matches", err, backend.ErrConflict)
			if e := (*backend.Error)(nil); errors.As(err, &e) && e.Count != 2 {
				t.Errorf("count %d", e.Count)
			}
			r, err := t.edit("f", "aaa", "aaaaa", true)
			t.must("one match", err)
			if r.Replaced != 1 {
				t.Errorf("%+v", r)
			}
			t.wantContent("f", "aaaaaa")
		},
	},
}
