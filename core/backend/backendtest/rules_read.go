package backendtest

import (
	"context"
	"io"
	"strings"

	"github.com/deep-sandbox/deep/core/backend"
)

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
