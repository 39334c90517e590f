package guest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
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

func fileCases(t *testing.T) {
	f := newFixture(t)
	for _, c := range []struct {
		name string
		run  func(f *fixture)
	}{
		{"Paths", casePaths},
		{"Stat", caseStat},
		{"Read", caseRead},
		{"ReadSpecial", caseReadSpecial},
		{"ReadProc", caseReadProc},
		{"ProcOfGuest", caseProcOfGuest},
		{"Write", caseWrite},
		{"WriteLinks", caseWriteLinks},
		{"WriteRefused", caseWriteRefused},
		{"WriteUndone", caseWriteUndone},
		{"WriteAtomic", caseWriteAtomic},
		{"WriteConditions", caseWriteConditions},
		{"WriteAbsentRace", caseWriteAbsentRace},
		{"WriteSumRace", caseWriteSumRace},
		{"Append", caseAppend},
		{"AppendUndone", caseAppendUndone},
		{"AppendParallel", caseAppendParallel},
		{"AppendRefused", caseAppendRefused},
		{"NoSpace", caseNoSpace},
		{"Mounted", caseMounted},
		{"Edit", caseEdit},
		{"EditBatch", caseEditBatch},
		{"EditParallel", caseEditParallel},
		{"PutArchive", casePutArchive},
		{"PutArchiveOver", casePutArchiveOver},
		{"PutArchiveHostile", casePutArchiveHostile},
		{"PutArchiveBroken", casePutArchiveBroken},
		{"PutArchiveSparse", casePutArchiveSparse},
		{"PutArchiveRace", casePutArchiveRace},
		{"GetArchive", caseGetArchive},
		{"GetArchiveChanging", caseGetArchiveChanging},
		{"GetArchiveEnds", caseGetArchiveEnds},
		{"GetArchiveMany", caseGetArchiveMany},
		{"List", caseList},
		{"Mkdir", caseMkdir},
		{"Remove", caseRemove},
		{"RemoveDeep", caseRemoveDeep},
		{"Rename", caseRename},
		{"Rights", caseRights},
	} {
		t.Run(c.name, func(t *testing.T) {
			inner := *f
			inner.t = t
			check(t, emptyDir(f.dir))
			c.run(&inner)
			if left, err := filepath.Glob(filepath.Join(f.dir, ".deep-*")); err != nil || len(left) > 0 {
				t.Errorf("temporary files stay: %v %v", left, err)
			}
		})
	}
}

func TestGroupFiles(t *testing.T) { inNamespaces(t, modeGroup, fileCases) }
func TestPIDNSFiles(t *testing.T) { inNamespaces(t, modePIDNS, fileCases) }

func emptyDir(dir string) error {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
	}
	return err
}

// odd names that have to survive every operation.
var oddNames = []string{" ", "a b", "new\nline", `quo"te'`, "-rf", ".dot", "\xff\xfe", "*?[x]", strings.Repeat("n", 255), "ü", "\x1b[31m"}

func (f *fixture) read(path string) (string, error) {
	r, err := f.ReadFile(f.t.Context(), &backend.ReadFileRequest{Path: path})
	if err != nil {
		return "", err
	}
	b, err := io.ReadAll(r)
	return string(b), errors.Join(err, r.Close())
}

func (f *fixture) write(path, content string) error {
	_, err := f.WriteFile(f.t.Context(), &backend.WriteFileRequest{Path: path, Content: strings.NewReader(content)})
	return err
}

func sumOf(content string) string {
	s := sha256.Sum256([]byte(content))
	return hex.EncodeToString(s[:])
}

func casePaths(f *fixture) {
	ctx := f.t.Context()
	for _, path := range []string{"", "a\x00b", strings.Repeat("x", 256), "a/" + strings.Repeat("x", 256), strings.Repeat("x/", 2100)} {
		_, err := f.Stat(ctx, &backend.StatRequest{Path: path})
		wantKind(f.t, err, backend.ErrInvalid)
		_, err = f.ReadFile(ctx, &backend.ReadFileRequest{Path: path})
		wantKind(f.t, err, backend.ErrInvalid)
		wantKind(f.t, f.write(path, ""), backend.ErrInvalid)
		_, err = f.Edit(ctx, &backend.EditRequest{Path: path, Old: []byte("a")})
		wantKind(f.t, err, backend.ErrInvalid)
		wantKind(f.t, f.Mkdir(ctx, &backend.MkdirRequest{Path: path}), backend.ErrInvalid)
		wantKind(f.t, f.Remove(ctx, &backend.RemoveRequest{Path: path}), backend.ErrInvalid)
		wantKind(f.t, f.Rename(ctx, &backend.RenameRequest{From: path, To: "x"}), backend.ErrInvalid)
		wantKind(f.t, f.Rename(ctx, &backend.RenameRequest{From: "x", To: path}), backend.ErrInvalid)
	}
	for _, name := range oddNames {
		check(f.t, f.write("dir/"+name, "content of "+name))
		if got := f.get("dir/" + name); got != "content of "+name {
			f.t.Errorf("%q holds %q", name, got)
		}
		got, err := f.read("dir/../dir/./" + name)
		if check(f.t, err); got != "content of "+name {
			f.t.Errorf("%q read as %q", name, got)
		}
		check(f.t, f.Rename(ctx, &backend.RenameRequest{From: "dir/" + name, To: "dir/../" + name}))
		check(f.t, f.Remove(ctx, &backend.RemoveRequest{Path: name}))
	}
}

func caseStat(f *fixture) {
	ctx := f.t.Context()
	f.put("file", "12345")
	check(f.t, os.Chmod(f.path("file"), 0o640))
	when := time.Unix(1_600_000_000, 123456789)
	check(f.t, os.Chtimes(f.path("file"), when, when))
	check(f.t, os.Symlink("file", f.path("link")))
	check(f.t, os.Symlink("nowhere", f.path("dangling")))
	check(f.t, unix.Mkfifo(f.path("fifo"), 0o644))
	info, err := f.Stat(ctx, &backend.StatRequest{Path: "file", SHA256: true})
	check(f.t, err)
	want := backend.FileInfo{Path: "file", Type: backend.TypeRegular, Size: 5, Mode: 0o640, ModTime: when, SHA256: sumOf("12345")}
	if !info.ModTime.Equal(when) {
		f.t.Errorf("%v", info.ModTime)
	}
	info.ModTime = when
	if *info != want {
		f.t.Errorf("%+v, want %+v", *info, want)
	}
	for path, want := range map[string]backend.FileType{
		".": backend.TypeDirectory, "link": backend.TypeSymlink, "fifo": backend.TypeFIFO, "/dev/null": backend.TypeDevice, "dangling": backend.TypeSymlink,
	} {
		info, err := f.Stat(ctx, &backend.StatRequest{Path: path})
		if check(f.t, err); info.Type != want || info.Path != path || info.Size != 0 {
			f.t.Errorf("%+v", info)
		}
		if path == "link" && info.Target != "file" {
			f.t.Errorf("target %q", info.Target)
		}
	}
	info, err = f.Stat(ctx, &backend.StatRequest{Path: "link", Follow: true, SHA256: true})
	if check(f.t, err); info.Type != backend.TypeRegular || info.Path != "link" || info.SHA256 != sumOf("12345") {
		f.t.Errorf("%+v", info)
	}
	_, err = f.Stat(ctx, &backend.StatRequest{Path: "dangling", Follow: true})
	wantKind(f.t, err, backend.ErrNotFound)
	_, err = f.Stat(ctx, &backend.StatRequest{Path: "file/x"})
	wantKind(f.t, err, backend.ErrNotDirectory)
	for _, path := range []string{".", "fifo", "link"} {
		_, err = f.Stat(ctx, &backend.StatRequest{Path: path, SHA256: true})
		wantKind(f.t, err, backend.ErrInvalid)
	}
	check(f.t, os.Symlink("loop", f.path("loop")))
	_, err = f.Stat(ctx, &backend.StatRequest{Path: "loop/x"})
	wantKind(f.t, err, backend.ErrInvalid)
}

func caseRead(f *fixture) {
	ctx := f.t.Context()
	content := string(bytes.Repeat([]byte("0123456789abcdef"), 70_000)) // over a megabyte
	f.put("big", content)
	f.put("empty", "")
	size := int64(len(content))
	for _, r := range [][2]int64{{0, 0}, {0, 1}, {0, 20}, {5, 0}, {size - 1, 0}, {size, 0}, {size + 10, 5}, {100, firstRead}, {100, firstRead + 1}, {firstRead, 300_000}, {7, size}} {
		rd, err := f.ReadFile(ctx, &backend.ReadFileRequest{Path: "big", Offset: r[0], Length: r[1]})
		check(f.t, err)
		if rd.Info.Size != size || rd.Info.Path != "big" {
			f.t.Errorf("%+v", rd.Info)
		}
		from := min(r[0], size)
		to := size
		if r[1] > 0 {
			to = min(size, from+r[1])
		}
		if got, err := io.ReadAll(rd); err != nil || string(got) != content[from:to] {
			f.t.Errorf("%v: %d bytes, %v", r, len(got), err)
		}
		check(f.t, rd.Close())
		check(f.t, rd.Close())
	}
	f.put("small", content[:100])
	rd, err := f.ReadFile(ctx, &backend.ReadFileRequest{Path: "small", Offset: 10, Length: 50})
	check(f.t, err)
	check(f.t, iotest.TestReader(readOnly{rd}, []byte(content[10:60])))
	check(f.t, rd.Close())
	if got, err := f.read("empty"); err != nil || got != "" {
		f.t.Errorf("%q, %v", got, err)
	}
	// Bytes far into a sparse file.
	check(f.t, os.Truncate(f.path("empty"), 10<<30))
	rd, err = f.ReadFile(ctx, &backend.ReadFileRequest{Path: "empty", Offset: 9 << 30, Length: 20})
	check(f.t, err)
	if b, err := io.ReadAll(rd); err != nil || len(b) != 20 {
		f.t.Errorf("%d bytes, %v", len(b), err)
	}
	check(f.t, rd.Close())

	_, err = f.ReadFile(ctx, &backend.ReadFileRequest{Path: "big", Offset: -1})
	wantKind(f.t, err, backend.ErrInvalid)
	_, err = f.ReadFile(ctx, &backend.ReadFileRequest{Path: "big", Length: -1})
	wantKind(f.t, err, backend.ErrInvalid)

	// ctx governs the reader, and an end by it is no end of file.
	readCtx, cancel := context.WithCancel(ctx)
	rd, err = f.ReadFile(readCtx, &backend.ReadFileRequest{Path: "big"})
	check(f.t, err)
	cancel()
	_, err = io.Copy(io.Discard, rd)
	wantKind(f.t, err, context.Canceled)
	check(f.t, rd.Close())
	if _, err := rd.Read(make([]byte, 1)); err == nil || err == io.EOF {
		f.t.Errorf("read after close: %v", err)
	}
}

// readOnly hides Close from iotest.
type readOnly struct{ io.Reader }

func caseReadSpecial(f *fixture) {
	check(f.t, unix.Mkfifo(f.path("fifo"), 0o666))
	check(f.t, os.Symlink("fifo", f.path("link")))
	check(f.t, os.Symlink("link2", f.path("link1")))
	check(f.t, os.Symlink("link1", f.path("link2")))
	check(f.t, os.Mkdir(f.path("dir"), 0o755))
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	check(f.t, err)
	check(f.t, unix.Bind(fd, &unix.SockaddrUnix{Name: f.path("socket")}))
	check(f.t, unix.Close(fd))
	for path, kind := range map[string]error{
		"fifo": backend.ErrInvalid, "link": backend.ErrInvalid, "socket": backend.ErrInvalid, "/dev/null": backend.ErrInvalid,
		"/dev/zero": backend.ErrInvalid, "link1": backend.ErrInvalid, "dir": backend.ErrIsDirectory, "none": backend.ErrNotFound, "/": backend.ErrIsDirectory,
	} {
		_, err := f.read(path)
		wantKind(f.t, err, kind)
		if path == "none" {
			continue
		}
		wantKind(f.t, f.write(path, "x"), kind)
		_, err = f.Edit(f.t.Context(), &backend.EditRequest{Path: path, Old: []byte("a"), New: []byte("b")})
		wantKind(f.t, err, kind)
	}
}

func caseReadProc(f *fixture) {
	for _, path := range []string{"/proc/self/mem", "/proc/self/environ", "/proc/self/maps", "/proc/1/mem", "/proc/thread-self/environ", "/proc/self/status"} {
		_, err := f.read(path)
		wantKind(f.t, err, backend.ErrPermission)
	}
	// What is nobody's is read, though its size says nothing.
	if got, err := f.read("/proc/version"); err != nil || !strings.HasPrefix(got, "Linux") {
		f.t.Errorf("%q, %v", got, err)
	}
}

func caseWrite(f *fixture) {
	ctx := f.t.Context()
	big := strings.Repeat("0123456789abcde\n", 50_000)
	for name, content := range map[string]string{"empty": "", "small": "text\xff\x00", "new/deep/er": "x", "big": big} {
		reply, err := f.WriteFile(ctx, &backend.WriteFileRequest{Path: name, Content: iotest.HalfReader(strings.NewReader(content))})
		check(f.t, err)
		if f.get(name) != content || reply.Size != int64(len(content)) || reply.SHA256 != sumOf(content) || !reply.Created {
			f.t.Errorf("%s: %+v", name, reply)
		}
		var st unix.Stat_t
		check(f.t, unix.Stat(f.path(name), &st))
		if st.Mode&0o7777 != 0o644 || st.Uid != f.uid || st.Gid != f.uid {
			f.t.Errorf("%s: mode %o, owner %d:%d", name, st.Mode, st.Uid, st.Gid)
		}
		reply, err = f.WriteFile(ctx, &backend.WriteFileRequest{Path: name})
		check(f.t, err)
		if reply.Created || reply.Size != 0 || f.get(name) != "" {
			f.t.Errorf("%s again: %+v", name, reply)
		}
	}
	var st unix.Stat_t
	check(f.t, unix.Stat(f.path("new"), &st))
	if st.Mode&0o7777 != 0o755 || st.Uid != f.uid {
		f.t.Errorf("a parent has mode %o and owner %d", st.Mode, st.Uid)
	}
	// A mode is for a new file; an old one keeps its own, without setuid.
	_, err := f.WriteFile(ctx, &backend.WriteFileRequest{Path: "tool", Mode: 0o777})
	check(f.t, err)
	for _, mode := range []os.FileMode{0o777, 0o600, 0o604 | os.ModeSetuid} {
		check(f.t, os.Chmod(f.path("tool"), mode))
		_, err := f.WriteFile(ctx, &backend.WriteFileRequest{Path: "tool", Mode: 0o444})
		check(f.t, err)
		info, err := os.Stat(f.path("tool"))
		check(f.t, err)
		if info.Mode() != mode.Perm() {
			f.t.Errorf("mode %v became %v", mode, info.Mode())
		}
	}
}

func caseWriteLinks(f *fixture) {
	f.put("target", "old")
	check(f.t, os.Symlink("target", f.path("one")))
	check(f.t, os.Symlink(f.path("one"), f.path("two")))
	check(f.t, os.Symlink("sub/../new", f.path("dangling")))
	check(f.t, os.Mkdir(f.path("sub"), 0o777))
	check(f.t, os.Chmod(f.path("sub"), 0o777))
	check(f.t, os.Symlink("../target", f.path("sub/up")))
	for i, link := range []string{"one", "two", "sub/up", "dangling"} {
		content := fmt.Sprint("content ", i)
		check(f.t, f.write(link, content))
		got, err := f.read(link)
		if check(f.t, err); got != content {
			f.t.Errorf("%s holds %q", link, got)
		}
		if info, err := os.Lstat(f.path(link)); err != nil || info.Mode().Type() != os.ModeSymlink {
			f.t.Errorf("%s is no link any more: %v %v", link, info.Mode(), err)
		}
	}
	if f.get("target") != "content 2" || f.get("new") != "content 3" {
		f.t.Errorf("%q %q", f.get("target"), f.get("new"))
	}
	check(f.t, os.Symlink("none/x", f.path("away")))
	check(f.t, f.write("away", "made"))
	if f.get("none/x") != "made" {
		f.t.Error("a link into a directory that misses")
	}
	check(f.t, os.Symlink("nowhere", f.path("broken")))
	wantKind(f.t, f.write("broken/x", ""), backend.ErrNotFound)
}

func caseWriteRefused(f *fixture) {
	f.put("readonly", "kept")
	check(f.t, os.Chmod(f.path("readonly"), 0o444))
	f.put("file", "")
	wantKind(f.t, f.write("readonly", "x"), backend.ErrPermission)
	wantKind(f.t, f.write("file/x", "x"), backend.ErrNotDirectory)
	wantKind(f.t, f.write("newdir/", "x"), backend.ErrIsDirectory)
	wantKind(f.t, f.write("..", "x"), backend.ErrIsDirectory)
	_, err := f.WriteFile(f.t.Context(), &backend.WriteFileRequest{Path: "setuid", Mode: 0o4755})
	wantKind(f.t, err, backend.ErrInvalid)
	_, err = f.Edit(f.t.Context(), &backend.EditRequest{Path: "readonly", Old: []byte("kept"), New: []byte("lost")})
	wantKind(f.t, err, backend.ErrPermission)
	if f.get("readonly") != "kept" {
		f.t.Error("it was written")
	}
}

func caseWriteUndone(f *fixture) {
	f.put("file", "old")
	broken := errors.New("no more content")
	for _, before := range []int{0, 10, 300_000} {
		content := io.MultiReader(strings.NewReader(strings.Repeat("x", before)), failing{broken})
		_, err := f.WriteFile(f.t.Context(), &backend.WriteFileRequest{Path: "file", Content: content})
		if !errors.Is(err, broken) {
			f.t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(f.t.Context())
		content = io.MultiReader(strings.NewReader(strings.Repeat("x", before)), cancelling{cancel})
		_, err = f.WriteFile(ctx, &backend.WriteFileRequest{Path: "file", Content: content})
		wantKind(f.t, err, context.Canceled)
		if f.get("file") != "old" {
			f.t.Fatal("the file was touched")
		}
		if left, _ := filepath.Glob(f.path(".deep-*")); len(left) > 0 {
			f.t.Fatalf("left %v", left)
		}
	}
}

// cancelling ends the context and says that there is no more.
type cancelling struct{ cancel func() }

func (c cancelling) Read([]byte) (int, error) {
	c.cancel()
	return 0, io.EOF
}

func caseWriteAtomic(f *fixture) {
	// Somebody who reads all the time sees one content or the other.
	const size = 200_000
	contents := []string{strings.Repeat("a", size), strings.Repeat("b", size)}
	f.put("file", contents[0])
	var stop atomic.Bool
	var reads atomic.Int64
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for !stop.Load() {
				got, err := f.read("file")
				if err != nil || !slices.Contains(contents, got) {
					f.t.Errorf("read %d bytes, %v", len(got), err)
					return
				}
				reads.Add(1)
			}
		})
	}
	for i := 0; i < 50 || reads.Load() < 20 && i < 5000; i++ {
		check(f.t, f.write("file", contents[i%2]))
	}
	stop.Store(true)
	wg.Wait()
}

func caseNoSpace(f *fixture) {
	dir := f.path("small")
	check(f.t, os.Mkdir(dir, 0o777))
	check(f.t, unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64k,mode=0777"))
	f.t.Cleanup(func() { check(f.t, unix.Unmount(dir, 0)) })
	check(f.t, f.write("small/file", "old"))
	wantKind(f.t, f.write("small/file", strings.Repeat("x", 1<<20)), backend.ErrNoSpace)
	wantKind(f.t, f.write("small/other", strings.Repeat("x", 1<<20)), backend.ErrNoSpace)
	if got := f.get("small/file"); got != "old" {
		f.t.Errorf("the old content is %q", got)
	}
	entries, err := os.ReadDir(dir)
	check(f.t, err)
	if len(entries) != 1 {
		f.t.Errorf("left %v", entries)
	}
}

func caseMounted(f *fixture) {
	f.put("bound", "old")
	f.put("source", "mounted")
	check(f.t, unix.Mount(f.path("source"), f.path("bound"), "", unix.MS_BIND, ""))
	f.t.Cleanup(func() { check(f.t, unix.Unmount(f.path("bound"), 0)) })
	wantKind(f.t, f.write("bound", "new"), backend.ErrUnsupported)
	if f.get("bound") != "mounted" {
		f.t.Error("it was changed")
	}
}

func caseEdit(f *fixture) {
	ctx := f.t.Context()
	for _, c := range []struct {
		content, old, new string
		all               bool
		want              string
		n                 int
	}{
		{"one two three", "two", "2", false, "one 2 three", 1},
		{"\xef\xbb\xbfa\r\nb\r\n\xff\x00", "b\r\n", "c\r\n\r\n", false, "\xef\xbb\xbfa\r\nc\r\n\r\n\xff\x00", 1},
		{"aXbXc", "X", "", true, "abc", 2},
		{"aaa", "aa", "b", true, "ba", 1},
		{"whole", "whole", "", false, "", 1},
		{"a.c abc", "a.c", "x", false, "x abc", 1},
	} {
		f.put("file", c.content)
		check(f.t, os.Chmod(f.path("file"), 0o751))
		reply, err := f.Edit(ctx, &backend.EditRequest{Path: "file", Old: []byte(c.old), New: []byte(c.new), All: c.all, IfSHA256: sumOf(c.content)})
		check(f.t, err)
		if f.get("file") != c.want || reply.Replaced != c.n || reply.Size != int64(len(c.want)) || reply.SHA256 != sumOf(c.want) {
			f.t.Errorf("%q became %q: %+v", c.content, f.get("file"), reply)
		}
		if info, _ := os.Stat(f.path("file")); info.Mode() != 0o751 {
			f.t.Errorf("mode %v", info.Mode())
		}
		check(f.t, os.Remove(f.path("file")))
	}
	f.put("file", "x y x")
	for _, c := range []struct {
		req  backend.EditRequest
		kind error
	}{
		{backend.EditRequest{Path: "file", Old: []byte("none"), New: []byte("z")}, backend.ErrNotFound},
		{backend.EditRequest{Path: "none", Old: []byte("x"), New: []byte("z")}, backend.ErrNotFound},
		{backend.EditRequest{Path: "file", Old: []byte("x"), New: []byte("z")}, backend.ErrConflict},
		{backend.EditRequest{Path: "file", Old: []byte("y"), New: []byte("z"), IfSHA256: sumOf("other")}, backend.ErrConflict},
		{backend.EditRequest{Path: "file", Old: nil, New: []byte("z")}, backend.ErrInvalid},
		{backend.EditRequest{Path: "file", Old: []byte("x"), New: []byte("x")}, backend.ErrInvalid},
		{backend.EditRequest{Path: ".", Old: []byte("x"), New: []byte("y")}, backend.ErrIsDirectory},
	} {
		_, err := f.Edit(ctx, &c.req)
		e := wantKind(f.t, err, c.kind)
		if e.Path != c.req.Path {
			f.t.Errorf("path %q", e.Path)
		}
		if string(c.req.Old) == "x" && errors.Is(c.kind, backend.ErrConflict) && e.Count != 2 {
			f.t.Errorf("count %d", e.Count)
		}
		if f.get("file") != "x y x" {
			f.t.Fatal("the file was changed")
		}
	}
	_, err := f.Edit(ctx, &backend.EditRequest{Path: "file", Old: []byte("y"), New: []byte("z"), IfSHA256: "q"})
	wantKind(f.t, err, backend.ErrInvalid)
	check(f.t, os.Truncate(f.path("file"), backend.MaxEditSize+1))
	_, err = f.Edit(ctx, &backend.EditRequest{Path: "file", Old: []byte("x"), New: []byte("y")})
	wantKind(f.t, err, backend.ErrTooLarge)
	// Through a link the target is edited.
	f.put("target", "before")
	check(f.t, os.Symlink("target", f.path("link")))
	_, err = f.Edit(ctx, &backend.EditRequest{Path: "link", Old: []byte("before"), New: []byte("after")})
	check(f.t, err)
	if f.get("target") != "after" {
		f.t.Errorf("%q", f.get("target"))
	}
}

func caseEditParallel(f *fixture) {
	const n = 60
	var content strings.Builder
	for i := range n {
		fmt.Fprintf(&content, "<%d>", i)
	}
	f.put("dir/file", content.String())
	check(f.t, os.Symlink("dir", f.path("alias")))
	check(f.t, os.Symlink("dir/file", f.path("link")))
	paths := []string{"dir/file", "alias/file", "link", f.path("dir/file"), "dir/../dir/file"}
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			_, err := f.Edit(f.t.Context(), &backend.EditRequest{
				Path: paths[i%len(paths)], Old: fmt.Appendf(nil, "<%d>", i), New: fmt.Appendf(nil, "[%d]", i),
			})
			if err != nil {
				f.t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := f.get("dir/file"); strings.Contains(got, "<") {
		f.t.Errorf("edits were lost: %s", got)
	}
	f.locks.mu.Lock()
	defer f.locks.mu.Unlock()
	if len(f.locks.held) != 0 {
		f.t.Errorf("%d locks stay", len(f.locks.held))
	}
}

func caseList(f *fixture) {
	ctx := f.t.Context()
	for _, name := range oddNames {
		f.put("dir/"+name, "x")
	}
	check(f.t, os.Mkdir(f.path("dir/zdir"), 0o755))
	check(f.t, os.Mkdir(f.path("dir/.adir"), 0o755))
	check(f.t, os.Symlink("zdir", f.path("dir/link")))
	want := slices.Clone(oddNames)
	want = append(want, "link")
	slices.Sort(want)
	want = append([]string{".adir", "zdir"}, want...)
	for _, limit := range []int{0, 1, 2, 5, 1000, 5000} {
		var got []string
		pages := 0
		for after := ""; ; pages++ {
			page, err := f.List(ctx, &backend.ListDirRequest{Path: "dir", Limit: limit, After: after})
			check(f.t, err)
			if page.Total != len(want) || limit > 0 && len(page.Entries) > limit {
				f.t.Fatalf("%d entries of %d", len(page.Entries), page.Total)
			}
			for _, e := range page.Entries {
				got = append(got, e.Path)
				if e.Path == "link" && (e.Type != backend.TypeSymlink || e.Target != "zdir") {
					f.t.Errorf("%+v", e)
				}
			}
			if after = page.Next; after == "" {
				break
			}
		}
		if !slices.Equal(got, want) {
			f.t.Errorf("limit %d: %q, want %q", limit, got, want)
		}
		if limit == 1 && pages != len(want)-1 {
			f.t.Errorf("%d pages", pages)
		}
	}
	all, err := f.List(ctx, &backend.ListDirRequest{})
	check(f.t, err)
	if len(all.Entries) != 1 || all.Entries[0].Path != "dir" || all.Entries[0].Mode != 0o755 {
		f.t.Errorf("the workspace holds %+v", all.Entries)
	}
	for path, kind := range map[string]error{"none": backend.ErrNotFound, "dir/-rf": backend.ErrNotDirectory} {
		_, err := f.List(ctx, &backend.ListDirRequest{Path: path})
		wantKind(f.t, err, kind)
	}
	_, err = f.List(ctx, &backend.ListDirRequest{After: "bogus"})
	wantKind(f.t, err, backend.ErrInvalid)
	_, err = f.List(ctx, &backend.ListDirRequest{Limit: -1})
	wantKind(f.t, err, backend.ErrInvalid)
	// More than a page.
	f.sh("mkdir many; cd many; i=0; while [ $i -lt 2500 ]; do : > $i; i=$((i+1)); done")
	page, err := f.List(ctx, &backend.ListDirRequest{Path: "many"})
	check(f.t, err)
	if len(page.Entries) != backend.MaxListEntries || page.Total != 2500 || page.Next == "" {
		f.t.Errorf("%d of %d, then %q", len(page.Entries), page.Total, page.Next)
	}
}

func caseMkdir(f *fixture) {
	ctx := f.t.Context()
	f.put("file", "")
	check(f.t, os.Symlink("nowhere", f.path("dangling")))
	for _, c := range []struct {
		path string
		mode uint32
		want uint32
	}{{"a/b/c", 0, 0o755}, {"a/b/c", 0o700, 0o755}, {"open/x", 0o777, 0o777}, {"tmp", 0o1777, 0o1777}, {"private", 0o700, 0o700}, {"slash/", 0, 0o755}, {".", 0, 0}} {
		check(f.t, f.Mkdir(ctx, &backend.MkdirRequest{Path: c.path, Mode: c.mode}))
		var st unix.Stat_t
		check(f.t, unix.Stat(f.path(c.path), &st))
		if c.want != 0 && (st.Mode&0o7777 != c.want || st.Uid != f.uid) {
			f.t.Errorf("%s: mode %o, owner %d", c.path, st.Mode, st.Uid)
		}
	}
	for path, kind := range map[string]error{"file": backend.ErrExists, "file/x": backend.ErrNotDirectory, "dangling": backend.ErrNotFound, "dangling/x": backend.ErrNotFound} {
		wantKind(f.t, f.Mkdir(ctx, &backend.MkdirRequest{Path: path}), kind)
	}
	wantKind(f.t, f.Mkdir(ctx, &backend.MkdirRequest{Path: "x", Mode: 0o4755}), backend.ErrInvalid)
}

func caseRemove(f *fixture) {
	ctx := f.t.Context()
	remove := func(path string, recursive bool) error {
		return f.Remove(ctx, &backend.RemoveRequest{Path: path, Recursive: recursive})
	}
	outside := filepath.Join(os.Getenv(envDir), "outside")
	check(f.t, os.MkdirAll(filepath.Join(outside, "kept"), 0o777))
	f.t.Cleanup(func() { _ = os.RemoveAll(outside) })
	check(f.t, os.Chmod(outside, 0o777))
	f.put("tree/a/b/file", "x")
	f.put("tree/x", "x")
	check(f.t, os.Symlink(outside, f.path("tree/a/link")))
	check(f.t, os.Symlink(outside, f.path("link")))
	check(f.t, os.Mkdir(f.path("emptydir"), 0o755))
	wantKind(f.t, remove("none", false), backend.ErrNotFound)
	wantKind(f.t, remove("none", true), backend.ErrNotFound)
	wantKind(f.t, remove("tree", false), backend.ErrConflict)
	wantKind(f.t, remove("tree/x/", true), backend.ErrNotDirectory)
	for _, p := range []string{"/", "//", "/..", ".", "tree/..", f.dir, f.dir + "/", "../" + filepath.Base(f.dir), "tree/."} {
		wantKind(f.t, remove(p, true), backend.ErrInvalid)
	}
	check(f.t, remove("link", true))
	check(f.t, remove("emptydir", false))
	check(f.t, remove("tree/x", false))
	check(f.t, remove("tree", true))
	entries, err := os.ReadDir(f.dir)
	check(f.t, err)
	if _, err := os.Stat(filepath.Join(outside, "kept")); err != nil || len(entries) != 0 {
		f.t.Errorf("%v, left %v", err, entries)
	}
	// What cannot be removed is named.
	f.put("tree/locked/file", "x")
	check(f.t, os.Chmod(f.path("tree/locked"), 0o555))
	e := wantKind(f.t, remove("tree", true), backend.ErrPermission)
	if e.Path != f.path("tree/locked/file") {
		f.t.Errorf("it names %q", e.Path)
	}
	check(f.t, os.Chmod(f.path("tree/locked"), 0o755))
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	wantKind(f.t, f.Remove(canceled, &backend.RemoveRequest{Path: "tree", Recursive: true}), context.Canceled)
}

func caseRemoveDeep(f *fixture) {
	// Deeper than a path can say.
	const depth = 3000
	dir, err := unix.Open(f.dir, unix.O_RDONLY, 0)
	check(f.t, err)
	for range depth {
		check(f.t, unix.Mkdirat(dir, "d", 0o755))
		check(f.t, unix.Fchownat(dir, "d", int(f.uid), int(f.uid), 0))
		next, err := unix.Openat(dir, "d", unix.O_RDONLY, 0)
		check(f.t, err)
		check(f.t, unix.Mknodat(next, "file", unix.S_IFREG|0o644, 0))
		check(f.t, unix.Close(dir))
		dir = next
	}
	check(f.t, unix.Close(dir))
	glob, err := f.Glob(f.t.Context(), &backend.GlobRequest{Pattern: "**/file"})
	check(f.t, err)
	if glob.Total < 1000 || len(glob.Unreadable) == 0 {
		f.t.Errorf("found %d files, %d unreadable", glob.Total, len(glob.Unreadable))
	}
	check(f.t, f.Remove(f.t.Context(), &backend.RemoveRequest{Path: "d", Recursive: true}))
	entries, err := os.ReadDir(f.dir)
	check(f.t, err)
	if len(entries) != 0 {
		f.t.Errorf("left %v", entries)
	}
}

func caseRename(f *fixture) {
	ctx := f.t.Context()
	rename := func(from, to string, noReplace bool) error {
		return f.Rename(ctx, &backend.RenameRequest{From: from, To: to, NoReplace: noReplace})
	}
	f.put("a", "a")
	f.put("b", "b")
	f.put("dir/file", "x")
	f.put("full/file", "x")
	wantKind(f.t, rename("a", "b", true), backend.ErrExists)
	e := wantKind(f.t, rename("none", "b", false), backend.ErrNotFound)
	if e.Path != "none" {
		f.t.Errorf("it names %q", e.Path)
	}
	wantKind(f.t, rename("a", "/tmp/a", false), backend.ErrUnsupported)
	e = wantKind(f.t, rename("none", "/tmp/none", false), backend.ErrNotFound)
	if e.Path != "none" {
		f.t.Errorf("it names %q", e.Path)
	}
	e = wantKind(f.t, rename("a", "nodir/b", false), backend.ErrNotFound)
	if e.Path != "nodir/b" {
		f.t.Errorf("it names %q", e.Path)
	}
	wantKind(f.t, rename("dir", "full", false), backend.ErrConflict)
	wantKind(f.t, rename("a", "dir", false), backend.ErrIsDirectory)
	wantKind(f.t, rename("dir", "a", false), backend.ErrNotDirectory)
	wantKind(f.t, rename("dir", "dir/sub", false), backend.ErrInvalid)
	check(f.t, rename("a", "b", false))
	check(f.t, rename("dir", "moved", true))
	if f.get("b") != "a" || f.get("moved/file") != "x" {
		f.t.Error("not moved")
	}
}

// caseRights checks that files are touched with the user's rights and no more,
// though the guest itself may have others.
func caseRights(f *fixture) {
	ctx := f.t.Context()
	f.put("secret", "hidden")
	check(f.t, os.Chmod(f.path("secret"), 0))
	f.put("locked/file", "x")
	check(f.t, os.Chmod(f.path("locked"), 0))
	_, err := f.read("secret")
	wantKind(f.t, err, backend.ErrPermission)
	wantKind(f.t, f.write("secret", "x"), backend.ErrPermission)
	_, err = f.read("locked/file")
	wantKind(f.t, err, backend.ErrPermission)
	wantKind(f.t, f.write("locked/new", "x"), backend.ErrPermission)
	_, err = f.List(ctx, &backend.ListDirRequest{Path: "locked"})
	wantKind(f.t, err, backend.ErrPermission)
	glob, err := f.Glob(ctx, &backend.GlobRequest{Pattern: "**"})
	check(f.t, err)
	if !slices.Equal(glob.Unreadable, []string{"locked"}) || glob.Total != 1 {
		f.t.Errorf("%+v", glob)
	}
	grep, err := f.Grep(ctx, &backend.GrepRequest{Pattern: "x"})
	check(f.t, err)
	slices.Sort(grep.Unreadable)
	if !slices.Equal(grep.Unreadable, []string{"locked", "secret"}) {
		f.t.Errorf("%+v", grep)
	}
	check(f.t, os.Chmod(f.path("locked"), 0o755))
	if f.uid == 0 {
		return
	}
	// Another owner's file, in a directory of the user's: it could be replaced,
	// and would change its owner.
	check(f.t, os.WriteFile(f.path("roots"), []byte("old"), 0o666))
	check(f.t, os.Chmod(f.path("roots"), 0o666))
	wantKind(f.t, f.write("roots", "x"), backend.ErrPermission)
	_, err = f.Edit(ctx, &backend.EditRequest{Path: "roots", Old: []byte("old"), New: []byte("new")})
	wantKind(f.t, err, backend.ErrPermission)
	if f.get("roots") != "old" {
		f.t.Error("it was changed")
	}
	wantKind(f.t, f.write("/etc/deep-test", "x"), backend.ErrPermission)
	_, err = f.read("/etc/shadow")
	wantKind(f.t, err, backend.ErrPermission)
}
