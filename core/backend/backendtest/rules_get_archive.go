package backendtest

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/deep-sandbox/deep/core/backend"
)

var getArchiveRules = []Rule{
	{
		Name:     "archive-get",
		Sentence: "GetArchive packs what is in a directory, sorted, under names relative to it: files, directories and symbolic links, with their modes.",
		run: func(t *T) {
			large := string(noise(1<<20 + 5))
			t.writeAll(map[string]string{"d/b": "bytes \x00\xff\r\n", "d/.hidden": "hidden", "d/sub/large": large, "d/.gitignore": "*", "outside": "x"})
			t.must("write", t.writeErr(t.path("d/run"), 0o755, nil))
			t.must("mkdir", t.sandbox().Mkdir(t.ctx, &backend.MkdirRequest{Path: t.path("d/none"), Mode: 0o700}))
			_, err := t.putArchive("d", link("a", "../outside"), link("dangling", "/no/where"))
			t.must("put links", err)
			t.wantEntries("d",
				file(".gitignore", "*"), file(".hidden", "hidden"), link("a", "../outside"), file("b", "bytes \x00\xff\r\n"), link("dangling", "/no/where"),
				directory("none").mode(0o700), file("run", "").mode(0o755), directory("sub"), file("sub/large", large))
			t.wantEntries("d/none")
		},
	},
	{
		Name:     "archive-get-file",
		Sentence: "GetArchive packs a file under its name; a last symbolic link is followed.",
		Shell:    true,
		run: func(t *T) {
			t.write("d/f", "content")
			t.sh("ln -s d dir; ln -s d/f link")
			t.wantEntries("d/f", file("f", "content"))
			t.wantEntries("dir", file("f", "content"))
			got := t.getArchive("link")
			if len(got) != 1 || got[0].data != "content" || got[0].Typeflag != tar.TypeReg {
				t.Errorf("through a link: %q", brief(got))
			}
		},
	},
	{
		Name:     "archive-round-trip",
		Sentence: "What GetArchive packs, PutArchive unpacks to the same.",
		run: func(t *T) {
			deep := strings.Repeat("a-long-name-of-a-directory/", 9) // above what ustar holds
			t.writeAll(map[string]string{"from/f": "x", "from/" + deep + "f": "deep", "from/d/e/f": string(noise(300_000))})
			_, err := t.putArchive("from", link("l", "d/e"), file("run", "").mode(0o755), directory("closed").mode(0o700))
			t.must("put", err)
			stream, err := t.getArchiveIn(t.ctx, t.path("from"))
			t.must("get", err)
			_, err = t.sandbox().PutArchive(t.ctx, &backend.PutArchiveRequest{Path: t.path("to"), Content: strings.NewReader(stream)})
			t.must("put", err)
			t.wantEntries("to", t.entries(stream)...)
			if n := len(t.entries(stream)); n != 17 {
				t.Errorf("%d entries", n)
			}
		},
	},
	{
		Name:     "archive-get-special",
		Sentence: "Of an archive only files, directories and links are part: a FIFO is left out without blocking, and is ErrInvalid by itself.",
		Shell:    true,
		run: func(t *T) {
			t.write("d/f", "x")
			t.sh("mkfifo d/pipe")
			t.wantEntries("d", file("f", "x"))
			_, err := t.getArchiveIn(t.ctx, t.path("d/pipe"))
			t.wantKind("a FIFO", err, backend.ErrInvalid)
		},
	},
	{
		Name:     "archive-get-unreadable",
		Sentence: "What cannot be read is an error, never an archive without it.",
		Shell:    true,
		run: func(t *T) {
			t.writeAll(map[string]string{"a/f": "x", "a/secret": "x", "b/closed/f": "x"})
			t.sh("chmod 000 a/secret b/closed")
			defer t.sh("chmod 755 b/closed")
			for _, dir := range []string{"a", "b"} {
				_, err := t.getArchiveIn(t.ctx, t.path(dir))
				t.wantKind(dir, err, backend.ErrPermission)
			}
		},
	},
	{
		Name:     "archive-get-changing",
		Sentence: "What vanishes while it is packed is left out; the rest is whole.",
		Shell:    true,
		run: func(t *T) {
			want := map[string]string{}
			for i := range 8 {
				want[fmt.Sprintf("d/f%02d", i)] = strings.Repeat(fmt.Sprint(i), 1000)
			}
			t.writeAll(want)
			defer t.churn("d")()
			for range 10 {
				got := map[string]string{}
				for _, e := range t.getArchive("d") {
					got["d/"+e.Name] = e.data
				}
				for name, content := range want {
					if got[name] != content {
						t.Errorf("%s holds %s", name, short(got[name]))
					}
				}
			}
		},
	},
	{
		Name:     "archive-get-cancelled",
		Sentence: "A context that ends ends the reading of an archive with its error, never with io.EOF.",
		run: func(t *T) {
			t.write("f", string(noise(4<<20)))
			ctx, cancel := context.WithCancel(t.ctx)
			defer cancel()
			r, err := t.sandbox().GetArchive(ctx, &backend.GetArchiveRequest{Path: t.path("f")})
			t.must("open", err)
			defer func() { t.must("close", r.Close()) }()
			cancel()
			n, err := io.Copy(io.Discard, r)
			if n > 4<<20 {
				return // it was there already
			}
			t.wantKind("read", err, context.Canceled)
		},
	},
}
