package backendtest

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/deep-sandbox/deep/core/backend"
)

// bareRules are those on an image of one static program.
var bareRules = []Rule{
	{
		Name:     "image-bare-exec",
		Sentence: "One static program in an image is enough: argv runs it, found by the default PATH, with its arguments, input, environment and exit code.",
		Needs:    backend.CapImages, Bare: true,
		run: func(t *T) {
			sb := t.bare()
			run := func(req *backend.ExecRequest) ran { return t.execIn(t.ctx, sb, req) }
			t.wantOutput("arguments", run(&backend.ExecRequest{Argv: []string{"bare", "args", "", "a b", "$HOME", "\n*", "\xff"}}), "\x00a b\x00$HOME\x00\n*\x00\xff\x00")
			for _, code := range []string{"0", "1", "42", "255"} {
				if r := run(&backend.ExecRequest{Argv: []string{"/bin/bare", "exit", code}}); code == "0" {
					t.wantExit("exit 0", r, 0)
				} else if t.must("exit "+code, r.err); r.Outcome != backend.OutcomeExit || code != strconv.Itoa(r.ExitCode) {
					t.Errorf("exit %s: %+v", code, r.ExecResult)
				}
			}
			t.wantOutput("input", run(&backend.ExecRequest{Argv: []string{"bare", "copy"}, Stdin: onlyReader{strings.NewReader("in\x00\r\n")}}), "in\x00\r\n")
			r := run(&backend.ExecRequest{Argv: []string{"bare", "env"}, Env: map[string]string{"A": "our\nown"}})
			t.wantExit("env", r, 0)
			env := variables(r.stdout, "\x00")
			if env["A"] != "our\nown" || env["HOME"] == "" || env["PATH"] == "" {
				t.Errorf("environment %q", env)
			}
			if r := run(&backend.ExecRequest{Argv: []string{"ls"}}); r.err != nil || r.ExitCode != 127 || r.Outcome != backend.OutcomeStartFailed {
				t.Errorf("a program that is missing: %+v, %v", r.ExecResult, r.err)
			}
		},
	},
	{
		Name:     "image-bare-no-shell",
		Sentence: "No shell in the image: a shell request is ErrNotFound that says so and suggests argv.",
		Needs:    backend.CapImages, Bare: true,
		run: func(t *T) {
			sb := t.bare()
			_, err := sb.Exec(t.ctx, &backend.ExecRequest{Shell: "true"})
			t.wantNoShell("exec", err)
			_, err = sb.Start(t.ctx, &backend.ExecRequest{Shell: "true"})
			t.wantNoShell("start", err)
		},
	},
	{
		Name:     "image-bare-files",
		Sentence: "Files need no program of the image: all that reads, writes, finds and packs them works in one without a shell.",
		Needs:    backend.CapImages, Bare: true,
		run: func(t *T) {
			sb := t.bare()
			t.must("write", t.writeIn(sb, "d/e/a.txt", "one\ntwo\n"))
			edited, err := sb.Edit(t.ctx, &backend.EditRequest{Path: "d/e/a.txt", Old: []byte("two"), New: []byte("2")})
			if t.must("edit", err); edited.Replaced != 1 {
				t.Errorf("edit: %+v", edited)
			}
			t.wantIn(sb, "d/e/a.txt", "one\n2\n")
			if info, err := sb.Stat(t.ctx, &backend.StatRequest{Path: "/bin/bare"}); err != nil || info.Type != backend.TypeRegular || info.Mode&0o111 == 0 {
				t.Errorf("stat the program: %+v, %v", info, err)
			}
			t.must("mkdir", sb.Mkdir(t.ctx, &backend.MkdirRequest{Path: "d/f"}))
			t.must("rename", sb.Rename(t.ctx, &backend.RenameRequest{From: "d/e/a.txt", To: "d/f/b.txt"}))
			list, err := sb.List(t.ctx, &backend.ListDirRequest{Path: "d"})
			if t.must("list", err); len(list.Entries) != 2 || list.Entries[0].Path != "e" || list.Entries[1].Path != "f" {
				t.Errorf("list: %+v", list.Entries)
			}
			found, err := sb.Glob(t.ctx, &backend.GlobRequest{Path: "d", Pattern: "**/*.txt"})
			if t.must("glob", err); len(found.Matches) != 1 || found.Matches[0].Path != "f/b.txt" {
				t.Errorf("glob: %+v", found.Matches)
			}
			hits, err := sb.Grep(t.ctx, &backend.GrepRequest{Path: "d", Pattern: "^2$"})
			if t.must("grep", err); len(hits.Matches) != 1 || hits.Matches[0].Path != "f/b.txt" {
				t.Errorf("grep: %+v", hits)
			}
			archive, err := sb.GetArchive(t.ctx, &backend.GetArchiveRequest{Path: "d"})
			t.must("get archive", err)
			_, err = sb.PutArchive(t.ctx, &backend.PutArchiveRequest{Path: "copy", Content: archive})
			t.must("put archive", errors.Join(err, archive.Close()))
			t.wantIn(sb, "copy/f/b.txt", "one\n2\n")
			t.must("remove", sb.Remove(t.ctx, &backend.RemoveRequest{Path: "d", Recursive: true}))
			t.wantNoneIn(sb, "d")
		},
	},
	{
		Name:     "image-bare-kill",
		Sentence: "Nothing survives a timeout or a kill: not what ignores signals in a session of its own, where no program of the image could help.",
		Needs:    backend.CapImages, Bare: true,
		run: func(t *T) {
			sb, grace := t.bare(), 100*time.Millisecond
			deaf := []string{"bare", "deaf"}
			id := t.start(sb, &backend.ExecRequest{Argv: deaf, Timeout: backend.Unlimited})
			t.printed(sb, id, "up\n")
			r, err := sb.Kill(t.ctx, &backend.KillRequest{ID: id, Grace: &grace})
			if t.must("kill", err); r.Result.Outcome != backend.OutcomeCancelled || r.Result.Signal != 9 || r.Result.ExitCode != 137 {
				t.Errorf("killed: %+v", r.Result)
			}
			t.wantNoProcess(sb, "bare")
			timed := t.execIn(t.ctx, sb, &backend.ExecRequest{Argv: deaf, Timeout: time.Second, Grace: &grace})
			// Where it takes long to start, the SIGTERM may come before it is deaf.
			if t.must("exec", timed.err); timed.Outcome != backend.OutcomeTimeout || timed.Signal != 9 && timed.Signal != 15 || timed.ExitCode != 128+timed.Signal {
				t.Errorf("timed out: %+v", timed.ExecResult)
			}
			t.wantNoProcess(sb, "bare")
		},
	},
}

// wantNoShell notes a problem unless err says that there is no shell, and what to
// do without.
func (t *T) wantNoShell(what string, err error) {
	t.wantKind(what, err, backend.ErrNotFound)
	var e *backend.Error
	if errors.As(err, &e) && (!strings.Contains(e.Message, "shell") || !strings.Contains(e.Hint, "argv")) {
		t.Errorf("%s: it says %q, hint %q; want words about the shell, and argv as the way out", what, e.Message, e.Hint)
	}
}

// wantNoProcess notes a problem if one of that name runs.
func (t *T) wantNoProcess(sb backend.Sandbox, name string) {
	if !t.declares(backend.CapProcesses) {
		return
	}
	r, err := sb.Processes(t.ctx, &backend.ProcessesRequest{})
	t.must("processes", err)
	for _, p := range r.Processes {
		if slices.ContainsFunc(p.Args, func(a string) bool { return strings.Contains(a, name) }) {
			t.Errorf("it runs: %+v", p)
		}
	}
}
