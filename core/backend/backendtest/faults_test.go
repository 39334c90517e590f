package backendtest_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/backend/backendtest"
)

// brokenBackend is a backend with a planted fault.
type brokenBackend struct {
	backend.Backend
	create  func(b backend.Backend, ctx context.Context, req *backend.CreateRequest) (backend.Sandbox, error)
	open    func(b backend.Backend, ctx context.Context, req *backend.OpenRequest) (backend.Sandbox, error)
	inspect func(b backend.Backend, ctx context.Context, req *backend.InspectRequest) (*backend.SandboxInfo, error)
	list    func(b backend.Backend, ctx context.Context, req *backend.ListRequest) (*backend.ListSandboxesReply, error)
	stop    func(b backend.Backend, ctx context.Context, req *backend.StopRequest) error
	destroy func(b backend.Backend, ctx context.Context, req *backend.DestroyRequest) error
	sandbox brokenSandbox
}

func (b *brokenBackend) wrap(sb backend.Sandbox, err error) (backend.Sandbox, error) {
	if err != nil {
		return nil, err
	}
	s := b.sandbox
	s.Sandbox = sb
	return &s, nil
}

func (b *brokenBackend) Create(ctx context.Context, req *backend.CreateRequest) (backend.Sandbox, error) {
	if b.create != nil {
		return b.wrap(b.create(b.Backend, ctx, req))
	}
	return b.wrap(b.Backend.Create(ctx, req))
}
func (b *brokenBackend) Open(ctx context.Context, req *backend.OpenRequest) (backend.Sandbox, error) {
	if b.open != nil {
		return b.wrap(b.open(b.Backend, ctx, req))
	}
	return b.wrap(b.Backend.Open(ctx, req))
}
func (b *brokenBackend) Inspect(ctx context.Context, req *backend.InspectRequest) (*backend.SandboxInfo, error) {
	if b.inspect != nil {
		return b.inspect(b.Backend, ctx, req)
	}
	return b.Backend.Inspect(ctx, req)
}
func (b *brokenBackend) List(ctx context.Context, req *backend.ListRequest) (*backend.ListSandboxesReply, error) {
	if b.list != nil {
		return b.list(b.Backend, ctx, req)
	}
	return b.Backend.List(ctx, req)
}
func (b *brokenBackend) Stop(ctx context.Context, req *backend.StopRequest) error {
	if b.stop != nil {
		return b.stop(b.Backend, ctx, req)
	}
	return b.Backend.Stop(ctx, req)
}
func (b *brokenBackend) Destroy(ctx context.Context, req *backend.DestroyRequest) error {
	if b.destroy != nil {
		return b.destroy(b.Backend, ctx, req)
	}
	return b.Backend.Destroy(ctx, req)
}

// brokenSandbox is a sandbox with a planted fault.
type brokenSandbox struct {
	backend.Sandbox
	exec    func(s backend.Sandbox, ctx context.Context, req *backend.ExecRequest) (*backend.ExecResult, error)
	outcome func(s backend.Sandbox, ctx context.Context, req *backend.OutcomeRequest) (*backend.OutcomeReply, error)
	stat    func(s backend.Sandbox, ctx context.Context, req *backend.StatRequest) (*backend.FileInfo, error)
	read    func(s backend.Sandbox, ctx context.Context, req *backend.ReadFileRequest) (*backend.File, error)
	write   func(s backend.Sandbox, ctx context.Context, req *backend.WriteFileRequest) (*backend.WriteFileReply, error)
	edit    func(s backend.Sandbox, ctx context.Context, req *backend.EditRequest) (*backend.EditReply, error)
	list    func(s backend.Sandbox, ctx context.Context, req *backend.ListDirRequest) (*backend.ListDirReply, error)
	glob    func(s backend.Sandbox, ctx context.Context, req *backend.GlobRequest) (*backend.GlobReply, error)
	grep    func(s backend.Sandbox, ctx context.Context, req *backend.GrepRequest) (*backend.GrepReply, error)
	mkdir   func(s backend.Sandbox, ctx context.Context, req *backend.MkdirRequest) error
	remove  func(s backend.Sandbox, ctx context.Context, req *backend.RemoveRequest) error
	rename  func(s backend.Sandbox, ctx context.Context, req *backend.RenameRequest) error
	put     func(s backend.Sandbox, ctx context.Context, req *backend.PutArchiveRequest) (*backend.PutArchiveReply, error)
	get     func(s backend.Sandbox, ctx context.Context, req *backend.GetArchiveRequest) (io.ReadCloser, error)
	close   func(s backend.Sandbox) error
}

func (s *brokenSandbox) Exec(ctx context.Context, req *backend.ExecRequest) (*backend.ExecResult, error) {
	if s.exec != nil {
		return s.exec(s.Sandbox, ctx, req)
	}
	return s.Sandbox.Exec(ctx, req)
}
func (s *brokenSandbox) Outcome(ctx context.Context, req *backend.OutcomeRequest) (*backend.OutcomeReply, error) {
	if s.outcome != nil {
		return s.outcome(s.Sandbox, ctx, req)
	}
	return s.Sandbox.Outcome(ctx, req)
}
func (s *brokenSandbox) Stat(ctx context.Context, req *backend.StatRequest) (*backend.FileInfo, error) {
	if s.stat != nil {
		return s.stat(s.Sandbox, ctx, req)
	}
	return s.Sandbox.Stat(ctx, req)
}
func (s *brokenSandbox) ReadFile(ctx context.Context, req *backend.ReadFileRequest) (*backend.File, error) {
	if s.read != nil {
		return s.read(s.Sandbox, ctx, req)
	}
	return s.Sandbox.ReadFile(ctx, req)
}
func (s *brokenSandbox) WriteFile(ctx context.Context, req *backend.WriteFileRequest) (*backend.WriteFileReply, error) {
	if s.write != nil {
		return s.write(s.Sandbox, ctx, req)
	}
	return s.Sandbox.WriteFile(ctx, req)
}
func (s *brokenSandbox) Edit(ctx context.Context, req *backend.EditRequest) (*backend.EditReply, error) {
	if s.edit != nil {
		return s.edit(s.Sandbox, ctx, req)
	}
	return s.Sandbox.Edit(ctx, req)
}
func (s *brokenSandbox) List(ctx context.Context, req *backend.ListDirRequest) (*backend.ListDirReply, error) {
	if s.list != nil {
		return s.list(s.Sandbox, ctx, req)
	}
	return s.Sandbox.List(ctx, req)
}
func (s *brokenSandbox) Glob(ctx context.Context, req *backend.GlobRequest) (*backend.GlobReply, error) {
	if s.glob != nil {
		return s.glob(s.Sandbox, ctx, req)
	}
	return s.Sandbox.Glob(ctx, req)
}
func (s *brokenSandbox) Grep(ctx context.Context, req *backend.GrepRequest) (*backend.GrepReply, error) {
	if s.grep != nil {
		return s.grep(s.Sandbox, ctx, req)
	}
	return s.Sandbox.Grep(ctx, req)
}
func (s *brokenSandbox) Mkdir(ctx context.Context, req *backend.MkdirRequest) error {
	if s.mkdir != nil {
		return s.mkdir(s.Sandbox, ctx, req)
	}
	return s.Sandbox.Mkdir(ctx, req)
}
func (s *brokenSandbox) Remove(ctx context.Context, req *backend.RemoveRequest) error {
	if s.remove != nil {
		return s.remove(s.Sandbox, ctx, req)
	}
	return s.Sandbox.Remove(ctx, req)
}
func (s *brokenSandbox) Rename(ctx context.Context, req *backend.RenameRequest) error {
	if s.rename != nil {
		return s.rename(s.Sandbox, ctx, req)
	}
	return s.Sandbox.Rename(ctx, req)
}
func (s *brokenSandbox) PutArchive(ctx context.Context, req *backend.PutArchiveRequest) (*backend.PutArchiveReply, error) {
	if s.put != nil {
		return s.put(s.Sandbox, ctx, req)
	}
	return s.Sandbox.PutArchive(ctx, req)
}
func (s *brokenSandbox) GetArchive(ctx context.Context, req *backend.GetArchiveRequest) (io.ReadCloser, error) {
	if s.get != nil {
		return s.get(s.Sandbox, ctx, req)
	}
	return s.Sandbox.GetArchive(ctx, req)
}
func (s *brokenSandbox) Close() error {
	if s.close != nil {
		return s.close(s.Sandbox)
	}
	return s.Sandbox.Close()
}

// Makers of faults: each changes what goes in or comes out of one method.

func execIn(change func(*backend.ExecRequest)) brokenBackend {
	return brokenBackend{sandbox: brokenSandbox{exec: func(s backend.Sandbox, ctx context.Context, req *backend.ExecRequest) (*backend.ExecResult, error) {
		r := *req
		change(&r)
		return s.Exec(ctx, &r)
	}}}
}

func execOut(change func(*backend.ExecResult, error) (*backend.ExecResult, error)) brokenBackend {
	return brokenBackend{sandbox: brokenSandbox{exec: func(s backend.Sandbox, ctx context.Context, req *backend.ExecRequest) (*backend.ExecResult, error) {
		return change(s.Exec(ctx, req))
	}}}
}

func resultOut(change func(*backend.ExecResult)) brokenBackend {
	return execOut(func(r *backend.ExecResult, err error) (*backend.ExecResult, error) {
		if r != nil {
			change(r)
		}
		return r, err
	})
}

func writing(change func(s backend.Sandbox, ctx context.Context, req *backend.WriteFileRequest) error) brokenBackend {
	return brokenBackend{sandbox: brokenSandbox{write: func(s backend.Sandbox, ctx context.Context, req *backend.WriteFileRequest) (*backend.WriteFileReply, error) {
		r := *req
		if err := change(s, ctx, &r); err != nil {
			return nil, err
		}
		return s.WriteFile(ctx, &r)
	}}}
}

func editing(change func(s backend.Sandbox, ctx context.Context, req *backend.EditRequest) error) brokenBackend {
	return brokenBackend{sandbox: brokenSandbox{edit: func(s backend.Sandbox, ctx context.Context, req *backend.EditRequest) (*backend.EditReply, error) {
		r := *req
		if err := change(s, ctx, &r); err != nil {
			return nil, err
		}
		return s.Edit(ctx, &r)
	}}}
}

func globbing(in func(*backend.GlobRequest), out func(*backend.GlobReply)) brokenBackend {
	return brokenBackend{sandbox: brokenSandbox{glob: func(s backend.Sandbox, ctx context.Context, req *backend.GlobRequest) (*backend.GlobReply, error) {
		r := *req
		in(&r)
		reply, err := s.Glob(ctx, &r)
		if err == nil {
			out(reply)
		}
		return reply, err
	}}}
}

func grepping(in func(*backend.GrepRequest), out func(*backend.GrepReply)) brokenBackend {
	return brokenBackend{sandbox: brokenSandbox{grep: func(s backend.Sandbox, ctx context.Context, req *backend.GrepRequest) (*backend.GrepReply, error) {
		r := *req
		in(&r)
		reply, err := s.Grep(ctx, &r)
		if err == nil {
			out(reply)
		}
		return reply, err
	}}}
}

// renaming is a sandbox that takes another name for a file it writes.
func renaming(change func(string) string) brokenBackend {
	return writing(func(_ backend.Sandbox, _ context.Context, req *backend.WriteFileRequest) error {
		req.Path = change(req.Path)
		return nil
	})
}

func content(ctx context.Context, s backend.Sandbox, path string) []byte {
	f, err := s.ReadFile(ctx, &backend.ReadFileRequest{Path: path})
	if err != nil {
		return nil
	}
	defer f.Close()
	data, _ := io.ReadAll(f)
	return data
}

// mended is a writer that mends what is no UTF-8.
type mended struct{ w io.Writer }

func (m mended) Write(p []byte) (int, error) {
	_, err := io.WriteString(m.w, strings.ToValidUTF8(string(p), "?"))
	return len(p), err
}

func nothing[T any](T) {}

// planted is a fault and the rule that must find it.
type planted struct {
	rule  string
	fault string
	b     brokenBackend
}

// TestFaultsAreFound plants one fault at a time.
func TestFaultsAreFound(t *testing.T) {
	t.Parallel()
	areFound(t, []planted{
		{"exec-exit-codes", "every failure is exit code 1", resultOut(func(r *backend.ExecResult) { r.ExitCode = min(r.ExitCode, 1) })},
		{"exec-signal", "a death by signal is a timeout", resultOut(func(r *backend.ExecResult) {
			if r.Outcome == backend.OutcomeSignal {
				r.Outcome = backend.OutcomeTimeout
			}
		})},
		{"exec-missing-program", "a missing program is an error", execOut(func(r *backend.ExecResult, err error) (*backend.ExecResult, error) {
			if r != nil && r.ExitCode == 127 {
				return nil, &backend.Error{Kind: backend.ErrNotFound, Op: "exec"}
			}
			return r, err
		})},
		{"exec-streams-apart", "stderr comes as stdout", execIn(func(r *backend.ExecRequest) { r.Stderr = r.Stdout })},
		{"exec-output-exact", "output is mended to be UTF-8", execIn(func(r *backend.ExecRequest) { r.Stdout = mended{r.Stdout} })},
		{"exec-output-as-produced", "output comes at the end", brokenBackend{sandbox: brokenSandbox{exec: func(s backend.Sandbox, ctx context.Context, req *backend.ExecRequest) (*backend.ExecResult, error) {
			r := *req
			var out bytes.Buffer
			r.Stdout = &out
			res, err := s.Exec(ctx, &r)
			_, _ = req.Stdout.Write(out.Bytes())
			return res, err
		}}}},
		{"exec-output-large", "output is capped in silence", execIn(func(r *backend.ExecRequest) {
			w, n := r.Stdout, 0
			r.Stdout = writeFunc(func(p []byte) (int, error) {
				if n += len(p); n > 1<<20 {
					return len(p), nil
				}
				return w.Write(p)
			})
		})},
		{"exec-env", "the environment is not passed", execIn(func(r *backend.ExecRequest) { r.Env = nil })},
		{"exec-dir", "the directory is not passed", execIn(func(r *backend.ExecRequest) { r.Dir = "" })},
		{"exec-dir-missing", "a missing directory is the workspace", brokenBackend{sandbox: brokenSandbox{exec: func(s backend.Sandbox, ctx context.Context, req *backend.ExecRequest) (*backend.ExecResult, error) {
			res, err := s.Exec(ctx, req)
			if errors.Is(err, backend.ErrNotFound) {
				r := *req
				r.Dir = ""
				return s.Exec(ctx, &r)
			}
			return res, err
		}}}},
		{"exec-argv-exact", "arguments are joined for a shell", execIn(func(r *backend.ExecRequest) {
			if len(r.Argv) > 0 {
				r.Shell, r.Argv = strings.Join(r.Argv, " "), nil
			}
		})},
		{"exec-stdin-exact", "stdin loses its last byte", execIn(func(r *backend.ExecRequest) {
			if data, err := io.ReadAll(r.Stdin); err == nil && len(data) > 0 {
				r.Stdin = bytes.NewReader(data[:len(data)-1])
			}
		})},
		{"exec-stdin-half-close", "stdin is not passed", execIn(func(r *backend.ExecRequest) { r.Stdin = nil })},
		{"exec-stdin-fails", "a broken stdin is an end of input", execIn(func(r *backend.ExecRequest) {
			r.Stdin, r.Shell, r.Argv = nil, "", []string{"true"}
		})},
		{"exec-id-twice", "an id may be used twice", execIn(func(r *backend.ExecRequest) { r.ID = "" })},
		{"exec-invalid", "a negative timeout is none", execIn(func(r *backend.ExecRequest) { r.Timeout = max(r.Timeout, 0) })},
		{"exec-keep-stdin", "it is ignored", execIn(func(r *backend.ExecRequest) { r.KeepStdin = false })},
		{"outcome", "results are forgotten", brokenBackend{sandbox: brokenSandbox{outcome: func(_ backend.Sandbox, _ context.Context, req *backend.OutcomeRequest) (*backend.OutcomeReply, error) {
			return nil, &backend.Error{Kind: backend.ErrNotFound, Op: "outcome"}
		}}}},
		{"timeout", "a timeout is exit code 124", resultOut(func(r *backend.ExecResult) {
			if r.Outcome == backend.OutcomeTimeout {
				r.Outcome, r.ExitCode, r.Signal = backend.OutcomeExit, 124, 0
			}
		})},
		{"timeout-deaf", "SIGKILL is taken for SIGTERM", resultOut(func(r *backend.ExecResult) {
			if r.Outcome == backend.OutcomeTimeout {
				r.ExitCode, r.Signal = 143, 15
			}
		})},
		{"timeout-kills-all", "one process gets away", escaping()},
		{"cancel-kills-all", "one process gets away", escaping()},
		{"deadline", "a deadline is a cancel", execOut(func(r *backend.ExecResult, err error) (*backend.ExecResult, error) {
			if errors.Is(err, context.DeadlineExceeded) {
				err = &backend.Error{Kind: context.Canceled, Op: "exec"}
			}
			return r, err
		})},
		{"output-limit", "the limit is exceeded", execIn(func(r *backend.ExecRequest) { r.OutputLimit += 10 })},
		{"destroy-under-exec", "a lost sandbox is exit code 137", execOut(func(r *backend.ExecResult, err error) (*backend.ExecResult, error) {
			if errors.Is(err, backend.ErrGone) {
				return &backend.ExecResult{ID: r.ID, Outcome: backend.OutcomeSignal, ExitCode: 137, Signal: 9}, nil
			}
			return r, err
		})},

		{"stat-symlink", "links are followed", brokenBackend{sandbox: brokenSandbox{stat: func(s backend.Sandbox, ctx context.Context, req *backend.StatRequest) (*backend.FileInfo, error) {
			return s.Stat(ctx, &backend.StatRequest{Path: req.Path, Follow: true, SHA256: req.SHA256})
		}}}},
		{"stat-missing", "errors have no kind", brokenBackend{sandbox: brokenSandbox{stat: func(s backend.Sandbox, ctx context.Context, req *backend.StatRequest) (*backend.FileInfo, error) {
			i, err := s.Stat(ctx, req)
			if err != nil {
				err = errors.New(err.Error())
			}
			return i, err
		}}}},
		{"read-range", "the offset is not passed", brokenBackend{sandbox: brokenSandbox{read: func(s backend.Sandbox, ctx context.Context, req *backend.ReadFileRequest) (*backend.File, error) {
			r := *req
			r.Offset = 0
			return s.ReadFile(ctx, &r)
		}}}},
		{"read-not-a-file", "a failed read is empty content", brokenBackend{sandbox: brokenSandbox{read: func(s backend.Sandbox, ctx context.Context, req *backend.ReadFileRequest) (*backend.File, error) {
			f, err := s.ReadFile(ctx, req)
			if err != nil {
				return &backend.File{ReadCloser: io.NopCloser(strings.NewReader(""))}, nil //nolint:nilerr // the fault
			}
			return f, nil
		}}}},
		{"read-while-replaced", "a file is read anew for each piece", brokenBackend{sandbox: brokenSandbox{read: func(s backend.Sandbox, ctx context.Context, req *backend.ReadFileRequest) (*backend.File, error) {
			f, err := s.ReadFile(ctx, req)
			if err != nil {
				return nil, err
			}
			return &backend.File{Info: f.Info, ReadCloser: &rereader{s: s, ctx: ctx, path: req.Path}}, nil
		}}}},
		{"write-content-fails", "a broken content is written as far as it came", writing(func(_ backend.Sandbox, _ context.Context, r *backend.WriteFileRequest) error {
			data, _ := io.ReadAll(r.Content)
			r.Content = bytes.NewReader(data)
			return nil
		})},
		{"write-mode", "the mode is not passed", writing(func(_ backend.Sandbox, _ context.Context, r *backend.WriteFileRequest) error {
			r.Mode = 0
			return nil
		})},
		{"write-keeps-mode", "a file is replaced by a new one", writing(func(s backend.Sandbox, ctx context.Context, r *backend.WriteFileRequest) error {
			_ = s.Remove(ctx, &backend.RemoveRequest{Path: r.Path})
			return nil
		})},
		{"write-through-symlink", "a link is replaced by a file", writing(func(s backend.Sandbox, ctx context.Context, r *backend.WriteFileRequest) error {
			if i, err := s.Stat(ctx, &backend.StatRequest{Path: r.Path}); err == nil && i.Type == backend.TypeSymlink {
				return s.Remove(ctx, &backend.RemoveRequest{Path: r.Path})
			}
			return nil
		})},
		{"write-content-fails", "a temporary file is left", writing(func(s backend.Sandbox, ctx context.Context, r *backend.WriteFileRequest) error {
			_, err := s.WriteFile(ctx, &backend.WriteFileRequest{Path: r.Path + ".tmp"})
			return err
		})},
		{"edit-several-matches", "the first of several is replaced", editing(func(s backend.Sandbox, ctx context.Context, r *backend.EditRequest) error {
			r.All = true
			return nil
		})},
		{"edit-bytes-kept", "line ends are made alike", editing(func(s backend.Sandbox, ctx context.Context, r *backend.EditRequest) error {
			data := bytes.ReplaceAll(content(ctx, s, r.Path), []byte("\r\n"), []byte("\n"))
			_, err := s.WriteFile(ctx, &backend.WriteFileRequest{Path: r.Path, Content: bytes.NewReader(data)})
			return err
		})},
		{"edit-conditional", "the condition is not passed", editing(func(_ backend.Sandbox, _ context.Context, r *backend.EditRequest) error {
			r.IfSHA256 = ""
			return nil
		})},
		{"edit-parallel", "edits are made without a lock", brokenBackend{sandbox: brokenSandbox{edit: func(s backend.Sandbox, ctx context.Context, req *backend.EditRequest) (*backend.EditReply, error) {
			data := content(ctx, s, req.Path)
			time.Sleep(10 * time.Millisecond)
			data = bytes.Replace(data, req.Old, req.New, 1)
			_, err := s.WriteFile(ctx, &backend.WriteFileRequest{Path: req.Path, Content: bytes.NewReader(data)})
			return &backend.EditReply{Replaced: 1}, err
		}}}},
		{"list-order", "entries are sorted by name alone", listing(func(r *backend.ListDirReply) {
			slices.SortFunc(r.Entries, func(a, b backend.FileInfo) int { return strings.Compare(a.Path, b.Path) })
		})},
		{"list-pages", "there is one page", listing(func(r *backend.ListDirReply) { r.Next = "" })},
		{"list-many", "Total counts the page", listing(func(r *backend.ListDirReply) { r.Total = len(r.Entries) })},
		{"glob-dialect", "* crosses /", globbing(func(r *backend.GlobRequest) { r.Pattern = strings.ReplaceAll(r.Pattern, "*.", "**/*.") }, nothing)},
		{"glob-hidden", "a leading dot is like any character", globbing(func(r *backend.GlobRequest) { r.Hidden = true }, nothing)},
		{"glob-order", "matches come by path", globbing(func(r *backend.GlobRequest) { r.Order = backend.OrderPath }, nothing)},
		{"glob-limit", "a cut is not told", globbing(nothing, func(r *backend.GlobReply) { r.Truncated = false })},
		{"glob-unreadable", "what cannot be searched is not told", globbing(nothing, func(r *backend.GlobReply) { r.Unreadable = nil })},
		{"grep-lines", "lines are counted from 0", grepping(nothing, func(r *backend.GrepReply) {
			for i := range r.Matches {
				r.Matches[i].Line--
			}
		})},
		{"grep-literal", "a literal is an expression", grepping(func(r *backend.GrepRequest) { r.Literal = false }, nothing)},
		{"grep-hidden", "hidden files are searched", grepping(func(r *backend.GrepRequest) { r.Hidden = true }, nothing)},
		{"grep-ignored", ".gitignore is not read", grepping(func(r *backend.GrepRequest) { r.NoIgnore = true }, nothing)},
		{"grep-context", "context is not marked", grepping(nothing, func(r *backend.GrepReply) {
			for i := range r.Matches {
				r.Matches[i].Context = false
			}
		})},
		{"grep-limit", "a cut is not told", grepping(nothing, func(r *backend.GrepReply) { r.Truncated = false })},
		{"grep-refused", "a failed search is no matches", brokenBackend{sandbox: brokenSandbox{grep: func(s backend.Sandbox, ctx context.Context, req *backend.GrepRequest) (*backend.GrepReply, error) {
			r, err := s.Grep(ctx, req)
			if err != nil {
				return &backend.GrepReply{}, nil //nolint:nilerr // the fault
			}
			return r, nil
		}}}},
		{"mkdir", "it is not idempotent", brokenBackend{sandbox: brokenSandbox{mkdir: func(s backend.Sandbox, ctx context.Context, req *backend.MkdirRequest) error {
			if _, err := s.Stat(ctx, &backend.StatRequest{Path: req.Path}); err == nil {
				return &backend.Error{Kind: backend.ErrExists, Op: "mkdir"}
			}
			return s.Mkdir(ctx, req)
		}}}},
		{"remove", "trees are removed unasked", brokenBackend{sandbox: brokenSandbox{remove: func(s backend.Sandbox, ctx context.Context, req *backend.RemoveRequest) error {
			return s.Remove(ctx, &backend.RemoveRequest{Path: req.Path, Recursive: true})
		}}}},
		{"remove-refuses", "the workspace can be emptied", brokenBackend{sandbox: brokenSandbox{remove: func(s backend.Sandbox, ctx context.Context, req *backend.RemoveRequest) error {
			if req.Path != "." {
				return s.Remove(ctx, req)
			}
			r, err := s.List(ctx, &backend.ListDirRequest{})
			if err != nil {
				return err
			}
			for _, e := range r.Entries {
				if err := s.Remove(ctx, &backend.RemoveRequest{Path: e.Path, Recursive: true}); err != nil {
					return err
				}
			}
			return nil
		}}}},
		{"remove-links", "links are followed", brokenBackend{sandbox: brokenSandbox{remove: func(s backend.Sandbox, ctx context.Context, req *backend.RemoveRequest) error {
			if i, err := s.Stat(ctx, &backend.StatRequest{Path: req.Path}); err == nil && i.Type == backend.TypeSymlink {
				dir := req.Path[:strings.LastIndex(req.Path, "/")+1]
				return s.Remove(ctx, &backend.RemoveRequest{Path: dir + i.Target, Recursive: true})
			}
			return s.Remove(ctx, req)
		}}}},
		{"rename-refused", "the file systems are looked at first", brokenBackend{sandbox: brokenSandbox{rename: func(s backend.Sandbox, ctx context.Context, req *backend.RenameRequest) error {
			err := s.Rename(ctx, req)
			if strings.HasPrefix(req.To, "/tmp/") {
				err = another(err, backend.ErrNotFound, backend.ErrUnsupported)
			}
			return err
		}}}},
		{"rename-refused", "what is there is replaced all the same", brokenBackend{sandbox: brokenSandbox{rename: func(s backend.Sandbox, ctx context.Context, req *backend.RenameRequest) error {
			return s.Rename(ctx, &backend.RenameRequest{From: req.From, To: req.To})
		}}}},
		{"name-spaces", "names are trimmed", renaming(strings.TrimSpace)},
		{"name-newline", "names end at a newline", renaming(func(s string) string { s, _, _ = strings.Cut(s, "\n"); return s })},
		{"name-not-utf8", "names are mended to be UTF-8", renaming(func(s string) string { return strings.ToValidUTF8(s, "?") })},
		{"name-backslash", "a backslash is a separator", renaming(func(s string) string { return strings.ReplaceAll(s, `\`, "/") })},
		{"name-control", "names are escaped", renaming(func(s string) string { return strings.ReplaceAll(s, "\x1b", `\x1b`) })},

		{"create-twice", "an id in use is opened", brokenBackend{create: func(b backend.Backend, ctx context.Context, req *backend.CreateRequest) (backend.Sandbox, error) {
			sb, err := b.Create(ctx, req)
			if errors.Is(err, backend.ErrExists) {
				return b.Open(ctx, &backend.OpenRequest{ID: req.ID})
			}
			return sb, err
		}}},
		{"create-concurrently", "an id in use is opened", brokenBackend{create: func(b backend.Backend, ctx context.Context, req *backend.CreateRequest) (backend.Sandbox, error) {
			sb, err := b.Create(ctx, req)
			if errors.Is(err, backend.ErrExists) {
				return b.Open(ctx, &backend.OpenRequest{ID: req.ID})
			}
			return sb, err
		}}},
		{"create-cancelled", "a cancelled create leaves its sandbox", brokenBackend{create: func(b backend.Backend, ctx context.Context, req *backend.CreateRequest) (backend.Sandbox, error) {
			sb, err := b.Create(context.WithoutCancel(ctx), req)
			if err == nil && ctx.Err() != nil {
				return nil, &backend.Error{Kind: ctx.Err(), Op: "create"}
			}
			return sb, err
		}}},
		{"create-progress", "progress is not reported", brokenBackend{create: func(b backend.Backend, ctx context.Context, req *backend.CreateRequest) (backend.Sandbox, error) {
			r := *req
			r.Progress = nil
			return b.Create(ctx, &r)
		}}},
		{"create-info", "Info is empty", brokenBackend{create: func(b backend.Backend, ctx context.Context, req *backend.CreateRequest) (backend.Sandbox, error) {
			sb, err := b.Create(ctx, req)
			return nameless{sb}, err
		}}},
		{"create-invalid-spec", "negative processors are the default", brokenBackend{create: func(b backend.Backend, ctx context.Context, req *backend.CreateRequest) (backend.Sandbox, error) {
			r := *req
			r.Spec.CPUs = max(r.Spec.CPUs, 0)
			return b.Create(ctx, &r)
		}}},
		{"missing-sandbox", "a lost sandbox is replaced by a fresh one", brokenBackend{open: func(b backend.Backend, ctx context.Context, req *backend.OpenRequest) (backend.Sandbox, error) {
			sb, err := b.Open(ctx, req)
			if errors.Is(err, backend.ErrGone) {
				return b.Create(ctx, &backend.CreateRequest{ID: req.ID})
			}
			return sb, err
		}}},
		{"inspect-and-list", "a sandbox is not listed", brokenBackend{list: func(backend.Backend, context.Context, *backend.ListRequest) (*backend.ListSandboxesReply, error) {
			return &backend.ListSandboxesReply{}, nil
		}}},
		{"destroy", "it is not idempotent", brokenBackend{destroy: func(b backend.Backend, ctx context.Context, req *backend.DestroyRequest) error {
			if _, err := b.Inspect(ctx, &backend.InspectRequest{ID: req.ID}); err != nil {
				return err
			}
			return b.Destroy(ctx, req)
		}}},
		{"stop", "stopping twice is an error", brokenBackend{stop: func(b backend.Backend, ctx context.Context, req *backend.StopRequest) error {
			if _, err := b.Open(ctx, &backend.OpenRequest{ID: req.ID}); err != nil {
				return err
			}
			return b.Stop(ctx, req)
		}}},
		{"close-ephemeral", "closing leaves it", brokenBackend{sandbox: brokenSandbox{close: func(backend.Sandbox) error { return nil }}}},
		{"close-lasting", "closing destroys it", brokenBackend{sandbox: brokenSandbox{close: func(s backend.Sandbox) error {
			return s.(interface{ Destroy() error }).Destroy()
		}}, create: func(b backend.Backend, ctx context.Context, req *backend.CreateRequest) (backend.Sandbox, error) {
			sb, err := b.Create(ctx, req)
			return destroyer{sb, b}, err
		}}},
		{"workspace-kept", "a workspace is removed all the same", brokenBackend{destroy: func(b backend.Backend, ctx context.Context, req *backend.DestroyRequest) error {
			return b.Destroy(ctx, &backend.DestroyRequest{ID: req.ID})
		}}},
	})
}

// areFound tries each rule on its fault.
func areFound(t *testing.T, faults []planted) {
	for _, f := range faults {
		t.Run(f.rule+": "+f.fault, func(t *testing.T) {
			t.Parallel()
			fake, opts := backendtest.NewFake(), backendtest.Opts{Shell: true}
			if strings.HasPrefix(f.rule, "image-") {
				fake, opts = fakeOfImages()
			}
			opts.Only, opts.Timeout = []string{f.rule}, 20*time.Second
			f.b.Backend = fake
			err := backendtest.Test(t.Context(), &f.b, opts)
			var finding *backendtest.Finding
			if !errors.As(err, &finding) || finding.Rule.Name != f.rule {
				t.Errorf("not found; the rule says %v", err)
			}
			// What the fault left behind.
			left, err := fake.List(context.Background(), &backend.ListRequest{})
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range left.Sandboxes {
				if err := fake.Destroy(context.Background(), &backend.DestroyRequest{ID: s.ID}); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func listing(change func(*backend.ListDirReply)) brokenBackend {
	return brokenBackend{sandbox: brokenSandbox{list: func(s backend.Sandbox, ctx context.Context, req *backend.ListDirRequest) (*backend.ListDirReply, error) {
		r, err := s.List(ctx, req)
		if err == nil {
			change(r)
		}
		return r, err
	}}}
}

// escaping lets one of the hostile processes go on as a command of its own, until
// the sandbox ends.
func escaping() brokenBackend {
	return brokenBackend{sandbox: brokenSandbox{exec: func(s backend.Sandbox, ctx context.Context, req *backend.ExecRequest) (*backend.ExecResult, error) {
		if strings.Contains(req.Shell, "setsid") {
			go s.Exec(context.WithoutCancel(ctx), &backend.ExecRequest{
				Shell: "while :; do echo alive >> session; sleep 0.1; done", Dir: req.Dir, Timeout: backend.Unlimited,
			})
		}
		return s.Exec(ctx, req)
	}}}
}

type writeFunc func([]byte) (int, error)

func (f writeFunc) Write(p []byte) (int, error) { return f(p) }

// rereader reads a file by opening it anew each time.
type rereader struct {
	s    backend.Sandbox
	ctx  context.Context
	path string
	at   int64
}

func (r *rereader) Read(p []byte) (int, error) {
	f, err := r.s.ReadFile(r.ctx, &backend.ReadFileRequest{Path: r.path, Offset: r.at, Length: int64(len(p))})
	if err != nil {
		return 0, err
	}
	defer f.Close()
	n, err := f.Read(p)
	r.at += int64(n)
	return n, err
}

func (r *rereader) Close() error { return nil }

// nameless is a sandbox that does not know what it is.
type nameless struct{ backend.Sandbox }

func (nameless) Info() backend.SandboxInfo { return backend.SandboxInfo{} }

// destroyer is a sandbox that can destroy itself.
type destroyer struct {
	backend.Sandbox
	b backend.Backend
}

func (d destroyer) Destroy() error {
	return d.b.Destroy(context.Background(), &backend.DestroyRequest{ID: d.Info().ID})
}

// TestFindings: Test says which rule was broken, by its sentence, and what it saw.
func TestFindings(t *testing.T) {
	t.Parallel()
	broken := execIn(func(r *backend.ExecRequest) { r.Stderr = r.Stdout })
	broken.Backend = backendtest.NewFake()
	err := backendtest.Test(t.Context(), &broken, backendtest.Opts{Shell: true, Only: []string{"exec-streams-apart", "exec-env"}})
	if err == nil {
		t.Fatal("no finding")
	}
	for _, want := range []string{"exec-streams-apart: Stdout and stderr come separately", `want "out\nmore\n"`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in:\n%v", want, err)
		}
	}
	if strings.Contains(err.Error(), "exec-env") {
		t.Errorf("a rule that was kept is in:\n%v", err)
	}
}

// TestRulesAreSharp: each rule has a name of its own and a sentence.
func TestRulesAreSharp(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, r := range backendtest.Rules() {
		if r.Name == "" || seen[r.Name] || strings.ContainsAny(r.Name, " /") || !strings.HasSuffix(r.Sentence, ".") {
			t.Errorf("%+v", r)
		}
		seen[r.Name] = true
	}
	if len(seen) < 100 {
		t.Errorf("%d rules", len(seen))
	}
}

// TestNoShell: without a shell the rules that need none are kept all the same.
func TestNoShell(t *testing.T) {
	t.Parallel()
	if err := backendtest.Test(t.Context(), backendtest.NewFake(), backendtest.Opts{}); err != nil {
		t.Error(err)
	}
}
