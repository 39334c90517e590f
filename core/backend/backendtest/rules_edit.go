package backendtest

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/deep-sandbox/deep/core/backend"
)

func (t *T) edit(name, old, new string, all bool) (*backend.EditReply, error) {
	return t.sandbox().Edit(t.ctx, &backend.EditRequest{Path: t.path(name), Old: []byte(old), New: []byte(new), All: all})
}

var editRules = []Rule{
	{
		Name:     "edit-unique",
		Sentence: "Edit replaces exact bytes, and tells count, size and sum.",
		run: func(t *T) {
			t.write("f", "one two three")
			r, err := t.edit("f", "two", "2", false)
			t.must("edit", err)
			if r.Replaced != 1 || r.Size != 11 || r.SHA256 != hexSum("one 2 three") {
				t.Errorf("%+v", r)
			}
			t.wantContent("f", "one 2 three")
			_, err = t.edit("f", " three", "", false)
			t.must("delete", err)
			t.wantContent("f", "one 2")
		},
	},
	{
		Name:     "edit-all",
		Sentence: "With All every match is replaced.",
		run: func(t *T) {
			t.write("f", "a-a-a")
			r, err := t.edit("f", "a", "bb", true)
			t.must("edit", err)
			if r.Replaced != 3 {
				t.Errorf("%+v", r)
			}
			t.wantContent("f", "bb-bb-bb")
		},
	},
	{
		Name:     "edit-no-match",
		Sentence: "No match is ErrNotFound, and the file is untouched.",
		run: func(t *T) {
			t.write("f", "content")
			for _, all := range []bool{false, true} {
				_, err := t.edit("f", "missing", "x", all)
				t.wantKind("edit", err, backend.ErrNotFound)
			}
			t.wantContent("f", "content")
		},
	},
	{
		Name:     "edit-several-matches",
		Sentence: "Several matches without All are ErrConflict with their count, and the file is untouched.",
		run: func(t *T) {
			t.write("f", "a-a-a-a")
			_, err := t.edit("f", "a", "b", false)
			t.wantKind("edit", err, backend.ErrConflict)
			if e := (*backend.Error)(nil); errors.As(err, &e) && e.Count != 4 {
				t.Errorf("count %d", e.Count)
			}
			t.wantContent("f", "a-a-a-a")
		},
	},
	{
		Name:     "edit-invalid",
		Sentence: "An empty old text, or one that equals the new, is ErrInvalid.",
		run: func(t *T) {
			t.write("f", "content")
			_, err := t.edit("f", "", "x", false)
			t.wantKind("empty", err, backend.ErrInvalid)
			_, err = t.edit("f", "content", "content", false)
			t.wantKind("identical", err, backend.ErrInvalid)
			for what, p := range badPaths {
				_, err := t.sandbox().Edit(t.ctx, &backend.EditRequest{Path: p, Old: []byte("a"), New: []byte("b")})
				t.wantKind(what, err, backend.ErrInvalid)
			}
		},
	},
	{
		Name:     "edit-not-a-file",
		Sentence: "A missing file is ErrNotFound, a directory ErrIsDirectory.",
		run: func(t *T) {
			_, err := t.edit("missing", "a", "b", false)
			t.wantKind("missing", err, backend.ErrNotFound)
			t.dir()
			_, err = t.edit("", "a", "b", false)
			t.wantKind("a directory", err, backend.ErrIsDirectory)
		},
	},
	{
		Name:     "edit-bytes-kept",
		Sentence: "Bytes outside the match never change: CRLF, byte order mark, invalid UTF-8, a missing last newline.",
		run: func(t *T) {
			t.write("f", "\xef\xbb\xbfone\r\ntwo\r\n\xff\xfe\x00three")
			_, err := t.edit("f", "two", "2\n", false)
			t.must("edit", err)
			t.wantContent("f", "\xef\xbb\xbfone\r\n2\n\r\n\xff\xfe\x00three")
			_, err = t.edit("f", "\xff", "\xfd", false)
			t.must("edit of what is no UTF-8", err)
			t.wantContent("f", "\xef\xbb\xbfone\r\n2\n\r\n\xfd\xfe\x00three")
		},
	},
	{
		Name:     "edit-conditional",
		Sentence: "With IfSHA256 another content is ErrConflict, file untouched.",
		run: func(t *T) {
			t.write("f", "content")
			req := &backend.EditRequest{Path: t.path("f"), Old: []byte("content"), New: []byte("new"), IfSHA256: hexSum("other")}
			_, err := t.sandbox().Edit(t.ctx, req)
			t.wantKind("another sum", err, backend.ErrConflict)
			t.wantContent("f", "content")
			req.IfSHA256 = hexSum("content")
			_, err = t.sandbox().Edit(t.ctx, req)
			t.must("the right sum", err)
			t.wantContent("f", "new")
		},
	},
	{
		Name:     "edit-keeps-mode",
		Sentence: "Edit keeps the file's mode, goes through a symbolic link and leaves nothing behind.",
		Shell:    true,
		run: func(t *T) {
			t.must("write", t.writeErr(t.path("f"), 0o755, strings.NewReader("old")))
			t.sh("ln -s f link")
			_, err := t.edit("link", "old", "new", false)
			t.must("edit", err)
			t.wantContent("f", "new")
			if got := t.stat("f").Mode; got != 0o755 {
				t.Errorf("mode %#o", got)
			}
			if names := t.names(""); len(names) != 2 {
				t.Errorf("left behind: %q", names)
			}
		},
	},
	{
		Name:     "edit-parallel",
		Sentence: "Parallel edits of one file all land.",
		run: func(t *T) {
			var content, want strings.Builder
			for i := range 24 {
				fmt.Fprintf(&content, "<%02d>\n", i)
				fmt.Fprintf(&want, "[%02d]\n", i)
			}
			t.write("f", content.String())
			sb := t.sandbox()
			var wg sync.WaitGroup
			for i := range 24 {
				wg.Go(func() {
					_, err := sb.Edit(t.ctx, &backend.EditRequest{Path: t.path("f"), Old: fmt.Appendf(nil, "<%02d>", i), New: fmt.Appendf(nil, "[%02d]", i)})
					if err != nil {
						t.Errorf("edit %d: %v", i, err)
					}
				})
			}
			wg.Wait()
			t.wantContent("f", want.String())
		},
	},
	{
		Name:     "edit-large",
		Sentence: "A large file is edited whole.",
		run: func(t *T) {
			content := strings.Repeat("line of text\n", 300_000) + "needle\n"
			t.write("f", content)
			_, err := t.edit("f", "needle", "pin", false)
			t.must("edit", err)
			i, err := t.sandbox().Stat(t.ctx, &backend.StatRequest{Path: t.path("f"), SHA256: true})
			t.must("stat", err)
			if i.SHA256 != hexSum(strings.TrimSuffix(content, "needle\n")+"pin\n") {
				t.Errorf("another content, of %d bytes", i.Size)
			}
		},
	},
}
