package backendtest

import (
	"context"
	"errors"
	"maps"
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

var pathRules = []Rule{
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
}
