package guest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing/iotest"

	"golang.org/x/sys/unix"

	"github.com/deep-sandbox/deep/core/backend"
)

// noContent fails the test's write if it is read beyond its first piece.
func noContent() io.Reader {
	return io.MultiReader(strings.NewReader(strings.Repeat("x", writeBuffer)), failing{errors.New("the content of a refused write was read")})
}

func caseWriteConditions(f *fixture) {
	ctx := f.t.Context()
	f.put("there", "old")
	check(f.t, os.Mkdir(f.path("dir"), 0o755))
	check(f.t, os.Chmod(f.path("."), 0o777))
	check(f.t, os.Symlink("nowhere", f.path("dangling")))
	check(f.t, os.Symlink("there", f.path("link")))
	check(f.t, os.Symlink("loop", f.path("loop")))
	for _, c := range []struct {
		req  backend.WriteFileRequest
		kind error
	}{
		{backend.WriteFileRequest{Path: "there", IfAbsent: true}, backend.ErrConflict},
		{backend.WriteFileRequest{Path: "dir", IfAbsent: true}, backend.ErrConflict},
		{backend.WriteFileRequest{Path: "dangling", IfAbsent: true}, backend.ErrConflict},
		{backend.WriteFileRequest{Path: "link", IfAbsent: true}, backend.ErrConflict},
		{backend.WriteFileRequest{Path: "loop", IfAbsent: true}, backend.ErrConflict},
		{backend.WriteFileRequest{Path: "loop/x", IfAbsent: true}, backend.ErrInvalid},
		{backend.WriteFileRequest{Path: "missing", IfSHA256: sumOf("")}, backend.ErrConflict},
		{backend.WriteFileRequest{Path: "missing/deep", IfSHA256: sumOf("")}, backend.ErrConflict},
		{backend.WriteFileRequest{Path: "dangling", IfSHA256: sumOf("")}, backend.ErrConflict},
		{backend.WriteFileRequest{Path: "dir", IfSHA256: sumOf("")}, backend.ErrIsDirectory},
	} {
		for _, appended := range []bool{false, true} {
			req := c.req
			req.Append, req.Content = appended, noContent()
			_, err := f.WriteFile(ctx, &req)
			if e := wantKind(f.t, err, c.kind); e.Path != req.Path {
				f.t.Errorf("%+v: path %q", c.req, e.Path)
			}
		}
	}
	for _, req := range []backend.WriteFileRequest{
		{IfSHA256: sumOf("other")}, {IfSHA256: strings.ToUpper(sumOf("old"))}, {IfSHA256: sumOf("old")[1:]}, {IfSHA256: "x"},
		{IfAbsent: true, IfSHA256: sumOf("old")}, {Append: true, IfSHA256: sumOf("other")},
	} {
		kind := backend.ErrInvalid
		if req.IfSHA256 == sumOf("other") {
			kind = backend.ErrConflict
		}
		req.Path, req.Content = "there", strings.NewReader("new")
		_, err := f.WriteFile(ctx, &req)
		wantKind(f.t, err, kind)
	}
	if f.get("there") != "old" {
		f.t.Fatalf("it was touched: %q", f.get("there"))
	}
	for _, name := range []string{"missing", "nowhere"} {
		if _, err := os.Lstat(f.path(name)); err == nil {
			f.t.Errorf("a refused write made %s", name)
		}
	}

	reply, err := f.WriteFile(ctx, &backend.WriteFileRequest{Path: "new/er", IfAbsent: true, Content: strings.NewReader("made"), Mode: 0o600})
	check(f.t, err)
	if !reply.Created || reply.SHA256 != sumOf("made") || f.get("new/er") != "made" {
		f.t.Errorf("%+v", reply)
	}
	big := strings.Repeat("0123456789abcdef", 1<<16)
	f.put("big", big)
	for path, content := range map[string]string{"link": "old", "big": big} {
		reply, err = f.WriteFile(ctx, &backend.WriteFileRequest{Path: path, IfSHA256: sumOf(content), Content: strings.NewReader("new")})
		check(f.t, err)
		if got, err := f.read(path); err != nil || got != "new" || reply.Created || reply.SHA256 != sumOf("new") {
			f.t.Errorf("%s holds %q, %v: %+v", path, got, err, reply)
		}
	}
	// What changes while the content comes is noticed.
	for _, change := range []func(){
		func() { f.put("there", "changed") },
		func() { check(f.t, os.Remove(f.path("there"))) },
	} {
		f.put("there", "new")
		content := io.MultiReader(strings.NewReader(strings.Repeat("x", 300_000)), acting{change})
		_, err = f.WriteFile(ctx, &backend.WriteFileRequest{Path: "there", IfSHA256: sumOf("new"), Content: content})
		wantKind(f.t, err, backend.ErrConflict)
	}
	content := io.MultiReader(strings.NewReader(strings.Repeat("x", 300_000)), acting{func() { f.put("there", "made meanwhile") }})
	_, err = f.WriteFile(ctx, &backend.WriteFileRequest{Path: "there", IfAbsent: true, Content: content})
	wantKind(f.t, err, backend.ErrConflict)
	if f.get("there") != "made meanwhile" {
		f.t.Errorf("%q", f.get("there"))
	}
}

// acting does something and says that there is no more.
type acting struct{ act func() }

func (a acting) Read([]byte) (int, error) {
	a.act()
	return 0, io.EOF
}

// race makes n writes at once and returns which landed. The others must have
// found a conflict.
func (f *fixture) race(n int, request func(i int) *backend.WriteFileRequest) (won []int) {
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { _, errs[i] = f.WriteFile(f.t.Context(), request(i)) })
	}
	wg.Wait()
	for i, err := range errs {
		if err == nil {
			won = append(won, i)
			continue
		}
		wantKind(f.t, err, backend.ErrConflict)
	}
	return won
}

func contentOf(i int) string { return strings.Repeat(string(rune('a'+i)), 100_000) }

func caseWriteAbsentRace(f *fixture) {
	check(f.t, os.Mkdir(f.path("real"), 0o755))
	check(f.t, os.Chown(f.path("real"), int(f.uid), int(f.uid)))
	check(f.t, os.Symlink("real", f.path("alias")))
	for round := range 20 {
		name := fmt.Sprint("f", round)
		won := f.race(8, func(i int) *backend.WriteFileRequest {
			path := []string{"real/", "alias/"}[i%2] + name
			return &backend.WriteFileRequest{Path: path, IfAbsent: true, Append: i%3 == 0, Content: strings.NewReader(contentOf(i))}
		})
		if len(won) != 1 || f.get("real/"+name) != contentOf(won[0]) {
			f.t.Fatalf("round %d was won by %v", round, won)
		}
	}
	// Nor does one win against a command.
	for round := range 20 {
		name := fmt.Sprint("g", round)
		var made atomic.Bool
		var wg sync.WaitGroup
		wg.Go(func() {
			fd, err := os.OpenFile(f.path(name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
			if err == nil {
				made.Store(true)
				_ = fd.Close()
			}
		})
		won := f.race(1, func(i int) *backend.WriteFileRequest {
			return &backend.WriteFileRequest{Path: name, IfAbsent: true, Content: strings.NewReader(contentOf(i))}
		})
		wg.Wait()
		if made.Load() == (len(won) == 1) {
			f.t.Fatalf("round %d: made by a command %v, by a write %v", round, made.Load(), won)
		}
	}
}

func caseWriteSumRace(f *fixture) {
	for round := range 20 {
		f.put("f", "old")
		won := f.race(8, func(i int) *backend.WriteFileRequest {
			return &backend.WriteFileRequest{Path: "f", IfSHA256: sumOf("old"), Content: strings.NewReader(contentOf(i))}
		})
		if len(won) != 1 || f.get("f") != contentOf(won[0]) {
			f.t.Fatalf("round %d was won by %v", round, won)
		}
	}
}

func caseAppend(f *fixture) {
	ctx := f.t.Context()
	big := strings.Repeat("0123456789abcde\n", 50_000)
	add := func(path, content string, mode uint32) *backend.WriteFileReply {
		reply, err := f.WriteFile(ctx, &backend.WriteFileRequest{Path: path, Append: true, Mode: mode, Content: iotest.HalfReader(strings.NewReader(content))})
		check(f.t, err)
		return reply
	}
	first := add("new/dir/f", "one\r\n\xff", 0o640)
	if !first.Created || first.Size != 6 {
		f.t.Errorf("%+v", first)
	}
	for i, content := range []string{"", "two", big} {
		before := f.get("new/dir/f")
		reply := add("new/dir/f", content, 0)
		if f.get("new/dir/f") != before+content || reply.Size != int64(len(before+content)) || reply.SHA256 != "" || reply.Created {
			f.t.Errorf("append %d: %+v", i, reply)
		}
	}
	info, err := os.Stat(f.path("new/dir/f"))
	check(f.t, err)
	if info.Mode() != 0o640 || info.Sys() == nil {
		f.t.Errorf("mode %v", info.Mode())
	}
	// It is written, not replaced: other names see it, and no right in the
	// directory is needed.
	f.put("d/f", "old")
	check(f.t, os.Link(f.path("d/f"), f.path("name")))
	check(f.t, os.Symlink("d/f", f.path("link")))
	check(f.t, os.Symlink("d/made", f.path("dangling")))
	add("link", " new", 0)
	add("dangling", "made", 0)
	if f.get("name") != "old new" || f.get("d/made") != "made" {
		f.t.Errorf("%q %q", f.get("name"), f.get("d/made"))
	}
	check(f.t, os.Chmod(f.path("d"), 0o555))
	add("d/f", big, 0)
	if f.get("name") != "old new"+big {
		f.t.Error("an append in a directory that is closed")
	}
	check(f.t, os.Chmod(f.path("d"), 0o755))
	reply, err := f.WriteFile(ctx, &backend.WriteFileRequest{Path: "d/made", Append: true, IfSHA256: sumOf("made"), Content: strings.NewReader(" more")})
	check(f.t, err)
	if f.get("d/made") != "made more" || reply.Size != 9 {
		f.t.Errorf("%+v", reply)
	}
}

func caseAppendUndone(f *fixture) {
	f.put("file", "old")
	broken := errors.New("no more content")
	for _, path := range []string{"file", "none"} {
		for _, before := range []int{0, 10, 300_000} {
			content := io.MultiReader(strings.NewReader(strings.Repeat("x", before)), failing{broken})
			_, err := f.WriteFile(f.t.Context(), &backend.WriteFileRequest{Path: path, Append: true, Content: content})
			if !errors.Is(err, broken) {
				f.t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(f.t.Context())
			content = io.MultiReader(strings.NewReader(strings.Repeat("x", before)), cancelling{cancel})
			_, err = f.WriteFile(ctx, &backend.WriteFileRequest{Path: path, Append: true, Content: content})
			wantKind(f.t, err, context.Canceled)
			if f.get("file") != "old" {
				f.t.Fatal("the file was touched")
			}
			if _, err := os.Lstat(f.path("none")); err == nil {
				f.t.Fatal("a file was made")
			}
		}
	}
	// What a command adds meanwhile is not lost with what is taken back.
	content := io.MultiReader(strings.NewReader(strings.Repeat("x", 300_000)), acting{func() {
		fd, err := os.OpenFile(f.path("file"), os.O_WRONLY|os.O_APPEND, 0)
		check(f.t, err)
		_, err = fd.WriteString("of a command")
		check(f.t, errors.Join(err, fd.Close()))
	}}, failing{broken})
	_, err := f.WriteFile(f.t.Context(), &backend.WriteFileRequest{Path: "file", Append: true, Content: content})
	if !errors.Is(err, broken) || !errors.Is(err, backend.ErrConflict) {
		f.t.Errorf("%v", err)
	}
	if got := f.get("file"); !strings.HasSuffix(got, "of a command") {
		f.t.Error("what a command wrote is lost")
	}
}

func caseAppendParallel(f *fixture) {
	f.put("f", "")
	check(f.t, os.Symlink("f", f.path("link")))
	const size = 200_000
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			_, err := f.WriteFile(f.t.Context(), &backend.WriteFileRequest{Path: []string{"f", "link"}[i%2], Append: true,
				Content: bytes.NewReader(bytes.Repeat([]byte{byte('a' + i)}, size))})
			if err != nil {
				f.t.Errorf("append %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	got := f.get("f")
	if len(got) != 8*size {
		f.t.Fatalf("%d bytes", len(got))
	}
	for i := 0; i < len(got); i += size {
		if strings.Trim(got[i:i+size], got[i:i+1]) != "" {
			f.t.Errorf("at %d are several appends", i)
		}
	}
}

func caseAppendRefused(f *fixture) {
	f.put("readonly", "kept")
	check(f.t, os.Chmod(f.path("readonly"), 0o444))
	check(f.t, unix.Mkfifo(f.path("fifo"), 0o666))
	f.put("file", "")
	for path, kind := range map[string]error{
		"readonly": backend.ErrPermission, "file/x": backend.ErrNotDirectory, "fifo": backend.ErrInvalid, "/dev/null": backend.ErrInvalid,
		".": backend.ErrIsDirectory, "new/": backend.ErrIsDirectory, "/proc/self/environ": backend.ErrPermission, "": backend.ErrInvalid,
	} {
		_, err := f.WriteFile(f.t.Context(), &backend.WriteFileRequest{Path: path, Append: true, Content: strings.NewReader("x")})
		wantKind(f.t, err, kind)
	}
	if f.get("readonly") != "kept" {
		f.t.Error("it was written")
	}
	// A disk that is full leaves nothing of it.
	check(f.t, os.Mkdir(f.path("small"), 0o777))
	check(f.t, unix.Mount("tmpfs", f.path("small"), "tmpfs", 0, "size=128k,mode=0777"))
	f.t.Cleanup(func() { check(f.t, unix.Unmount(f.path("small"), 0)) })
	check(f.t, f.write("small/file", "old"))
	_, err := f.WriteFile(f.t.Context(), &backend.WriteFileRequest{Path: "small/file", Append: true, Content: strings.NewReader(strings.Repeat("x", 1<<20))})
	wantKind(f.t, err, backend.ErrNoSpace)
	if got := f.get("small/file"); got != "old" {
		f.t.Errorf("it holds %d bytes", len(got))
	}
}

func caseEditBatch(f *fixture) {
	ctx := f.t.Context()
	edit := func(all bool, ifSum string, edits ...string) (*backend.EditReply, error) {
		req := &backend.EditRequest{Path: "f", IfSHA256: ifSum, All: all}
		for i, e := range edits {
			before, after, _ := strings.Cut(e, ">")
			if i == 0 {
				req.Old, req.New = []byte(before), []byte(after)
				continue
			}
			req.Then = append(req.Then, backend.Replacement{Old: []byte(before), New: []byte(after), All: all})
		}
		return f.Edit(ctx, req)
	}
	const content = "one two two \xff\r\n"
	f.put("f", content)
	for _, c := range []struct {
		edits []string
		kind  error
		which string
	}{
		{[]string{"one>1", "missing>x"}, backend.ErrNotFound, "replacement 2 of 2"},
		{[]string{"one>1", "1>one", "two>2"}, backend.ErrConflict, "replacement 3 of 3"},
		{[]string{"one>1", "one>x"}, backend.ErrNotFound, "replacement 2 of 2"},
		{[]string{"one>1", ">x"}, backend.ErrInvalid, "replacement 2 of 2"},
		{[]string{"missing>1", "x>x"}, backend.ErrInvalid, "replacement 2 of 2"},
	} {
		_, err := edit(false, "", c.edits...)
		e := wantKind(f.t, err, c.kind)
		if !strings.Contains(e.Message, c.which) || errors.Is(c.kind, backend.ErrConflict) && e.Count != 2 {
			f.t.Errorf("%q: %v, count %d", c.edits, err, e.Count)
		}
		if f.get("f") != content {
			f.t.Fatalf("%q changed the file", c.edits)
		}
	}
	_, err := edit(false, sumOf("1 two two \xff\r\n"), "one>1", "1>one")
	wantKind(f.t, err, backend.ErrConflict)
	reply, err := edit(true, sumOf(content), "two>2", "2>three", "one >")
	check(f.t, err)
	const want = "three three \xff\r\n"
	if f.get("f") != want || reply.Replaced != 5 || reply.Size != int64(len(want)) || reply.SHA256 != sumOf(want) {
		f.t.Errorf("%q: %+v", f.get("f"), reply)
	}
	// One that grows without bound is refused before it has grown.
	mebibyte := strings.Repeat("x", 1<<20)
	f.put("f", mebibyte)
	grow := make([]string, 60)
	for i := range grow {
		grow[i] = mebibyte + ">" + mebibyte + mebibyte
	}
	_, err = edit(true, "", grow...)
	e := wantKind(f.t, err, backend.ErrTooLarge)
	if !strings.Contains(e.Message, "replacement 7 of 60") || f.get("f") != mebibyte {
		f.t.Errorf("%v", err)
	}
}
