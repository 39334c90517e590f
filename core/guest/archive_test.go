package guest

import (
	"archive/tar"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/deep-sandbox/deep/core/backend"
)

// entry is one of an archive in a test.
type entry struct {
	tar.Header
	data string
}

func fileEntry(name, data string) entry {
	return entry{tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(data))}, data}
}

func dirEntry(name string, mode int64) entry {
	return entry{tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: mode}, ""}
}

func linkEntry(kind byte, name, to string) entry {
	return entry{tar.Header{Typeflag: kind, Name: name, Linkname: to, Mode: 0o777}, ""}
}

// archiveOf makes a tar stream.
func archiveOf(t testing.TB, entries ...entry) string {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, e := range entries {
		e.Format = cmp.Or(e.Format, tar.FormatPAX)
		check(t, w.WriteHeader(&e.Header))
		_, err := io.WriteString(w, e.data)
		check(t, err)
	}
	check(t, w.Close())
	return out.String()
}

func (f *fixture) putArchive(dir, stream string) (*backend.PutArchiveReply, error) {
	return f.PutArchive(f.t.Context(), &backend.PutArchiveRequest{Path: dir, Content: iotest.HalfReader(strings.NewReader(stream))})
}

func (f *fixture) getArchive(path string) []entry {
	f.t.Helper()
	r, err := f.GetArchive(f.t.Context(), &backend.GetArchiveRequest{Path: path})
	check(f.t, err)
	defer func() { check(f.t, r.Close()) }()
	entries, err := entriesOf(r)
	check(f.t, err)
	return entries
}

func entriesOf(r io.Reader) ([]entry, error) {
	var entries []entry
	archive := tar.NewReader(r)
	for {
		h, err := archive.Next()
		if err == io.EOF {
			return entries, nil
		}
		if err != nil {
			return entries, err
		}
		data, err := io.ReadAll(archive)
		if err != nil {
			return entries, err
		}
		entries = append(entries, entry{*h, string(data)})
	}
}

func casePutArchive(f *fixture) {
	when := time.Unix(1_600_000_000, 123456789)
	big := strings.Repeat("0123456789abcde\n", 50_000)
	entries := []entry{
		dirEntry(".", 0o750), fileEntry("no/parents", "x"), dirEntry("closed", 0o555), fileEntry("closed/f", "in it"),
		fileEntry("big", big), fileEntry("./empty", ""), fileEntry("a/../b", "beside"),
		linkEntry(tar.TypeSymlink, "link", "/anywhere/../at all"), linkEntry(tar.TypeLink, "hard", "big"),
		{tar.Header{Typeflag: tar.TypeReg, Name: "setuid", Mode: 0o6755, Uid: 4711, Gid: 4711, Uname: "root"}, ""},
		{tar.Header{Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"comment": "by git"}}, ""},
	}
	for _, name := range oddNames {
		entries = append(entries, fileEntry("odd/"+name, name), linkEntry(tar.TypeSymlink, "odd-links/"+name, name))
	}
	for i := range entries {
		if entries[i].Typeflag != tar.TypeXGlobalHeader {
			entries[i].ModTime = when
		}
	}
	reply, err := f.putArchive("new/dir", archiveOf(f.t, entries...))
	check(f.t, err)
	if reply.Entries != len(entries)-1 || reply.Bytes < int64(len(big)) {
		f.t.Errorf("%+v of %d entries", reply, len(entries))
	}
	for _, e := range entries {
		var st unix.Stat_t
		if e.Typeflag == tar.TypeXGlobalHeader || e.Name == "a/../b" {
			continue
		}
		check(f.t, unix.Lstat(f.path("new/dir/"+e.Name), &st))
		if st.Uid != f.uid || st.Gid != f.uid || time.Unix(st.Mtim.Unix()) != when && e.Typeflag != tar.TypeLink {
			f.t.Errorf("%q: owner %d:%d, time %v", e.Name, st.Uid, st.Gid, time.Unix(st.Mtim.Unix()))
		}
		switch e.Typeflag {
		case tar.TypeReg:
			if got := f.get("new/dir/" + e.Name); got != e.data || st.Mode&0o7777 != uint32(e.Mode)&0o777 {
				f.t.Errorf("%q: %d bytes, mode %o", e.Name, len(got), st.Mode)
			}
		case tar.TypeDir:
			if st.Mode&0o7777 != uint32(e.Mode) {
				f.t.Errorf("%q: mode %o", e.Name, st.Mode)
			}
		case tar.TypeSymlink:
			if to, err := os.Readlink(f.path("new/dir/" + e.Name)); err != nil || to != e.Linkname {
				f.t.Errorf("%q leads to %q, %v", e.Name, to, err)
			}
		}
	}
	if f.get("new/dir/b") != "beside" || f.get("new/dir/hard") != big {
		f.t.Error("a name with dots, or a hard link")
	}
	// What was packed is unpacked to the same, also over itself.
	r, err := f.GetArchive(f.t.Context(), &backend.GetArchiveRequest{Path: "new/dir"})
	check(f.t, err)
	packed, err := io.ReadAll(r)
	check(f.t, errors.Join(err, r.Close()))
	for range 2 {
		_, err = f.putArchive("copy", string(packed))
		check(f.t, err)
		again := f.getArchive("copy")
		first, err := entriesOf(bytes.NewReader(packed))
		check(f.t, err)
		if !slices.EqualFunc(first, again, sameEntry) {
			f.t.Errorf("%d entries became %d others", len(first), len(again))
		}
	}
	reply, err = f.putArchive("", archiveOf(f.t))
	check(f.t, err)
	if *reply != (backend.PutArchiveReply{}) {
		f.t.Errorf("%+v of an empty archive", reply)
	}
}

func sameEntry(a, b entry) bool {
	return a.Name == b.Name && a.Typeflag == b.Typeflag && a.Mode == b.Mode && a.Linkname == b.Linkname && a.ModTime.Equal(b.ModTime) && a.data == b.data
}

func casePutArchiveOver(f *fixture) {
	f.put("victim", "untouched")
	f.put("d/f", "old")
	f.put("d/kept", "kept")
	check(f.t, os.Link(f.path("d/f"), f.path("other-name")))
	check(f.t, os.Symlink("../victim", f.path("d/link")))
	check(f.t, os.Symlink("../victim", f.path("d/to-dir")))
	check(f.t, unix.Mkfifo(f.path("d/fifo"), 0o666))
	open, err := os.Open(f.path("d/f"))
	check(f.t, err)
	defer func() { check(f.t, open.Close()) }()
	_, err = f.putArchive(".", archiveOf(f.t, dirEntry("d", 0o755), fileEntry("d/f", "new"), fileEntry("d/link", "a file"), fileEntry("d/fifo", "too"),
		dirEntry("d/to-dir", 0o755), fileEntry("d/to-dir/f", "x"), linkEntry(tar.TypeLink, "d/f", "d/f")))
	check(f.t, err)
	for name, want := range map[string]string{
		"victim": "untouched", "d/f": "new", "d/kept": "kept", "d/link": "a file", "d/fifo": "too", "d/to-dir/f": "x", "other-name": "old",
	} {
		if got := f.get(name); got != want {
			f.t.Errorf("%s holds %q", name, got)
		}
	}
	if got, err := io.ReadAll(open); err != nil || string(got) != "old" {
		f.t.Errorf("who had it open reads %q, %v", got, err)
	}
	_, err = f.putArchive(".", archiveOf(f.t, fileEntry("d", "x")))
	wantKind(f.t, err, backend.ErrIsDirectory)
	_, err = f.putArchive(".", archiveOf(f.t, linkEntry(tar.TypeSymlink, "d", "x")))
	wantKind(f.t, err, backend.ErrIsDirectory)
	_, err = f.putArchive("d/f", archiveOf(f.t, fileEntry("x", "x")))
	wantKind(f.t, err, backend.ErrNotDirectory)
	_, err = f.putArchive(".", archiveOf(f.t, fileEntry("d/f/x", "x")))
	wantKind(f.t, err, backend.ErrNotDirectory)
}

// hostileArchives are those whose last entry must be refused.
func hostileArchives(outside string) map[string][]entry {
	symlink := func(name, to string) entry { return linkEntry(tar.TypeSymlink, name, to) }
	special := func(kind byte) []entry {
		return []entry{{tar.Header{Typeflag: kind, Name: "got", Mode: 0o666, Devmajor: 1, Devminor: 3}, ""}}
	}
	return map[string][]entry{
		"dotdot":         {fileEntry("../victim", "x")},
		"dotdot inside":  {dirEntry("d", 0o755), fileEntry("d/../../victim", "x")},
		"dotdot itself":  {fileEntry("..", "x")},
		"dotdot dir":     {dirEntry("../made", 0o755)},
		"dotdot link":    {symlink("../made", "x")},
		"absolute":       {fileEntry(outside+"/victim", "x")},
		"absolute twice": {fileEntry("//"+outside+"/victim", "x")},
		"absolute dir":   {dirEntry(outside+"/made", 0o755)},
		"link up":        {symlink("out", ".."), fileEntry("out/victim", "x")},
		"link absolute":  {symlink("out", outside), fileEntry("out/victim", "x")},
		"link to link":   {symlink("one", ".."), symlink("two", "one"), fileEntry("two/victim", "x")},
		"link deep":      {dirEntry("d", 0o755), symlink("d/up", "../.."), fileEntry("d/up/made/f", "x")},
		"link dir":       {symlink("out", ".."), dirEntry("out/made", 0o755)},
		"link link":      {symlink("out", ".."), symlink("out/made", "x")},
		"link proc":      {symlink("out", "/proc/self/root"), fileEntry("out/tmp/deep-made", "x")},
		"link cwd":       {symlink("out", "/proc/self/cwd"), fileEntry("out/deep-made", "x")},
		"link there":     {fileEntry("before/victim", "x")},
		"link there dir": {dirEntry("before/made", 0o755)},
		"link inside":    {dirEntry("d", 0o755), symlink("in", "d"), fileEntry("in/f", "x")},
		"hard up":        {linkEntry(tar.TypeLink, "got", "../victim")},
		"hard absolute":  {linkEntry(tar.TypeLink, "got", outside+"/victim")},
		"hard by link":   {symlink("out", ".."), linkEntry(tar.TypeLink, "got", "out/victim")},
		"hard to link":   {symlink("out", "../victim"), linkEntry(tar.TypeLink, "got", "out")},
		"hard to dir":    {dirEntry("d", 0o755), linkEntry(tar.TypeLink, "got", "d")},
		"hard to none":   {linkEntry(tar.TypeLink, "got", "none")},
		"character":      special(tar.TypeChar),
		"block":          special(tar.TypeBlock),
		"fifo":           special(tar.TypeFifo),
		"unknown":        special('Z'),
		"itself":         {fileEntry(".", "x")},
		"name too long":  {fileEntry(strings.Repeat("n", 256), "x")},
		"path too long":  {fileEntry(strings.Repeat("d/", 2048)+"f", "x")},
		"link too long":  {symlink("l", strings.Repeat("x/", 2048))},
	}
}

func casePutArchiveHostile(f *fixture) {
	f.put("victim", "untouched")
	check(f.t, os.Chmod(f.path("."), 0o777))
	for what, entries := range hostileArchives(f.dir) {
		dir := "in " + what
		f.put(dir+"/there", "")
		check(f.t, os.Symlink("..", f.path(dir+"/before")))
		before := f.names()
		all := slices.Concat([]entry{fileEntry("first", "first")}, entries, []entry{fileEntry("last", "last")})
		_, err := f.putArchive(dir, archiveOf(f.t, all...))
		if refused := entries[len(entries)-1].Name; wantKind(f.t, err, backend.ErrInvalid).Path != refused {
			f.t.Errorf("%s: %v, want one about %q", what, err, refused)
		}
		if after := f.names(); !slices.Equal(before, after) || f.get("victim") != "untouched" {
			f.t.Fatalf("%s: outside there is %q now", what, after)
		}
		if f.get(dir+"/first") != "first" {
			f.t.Errorf("%s: what came before is gone", what)
		}
		for _, name := range []string{"last", "got"} {
			if _, err := os.Lstat(f.path(dir + "/" + name)); err == nil {
				f.t.Errorf("%s: %s was unpacked", what, name)
			}
		}
	}
	for _, path := range []string{"/deep-made", "/tmp/deep-made"} {
		if _, err := os.Lstat(path); err == nil {
			f.t.Errorf("%s was made", path)
		}
	}
}

// names of what is in the workspace, without what is below.
func (f *fixture) names() []string {
	f.t.Helper()
	entries, err := os.ReadDir(f.dir)
	check(f.t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func casePutArchiveBroken(f *fixture) {
	content := strings.Repeat("content\n", 40_000)
	stream := archiveOf(f.t, fileEntry("whole", "whole"), dirEntry("d", 0o500), fileEntry("d/cut", content))
	begin := len(stream) - 1024 - len(content)/512*512
	broken := errors.New("no more content")
	for i, cut := range []int{0, 100, begin - 300, begin, begin + 100_000, begin + len(content) - 1, len(stream) - 1024, len(stream) - 512, len(stream) - 1} {
		dir := fmt.Sprint("in", i)
		_, err := f.putArchive(dir, stream[:cut])
		wantKind(f.t, err, backend.ErrInvalid)
		_, err = f.PutArchive(f.t.Context(), &backend.PutArchiveRequest{Path: dir, Content: io.MultiReader(strings.NewReader(stream[:cut]), failing{broken})})
		if !errors.Is(err, broken) {
			f.t.Errorf("cut at %d: %v", cut, err)
		}
		ctx, cancel := context.WithCancel(f.t.Context())
		_, err = f.PutArchive(ctx, &backend.PutArchiveRequest{Path: dir, Content: io.MultiReader(strings.NewReader(stream[:cut]), cancelling{cancel})})
		wantKind(f.t, err, context.Canceled)
		if cut < begin {
			continue
		}
		info, err := os.Stat(f.path(dir + "/d"))
		check(f.t, err)
		entries, err := os.ReadDir(f.path(dir + "/d"))
		check(f.t, err)
		if f.get(dir+"/whole") != "whole" || info.Mode().Perm() != 0o500 || len(entries) > 1 || len(entries) == 1 && entries[0].Name() != "cut" {
			f.t.Errorf("cut at %d: mode %v, %v", cut, info.Mode(), entries)
		}
		if got, err := os.ReadFile(f.path(dir + "/d/cut")); err == nil && string(got) != content {
			f.t.Errorf("cut at %d: half a file", cut)
		}
	}
	for what, stream := range map[string]string{
		"noise": strings.Repeat("\x07noise", 1000), "gzip": "\x1f\x8b\x08" + strings.Repeat("x", 2000), "nothing": "", "more": stream + "more",
		"two": stream + stream, "one block": string(make([]byte, 512)),
	} {
		_, err := f.putArchive("garbage", stream)
		if wantKind(f.t, err, backend.ErrInvalid).Hint == "" {
			f.t.Errorf("%s: %v", what, err)
		}
	}
	// What fills the last record up is no more.
	_, err := f.putArchive("record", stream+string(make([]byte, 10_240)))
	check(f.t, err)
}

func casePutArchiveSparse(f *fixture) {
	// Zeros take no room, wherever they stand.
	zeros := strings.Repeat("\x00", 5<<20)
	_, err := f.putArchive(".", archiveOf(f.t, fileEntry("zeros", zeros), fileEntry("mixed", zeros+"end"), fileEntry("begin", "begin"+zeros)))
	check(f.t, err)
	for name, want := range map[string]string{"zeros": zeros, "mixed": zeros + "end", "begin": "begin" + zeros} {
		var st unix.Stat_t
		check(f.t, unix.Stat(f.path(name), &st))
		if f.get(name) != want || st.Blocks*512 > 256<<10 {
			f.t.Errorf("%s: %d bytes in %d blocks", name, st.Size, st.Blocks)
		}
	}
	// A few bytes that stand for 8 EiB, in both forms; and a size that is only said.
	for what, stream := range map[string]string{
		"gnu": oldSparse(f.t, 1<<62), "pax": paxSparse(f.t, "4611686018427387904"), "plain": hugeHeader(f.t, 1<<40),
	} {
		_, err := f.putArchive("bomb", stream)
		if e := wantKind(f.t, err, backend.ErrNoSpace); e.Path != "f" {
			f.t.Errorf("%s: %v", what, err)
		}
	}
	if names := f.names(); slices.Contains(names, "bomb") {
		entries, err := os.ReadDir(f.path("bomb"))
		if check(f.t, err); len(entries) > 0 {
			f.t.Errorf("a bomb left %v", entries)
		}
	}
	_, err = f.putArchive("small", paxSparse(f.t, "1000000"))
	check(f.t, err)
	if got := f.get("small/f"); got != "data"+strings.Repeat("\x00", 999_996) {
		f.t.Errorf("a sparse file has %d bytes", len(got))
	}
}

// sealed sets the sum of a header block.
func sealed(block []byte) []byte {
	copy(block[148:156], "        ")
	sum := 0
	for _, b := range block[:512] {
		sum += int(b)
	}
	copy(block[148:156], fmt.Sprintf("%06o\x00 ", sum))
	return block
}

// hugeHeader is a stream whose one file says it has size bytes.
func hugeHeader(t testing.TB, size int64) string {
	var out bytes.Buffer
	check(t, tar.NewWriter(&out).WriteHeader(&tar.Header{Format: tar.FormatGNU, Typeflag: tar.TypeReg, Name: "f", Mode: 0o644, Size: size}))
	return out.String() + strings.Repeat("x", 2*writeBuffer)
}

// oldSparse is an archive of a file of size bytes with no data, as GNU tar wrote it
// first.
func oldSparse(t testing.TB, size int64) string {
	block := []byte(archiveOf(t, entry{tar.Header{Typeflag: tar.TypeReg, Name: "f", Mode: 0o644, Format: tar.FormatGNU}, ""}))
	block[156] = tar.TypeGNUSparse
	// The real size stands at 483, in base 256.
	real := block[483:495]
	real[0] = 0x80
	for i := range 8 {
		real[11-i] = byte(size >> (8 * i))
	}
	sealed(block)
	return string(block)
}

// paxSparse is an archive of a file of a size whose data are four bytes.
func paxSparse(t testing.TB, size string) string {
	stream := []byte(archiveOf(t, entry{tar.Header{
		Typeflag: tar.TypeReg, Name: "f", Mode: 0o644, Size: 512 + 4,
		PAXRecords: map[string]string{"XNU.sparse.major": "1", "XNU.sparse.minor": "0", "XNU.sparse.realsize": size, "XNU.sparse.name": "f"},
	}, "1\n0\n4\n" + strings.Repeat("\x00", 506) + "data"}))
	// The writer refuses to write such records, and so they got another name.
	return string(bytes.ReplaceAll(stream, []byte("XNU.sparse"), []byte("GNU.sparse")))
}

// casePutArchiveRace unpacks where a command swaps a directory for a link to
// outside all the time.
func casePutArchiveRace(f *fixture) {
	check(f.t, os.Mkdir(f.path("outside"), 0o777))
	check(f.t, os.Chmod(f.path("outside"), 0o777))
	f.put("in/d/f", "")
	f.put("in/real/f", "")
	check(f.t, os.Symlink(f.path("outside"), f.path("in/link")))
	check(f.t, os.Chmod(f.path("in"), 0o777))
	var stop atomic.Bool
	var wg sync.WaitGroup
	var swaps atomic.Int64
	wg.Go(func() {
		for !stop.Load() {
			_ = unix.Renameat2(unix.AT_FDCWD, f.path("in/d"), unix.AT_FDCWD, f.path("in/link"), unix.RENAME_EXCHANGE)
			swaps.Add(1)
		}
	})
	stream := archiveOf(f.t, fileEntry("d/f", "x"), fileEntry("d/deep/er/f", "y"), dirEntry("d/dir", 0o755), linkEntry(tar.TypeSymlink, "d/l", "x"), linkEntry(tar.TypeLink, "d/h", "real/f"))
	landed := 0
	for i := 0; i < 300 || (landed < 3 || swaps.Load() < 1000) && i < 50_000; i++ {
		_, err := f.putArchive("in", stream)
		if err == nil {
			landed++
		} else {
			wantKind(f.t, err, backend.ErrInvalid)
		}
	}
	stop.Store(true)
	wg.Wait()
	if landed < 3 {
		f.t.Errorf("only %d archives were unpacked", landed)
	}
	if left, err := os.ReadDir(f.path("outside")); err != nil || len(left) > 0 {
		f.t.Errorf("outside there is %v, %v", left, err)
	}
}

func caseGetArchive(f *fixture) {
	big := strings.Repeat("0123456789abcde\n", 50_000)
	when := time.Unix(1_600_000_000, 123456789)
	want := map[string]string{"b": "bytes \x00\xff\r\n", ".hidden": "x", "sub/big": big, "sub-after": "sorted behind", "sub/.deep/er": "", "sub.before": "y"}
	for name, content := range want {
		f.put("d/"+name, content)
	}
	for _, name := range oddNames {
		f.put("d/odd/"+name+"/"+name, name)
		want["odd/"+name+"/"+name] = name
	}
	check(f.t, os.Symlink("/no/where", f.path("d/link")))
	check(f.t, os.Symlink("\xff\xfe", f.path("d/odd-link")))
	check(f.t, os.Symlink("d", f.path("to-dir")))
	check(f.t, os.Symlink("d/b", f.path("to-file")))
	check(f.t, unix.Mkfifo(f.path("d/fifo"), 0o666))
	check(f.t, os.Mkdir(f.path("d/empty"), 0o700))
	check(f.t, os.Chown(f.path("d/empty"), int(f.uid), int(f.uid)))
	check(f.t, os.Chmod(f.path("d/b"), 0o751))
	check(f.t, os.Chtimes(f.path("d/b"), when, when))

	got := f.getArchive("d")
	if !slices.IsSortedFunc(got, func(a, b entry) int { return strings.Compare(a.Name, b.Name) }) {
		f.t.Error("it is not sorted")
	}
	found := map[string]string{}
	for _, e := range got {
		switch e.Typeflag {
		case tar.TypeReg:
			found[e.Name] = e.data
		case tar.TypeSymlink:
			found[e.Name+" ->"] = e.Linkname
		case tar.TypeDir:
			if !strings.HasSuffix(e.Name, "/") {
				f.t.Errorf("the directory %q", e.Name)
			}
		}
		switch {
		case e.Name == "b" && (e.Mode != 0o751 || !e.ModTime.Equal(when)), e.Name == "empty/" && e.Mode != 0o700:
			f.t.Errorf("%+v", e.Header)
		}
	}
	want["link ->"], want["odd-link ->"] = "/no/where", "\xff\xfe"
	if !maps.Equal(found, want) {
		f.t.Errorf("packed\n%q, want\n%q", slices.Sorted(maps.Keys(found)), slices.Sorted(maps.Keys(want)))
	}
	if again := f.getArchive("to-dir"); !slices.EqualFunc(got, again, sameEntry) {
		f.t.Errorf("through a link there are %d entries, not %d", len(again), len(got))
	}
	for path, name := range map[string]string{"d/b": "b", "to-file": "to-file"} {
		if one := f.getArchive(path); len(one) != 1 || one[0].Name != name || one[0].data != "bytes \x00\xff\r\n" || one[0].Typeflag != tar.TypeReg {
			f.t.Errorf("%s: %+v", path, one)
		}
	}
	if f.getArchive("d/empty") != nil || len(f.getArchive("")) < len(got) {
		f.t.Error("an empty directory, or the workspace")
	}
	for path, kind := range map[string]error{
		"none": backend.ErrNotFound, "d/fifo": backend.ErrInvalid, "/dev/null": backend.ErrInvalid, "d/b/x": backend.ErrNotDirectory,
		"d/b/": backend.ErrNotDirectory, "a\x00b": backend.ErrInvalid, "/proc/self/environ": backend.ErrPermission,
	} {
		_, err := f.GetArchive(f.t.Context(), &backend.GetArchiveRequest{Path: path})
		wantKind(f.t, err, kind)
	}
	// What cannot be read is an error that names it.
	for _, closed := range []string{"sub/big", "sub/.deep"} {
		check(f.t, os.Chmod(f.path("d/"+closed), 0))
		r, err := f.GetArchive(f.t.Context(), &backend.GetArchiveRequest{Path: "d"})
		check(f.t, err)
		_, err = entriesOf(r)
		if e := wantKind(f.t, err, backend.ErrPermission); e.Path != closed {
			f.t.Errorf("%v", err)
		}
		if _, again := r.Read(make([]byte, 1)); !errors.Is(again, backend.ErrPermission) {
			f.t.Errorf("and then %v", again)
		}
		check(f.t, r.Close())
		check(f.t, os.Chmod(f.path("d/"+closed), 0o755))
	}
}

func caseGetArchiveChanging(f *fixture) {
	big := strings.Repeat("x", 2<<20)
	get := func(change func()) ([]entry, error) {
		f.put("d/a", big)
		f.put("d/b/c", "later")
		f.put("d/e", "last")
		r, err := f.GetArchive(f.t.Context(), &backend.GetArchiveRequest{Path: "d"})
		check(f.t, err)
		defer func() { check(f.t, r.Close()) }()
		// Its header and the beginning, but not all of it, has been packed by now.
		begin := make([]byte, 2048)
		_, err = io.ReadFull(r, begin)
		check(f.t, err)
		change()
		return entriesOf(io.MultiReader(bytes.NewReader(begin), r))
	}
	entries, err := get(func() { check(f.t, os.WriteFile(f.path("d/a"), []byte(big+"more"), 0o644)) })
	check(f.t, err)
	if len(entries) != 4 || entries[0].data != big {
		f.t.Errorf("a file that grew: %d entries", len(entries))
	}
	_, err = get(func() { check(f.t, os.Truncate(f.path("d/a"), 1000)) })
	if e := wantKind(f.t, err, backend.ErrConflict); e.Path != "a" {
		f.t.Errorf("%v", err)
	}
	entries, err = get(func() { check(f.t, os.RemoveAll(f.path("d/b"))) })
	check(f.t, err)
	if len(entries) != 2 || entries[0].data != big || entries[1].data != "last" {
		f.t.Errorf("what vanished is not left out: %d entries", len(entries))
	}
}

func caseGetArchiveEnds(f *fixture) {
	f.put("d/f", strings.Repeat("x", 4<<20))
	before, routines := openDescriptors(f.t), runtime.NumGoroutine()
	// Readers that do not read hold no thread: there are more than threads.
	var readers []io.ReadCloser
	ctx, cancel := context.WithCancel(f.t.Context())
	for range 3 * walkThreads {
		r, err := f.GetArchive(ctx, &backend.GetArchiveRequest{Path: "d"})
		check(f.t, err)
		_, err = io.ReadFull(r, make([]byte, 1000))
		check(f.t, err)
		readers = append(readers, r)
	}
	if _, err := f.List(f.t.Context(), &backend.ListDirRequest{}); err != nil {
		f.t.Error(err)
	}
	check(f.t, readers[0].Close())
	check(f.t, readers[0].Close())
	if _, err := readers[0].Read(make([]byte, 1)); !errors.Is(err, os.ErrClosed) {
		f.t.Errorf("read after close: %v", err)
	}
	cancel()
	for _, r := range readers[1:] {
		_, err := io.Copy(io.Discard, r)
		wantKind(f.t, err, context.Canceled)
		check(f.t, r.Close())
	}
	eventually(f.t, "all goroutines end", func() bool { return runtime.NumGoroutine() <= routines })
	if after := openDescriptors(f.t); after > before {
		f.t.Errorf("%d descriptors became %d", before, after)
	}
	_, err := f.GetArchive(ctx, &backend.GetArchiveRequest{Path: "d"})
	wantKind(f.t, err, context.Canceled)
}

func openDescriptors(t testing.TB) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	check(t, err)
	return len(entries)
}

// caseGetArchiveMany packs a directory of very many files, and unpacks it, in
// little memory.
func caseGetArchiveMany(f *fixture) {
	n := 30_000
	if testing.Short() || f.uid == 0 { // once is enough
		n = 3000
	}
	check(f.t, os.Mkdir(f.path("d"), 0o755))
	for i := range n {
		// Links, since a file system counts files in pages.
		check(f.t, os.Symlink("x", f.path(fmt.Sprintf("d/%07d", i))))
	}
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	before := m.HeapAlloc
	r, err := f.GetArchive(f.t.Context(), &backend.GetArchiveRequest{Path: "d"})
	check(f.t, err)
	archive := tar.NewReader(r)
	for i := range n {
		h, err := archive.Next()
		check(f.t, err)
		if h.Name != fmt.Sprintf("%07d", i) {
			f.t.Fatalf("entry %d is %q", i, h.Name)
		}
		if i == n/2 {
			runtime.GC()
			runtime.ReadMemStats(&m)
			if m.HeapAlloc > before+16<<20 {
				f.t.Errorf("%d bytes are held half way", m.HeapAlloc-before)
			}
		}
	}
	if _, err := archive.Next(); err != io.EOF {
		f.t.Error(err)
	}
	check(f.t, r.Close())
}
