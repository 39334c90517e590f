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

// writeErr tries to write and returns what came of it.
func (t *T) writeErr(path string, mode uint32, content io.Reader) error {
	_, err := t.sandbox().WriteFile(t.ctx, &backend.WriteFileRequest{Path: path, Mode: mode, Content: content})
	return err
}

var writeRules = []Rule{
	{
		Name:     "write-reply",
		Sentence: "WriteFile tells size, sum and whether the file is new.",
		run: func(t *T) {
			for i, content := range []string{"first", "", "third"} {
				r, err := t.sandbox().WriteFile(t.ctx, &backend.WriteFileRequest{Path: t.path("f"), Content: strings.NewReader(content)})
				t.must("write", err)
				if r.Size != int64(len(content)) || r.SHA256 != hexSum(content) || r.Created != (i == 0) {
					t.Errorf("%d: %+v", i, r)
				}
				t.wantContent("f", content)
			}
		},
	},
	{
		Name:     "write-nothing",
		Sentence: "Nil content writes an empty file.",
		run: func(t *T) {
			t.write("f", "x")
			t.must("write", t.writeErr(t.path("f"), 0, nil))
			t.wantContent("f", "")
		},
	},
	{
		Name:     "write-large",
		Sentence: "Content of any size is written whole.",
		run: func(t *T) {
			content := noise(9<<20 + 3) // above the largest message
			r, err := t.sandbox().WriteFile(t.ctx, &backend.WriteFileRequest{Path: t.path("f"), Content: onlyReader{bytes.NewReader(content)}})
			t.must("write", err)
			if r.Size != int64(len(content)) || r.SHA256 != hexSum(string(content)) {
				t.Errorf("%+v", r)
			}
			i, err := t.sandbox().Stat(t.ctx, &backend.StatRequest{Path: t.path("f"), SHA256: true})
			t.must("stat", err)
			if i.Size != r.Size || i.SHA256 != r.SHA256 {
				t.Errorf("%+v", i)
			}
		},
	},
	{
		Name:     "write-parents",
		Sentence: "WriteFile creates parents.",
		run: func(t *T) {
			t.write("a/b/c/f", "x")
			t.wantContent("a/b/c/f", "x")
			if i := t.stat("a/b"); i.Type != backend.TypeDirectory || i.Mode&0o777 != 0o755 {
				t.Errorf("%+v", i)
			}
		},
	},
	{
		Name:     "write-mode",
		Sentence: "A new file has the mode asked for, 0644 by default; more than permission bits is ErrInvalid.",
		run: func(t *T) {
			for _, mode := range []uint32{0, 0o600, 0o666, 0o755, 0o444} {
				name := fmt.Sprintf("f%o", mode)
				t.must(name, t.writeErr(t.path(name), mode, nil))
				want := mode
				if mode == 0 {
					want = 0o644
				}
				if got := t.stat(name).Mode; got != want {
					t.Errorf("mode %#o, want %#o", got, want)
				}
			}
			t.wantKind("setuid", t.writeErr(t.path("s"), 0o4755, nil), backend.ErrInvalid)
			if t.exists("s") {
				t.Errorf("it was written")
			}
		},
	},
	{
		Name:     "write-keeps-mode",
		Sentence: "WriteFile keeps the mode of a file it replaces.",
		run: func(t *T) {
			t.must("write", t.writeErr(t.path("f"), 0o750, strings.NewReader("old")))
			t.must("again", t.writeErr(t.path("f"), 0o600, strings.NewReader("new")))
			if got := t.stat("f").Mode; got != 0o750 {
				t.Errorf("mode %#o", got)
			}
			t.wantContent("f", "new")
		},
	},
	{
		Name:     "write-through-symlink",
		Sentence: "Through a symbolic link the target is changed, and the link stays.",
		Shell:    true,
		run: func(t *T) {
			t.write("real/f", "old")
			t.sh("ln -s real/f link; ln -s real/new dangling; ln -s real dir")
			t.write("link", "new")
			t.write("dangling", "made")
			t.write("dir/g", "below")
			t.wantContent("real/f", "new")
			t.wantContent("real/new", "made")
			t.wantContent("real/g", "below")
			if i := t.stat("link"); i.Type != backend.TypeSymlink {
				t.Errorf("the link is a %s", i.Type)
			}
		},
	},
	{
		Name:     "write-refused",
		Sentence: "A directory is ErrIsDirectory, below a file ErrNotDirectory, a bad path ErrInvalid.",
		run: func(t *T) {
			t.wantKind("a directory", t.writeErr(t.dir(), 0, nil), backend.ErrIsDirectory)
			t.write("f", "x")
			t.wantKind("below a file", t.writeErr(t.path("f/x"), 0, nil), backend.ErrNotDirectory)
			for what, p := range badPaths {
				t.wantKind(what, t.writeErr(p, 0, strings.NewReader("x")), backend.ErrInvalid)
			}
		},
	},
	{
		Name:     "write-permission",
		Sentence: "Where the sandbox's user may not write, it is ErrPermission.",
		Shell:    true,
		run: func(t *T) {
			t.write("closed/f", "old")
			t.sh("chmod 555 closed")
			t.wantKind("a new file", t.writeErr(t.path("closed/g"), 0, nil), backend.ErrPermission)
			t.wantKind("a replaced file", t.writeErr(t.path("closed/f"), 0, nil), backend.ErrPermission)
			t.wantContent("closed/f", "old")
			t.sh("chmod 755 closed")
		},
	},
	{
		Name:     "write-content-fails",
		Sentence: "If the content fails, its error is returned, the file is untouched and nothing is left behind.",
		run: func(t *T) {
			t.write("f", "old")
			broken := errors.New("content broke")
			for _, n := range []int{0, 10, 600_000} {
				err := t.writeErr(t.path("f"), 0, io.MultiReader(bytes.NewReader(noise(n)), failing{broken}))
				if !errors.Is(err, broken) {
					t.Errorf("after %d bytes: %v", n, err)
				}
			}
			err := t.writeErr(t.path("new"), 0, io.MultiReader(strings.NewReader("x"), failing{io.ErrUnexpectedEOF}))
			if !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("an early end: %v", err)
			}
			t.wantContent("f", "old")
			if names := t.names(""); len(names) != 1 {
				t.Errorf("left behind: %q", names)
			}
		},
	},
	{
		Name:     "write-cancelled",
		Sentence: "If the context ends before the content does, the file is untouched and nothing is left behind.",
		run: func(t *T) {
			t.write("f", "old")
			ctx, cancel := context.WithCancel(t.ctx)
			defer cancel()
			content := io.MultiReader(bytes.NewReader(noise(600_000)), readFunc(func([]byte) (int, error) {
				cancel()
				return 0, ctx.Err()
			}))
			_, err := t.sandbox().WriteFile(ctx, &backend.WriteFileRequest{Path: t.path("f"), Content: content})
			if !errors.Is(err, context.Canceled) {
				t.Errorf("%v", err)
			}
			t.wantContent("f", "old")
			t.eventually("nothing is left behind", func() bool { return len(t.names("")) == 1 })
		},
	},
	{
		Name:     "write-at-once",
		Sentence: "Of writes at once, one is whole; a reader meanwhile sees a whole one too.",
		run: func(t *T) {
			sb := t.sandbox()
			t.write("f", strings.Repeat("0", 300_000))
			var wg sync.WaitGroup
			for i := range 8 {
				wg.Go(func() {
					_, err := sb.WriteFile(t.ctx, &backend.WriteFileRequest{Path: t.path("f"), Content: strings.NewReader(strings.Repeat(string(rune('a'+i)), 300_000))})
					if err != nil {
						t.Errorf("write: %v", err)
					}
				})
				wg.Go(func() {
					got, err := readAll(t.ctx, sb, &backend.ReadFileRequest{Path: t.path("f")})
					if err != nil || len(got) != 300_000 || strings.Trim(got, got[:1]) != "" {
						t.Errorf("read: %s, %v", short(got), err)
					}
				})
			}
			wg.Wait()
			if names := t.names(""); len(names) != 1 {
				t.Errorf("left behind: %q", names)
			}
		},
	},
	{
		Name:     "write-seen-by-commands",
		Sentence: "Commands see what was written, and what they write can be read.",
		Shell:    true,
		run: func(t *T) {
			t.write("f", "from outside\n")
			t.wantOutput("cat", t.sh("cat f; echo from inside > g; echo more >> f"), "from outside\n")
			t.wantContent("g", "from inside\n")
			t.wantContent("f", "from outside\nmore\n")
		},
	},
}

// onlyReader hides what else a reader can do.
type onlyReader struct{ io.Reader }

// readFunc is a reader.
type readFunc func([]byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }
