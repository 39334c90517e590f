package backendtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/deep-sandbox/deep/core/backend"
)

// put writes with conditions.
func (t *T) put(name, content string, change func(*backend.WriteFileRequest)) (*backend.WriteFileReply, error) {
	req := &backend.WriteFileRequest{Path: t.path(name), Content: strings.NewReader(content)}
	change(req)
	return t.sandbox().WriteFile(t.ctx, req)
}

func ifAbsent(r *backend.WriteFileRequest)  { r.IfAbsent = true }
func appending(r *backend.WriteFileRequest) { r.Append = true }

func ifHolds(content string) func(*backend.WriteFileRequest) {
	return func(r *backend.WriteFileRequest) { r.IfSHA256 = hexSum(content) }
}

// race calls try n times at once and returns which of the calls had no error. All
// others must have lost by ErrConflict.
func (t *T) race(n int, try func(i int) error) (won []int) {
	t.sandbox() // made before, not by all at once
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { errs[i] = try(i) })
	}
	wg.Wait()
	for i, err := range errs {
		if err == nil {
			won = append(won, i)
			continue
		}
		t.wantKind(fmt.Sprintf("loser %d", i), err, backend.ErrConflict)
	}
	return won
}

var conditionRules = []Rule{
	{
		Name:     "write-if-absent",
		Sentence: "With if_absent what is there is ErrConflict, file untouched; what is not is written.",
		run: func(t *T) {
			r, err := t.put("d/f", "first", ifAbsent)
			t.must("write what is not there", err)
			if !r.Created || r.Size != 5 || r.SHA256 != hexSum("first") {
				t.Errorf("%+v", r)
			}
			_, err = t.put("d/f", "second", ifAbsent)
			t.wantKind("write what is there", err, backend.ErrConflict)
			t.wantContent("d/f", "first")
			t.write("empty", "")
			_, err = t.put("empty", "second", ifAbsent)
			t.wantKind("write over an empty file", err, backend.ErrConflict)
			t.wantContent("empty", "")
			if names := t.names("d"); len(names) != 1 {
				t.Errorf("left behind: %q", names)
			}
		},
	},
	{
		Name:     "write-if-absent-race",
		Sentence: "Of writes at once with if_absent, one is made; the others are ErrConflict.",
		run: func(t *T) {
			content := func(i int) string { return strings.Repeat(string(rune('a'+i)), 1000) }
			won := t.race(16, func(i int) error {
				_, err := t.put("f", content(i), ifAbsent)
				return err
			})
			if len(won) != 1 {
				t.Fatalf("%d were made", len(won))
			}
			t.wantContent("f", content(won[0]))
		},
	},
	{
		Name:     "write-if-sha256",
		Sentence: "With if_sha256 another content, and none, is ErrConflict, file untouched.",
		run: func(t *T) {
			t.must("write", t.writeErr(t.path("f"), 0o600, strings.NewReader("old")))
			_, err := t.put("f", "new", ifHolds("another"))
			t.wantKind("another content", err, backend.ErrConflict)
			t.wantContent("f", "old")
			_, err = t.put("missing", "new", ifHolds(""))
			t.wantKind("no file", err, backend.ErrConflict)
			if t.exists("missing") {
				t.Errorf("it was made")
			}
			r, err := t.put("f", "new", ifHolds("old"))
			t.must("the right content", err)
			if r.Created || r.SHA256 != hexSum("new") {
				t.Errorf("%+v", r)
			}
			t.wantContent("f", "new")
			if i := t.stat("f"); i.Mode != 0o600 {
				t.Errorf("mode %#o", i.Mode)
			}
			if names := t.names(""); len(names) != 1 {
				t.Errorf("left behind: %q", names)
			}
		},
	},
	{
		Name:     "write-if-sha256-race",
		Sentence: "Of writes at once with the same if_sha256, one is made; the others are ErrConflict.",
		run: func(t *T) {
			t.write("f", "old")
			content := func(i int) string { return strings.Repeat(string(rune('a'+i)), 1000) }
			won := t.race(16, func(i int) error {
				_, err := t.put("f", content(i), ifHolds("old"))
				return err
			})
			if len(won) != 1 {
				t.Fatalf("%d were made", len(won))
			}
			t.wantContent("f", content(won[0]))
		},
	},
	{
		Name:     "write-conditions-exclude",
		Sentence: "Both conditions in one write are ErrInvalid.",
		run: func(t *T) {
			_, err := t.put("f", "x", func(r *backend.WriteFileRequest) { r.IfAbsent, r.IfSHA256 = true, hexSum("") })
			t.wantKind("both", err, backend.ErrInvalid)
			if t.exists("f") {
				t.Errorf("it was written")
			}
		},
	},
	{
		Name:     "write-conditional-edit",
		Sentence: "A write and an edit conditional on the same content never both land.",
		run: func(t *T) {
			t.write("f", "old")
			sb := t.sandbox()
			won := t.race(12, func(i int) error {
				if i%2 == 0 {
					_, err := t.put("f", "written", ifHolds("old"))
					return err
				}
				_, err := sb.Edit(t.ctx, &backend.EditRequest{Path: t.path("f"), Old: []byte("old"), New: []byte("edited"), IfSHA256: hexSum("old")})
				return err
			})
			if len(won) != 1 {
				t.Fatalf("%d landed", len(won))
			}
			t.wantContent("f", []string{"written", "edited"}[won[0]%2])
		},
	},
	{
		Name:     "append",
		Sentence: "Append adds to the end of what is there, and makes what is not, with parents and mode.",
		run: func(t *T) {
			r, err := t.put("d/f", "one\r\n", func(r *backend.WriteFileRequest) { r.Append, r.Mode = true, 0o640 })
			t.must("append to nothing", err)
			if !r.Created || r.Size != 5 {
				t.Errorf("%+v", r)
			}
			r, err = t.put("d/f", "\xff\x00two", appending)
			t.must("append", err)
			if r.Created || r.Size != 10 || r.SHA256 != "" {
				t.Errorf("%+v", r)
			}
			_, err = t.put("d/f", "", appending)
			t.must("append nothing", err)
			t.wantContent("d/f", "one\r\n\xff\x00two")
			if i := t.stat("d/f"); i.Mode != 0o640 {
				t.Errorf("mode %#o", i.Mode)
			}
		},
	},
	{
		Name:     "append-parallel",
		Sentence: "Parallel appends all land, each in one piece.",
		run: func(t *T) {
			const writers, size = 8, 300_000 // above one message
			won := t.race(writers, func(i int) error {
				_, err := t.put("f", strings.Repeat(string(rune('a'+i)), size), appending)
				return err
			})
			if len(won) != writers {
				t.Errorf("%d of %d appends", len(won), writers)
			}
			got := t.read("f")
			if len(got) != writers*size {
				t.Fatalf("%d bytes of %d", len(got), writers*size)
			}
			for i := 0; i < len(got); i += size {
				if strings.Trim(got[i:i+size], got[i:i+1]) != "" {
					t.Errorf("what is at %d is of more than one append", i)
				}
			}
		},
	},
	{
		Name:     "append-all-or-nothing",
		Sentence: "If the content of an append fails, the file is what it was.",
		run: func(t *T) {
			t.write("f", "old")
			broken := errors.New("content broke")
			for _, n := range []int{0, 10, 600_000} {
				_, err := t.put("f", "", func(r *backend.WriteFileRequest) {
					r.Append, r.Content = true, io.MultiReader(bytes.NewReader(noise(n)), failing{broken})
				})
				if !errors.Is(err, broken) {
					t.Errorf("after %d bytes: %v", n, err)
				}
			}
			t.wantContent("f", "old")
			if names := t.names(""); len(names) != 1 {
				t.Errorf("left behind: %q", names)
			}
		},
	},
	{
		Name:     "append-conditional",
		Sentence: "An append is conditional as any write is.",
		run: func(t *T) {
			t.write("f", "old")
			_, err := t.put("f", "x", func(r *backend.WriteFileRequest) { r.Append, r.IfAbsent = true, true })
			t.wantKind("if absent", err, backend.ErrConflict)
			_, err = t.put("f", "x", func(r *backend.WriteFileRequest) { r.Append, r.IfSHA256 = true, hexSum("another") })
			t.wantKind("another content", err, backend.ErrConflict)
			t.wantContent("f", "old")
			_, err = t.put("f", " new", func(r *backend.WriteFileRequest) { r.Append, r.IfSHA256 = true, hexSum("old") })
			t.must("the right content", err)
			t.wantContent("f", "old new")
		},
	},
	{
		Name:     "append-link",
		Sentence: "Through a symbolic link the target is appended to.",
		Shell:    true,
		run: func(t *T) {
			t.write("real/f", "old")
			t.sh("ln -s real/f link; ln -s real/new dangling")
			for _, name := range []string{"link", "dangling"} {
				_, err := t.put(name, " new", appending)
				t.must(name, err)
				if i := t.stat(name); i.Type != backend.TypeSymlink {
					t.Errorf("%s is a %s", name, i.Type)
				}
			}
			t.wantContent("real/f", "old new")
			t.wantContent("real/new", " new")
		},
	},
	{
		Name:     "append-refused",
		Sentence: "An append to a directory is ErrIsDirectory, to a FIFO or device ErrInvalid, to what may not be written ErrPermission.",
		Shell:    true,
		run: func(t *T) {
			t.write("closed", "old")
			t.sh("mkfifo pipe; chmod 444 closed")
			sb := t.sandbox()
			for path, kind := range map[string]error{
				t.rule.Name: backend.ErrIsDirectory, t.path("pipe"): backend.ErrInvalid, "/dev/null": backend.ErrInvalid,
				t.path("closed"): backend.ErrPermission, t.path("closed/f"): backend.ErrNotDirectory,
			} {
				_, err := sb.WriteFile(t.ctx, &backend.WriteFileRequest{Path: path, Append: true, Content: strings.NewReader("x")})
				t.wantKind(path, err, kind)
			}
			t.wantContent("closed", "old")
		},
	},
	{
		Name:     "append-cancelled",
		Sentence: "If the context ends before the content of an append does, the file is what it was.",
		run: func(t *T) {
			t.write("f", "old")
			ctx, cancel := context.WithCancel(t.ctx)
			defer cancel()
			content := io.MultiReader(bytes.NewReader(noise(600_000)), readFunc(func([]byte) (int, error) {
				cancel()
				return 0, ctx.Err()
			}))
			_, err := t.sandbox().WriteFile(ctx, &backend.WriteFileRequest{Path: t.path("f"), Append: true, Content: content})
			if !errors.Is(err, context.Canceled) {
				t.Errorf("%v", err)
			}
			t.wantContent("f", "old")
			t.eventually("nothing is left behind", func() bool { return len(t.names("")) == 1 })
		},
	},
}
