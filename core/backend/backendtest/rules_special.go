package backendtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/deep-sandbox/deep/core/backend"
)

// everyOperation tries each operation on one path and returns what came of it.
func (t *T) everyOperation(ctx context.Context, path string) map[string]error {
	sb := t.sandbox()
	errs := map[string]error{}
	_, errs["stat"] = sb.Stat(ctx, &backend.StatRequest{Path: path, Follow: true})
	_, errs["read"] = readAll(ctx, sb, &backend.ReadFileRequest{Path: path})
	_, errs["write"] = sb.WriteFile(ctx, &backend.WriteFileRequest{Path: path, Content: strings.NewReader("x")})
	_, errs["append"] = sb.WriteFile(ctx, &backend.WriteFileRequest{Path: path, Content: strings.NewReader("x"), Append: true})
	_, errs["edit"] = sb.Edit(ctx, &backend.EditRequest{Path: path, Old: []byte("a"), New: []byte("b")})
	_, errs["list"] = sb.List(ctx, &backend.ListDirRequest{Path: path})
	_, errs["glob"] = sb.Glob(ctx, &backend.GlobRequest{Path: path, Pattern: "*"})
	_, errs["grep"] = sb.Grep(ctx, &backend.GrepRequest{Path: path, Pattern: "x"})
	_, errs["put archive"] = sb.PutArchive(ctx, &backend.PutArchiveRequest{Path: path, Content: strings.NewReader(archiveOf(t, file("f", "x")))})
	_, errs["get archive"] = t.getArchiveIn(ctx, path)
	errs["mkdir"] = sb.Mkdir(ctx, &backend.MkdirRequest{Path: path})
	errs["remove"] = sb.Remove(ctx, &backend.RemoveRequest{Path: path})
	errs["rename from"] = sb.Rename(ctx, &backend.RenameRequest{From: path, To: t.path("renamed")})
	errs["rename to"] = sb.Rename(ctx, &backend.RenameRequest{From: t.path("kept"), To: path})
	return errs
}

// wantEach notes a problem for each operation that did not fail as it had to.
// Those that are not in kinds are not looked at.
func (t *T) wantEach(what string, errs map[string]error, kinds map[string]error) {
	for _, op := range slices.Sorted(maps.Keys(kinds)) {
		t.wantKind(op+" "+what, errs[op], kinds[op])
	}
}

// all returns one kind for each operation.
func all(kind error) map[string]error {
	kinds := map[string]error{}
	for _, op := range []string{
		"stat", "read", "write", "append", "edit", "list", "glob", "grep", "put archive", "get archive", "mkdir", "remove", "rename from", "rename to",
	} {
		kinds[op] = kind
	}
	return kinds
}

// but returns kinds with others for some operations; nil takes one out.
func but(kinds map[string]error, kind error, ops ...string) map[string]error {
	for _, op := range ops {
		if kinds[op] = kind; kind == nil {
			delete(kinds, op)
		}
	}
	return kinds
}

// announced keeps what is written and closes first when something is.
type announced struct {
	strings.Builder
	first chan struct{}
}

func (a *announced) Write(p []byte) (int, error) {
	if a.Len() == 0 && len(p) > 0 {
		close(a.first)
	}
	return a.Builder.Write(p)
}

// wantSparse reads here and there in a large file that begins with a line, and
// holds nothing else.
func (t *T) wantSparse(sb backend.Sandbox, path string, size int64) {
	for offset, want := range map[int64]string{0: "begin\n" + strings.Repeat("\x00", 14), size / 2: strings.Repeat("\x00", 20), size - 5: strings.Repeat("\x00", 5), size: ""} {
		got, err := readAll(t.ctx, sb, &backend.ReadFileRequest{Path: path, Offset: offset, Length: 20})
		if err != nil || got != want {
			t.Errorf("at %d: %s, %v; want %s", offset, short(got), err, short(want))
		}
	}
	// Closed half way, nobody reads the rest.
	f, err := sb.ReadFile(t.ctx, &backend.ReadFileRequest{Path: path})
	t.must("open", err)
	begin := make([]byte, 6)
	if _, err := io.ReadFull(f, begin); err != nil || string(begin) != "begin\n" || f.Info.Size != size {
		t.Errorf("%q, %v, size %d", begin, err, f.Info.Size)
	}
	t.must("close", f.Close())
}

var specialRules = []Rule{
	{
		Name:     "path-invalid",
		Sentence: "NUL and over-long are ErrInvalid in every operation; so is empty where it does not stand for the workspace.",
		run: func(t *T) {
			t.write("kept", "x")
			for what, p := range badPaths {
				kinds := all(backend.ErrInvalid)
				if p == "" {
					kinds = but(kinds, nil, "list", "glob", "grep", "put archive", "get archive")
				}
				errs := map[string]error{}
				if p != "" {
					errs = t.everyOperation(t.ctx, p)
				} else {
					// Not those that would do something to the workspace.
					sb := t.sandbox()
					errs["stat"] = t.statErr(p, true)
					errs["read"] = t.readErr(&backend.ReadFileRequest{Path: p})
					errs["write"] = t.writeErr(p, 0, nil)
					_, errs["append"] = sb.WriteFile(t.ctx, &backend.WriteFileRequest{Append: true})
					_, errs["edit"] = sb.Edit(t.ctx, &backend.EditRequest{Old: []byte("a"), New: []byte("b")})
					errs["mkdir"] = sb.Mkdir(t.ctx, &backend.MkdirRequest{})
					errs["remove"] = t.remove(p, false)
					errs["rename from"] = sb.Rename(t.ctx, &backend.RenameRequest{To: t.path("renamed")})
					errs["rename to"] = sb.Rename(t.ctx, &backend.RenameRequest{From: t.path("kept")})
				}
				t.wantEach(what, errs, kinds)
			}
			t.wantContent("kept", "x")
		},
	},
	{
		Name:     "path-missing",
		Sentence: "What is not there is ErrNotFound naming the path, in every operation.",
		run: func(t *T) {
			t.write("kept", "x")
			path := t.path("no/where")
			errs := t.everyOperation(t.ctx, path+"/f")
			// The first of those that make parents makes it.
			t.wantEach(path, errs, map[string]error{"stat": backend.ErrNotFound, "read": backend.ErrNotFound})
			errs = map[string]error{}
			sb := t.sandbox()
			path = t.path("missing")
			_, errs["edit"] = sb.Edit(t.ctx, &backend.EditRequest{Path: path, Old: []byte("a"), New: []byte("b")})
			_, errs["list"] = sb.List(t.ctx, &backend.ListDirRequest{Path: path})
			errs["glob"] = t.globErr(backend.GlobRequest{Path: path, Pattern: "*"})
			errs["grep"] = t.grepErr(backend.GrepRequest{Path: path, Pattern: "x"})
			_, errs["get archive"] = t.getArchiveIn(t.ctx, path)
			errs["remove"] = t.remove(path, true)
			errs["rename from"] = sb.Rename(t.ctx, &backend.RenameRequest{From: path, To: t.path("renamed")})
			for op, err := range errs {
				t.wantKind(op, err, backend.ErrNotFound)
				if e := (*backend.Error)(nil); errors.As(err, &e) && e.Path != path {
					t.Errorf("%s: the error names %q, want %q", op, e.Path, path)
				}
			}
		},
	},
	{
		Name:     "path-below-a-file",
		Sentence: "Below a file is ErrNotDirectory, in every operation.",
		run: func(t *T) {
			t.writeAll(map[string]string{"kept": "x", "f": "content"})
			t.wantEach("below a file", t.everyOperation(t.ctx, t.path("f/x")), all(backend.ErrNotDirectory))
			t.wantContent("f", "content")
			t.wantContent("kept", "x")
		},
	},
	{
		Name:     "path-loop",
		Sentence: "A loop of symbolic links is ErrInvalid in every operation that follows one, and ends.",
		Shell:    true,
		run: func(t *T) {
			t.write("kept", "x")
			t.sh("ln -s b a; ln -s a b")
			t.wantEach("a loop", t.everyOperation(t.ctx, t.path("a/f")), all(backend.ErrInvalid))
			t.wantContent("kept", "x")
			// Those that do not follow a last link see a link.
			t.must("rename", t.rename("a", "c", false))
			t.must("remove", t.remove(t.path("c"), false))
		},
	},
	{
		Name:     "path-dangling",
		Sentence: "What a dangling link names is ErrNotFound to whoever needs it; a write makes it.",
		Shell:    true,
		run: func(t *T) {
			sb := t.sandbox()
			t.must("mkdir", sb.Mkdir(t.ctx, &backend.MkdirRequest{Path: t.path("d")}))
			t.sh("ln -s real dangling; ln -s ../nowhere d/link")
			path := t.path("dangling")
			errs := map[string]error{"stat": t.statErr(path, true), "read": t.readErr(&backend.ReadFileRequest{Path: path})}
			_, errs["edit"] = t.edit("dangling", "a", "b", false)
			_, errs["list"] = sb.List(t.ctx, &backend.ListDirRequest{Path: path})
			errs["glob"] = t.globErr(backend.GlobRequest{Path: path, Pattern: "*"})
			errs["grep"] = t.grepErr(backend.GrepRequest{Path: path, Pattern: "x"})
			_, errs["get archive"] = t.getArchiveIn(t.ctx, path)
			for op, err := range errs {
				t.wantKind(op, err, backend.ErrNotFound)
			}
			t.wantGrep(backend.GrepRequest{Path: t.path("d"), Pattern: "x"})
			if names := t.names("d"); !slices.Equal(names, []string{"link"}) {
				t.Errorf("list: %q", names)
			}
			t.write("dangling", "made")
			t.wantContent("real", "made")
		},
	},
	{
		Name:     "path-permission",
		Sentence: "Where the sandbox's user may not look or change something, it is ErrPermission with a hint.",
		Shell:    true,
		run: func(t *T) {
			t.writeAll(map[string]string{"kept": "x", "closed/f": "x"})
			t.sh("chmod 000 closed")
			defer t.sh("chmod 755 closed")
			errs := t.everyOperation(t.ctx, t.path("closed/f"))
			t.wantEach("in a closed directory", errs, all(backend.ErrPermission))
			if backend.HintOf(errs["read"]) == "" {
				t.Errorf("no hint: %v", errs["read"])
			}
		},
	},
	{
		Name:     "path-root-read-only",
		Sentence: "The root file system is read-only: what would change it is ErrPermission, and nothing changes.",
		run: func(t *T) {
			t.write("kept", "x")
			for _, dir := range []string{"/", "/etc/"} {
				path := dir + t.rule.Name
				kinds := all(backend.ErrPermission)
				errs := t.everyOperation(t.ctx, path)
				kinds = but(kinds, backend.ErrNotFound, "stat", "read", "edit", "list", "glob", "grep", "get archive", "remove")
				// It may be another file system, which no file can be moved to or from.
				t.wantEach(path, errs, but(kinds, nil, "rename to", "rename from"))
				if err := t.statErr(path, false); !errors.Is(err, backend.ErrNotFound) {
					t.Errorf("%s is there, or not known: %v", path, err)
				}
			}
			t.wantContent("kept", "x")
			r, err := t.sandbox().List(t.ctx, &backend.ListDirRequest{Path: "/"})
			t.must("list /", err)
			top, _, _ := strings.Cut(t.sandbox().Info().Workspace[1:], "/")
			if !slices.ContainsFunc(r.Entries, func(e backend.FileInfo) bool { return e.Path == top }) {
				t.Errorf("the root, which may be read, does not hold %q", top)
			}
		},
	},
	{
		Name:     "path-cancelled",
		Sentence: "Every operation of a context that has ended is its error, and does nothing.",
		run: func(t *T) {
			t.writeAll(map[string]string{"kept": "x", "f": "a"})
			ctx, cancel := context.WithCancel(t.ctx)
			cancel()
			t.wantEach("with a context that has ended", t.everyOperation(ctx, t.path("f")), all(context.Canceled))
			t.wantContent("f", "a")
			if names := t.names(""); !slices.Equal(names, []string{"f", "kept"}) {
				t.Errorf("%q", names)
			}
		},
	},
	{
		Name:     "error-hint",
		Sentence: "The error value tells the operation, the path, and a hint that says what to do.",
		run: func(t *T) {
			t.writeAll(map[string]string{"f": "a-a", "d/f": "x"})
			sb := t.sandbox()
			errs := map[string]error{}
			_, errs["no match"] = t.edit("f", "missing", "x", false)
			_, errs["several matches"] = t.edit("f", "a", "b", false)
			_, errs["changed since, edit"] = sb.Edit(t.ctx, &backend.EditRequest{Path: t.path("f"), Old: []byte("-"), New: []byte("+"), IfSHA256: hexSum("")})
			_, errs["changed since, write"] = t.put("f", "x", ifHolds("another"))
			_, errs["there already"] = t.put("f", "x", ifAbsent)
			errs["not empty"] = t.remove(t.path("d"), false)
			errs["a bad expression"] = t.grepErr(backend.GrepRequest{Path: t.path("f"), Pattern: "("})
			errs["the workspace"] = t.remove(".", true)
			for what, err := range errs {
				var e *backend.Error
				switch {
				case !errors.As(err, &e):
					t.Errorf("%s: a %T, want a *backend.Error: %v", what, err, err)
				case e.Op == "" || e.Path == "" || e.Hint == "":
					t.Errorf("%s: op %q, path %q, hint %q", what, e.Op, e.Path, e.Hint)
				}
			}
		},
	},
	{
		Name:     "read-sparse",
		Sentence: "20 bytes of a huge file cost 20 bytes.",
		Shell:    true,
		run: func(t *T) {
			const size = 1<<31 - 1 // no command may make one of 2 GiB
			t.sh(fmt.Sprintf("echo begin > f; truncate -s %d f", size))
			t.wantSparse(t.sandbox(), t.path("f"), size)
			// A search passes over it without reading it whole.
			t.write("text", "begin\n")
			t.wantGrep(backend.GrepRequest{Pattern: "begin"}, "text:1:begin")
		},
	},
	{
		Name:     "read-sparse-bound",
		Sentence: "20 bytes of a 10 GiB file cost 20 bytes.",
		Needs:    backend.CapBind,
		run: func(t *T) {
			const size = 10 << 30
			dir, err := os.MkdirTemp("", "deep-sparse-")
			t.must("make a directory", err)
			t.cleanups = append(t.cleanups, func() { t.must("remove it", os.RemoveAll(dir)) })
			name := dir + "/f"
			t.must("make a file", errors.Join(os.WriteFile(name, []byte("begin\n"), 0o644), os.Truncate(name, size)))
			if os.Getuid() == 0 { // whose directories no sandbox gets
				t.must("give it away", os.Chown(dir, backend.DefaultUID, backend.DefaultUID))
				t.must("give it away", os.Chown(name, backend.DefaultUID, backend.DefaultUID))
			}
			t.wantSparse(t.newSandbox(func(s *backend.Spec) { s.Workspace.Source = dir }), "f", size)
		},
	},
	{
		Name:     "write-special",
		Sentence: "A FIFO or device is not written: ErrInvalid, without blocking.",
		Shell:    true,
		run: func(t *T) {
			t.sh("mkfifo pipe; ln -s pipe link")
			for _, p := range []string{t.path("pipe"), t.path("link"), "/dev/null"} {
				t.wantKind(p, t.writeErr(p, 0, strings.NewReader("x")), backend.ErrInvalid)
			}
			if i := t.stat("pipe"); i.Type != backend.TypeFIFO {
				t.Errorf("it is a %s now", i.Type)
			}
		},
	},
	{
		Name:     "write-hard-link",
		Sentence: "A file of several names is replaced under the one written; the others keep the old content.",
		Shell:    true,
		run: func(t *T) {
			t.write("f", "old")
			t.sh("ln f other")
			t.write("f", "new")
			t.wantContent("f", "new")
			t.wantContent("other", "old")
		},
	},
	{
		Name:     "write-under-command",
		Sentence: "A command that reads a file over and over while it is replaced sees the old content or the new, never half of one and never none.",
		Shell:    true,
		run: func(t *T) {
			const size = 200_000
			t.write("f", strings.Repeat("0", size))
			ctx, cancel := context.WithCancel(t.ctx)
			defer cancel()
			polled := make(chan ran, 1)
			polling := &announced{first: make(chan struct{})}
			sb, dir := t.sandbox(), t.dir()
			go func() {
				polled <- t.execIn(ctx, sb, &backend.ExecRequest{Shell: "while [ ! -e stop ]; do wc -c < f; done", Dir: dir, Stdout: polling})
			}()
			select {
			case <-polling.first:
			case r := <-polled:
				t.Fatalf("the command ended at once: %+v, %v", r.ExecResult, r.err)
			case <-ctx.Done():
				t.Fatalf("the command wrote nothing")
			}
			for i := range 20 {
				t.write("f", strings.Repeat(string(rune('a'+i)), size))
			}
			t.write("stop", "")
			r := <-polled
			t.wantExit("the reader", r, 0)
			for line := range strings.Lines(polling.String()) {
				if strings.TrimSpace(line) != fmt.Sprint(size) {
					t.Errorf("a reader saw %q bytes of %d", strings.TrimSpace(line), size)
					break
				}
			}
			if r.stderr != "" {
				t.Errorf("a reader failed: %s", short(r.stderr))
			}
		},
	},
	{
		Name:     "write-full-disk",
		Sentence: "A full disk is ErrNoSpace with a hint; the file holds the old content and nothing is left behind.",
		Shell:    true,
		run: func(t *T) {
			// $HOME is in memory, and of that there is less than is written.
			const memory = 32 << 20
			sb := t.newSandbox(func(s *backend.Spec) { s.Memory = memory })
			r := t.execIn(t.ctx, sb, &backend.ExecRequest{Shell: "printf %s \"$HOME\""})
			t.wantExit("printf", r, 0)
			dir := r.stdout + "/full"
			path := dir + "/f"
			_, err := sb.WriteFile(t.ctx, &backend.WriteFileRequest{Path: path, Content: strings.NewReader("old")})
			t.must("write", err)
			endless := func() io.Reader {
				return io.LimitReader(readFunc(func(p []byte) (int, error) { return len(p), nil }), memory)
			}
			for what, change := range map[string]func(*backend.WriteFileRequest){"replace": func(*backend.WriteFileRequest) {}, "append": appending} {
				req := &backend.WriteFileRequest{Path: path, Content: endless()}
				change(req)
				_, err := sb.WriteFile(t.ctx, req)
				t.wantKind(what, err, backend.ErrNoSpace)
				if backend.HintOf(err) == "" {
					t.Errorf("%s: no hint: %v", what, err)
				}
				got, err := readAll(t.ctx, sb, &backend.ReadFileRequest{Path: path})
				if err != nil || got != "old" {
					t.Errorf("%s: it holds %s, %v", what, short(got), err)
				}
				list, err := sb.List(t.ctx, &backend.ListDirRequest{Path: dir})
				t.must("list", err)
				if len(list.Entries) != 1 {
					t.Errorf("%s: left behind: %+v", what, list.Entries)
				}
			}
			_, err = sb.WriteFile(t.ctx, &backend.WriteFileRequest{Path: path, Content: strings.NewReader("new")})
			t.must("write once there is room", err)
		},
	},
}
