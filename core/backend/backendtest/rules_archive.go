package backendtest

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/deep-sandbox/deep/core/backend"
)

// entry is one of an archive.
type entry struct {
	tar.Header
	data string
}

func file(name, data string) entry {
	return entry{tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(data))}, data}
}

func directory(name string) entry {
	return entry{tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: 0o755}, ""}
}

func link(name, target string) entry {
	return entry{tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777}, ""}
}

func hardLink(name, target string) entry {
	return entry{tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: target, Mode: 0o644}, ""}
}

func (e entry) mode(mode int64) entry {
	e.Mode = mode
	return e
}

// archiveOf makes a tar stream.
func archiveOf(t *T, entries ...entry) string {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, e := range entries {
		if e.Format == tar.FormatUnknown {
			e.Format = tar.FormatPAX
		}
		t.must("make an archive", w.WriteHeader(&e.Header))
		_, err := io.WriteString(w, e.data)
		t.must("make an archive", err)
	}
	t.must("make an archive", w.Close())
	return out.String()
}

// putArchive unpacks entries in a directory of the rule's.
func (t *T) putArchive(dir string, entries ...entry) (*backend.PutArchiveReply, error) {
	return t.sandbox().PutArchive(t.ctx, &backend.PutArchiveRequest{Path: t.path(dir), Content: onlyReader{strings.NewReader(archiveOf(t, entries...))}})
}

// getArchiveIn returns the whole stream.
func (t *T) getArchiveIn(ctx context.Context, path string) (string, error) {
	r, err := t.sandbox().GetArchive(ctx, &backend.GetArchiveRequest{Path: path})
	if err != nil {
		return "", err
	}
	data, err := io.ReadAll(r)
	return string(data), errors.Join(err, r.Close())
}

// getArchive packs a file or directory of the rule's and returns its entries.
func (t *T) getArchive(name string) []entry {
	stream, err := t.getArchiveIn(t.ctx, t.path(name))
	t.must("get archive", err)
	return t.entries(stream)
}

func (t *T) entries(stream string) []entry {
	var entries []entry
	r := tar.NewReader(strings.NewReader(stream))
	for {
		h, err := r.Next()
		if err == io.EOF {
			return entries
		}
		t.must("read an archive", err)
		data, err := io.ReadAll(r)
		t.must("read an archive", err)
		entries = append(entries, entry{*h, string(data)})
	}
}

// brief says of each entry what counts: kind, name, permissions, target or
// content.
func brief(entries []entry) []string {
	var all []string
	for _, e := range entries {
		name := strings.TrimSuffix(e.Name, "/")
		switch e.Typeflag {
		case tar.TypeSymlink:
			all = append(all, fmt.Sprintf("l %q -> %q", name, e.Linkname))
		case tar.TypeDir:
			all = append(all, fmt.Sprintf("d %q %o", name, e.Mode&0o7777))
		default:
			all = append(all, fmt.Sprintf("%c %q %o %s", e.Typeflag, name, e.Mode&0o7777, short(e.data)))
		}
	}
	return all
}

func (t *T) wantEntries(name string, want ...entry) {
	if got, want := brief(t.getArchive(name)), brief(want); !slices.Equal(got, want) {
		t.Errorf("the archive of %s holds\n\t%s, want\n\t%s", name, strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

// oddNames are names that are lost when one takes them for text, or for options.
var oddNames = []string{
	" a  b ", "-rf", "new\nline", `q"u'o` + "`te", "\xff\xfe\x80", "ünï-日本", `back\slash`, "...", "[a]{b}*", "x=y", strings.Repeat("n", 255),
}

var archiveRules = []Rule{
	{
		Name:     "archive-put",
		Sentence: "PutArchive unpacks a tar stream: exact bytes, permission bits, links; parents and the directory itself are made.",
		run: func(t *T) {
			exact := "a\x00\xff\r\n" + string(noise(700_000))
			r, err := t.putArchive("new/dir",
				directory("d").mode(0o750), file("d/exact", exact), file("d/empty", ""), file("d/run", "#!/bin/sh\n").mode(0o755), file("d/secret", "s").mode(0o600),
				file("no/parents/f", "x"), link("d/link", "exact"), link("dangling", "/no/where"), hardLink("d/hard", "d/secret"))
			t.must("put archive", err)
			if r.Entries != 9 || r.Bytes != int64(len(exact)+10+1+1) {
				t.Errorf("%+v", r)
			}
			t.wantContent("new/dir/d/exact", exact)
			t.wantContent("new/dir/d/empty", "")
			t.wantContent("new/dir/d/link", exact)
			t.wantContent("new/dir/d/hard", "s")
			t.wantContent("new/dir/no/parents/f", "x")
			for name, mode := range map[string]uint32{"d": 0o750, "d/exact": 0o644, "d/run": 0o755, "d/secret": 0o600} {
				if i := t.stat("new/dir/" + name); i.Mode != mode {
					t.Errorf("%s has the mode %#o, want %#o", name, i.Mode, mode)
				}
			}
			if i := t.stat("new/dir/dangling"); i.Type != backend.TypeSymlink || i.Target != "/no/where" {
				t.Errorf("%+v", i)
			}
		},
	},
	{
		Name:     "archive-put-default",
		Sentence: "No path unpacks in the workspace; an empty archive is none of a file and no error.",
		run: func(t *T) {
			sb := t.sandbox()
			_, err := sb.PutArchive(t.ctx, &backend.PutArchiveRequest{Content: strings.NewReader(archiveOf(t, file(t.path("f"), "x")))})
			t.must("put archive", err)
			t.wantContent("f", "x")
			r, err := t.putArchive("empty")
			t.must("an empty one", err)
			if r.Entries != 0 || r.Bytes != 0 {
				t.Errorf("%+v", r)
			}
		},
	},
	{
		Name:     "archive-put-over",
		Sentence: "What is there is replaced by the entry of its name; what is not in the archive stays.",
		Shell:    true,
		run: func(t *T) {
			t.writeAll(map[string]string{"d/f": "old", "d/kept": "kept", "victim": "untouched"})
			t.sh("ln -s ../victim d/link; ln d/f hard")
			_, err := t.putArchive("", directory("d"), file("d/f", "new").mode(0o600), file("d/link", "a file now"))
			t.must("put archive", err)
			t.wantContent("d/f", "new")
			t.wantContent("d/kept", "kept")
			t.wantContent("d/link", "a file now")
			t.wantContent("victim", "untouched")
			if i := t.stat("d/f"); i.Mode != 0o600 {
				t.Errorf("mode %#o", i.Mode)
			}
			if i := t.stat("d/link"); i.Type != backend.TypeRegular {
				t.Errorf("the link is a %s", i.Type)
			}
		},
	},
	{
		Name:     "archive-put-owner",
		Sentence: "Owners are not kept, and of modes only the permission bits are.",
		run: func(t *T) {
			foreign := file("f", "old").mode(0o6755)
			foreign.Uid, foreign.Gid, foreign.Uname = 4711, 4711, "somebody"
			_, err := t.putArchive("", foreign, directory("d").mode(0o7755))
			t.must("put archive", err)
			for _, name := range []string{"f", "d"} {
				if i := t.stat(name); i.Mode != 0o755 {
					t.Errorf("%s has the mode %#o", name, i.Mode)
				}
			}
			// A write that would change the owner would be ErrPermission.
			t.write("f", "new")
			t.write("d/f", "new")
		},
	},
	{
		Name:     "archive-formats",
		Sentence: "An archive is ustar, PAX or GNU tar.",
		run: func(t *T) {
			long := strings.Repeat("deep-directory/", 12) + strings.Repeat("n", 200)
			for name, format := range map[string]tar.Format{"ustar": tar.FormatUSTAR, "pax": tar.FormatPAX, "gnu": tar.FormatGNU} {
				entries := []entry{file("f", "content"), link("link", "f")}
				if format != tar.FormatUSTAR {
					entries = append(entries, file(long, "long"), link("far", long))
				}
				for i := range entries {
					entries[i].Format = format
				}
				_, err := t.putArchive(name, entries...)
				t.must(name, err)
				t.wantContent(name+"/link", "content")
				if format != tar.FormatUSTAR {
					t.wantContent(name+"/"+long, "long")
					t.wantContent(name+"/far", "long")
				}
			}
		},
	},
	{
		Name:     "archive-names",
		Sentence: "Names are bytes and round-trip through archives, of files, directories and targets of links.",
		run: func(t *T) {
			var entries []entry
			for _, name := range slices.Sorted(slices.Values(oddNames)) {
				entries = append(entries, directory(name), file(name+"/"+name, "content of "+name), link(name+"/to", name))
			}
			_, err := t.putArchive("in", entries...)
			t.must("put archive", err)
			for _, name := range oddNames {
				t.wantContent("in/"+name+"/"+name, "content of "+name)
			}
			slices.SortFunc(entries, func(a, b entry) int {
				return strings.Compare(strings.TrimSuffix(a.Name, "/"), strings.TrimSuffix(b.Name, "/"))
			})
			got := t.getArchive("in")
			slices.SortFunc(got, func(a, b entry) int {
				return strings.Compare(strings.TrimSuffix(a.Name, "/"), strings.TrimSuffix(b.Name, "/"))
			})
			if got, want := brief(got), brief(entries); !slices.Equal(got, want) {
				t.Errorf("packed\n\t%q, want\n\t%q", got, want)
			}
		},
	},
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
		Name:     "archive-many",
		Sentence: "An archive of many small files comes whole, both ways.",
		run: func(t *T) {
			var entries []entry
			for i := range 1000 {
				entries = append(entries, file(fmt.Sprintf("f%04d", i), fmt.Sprint(i)))
			}
			r, err := t.putArchive("d", entries...)
			t.must("put archive", err)
			if r.Entries != 1000 {
				t.Errorf("%+v", r)
			}
			t.wantEntries("d", entries...)
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
	{
		Name:     "archive-refused",
		Sentence: "A file to unpack in is ErrNotDirectory, a closed directory ErrPermission; what comes after is not unpacked.",
		Shell:    true,
		run: func(t *T) {
			t.write("f", "x")
			t.write("closed/f", "x")
			t.sh("chmod 555 closed")
			defer t.sh("chmod 755 closed")
			_, err := t.putArchive("f", file("g", "x"))
			t.wantKind("a file", err, backend.ErrNotDirectory)
			_, err = t.putArchive("closed", file("g", "x"))
			t.wantKind("a closed directory", err, backend.ErrPermission)
			_, err = t.putArchive("f/d", file("g", "x"))
			t.wantKind("below a file", err, backend.ErrNotDirectory)
			t.wantContent("f", "x")
			if names := t.names("closed"); len(names) != 1 {
				t.Errorf("%q", names)
			}
		},
	},
}
