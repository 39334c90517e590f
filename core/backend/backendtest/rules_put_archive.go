package backendtest

import (
	"archive/tar"
	"fmt"
	"slices"
	"strings"

	"github.com/deep-sandbox/deep/core/backend"
)

// oddNames are names that are lost when one takes them for text, or for options.
var oddNames = []string{
	" a  b ", "-rf", "new\nline", `q"u'o` + "`te", "\xff\xfe\x80", "ünï-日本", `back\slash`, "...", "[a]{b}*", "x=y", strings.Repeat("n", 255),
}

var putArchiveRules = []Rule{
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
