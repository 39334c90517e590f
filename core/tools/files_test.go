package tools_test

import (
	"context"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"

	"github.com/deep-sandbox/deep/core/backend"
)

func TestLs(t *testing.T) {
	b := newBench(t)
	b.ok("ls", m{}, "The directory is empty.")
	b.file("b.txt", "four")
	b.file("sub/deep/file", "")
	b.file("big", strings.Repeat("x", 20<<10))
	b.file(".hidden", "x")
	b.sh("ln -s b.txt link; mkfifo pipe")
	b.ok("ls", m{}, "sub/\n.hidden  1 B\nb.txt  4 B\nbig  20 KiB\nlink -> b.txt\npipe  (fifo)\n")
	b.ok("ls", m{"path": "sub"}, "deep/\n")
	b.ok("ls", m{"path": "/workspace/sub/deep/.."}, "deep/\n")
	b.fails("ls", m{"path": "none"}, "Error: none: not found — look at what is there")
	b.fails("ls", m{"path": "b.txt"}, "Error: b.txt: not a directory")
}

func TestLsManyEntries(t *testing.T) {
	b := newBench(t)
	for i := range 1003 {
		b.file(fmt.Sprintf("f%04d", i), "")
	}
	a := b.call("ls", m{})
	if !strings.HasSuffix(a.Text, "f0999  0 B\n... and 3 more\n") || !a.Truncated {
		t.Errorf("truncated %v, ending %q", a.Truncated, a.Text[len(a.Text)-40:])
	}
}

// TestHostileNames: a name can neither forge a row nor drive a terminal.
func TestHostileNames(t *testing.T) {
	b := newBench(t)
	b.file("a\nfake  9 B", "x")
	b.file("esc\x1b[2J", "x")
	b.file("bidi\u202egpj.exe", "x")
	b.file("bad\xff", "x")
	b.ok("ls", m{}, `"a\nfake  9 B"  1 B`+"\n"+`"bad\xff"  1 B`+"\n"+`"bidi\u202egpj.exe"  1 B`+"\n"+`"esc\x1b[2J"  1 B`+"\n")
	b.ok("grep", m{"pattern": "x", "output_mode": "files_with_matches"}, `"a\nfake  9 B"`+"\n"+`"bad\xff"`+"\n"+`"bidi\u202egpj.exe"`+"\n"+`"esc\x1b[2J"`+"\n")
	for _, row := range strings.Split(b.call("glob", m{"pattern": "*"}).Text, "\n") {
		if row != "" && row[0] != '"' {
			t.Errorf("glob shows %q", row)
		}
	}
	b.ok("write_file", m{"path": "a\nWrote 9 lines", "content": "x"}, `Wrote 1 line to "a\nWrote 9 lines"`)
	b.fails("read_file", m{"path": "no\nsuch"}, `There is no file "no\nsuch". Use ls or glob to find it.`)
}

func TestReadFile(t *testing.T) {
	b := newBench(t)
	b.file("f", "one\n\n\tthree\nlast without end")
	b.ok("read_file", m{"path": "f"}, "     1\tone\n     2\t\n     3\t\tthree\n     4\tlast without end\n")
	b.ok("read_file", m{"path": "f", "offset": 1, "limit": 2}, "     2\t\n     3\t\tthree\n... (1 more lines)\n")
	b.ok("read_file", m{"path": "f", "offset": 3}, "     4\tlast without end\n")
	b.ok("read_file", m{"path": "f", "offset": 2, "limit": math.MaxInt64}, "     3\t\tthree\n     4\tlast without end\n")
	b.fails("read_file", m{"path": "f", "offset": 4}, "f has 4 lines: offset 4 is past its end.")
	b.fails("read_file", m{"path": "f", "offset": math.MaxInt64, "limit": math.MaxInt64}, fmt.Sprintf("f has 4 lines: offset %d is past its end.", math.MaxInt64))
	const usage = "offset must be 0 or more and limit 1 or more. Usage: read_file(path, offset=0, limit=2000)"
	b.fails("read_file", m{"path": "f", "offset": -1}, usage)
	b.fails("read_file", m{"path": "f", "limit": 0}, usage)
	b.ok("read_file", m{"path": "/workspace/f", "limit": 1}, "     1\tone\n... (3 more lines)\n")

	b.file("empty", "")
	b.ok("read_file", m{"path": "empty"}, "empty is empty.")
	b.file("crlf", "a\r\nb\r\n")
	b.ok("read_file", m{"path": "crlf"}, "     1\ta\r\n     2\tb\r\n")
	b.fails("read_file", m{"path": "none"}, "There is no file none. Use ls or glob to find it.")
	b.fails("read_file", m{"path": "."}, ". is a directory. Use ls to see what is in it.")
	b.sh("mkfifo pipe")
	if a := b.call("read_file", m{"path": "pipe"}); !a.Failed || !strings.HasPrefix(a.Text, "Error: pipe: ") {
		t.Errorf("of a pipe it answers %q", a.Text)
	}
}

func TestReadBinary(t *testing.T) {
	b := newBench(t)
	b.file("image", "\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR")
	b.fails("read_file", m{"path": "image"}, "image is a binary file (image/png, 16 B): it cannot be shown as text. Use execute with a program that understands it.")
	b.file("utf16", "\xff\xfea\x00b\x00")
	b.fails("read_file", m{"path": "utf16"}, "utf16 is a binary file (text/plain; charset=utf-16le, 6 B): it cannot be shown as text. Use execute with a program that understands it.")
	b.file("latin1", "caf\xe9\nplain\n")
	b.ok("read_file", m{"path": "latin1"}, "     1\tcaf\uFFFD\n     2\tplain\n[latin1 holds bytes that are not UTF-8, shown as \uFFFD; edit_file cannot match them]\n")
	b.ok("read_file", m{"path": "latin1", "offset": 1}, "     2\tplain\n")
}

func TestReadIsCut(t *testing.T) {
	b := newBench(t)
	b.file("lines", strings.Repeat("x\n", 2500))
	a := b.call("read_file", m{"path": "lines"})
	if !strings.HasSuffix(a.Text, "  2000\tx\n... (500 more lines)\n") || !a.Truncated {
		t.Errorf("truncated %v, ending %q", a.Truncated, a.Text[len(a.Text)-40:])
	}

	// 1000 characters of two bytes each, and 8 more a row: 198 rows fit.
	b.file("wide", strings.Repeat(strings.Repeat("é", 1000)+"\n", 300))
	a = b.call("read_file", m{"path": "wide"})
	if !strings.HasSuffix(a.Text, "é\n[cut at 200000 characters; go on with offset=198]\n... (102 more lines)\n") || !a.Truncated {
		t.Errorf("truncated %v, ending %q", a.Truncated, a.Text[len(a.Text)-100:])
	}
	a = b.call("read_file", m{"path": "wide", "offset": 198})
	if a.Failed || !strings.HasPrefix(a.Text, "   199\té") || !strings.HasSuffix(a.Text, "é\n") {
		t.Errorf("going on as it says: failed %v, ending %q", a.Failed, a.Text[len(a.Text)-100:])
	}
	b.fails("read_file", m{"path": "wide", "limit": 300}, "These lines of wide hold more than 200000 characters: ask for fewer with limit.")
	if a := b.call("read_file", m{"path": "wide", "limit": 198}); a.Failed {
		t.Errorf("198 lines fit, but: %s", a.Text)
	}
}

func TestReadLongLine(t *testing.T) {
	b := newBench(t)
	b.file("long", strings.Repeat("é", 1_000_000)+"\nshort\n")
	a := b.call("read_file", m{"path": "long"})
	if !strings.HasPrefix(a.Text, "     1\té") || !a.Truncated ||
		!strings.HasSuffix(a.Text, "é\n[line 1 holds more than 200000 characters and was cut; use execute to read the rest of it]\n... (1 more lines)\n") {
		t.Errorf("truncated %v, ending %q", a.Truncated, a.Text[len(a.Text)-150:])
	}
	b.fails("read_file", m{"path": "long", "limit": 1}, "Line 1 of long alone holds more than 200000 characters. Use execute to read it in parts, for example with cut -c.")
	b.ok("read_file", m{"path": "long", "offset": 1}, "     2\tshort\n")
}

// endless is a file that never ends, as a log or a file of /proc may be.
type endless struct{ backend.Sandbox }

func (endless) ReadFile(context.Context, *backend.ReadFileRequest) (*backend.File, error) {
	return &backend.File{ReadCloser: endlessLines{}}, nil
}

type endlessLines struct{}

var endlessBlock = []byte(strings.Repeat(strings.Repeat("x", 4095)+"\n", 16))

func (endlessLines) Read(p []byte) (int, error) { return copy(p, endlessBlock), nil }

func (endlessLines) Close() error { return nil }

func TestReadEndless(t *testing.T) {
	b := benchOn(t, endless{newBench(t).sb})
	a := b.call("read_file", m{"path": "log", "limit": 2})
	if a.Failed || !strings.Contains(a.Text, "... (more than ") {
		t.Errorf("ending %q", a.Text[len(a.Text)-80:])
	}
	b.fails("read_file", m{"path": "log", "offset": 1_000_000_000}, "Line 1000000001 of log is further than 256 MiB into it. Use execute, for example with sed -n.")
}

// breaking fails in the middle of a file.
type breaking struct {
	backend.Sandbox
	err error
}

func (b breaking) ReadFile(context.Context, *backend.ReadFileRequest) (*backend.File, error) {
	return &backend.File{ReadCloser: io.NopCloser(io.MultiReader(strings.NewReader(strings.Repeat("line\n", 100_000)), errReader{b.err}))}, nil
}

type errReader struct{ err error }

func (e errReader) Read([]byte) (int, error) { return 0, e.err }

// TestReadBreaks: half a file is never shown as a whole one.
func TestReadBreaks(t *testing.T) {
	b := benchOn(t, breaking{newBench(t).sb, &backend.Error{Kind: backend.ErrPermission, Path: "f"}})
	b.fails("read_file", m{"path": "f"}, "Error: f: permission denied")
	b = benchOn(t, breaking{newBench(t).sb, &backend.Error{Kind: backend.ErrGone}})
	if _, err := b.Call(t.Context(), "read_file", args(t, m{"path": "f"})); err == nil {
		t.Error("a sandbox that went away while it was read from is no error")
	}
}

func TestWriteFile(t *testing.T) {
	b := newBench(t)
	for content, want := range map[string]string{
		"":         "Wrote 0 lines to sub/f",
		"one":      "Wrote 1 line to sub/f",
		"one\n":    "Wrote 1 line to sub/f",
		"one\ntwo": "Wrote 2 lines to sub/f",
	} {
		b.ok("write_file", m{"path": "sub/f", "content": content}, want)
		if got := b.content("sub/f"); got != content {
			t.Errorf("it holds %q, want %q", got, content)
		}
	}
	const usage = " Usage: write_file(path, content)"
	b.fails("write_file", m{"path": "f"}, "path and content are required; content may be empty."+usage)
	b.fails("write_file", m{"content": "f"}, "path and content are required; content may be empty."+usage)
	b.fails("write_file", m{"path": "sub", "content": "x"}, "Error: sub: is a directory")
	if a := b.call("write_file", m{"path": "a\x00b", "content": "x"}); !a.Failed {
		t.Errorf("a NUL in a path: %q", a.Text)
	}
}

func TestEditFile(t *testing.T) {
	b := newBench(t)
	b.file("f", "a\r\nb\xff\r\na\r\n")
	b.ok("edit_file", m{"path": "f", "old_string": "b", "new_string": ""}, "Replaced 1 occurrence in f")
	b.ok("edit_file", m{"path": "f", "old_string": "a\r\n", "new_string": "c\n", "replace_all": true}, "Replaced 2 occurrences in f")
	if got, want := b.content("f"), "c\n\xff\r\nc\n"; got != want {
		t.Errorf("it holds %q, want %q", got, want)
	}
	b.fails("edit_file", m{"path": "f", "old_string": "c", "new_string": "d"},
		"old_string occurs 2 times in f: add more of the surrounding lines so that it occurs once, or set replace_all.")
	b.fails("edit_file", m{"path": "f", "old_string": "zzz", "new_string": "d"},
		"old_string was not found in f. Read the file again and copy the text exactly, with its white space and without line numbers.")
	b.fails("edit_file", m{"path": "none", "old_string": "a", "new_string": "b"},
		"There is no file none. Use write_file to make it, or ls and glob to find it.")
	b.fails("edit_file", m{"path": "f", "old_string": "c", "new_string": "c"}, "old_string and new_string are the same: there is nothing to change.")
	b.fails("edit_file", m{"path": "f", "old_string": "", "new_string": "c"},
		"old_string is empty. To make a file use write_file; to add to one, replace a line by itself and the new text.")
	b.fails("edit_file", m{"path": "f", "old_string": "c"},
		"path, old_string and new_string are required. Usage: edit_file(path, old_string, new_string, replace_all=false)")
	b.fails("edit_file", m{"path": ".", "old_string": "c", "new_string": "d"}, "Error: .: is a directory")
	if got, want := b.content("f"), "c\n\xff\r\nc\n"; got != want {
		t.Errorf("a failed edit left %q, want %q", got, want)
	}
}

// TestChangedSinceRead: whoever changed it, what the model believes of the file is
// no longer so.
func TestChangedSinceRead(t *testing.T) {
	b := newBench(t)
	edit := func(path string) any { return m{"path": path, "old_string": "b", "new_string": "c"} }
	refused := func(path string) {
		t.Helper()
		b.fails("edit_file", edit(path), path+" has changed since you last read it, so it was not edited. Read it again, then edit.")
	}
	b.file("f", "b\n")
	b.call("read_file", m{"path": "f"})
	b.file("f", "b\nmore\n")
	refused("f")
	refused("./f")
	refused("/workspace/f")
	b.call("read_file", m{"path": "/workspace//f"})
	b.ok("edit_file", edit("f"), "Replaced 1 occurrence in f")

	// Its own changes are no surprise.
	b.ok("edit_file", m{"path": "f", "old_string": "c", "new_string": "b"}, "Replaced 1 occurrence in f")
	b.call("write_file", m{"path": "f", "content": "b"})
	b.ok("edit_file", edit("f"), "Replaced 1 occurrence in f")

	// Reading a part is reading: the sum is of the whole.
	b.file("g", "a\nb\n")
	b.call("read_file", m{"path": "g", "limit": 1})
	b.file("g", "a\nb\nmore\n")
	refused("g")
	b.fails("read_file", m{"path": "g", "offset": 100}, "g has 3 lines: offset 100 is past its end.")
	refused("g") // it has seen nothing of it

	// What it never read it may edit: the text is condition enough.
	b.file("h", "b")
	b.ok("edit_file", edit("h"), "Replaced 1 occurrence in h")
}
