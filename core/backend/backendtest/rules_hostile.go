package backendtest

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/deep-sandbox/deep/core/backend"
)

// escapees are archives with an entry that would be outside of the directory they
// are unpacked in: at "victim" beside it, or in /tmp.
var escapees = []struct {
	rule, sentence string
	archives       func(absolute string) [][]entry
}{
	{"dotdot", "Extraction refuses escapes through .. in a name.", func(string) [][]entry {
		return [][]entry{
			{file("../victim", "x")}, {file("d/../../victim", "x")}, {directory("d"), file("d/../../victim", "x")}, {file("./../victim", "x")},
			{directory("../made")}, {link("../made", "x")}, {file("..", "x")}, {file("../other/f", "x")},
		}
	}},
	{"absolute", "Extraction refuses absolute names.", func(absolute string) [][]entry {
		return [][]entry{{file(absolute+"/victim", "x")}, {directory(absolute + "/made")}, {file("/tmp/deep-made", "x")}, {file("//"+absolute+"/victim", "x")}}
	}},
	{"symlink", "Extraction refuses escapes through a symbolic link.", func(absolute string) [][]entry {
		return [][]entry{
			{link("out", ".."), file("out/victim", "x")}, {link("out", absolute), file("out/victim", "x")}, {link("out", "/tmp"), file("out/deep-made", "x")},
			{link("one", ".."), link("two", "one"), file("two/victim", "x")}, {directory("d"), link("d/up", "../.."), file("d/up/victim", "x")},
			{link("out", ".."), directory("out/made")}, {link("out", ".."), file("out/made/f", "x")}, {link("out", ".."), link("out/made", "x")},
		}
	}},
	{"existing-link", "Extraction refuses escapes through a symbolic link that was there before.", func(string) [][]entry {
		return [][]entry{{file("before/victim", "x")}, {directory("before/made")}, {file("before/made/f", "x")}}
	}},
	{"hard-link", "A hard link to outside is ErrInvalid.", func(absolute string) [][]entry {
		return [][]entry{
			{hardLink("got", "../victim")}, {hardLink("got", absolute+"/victim")}, {hardLink("got", "/etc/hostname")}, {hardLink("got", "before/victim")},
			{link("out", ".."), hardLink("got", "out/victim")},
		}
	}},
	{"special", "Extraction refuses device nodes and FIFOs.", func(string) [][]entry {
		special := func(kind byte) entry {
			return entry{tar.Header{Typeflag: kind, Name: "got", Mode: 0o666, Devmajor: 1, Devminor: 3}, ""}
		}
		return [][]entry{{special(tar.TypeChar)}, {special(tar.TypeBlock)}, {special(tar.TypeFifo)}}
	}},
}

var hostileRules = func() []Rule {
	rules := []Rule{
		{
			Name:     "archive-escape-last-link",
			Sentence: "An entry of the name of a link replaces it; what the link named is untouched.",
			run: func(t *T) {
				t.write("victim", "untouched")
				_, err := t.putArchive("in", link("f", "../victim"), file("f", "written"))
				t.must("put archive", err)
				t.wantContent("victim", "untouched")
				t.wantContent("in/f", "written")
			},
		},
		{
			Name:     "archive-truncated",
			Sentence: "A stream that is cut is ErrInvalid, and the file it was cut in is not there half.",
			run: func(t *T) {
				content := string(noise(300_000))
				stream := archiveOf(t, file("whole", "whole"), file("cut", content))
				// In the second entry: in its header, at its beginning, half way, and
				// one byte before its end.
				begin := len(stream) - 1024 - (len(content)+511)/512*512
				for i, at := range []int{begin - 200, begin, begin + 100_000, begin + len(content) - 1} {
					dir := fmt.Sprint("in", i)
					_, err := t.sandbox().PutArchive(t.ctx, &backend.PutArchiveRequest{Path: t.path(dir), Content: strings.NewReader(stream[:at])})
					t.wantKind(fmt.Sprintf("cut at %d", at), err, backend.ErrInvalid)
					t.wantContent(dir+"/whole", "whole")
					if names := t.names(dir); !slices.Equal(names, []string{"whole"}) {
						t.Errorf("cut at %d: %q", at, names)
					}
				}
			},
		},
		{
			Name:     "archive-garbage",
			Sentence: "What is no tar stream is ErrInvalid.",
			run: func(t *T) {
				for what, content := range map[string]string{
					"noise": string(noise(5000)), "text": strings.Repeat("text\n", 1000), "gzip": "\x1f\x8b\x08\x00" + string(noise(3000)), "a few bytes": "PK\x03\x04",
				} {
					_, err := t.sandbox().PutArchive(t.ctx, &backend.PutArchiveRequest{Path: t.path("in"), Content: strings.NewReader(content)})
					t.wantKind(what, err, backend.ErrInvalid)
				}
			},
		},
		{
			Name:     "archive-content-fails",
			Sentence: "If the stream fails, its error is returned; what came before stays.",
			run: func(t *T) {
				// More than one message comes before.
				stream := archiveOf(t, file("whole", "whole"), file("cut", string(noise(900_000))))
				broken := errors.New("content broke")
				_, err := t.sandbox().PutArchive(t.ctx, &backend.PutArchiveRequest{Path: t.path("in"), Content: io.MultiReader(strings.NewReader(stream[:800_000]), failing{broken})})
				if !errors.Is(err, broken) {
					t.Errorf("%v", err)
				}
				t.eventually("what came before is there, and nothing else", func() bool {
					return t.exists("in") && slices.Equal(t.names("in"), []string{"whole"})
				})
				t.wantContent("in/whole", "whole")
			},
		},
	}
	for _, e := range escapees {
		rules = append(rules, Rule{
			Name:     "archive-escape-" + e.rule,
			Sentence: e.sentence,
			run: func(t *T) {
				t.write("victim", "untouched")
				for i, entries := range e.archives(t.sandbox().Info().Workspace + "/" + t.rule.Name) {
					t.escape(fmt.Sprint("in", i), entries)
				}
			},
		})
	}
	return rules
}()

// escape unpacks an archive whose last entry must be refused, and looks at what is
// outside.
func (t *T) escape(dir string, entries []entry) {
	what := strings.Join(brief(entries), ", ")
	refused := entries[len(entries)-1].Name
	_, err := t.putArchive(dir, link("before", ".."))
	t.must("put a link", err)
	outside := t.names("")
	_, err = t.putArchive(dir, slices.Concat([]entry{file("first", "first")}, entries, []entry{file("last", "last")})...)
	t.wantKind(what, err, backend.ErrInvalid)
	if e := (*backend.Error)(nil); errors.As(err, &e) && strings.TrimSuffix(e.Path, "/") != strings.TrimSuffix(refused, "/") {
		t.Errorf("%s: the error names %q, want %q", what, e.Path, refused)
	}
	t.wantContent("victim", "untouched")
	if names := t.names(""); !slices.Equal(names, outside) {
		t.Errorf("%s: outside there is %q now, and was %q", what, names, outside)
	}
	for _, path := range []string{"/tmp/deep-made", "/deep-made"} {
		if err := t.statErr(path, false); !errors.Is(err, backend.ErrNotFound) {
			t.Errorf("%s: %s is there, or not known: %v", what, path, err)
		}
	}
	// What came before stays, what comes after is not unpacked.
	t.wantContent(dir+"/first", "first")
	for _, name := range []string{"last", "got"} {
		if t.exists(dir + "/" + name) {
			t.Errorf("%s: %s was unpacked", what, name)
		}
	}
}
