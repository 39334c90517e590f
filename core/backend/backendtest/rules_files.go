package backendtest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/deep-sandbox/deep/core/backend"
)

func hexSum(s string) string {
	h := sha256.Sum256([]byte(s))
	return hex.EncodeToString(h[:])
}

// badPaths are what every file operation refuses.
var badPaths = map[string]string{
	"an empty path":        "",
	"a NUL":                "a\x00b",
	"a name of 256 bytes":  strings.Repeat("x", 256),
	"a path of 4096 bytes": strings.Repeat("x/", 2048),
}

func (t *T) statErr(path string, follow bool) error {
	_, err := t.sandbox().Stat(t.ctx, &backend.StatRequest{Path: path, Follow: follow})
	return err
}

var statRules = []Rule{
	{
		Name:     "stat-file",
		Sentence: "Stat tells type, size, mode and time, and the path as asked for.",
		run: func(t *T) {
			t.write("f", "12345")
			i := t.stat("f")
			if i.Path != t.path("f") || i.Type != backend.TypeRegular || i.Size != 5 || i.Mode != 0o644 || i.Target != "" || i.SHA256 != "" {
				t.Errorf("%+v", i)
			}
			if age := time.Since(i.ModTime); age.Abs() > time.Hour {
				t.Errorf("modified %v ago", age)
			}
		},
	},
	{
		Name:     "stat-directory",
		Sentence: "A directory is one, of size 0.",
		run: func(t *T) {
			t.dir()
			if i := t.stat("."); i.Type != backend.TypeDirectory || i.Size != 0 || i.Mode&0o777 != 0o755 {
				t.Errorf("%+v", i)
			}
		},
	},
	{
		Name:     "stat-symlink",
		Sentence: "Stat does not follow a last symbolic link unless asked to, and tells its target as it is.",
		Shell:    true,
		run: func(t *T) {
			t.write("f", "12345")
			t.sh("ln -s f link; ln -s no/where dangling")
			if i := t.stat("link"); i.Type != backend.TypeSymlink || i.Target != "f" || i.Size != 0 {
				t.Errorf("link: %+v", i)
			}
			if i := t.stat("dangling"); i.Type != backend.TypeSymlink || i.Target != "no/where" {
				t.Errorf("dangling: %+v", i)
			}
			i, err := t.sandbox().Stat(t.ctx, &backend.StatRequest{Path: t.path("link"), Follow: true})
			t.must("follow", err)
			if i.Type != backend.TypeRegular || i.Size != 5 {
				t.Errorf("followed: %+v", i)
			}
			t.wantKind("follow a dangling one", t.statErr(t.path("dangling"), true), backend.ErrNotFound)
		},
	},
	{
		Name:     "stat-special",
		Sentence: "A FIFO and a device are told as such, without blocking.",
		Shell:    true,
		run: func(t *T) {
			t.sh("mkfifo pipe")
			if i := t.stat("pipe"); i.Type != backend.TypeFIFO || i.Size != 0 {
				t.Errorf("%+v", i)
			}
			i, err := t.sandbox().Stat(t.ctx, &backend.StatRequest{Path: "/dev/null"})
			t.must("stat /dev/null", err)
			if i.Type != backend.TypeDevice {
				t.Errorf("%+v", i)
			}
		},
	},
	{
		Name:     "stat-sha256",
		Sentence: "The sum is that of the content; of what is no regular file it is ErrInvalid.",
		run: func(t *T) {
			t.write("f", "content")
			i, err := t.sandbox().Stat(t.ctx, &backend.StatRequest{Path: t.path("f"), SHA256: true})
			t.must("stat", err)
			if i.SHA256 != hexSum("content") {
				t.Errorf("sum %q", i.SHA256)
			}
			_, err = t.sandbox().Stat(t.ctx, &backend.StatRequest{Path: t.dir(), SHA256: true})
			t.wantKind("of a directory", err, backend.ErrInvalid)
		},
	},
	{
		Name:     "stat-missing",
		Sentence: "What is not there is ErrNotFound naming the path; below a file it is ErrNotDirectory.",
		run: func(t *T) {
			err := t.statErr(t.path("missing"), false)
			t.wantKind("missing", err, backend.ErrNotFound)
			if e := (*backend.Error)(nil); errors.As(err, &e) && e.Path != t.path("missing") {
				t.Errorf("the error names %q", e.Path)
			}
			t.write("f", "x")
			t.wantKind("below a file", t.statErr(t.path("f/x"), false), backend.ErrNotDirectory)
			t.wantKind("a file with a slash", t.statErr(t.path("f/"), false), backend.ErrNotDirectory)
		},
	},
	{
		Name:     "stat-paths",
		Sentence: "A path is absolute or relative to the workspace, and .. resolves as the kernel would.",
		Shell:    true,
		run: func(t *T) {
			t.write("a/b/f", "x")
			t.sh("ln -s a/b link")
			ws := t.sandbox().Info().Workspace
			for _, p := range []string{t.path("a/b/f"), ws + "/" + t.path("a/b/f"), t.path("a/../a/./b//f"), t.path("link/f"), t.path("link/../b/f"), "/../.." + ws + "/" + t.path("a/b/f")} {
				t.must(p, t.statErr(p, false))
			}
			t.wantKind("link/../a", t.statErr(t.path("link/../a"), false), backend.ErrNotFound)
		},
	},
	{
		Name:     "stat-invalid-path",
		Sentence: "An empty or over-long path, and one with a NUL, is ErrInvalid.",
		run: func(t *T) {
			for what, p := range badPaths {
				t.wantKind(what, t.statErr(p, false), backend.ErrInvalid)
			}
		},
	},
}

func (t *T) readErr(req *backend.ReadFileRequest) error {
	_, err := readAll(t.ctx, t.sandbox(), req)
	return err
}

var readRules = []Rule{
	{
		Name:     "read-whole",
		Sentence: "ReadFile streams the content, byte-exact, with the file's description.",
		run: func(t *T) {
			for name, content := range map[string]string{"empty": "", "small": "a\x00\xff\r\n", "large": string(noise(3<<20 + 5))} {
				t.write(name, content)
				t.wantContent(name, content)
				f, err := t.sandbox().ReadFile(t.ctx, &backend.ReadFileRequest{Path: t.path(name)})
				t.must("read", err)
				if f.Info.Size != int64(len(content)) || f.Info.Type != backend.TypeRegular || f.Info.Path != t.path(name) {
					t.Errorf("%s: %+v", name, f.Info)
				}
				t.must("close without reading", f.Close())
			}
		},
	},
	{
		Name:     "read-range",
		Sentence: "Any byte range may be read; one past the end reads nothing.",
		run: func(t *T) {
			content := string(noise(700_000))
			t.write("f", content)
			for _, r := range []struct{ offset, length int64 }{
				{0, 1}, {0, 700_000}, {5, 10}, {262_143, 2}, {100, 0}, {699_999, 1}, {699_999, 100}, {700_000, 0}, {700_000, 5}, {1 << 40, 5}, {1 << 40, 0}, {10, 600_000},
			} {
				got, err := readAll(t.ctx, t.sandbox(), &backend.ReadFileRequest{Path: t.path("f"), Offset: r.offset, Length: r.length})
				want := content[min(r.offset, int64(len(content))):]
				if r.length > 0 {
					want = want[:min(r.length, int64(len(want)))]
				}
				if err != nil || got != want {
					t.Errorf("%d+%d: %s, %v; want %s", r.offset, r.length, short(got), err, short(want))
				}
			}
		},
	},
	{
		Name:     "read-negative",
		Sentence: "A negative offset or length is ErrInvalid.",
		run: func(t *T) {
			t.write("f", "x")
			t.wantKind("offset", t.readErr(&backend.ReadFileRequest{Path: t.path("f"), Offset: -1}), backend.ErrInvalid)
			t.wantKind("length", t.readErr(&backend.ReadFileRequest{Path: t.path("f"), Length: -1}), backend.ErrInvalid)
		},
	},
	{
		Name:     "read-not-a-file",
		Sentence: "A directory is ErrIsDirectory, a missing file ErrNotFound, below a file ErrNotDirectory; a failed read is never empty content.",
		run: func(t *T) {
			t.wantKind("a directory", t.readErr(&backend.ReadFileRequest{Path: t.dir()}), backend.ErrIsDirectory)
			t.wantKind("missing", t.readErr(&backend.ReadFileRequest{Path: t.path("missing")}), backend.ErrNotFound)
			t.write("f", "x")
			t.wantKind("below a file", t.readErr(&backend.ReadFileRequest{Path: t.path("f/x")}), backend.ErrNotDirectory)
			for what, p := range badPaths {
				t.wantKind(what, t.readErr(&backend.ReadFileRequest{Path: p}), backend.ErrInvalid)
			}
		},
	},
	{
		Name:     "read-special",
		Sentence: "A FIFO or device is ErrInvalid, without blocking.",
		Shell:    true,
		run: func(t *T) {
			t.sh("mkfifo pipe; ln -s pipe link")
			for _, p := range []string{t.path("pipe"), t.path("link"), "/dev/zero"} {
				t.wantKind(p, t.readErr(&backend.ReadFileRequest{Path: p}), backend.ErrInvalid)
			}
		},
	},
	{
		Name:     "read-permission",
		Sentence: "What the sandbox's user may not read is ErrPermission.",
		Shell:    true,
		run: func(t *T) {
			t.write("f", "x")
			t.sh("chmod 000 f")
			t.wantKind("read", t.readErr(&backend.ReadFileRequest{Path: t.path("f")}), backend.ErrPermission)
		},
	},
	{
		Name:     "read-symlink",
		Sentence: "A symbolic link is followed; a loop of them is an error that ends.",
		Shell:    true,
		run: func(t *T) {
			t.write("f", "content")
			t.sh("ln -s f link; ln -s loop loop; ln -s /no/where dangling")
			t.wantContent("link", "content")
			t.wantKind("dangling", t.readErr(&backend.ReadFileRequest{Path: t.path("dangling")}), backend.ErrNotFound)
			if err := t.readErr(&backend.ReadFileRequest{Path: t.path("loop")}); err == nil {
				t.Errorf("a loop was read")
			}
		},
	},
	{
		Name:     "read-while-replaced",
		Sentence: "A reader sees the old content or the new, never a mixture.",
		run: func(t *T) {
			before, after := strings.Repeat("a", 1<<20), strings.Repeat("b", 1<<20)
			t.write("f", before)
			f, err := t.sandbox().ReadFile(t.ctx, &backend.ReadFileRequest{Path: t.path("f")})
			t.must("open", err)
			defer func() { t.must("close", f.Close()) }()
			t.write("f", after)
			got, err := io.ReadAll(f)
			if err != nil || string(got) != before {
				t.Errorf("%s, %v", short(string(got)), err)
			}
			t.wantContent("f", after)
		},
	},
	{
		Name:     "read-cancelled",
		Sentence: "A context that ends ends the read with its error, never with io.EOF.",
		run: func(t *T) {
			t.write("f", string(noise(4<<20)))
			ctx, cancel := context.WithCancel(t.ctx)
			defer cancel()
			f, err := t.sandbox().ReadFile(ctx, &backend.ReadFileRequest{Path: t.path("f")})
			t.must("open", err)
			defer func() { t.must("close", f.Close()) }()
			cancel()
			n, err := io.Copy(io.Discard, f)
			if n == 4<<20 {
				return // it was there already
			}
			t.wantKind("read", err, context.Canceled)
		},
	},
}

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
