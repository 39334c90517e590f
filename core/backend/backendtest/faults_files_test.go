package backendtest_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/backend/backendtest"
)

// Makers of faults in what is done with files.

// editOut changes what an edit returns.
func editOut(change func(*backend.EditReply, error) (*backend.EditReply, error)) brokenBackend {
	return brokenBackend{sandbox: brokenSandbox{edit: func(s backend.Sandbox, ctx context.Context, req *backend.EditRequest) (*backend.EditReply, error) {
		return change(s.Edit(ctx, req))
	}}}
}

// writeOut changes the error of a write.
func writeOut(change func(error) error) brokenBackend {
	return brokenBackend{sandbox: brokenSandbox{write: func(s backend.Sandbox, ctx context.Context, req *backend.WriteFileRequest) (*backend.WriteFileReply, error) {
		r, err := s.WriteFile(ctx, req)
		return r, change(err)
	}}}
}

// altered returns a copy of an error of the contract, changed.
func altered(err error, change func(*backend.Error)) error {
	var e *backend.Error
	if !errors.As(err, &e) {
		return err
	}
	c := *e
	change(&c)
	return &c
}

// another makes errors of one kind those of another.
func another(err, from, to error) error {
	return altered(err, func(e *backend.Error) {
		if errors.Is(e, from) {
			e.Kind = to
		}
	})
}

func sumOf(data []byte) string {
	s := sha256.Sum256(data)
	return hex.EncodeToString(s[:])
}

func conflict() error { return &backend.Error{Kind: backend.ErrConflict, Op: "write file"} }

// meeting lets calls go on once two of them have looked, so that neither has seen
// what the other does.
type meeting struct {
	arrived atomic.Int32
	met     chan struct{}
}

func newMeeting() *meeting { return &meeting{met: make(chan struct{})} }

func (m *meeting) arrive() {
	if m.arrived.Add(1) == 2 {
		close(m.met)
	}
}

func (m *meeting) wait(ctx context.Context) {
	select {
	case <-m.met:
	case <-ctx.Done():
	}
}

// unlocked looks first and acts then: what happens between it does not see.
func (m *meeting) unlocked(s backend.Sandbox, ctx context.Context, req *backend.WriteFileRequest) (*backend.WriteFileReply, error) {
	r := *req
	before := content(ctx, s, req.Path)
	_, statErr := s.Stat(ctx, &backend.StatRequest{Path: req.Path})
	if req.IfAbsent && statErr == nil || req.IfSHA256 != "" && sumOf(before) != req.IfSHA256 {
		return nil, conflict()
	}
	if req.IfAbsent || req.IfSHA256 != "" || req.Append {
		m.arrive()
		m.wait(ctx)
	}
	r.IfAbsent, r.IfSHA256 = false, ""
	if r.Append {
		r.Append, r.Content = false, io.MultiReader(bytes.NewReader(before), req.Content)
	}
	reply, err := s.WriteFile(ctx, &r)
	if err == nil && req.Append && statErr == nil {
		reply.SHA256, reply.Created = "", false
	}
	return reply, err
}

// racing is a backend that writes and edits so.
func racing() brokenBackend {
	m := newMeeting()
	return brokenBackend{sandbox: brokenSandbox{write: m.unlocked, edit: func(s backend.Sandbox, ctx context.Context, req *backend.EditRequest) (*backend.EditReply, error) {
		r := *req
		if r.IfSHA256 != "" {
			if sumOf(content(ctx, s, req.Path)) != r.IfSHA256 {
				return nil, conflict()
			}
			m.arrive()
			m.wait(ctx)
			r.IfSHA256 = ""
		}
		return s.Edit(ctx, &r)
	}}}
}

// oneByOne makes each edit of a batch by itself, the first before others may come
// between if there is a meeting.
func oneByOne(m *meeting) brokenBackend {
	return brokenBackend{sandbox: brokenSandbox{edit: func(s backend.Sandbox, ctx context.Context, req *backend.EditRequest) (*backend.EditReply, error) {
		first := *req
		first.Then = nil
		reply, err := s.Edit(ctx, &first)
		if m != nil {
			m.arrive()
			m.wait(ctx)
		}
		replaced := 0
		for _, e := range req.Then {
			if err != nil {
				return nil, err
			}
			replaced += reply.Replaced
			reply, err = s.Edit(ctx, &backend.EditRequest{Path: req.Path, Old: e.Old, New: e.New, All: e.All})
		}
		if err == nil {
			reply.Replaced += replaced
		}
		return reply, err
	}}}
}

// swallowing takes a content that broke for one that ended.
func swallowing(s backend.Sandbox, ctx context.Context, req *backend.WriteFileRequest) (*backend.WriteFileReply, error) {
	r := *req
	data, err := io.ReadAll(req.Content)
	r.Content = bytes.NewReader(data)
	reply, writeErr := s.WriteFile(context.WithoutCancel(ctx), &r)
	if err != nil {
		return nil, err
	}
	return reply, writeErr
}

func TestFaultsOfConditionsAreFound(t *testing.T) {
	t.Parallel()
	noCondition := writing(func(_ backend.Sandbox, _ context.Context, r *backend.WriteFileRequest) error {
		r.IfAbsent, r.IfSHA256 = false, ""
		return nil
	})
	areFound(t, []planted{
		{"write-if-absent", "the condition is not passed", noCondition},
		{"write-if-absent-race", "it looks first and writes then", racing()},
		{"write-if-sha256", "the condition is not passed", noCondition},
		{"write-if-sha256", "no file has the empty sum", writing(func(s backend.Sandbox, ctx context.Context, r *backend.WriteFileRequest) error {
			if _, err := s.Stat(ctx, &backend.StatRequest{Path: r.Path}); err != nil && r.IfSHA256 == sumOf(nil) {
				r.IfSHA256 = ""
			}
			return nil
		})},
		{"write-if-sha256-race", "it looks first and writes then", racing()},
		{"write-conditions-exclude", "one of them is taken", writing(func(_ backend.Sandbox, _ context.Context, r *backend.WriteFileRequest) error {
			r.IfAbsent = r.IfAbsent && r.IfSHA256 == ""
			if r.IfSHA256 == sumOf(nil) {
				r.IfSHA256 = ""
			}
			return nil
		})},
		{"write-conditional-edit", "a write looks first and writes then", racing()},
		{"append", "the file is replaced", writing(func(_ backend.Sandbox, _ context.Context, r *backend.WriteFileRequest) error {
			r.Append = false
			return nil
		})},
		{"append-parallel", "appends are made without a lock", racing()},
		{"append-all-or-nothing", "what came of a broken content stays", brokenBackend{sandbox: brokenSandbox{write: swallowing}}},
		{"append-conditional", "the condition is not passed", noCondition},
		{"append-link", "a link is replaced by a file", writing(func(s backend.Sandbox, ctx context.Context, r *backend.WriteFileRequest) error {
			if i, err := s.Stat(ctx, &backend.StatRequest{Path: r.Path}); err == nil && i.Type == backend.TypeSymlink {
				return s.Remove(ctx, &backend.RemoveRequest{Path: r.Path})
			}
			return nil
		})},
		{"append-refused", "a device takes it", writeOut(func(err error) error { return another(err, backend.ErrInvalid, backend.ErrUnavailable) })},
		{"append-cancelled", "what came until then stays", brokenBackend{sandbox: brokenSandbox{write: swallowing}}},
		{"edit-batch", "only the first is made", editing(func(_ backend.Sandbox, _ context.Context, r *backend.EditRequest) error {
			r.Then = nil
			return nil
		})},
		{"edit-batch-all-or-none", "each is made by itself", oneByOne(nil)},
		{"edit-batch-all-or-none", "which one failed is not said", editOut(func(r *backend.EditReply, err error) (*backend.EditReply, error) {
			return r, altered(err, func(e *backend.Error) { e.Message = "no" })
		})},
		{"edit-batch-conditional", "the condition is not passed", editing(func(_ backend.Sandbox, _ context.Context, r *backend.EditRequest) error {
			r.IfSHA256 = ""
			return nil
		})},
		{"edit-batch-parallel", "each is made by itself", oneByOne(newMeeting())},
		{"edit-and-append-parallel", "appends are made without a lock", racing()},
		{"edit-too-large", "the text is not found", editOut(func(r *backend.EditReply, err error) (*backend.EditReply, error) {
			return r, another(err, backend.ErrTooLarge, backend.ErrNotFound)
		})},
		{"edit-special", "a FIFO is empty", editOut(func(r *backend.EditReply, err error) (*backend.EditReply, error) {
			return r, another(err, backend.ErrInvalid, backend.ErrNotFound)
		})},
		{"edit-overlapping", "matches overlap", editOut(func(r *backend.EditReply, err error) (*backend.EditReply, error) {
			return r, altered(err, func(e *backend.Error) { e.Count++ })
		})},
	})
}

func TestFaultsOfPathsAreFound(t *testing.T) {
	t.Parallel()
	moving := newMeeting()
	reading := func(change func(s backend.Sandbox, ctx context.Context, req *backend.ReadFileRequest) (*backend.File, error)) brokenBackend {
		return brokenBackend{sandbox: brokenSandbox{read: change}}
	}
	readErr := func(change func(error) error) brokenBackend {
		return reading(func(s backend.Sandbox, ctx context.Context, req *backend.ReadFileRequest) (*backend.File, error) {
			f, err := s.ReadFile(ctx, req)
			return f, change(err)
		})
	}
	areFound(t, []planted{
		{"path-invalid", "a path ends at its NUL", brokenBackend{sandbox: brokenSandbox{remove: func(s backend.Sandbox, ctx context.Context, req *backend.RemoveRequest) error {
			r := *req
			r.Path, _, _ = strings.Cut(r.Path, "\x00")
			return s.Remove(ctx, &r)
		}}}},
		{"path-missing", "the error names another path", brokenBackend{sandbox: brokenSandbox{list: func(s backend.Sandbox, ctx context.Context, req *backend.ListDirRequest) (*backend.ListDirReply, error) {
			r, err := s.List(ctx, req)
			return r, altered(err, func(e *backend.Error) { e.Path = "/workspace/" + e.Path })
		}}}},
		{"path-below-a-file", "it is missing", brokenBackend{sandbox: brokenSandbox{remove: func(s backend.Sandbox, ctx context.Context, req *backend.RemoveRequest) error {
			return another(s.Remove(ctx, req), backend.ErrNotDirectory, backend.ErrNotFound)
		}}}},
		{"path-loop", "a loop is missing", readErr(func(err error) error { return another(err, backend.ErrInvalid, backend.ErrNotFound) })},
		{"path-dangling", "nothing is found in it", brokenBackend{sandbox: brokenSandbox{grep: func(s backend.Sandbox, ctx context.Context, req *backend.GrepRequest) (*backend.GrepReply, error) {
			r, err := s.Grep(ctx, req)
			if errors.Is(err, backend.ErrNotFound) {
				return &backend.GrepReply{}, nil
			}
			return r, err
		}}}},
		{"path-permission", "the hint is lost", readErr(func(err error) error { return altered(err, func(e *backend.Error) { e.Hint = "" }) })},
		{"path-permission", "it is missing", readErr(func(err error) error { return another(err, backend.ErrPermission, backend.ErrNotFound) })},
		{"path-root-read-only", "the root takes directories", brokenBackend{sandbox: brokenSandbox{mkdir: func(s backend.Sandbox, ctx context.Context, req *backend.MkdirRequest) error {
			if err := s.Mkdir(ctx, req); !errors.Is(err, backend.ErrPermission) {
				return err
			}
			return nil
		}}}},
		{"path-into-guest", "its environment is read", reading(func(s backend.Sandbox, ctx context.Context, req *backend.ReadFileRequest) (*backend.File, error) {
			if req.Path == "/proc/thread-self/environ" {
				return &backend.File{ReadCloser: io.NopCloser(strings.NewReader("PATH=/bin"))}, nil
			}
			return s.ReadFile(ctx, req)
		})},
		{"path-into-guest", "a link tells what it has open", brokenBackend{sandbox: brokenSandbox{stat: func(s backend.Sandbox, ctx context.Context, req *backend.StatRequest) (*backend.FileInfo, error) {
			if req.Path == "/proc/1/fd/0" && !req.Follow {
				return &backend.FileInfo{Path: req.Path, Type: backend.TypeSymlink, Target: "socket:[1]"}, nil
			}
			return s.Stat(ctx, req)
		}}}},
		{"path-cancelled", "the context is not looked at", brokenBackend{sandbox: brokenSandbox{remove: func(s backend.Sandbox, ctx context.Context, req *backend.RemoveRequest) error {
			return s.Remove(context.WithoutCancel(ctx), req)
		}}}},
		{"error-hint", "the hint is lost", editOut(func(r *backend.EditReply, err error) (*backend.EditReply, error) {
			return r, altered(err, func(e *backend.Error) { e.Hint = "" })
		})},
		{"read-sparse", "there is nothing behind the first mebibyte", reading(func(s backend.Sandbox, ctx context.Context, req *backend.ReadFileRequest) (*backend.File, error) {
			f, err := s.ReadFile(ctx, req)
			if err == nil && req.Offset > 1<<20 {
				f.ReadCloser = io.NopCloser(strings.NewReader(""))
			}
			return f, err
		})},
		{"write-special", "a FIFO is replaced by a file", writing(func(s backend.Sandbox, ctx context.Context, r *backend.WriteFileRequest) error {
			if i, err := s.Stat(ctx, &backend.StatRequest{Path: r.Path}); err == nil && i.Type == backend.TypeFIFO {
				return s.Remove(ctx, &backend.RemoveRequest{Path: r.Path})
			}
			return nil
		})},
		{"write-hard-link", "a file is written in its place", writing(func(s backend.Sandbox, ctx context.Context, r *backend.WriteFileRequest) error {
			other := strings.TrimSuffix(r.Path, "/f") + "/other"
			if _, err := s.Stat(ctx, &backend.StatRequest{Path: other}); err != nil {
				return nil //nolint:nilerr // no such file: nothing to spoil
			}
			data, _ := io.ReadAll(r.Content)
			r.Content = bytes.NewReader(data)
			_, err := s.WriteFile(ctx, &backend.WriteFileRequest{Path: other, Content: bytes.NewReader(data)})
			return err
		})},
		{"write-under-command", "a file is emptied first", writing(func(s backend.Sandbox, ctx context.Context, r *backend.WriteFileRequest) error {
			_, err := s.WriteFile(ctx, &backend.WriteFileRequest{Path: r.Path})
			time.Sleep(20 * time.Millisecond)
			return err
		})},
		{"write-full-disk", "what there was room for stays", brokenBackend{sandbox: brokenSandbox{write: func(s backend.Sandbox, ctx context.Context, req *backend.WriteFileRequest) (*backend.WriteFileReply, error) {
			r, err := s.WriteFile(ctx, req)
			if errors.Is(err, backend.ErrNoSpace) {
				_, _ = s.WriteFile(ctx, &backend.WriteFileRequest{Path: req.Path, Content: strings.NewReader("half")})
			}
			return r, err
		}}}},

		{"list-changing", "an entry that is there is left out", listing(func(r *backend.ListDirReply) { r.Entries = r.Entries[:max(0, len(r.Entries)-5)] })},
		{"list-limit", "a negative limit is none", brokenBackend{sandbox: brokenSandbox{list: func(s backend.Sandbox, ctx context.Context, req *backend.ListDirRequest) (*backend.ListDirReply, error) {
			r := *req
			r.Limit = max(r.Limit, 0)
			return s.List(ctx, &r)
		}}}},
		{"mkdir-link", "a link is replaced by a directory", brokenBackend{sandbox: brokenSandbox{mkdir: func(s backend.Sandbox, ctx context.Context, req *backend.MkdirRequest) error {
			if i, err := s.Stat(ctx, &backend.StatRequest{Path: req.Path}); err == nil && i.Type == backend.TypeSymlink {
				if err := s.Remove(ctx, &backend.RemoveRequest{Path: req.Path}); err != nil {
					return err
				}
			}
			return s.Mkdir(ctx, req)
		}}}},
		{"mkdir-at-once", "it is not idempotent", brokenBackend{sandbox: brokenSandbox{mkdir: func(s backend.Sandbox, ctx context.Context, req *backend.MkdirRequest) error {
			if _, err := s.Stat(ctx, &backend.StatRequest{Path: req.Path}); err == nil {
				return &backend.Error{Kind: backend.ErrExists, Op: "mkdir"}
			}
			return s.Mkdir(ctx, req)
		}}}},
		{"rename-no-replace-race", "it looks first and moves then", brokenBackend{sandbox: brokenSandbox{rename: func(s backend.Sandbox, ctx context.Context, req *backend.RenameRequest) error {
			if _, err := s.Stat(ctx, &backend.StatRequest{Path: req.To}); err == nil && req.NoReplace {
				return &backend.Error{Kind: backend.ErrExists, Op: "rename"}
			}
			moving.arrive()
			moving.wait(ctx)
			return s.Rename(ctx, &backend.RenameRequest{From: req.From, To: req.To})
		}}}},
		{"rename-directory", "a full directory is replaced", brokenBackend{sandbox: brokenSandbox{rename: func(s backend.Sandbox, ctx context.Context, req *backend.RenameRequest) error {
			err := s.Rename(ctx, req)
			if !errors.Is(err, backend.ErrConflict) {
				return err
			}
			if err := s.Remove(ctx, &backend.RemoveRequest{Path: req.To, Recursive: true}); err != nil {
				return err
			}
			return s.Rename(ctx, req)
		}}}},
		{"rename-refuses", "the workspace is said to be moved", brokenBackend{sandbox: brokenSandbox{rename: func(s backend.Sandbox, ctx context.Context, req *backend.RenameRequest) error {
			if err := s.Rename(ctx, req); !errors.Is(err, backend.ErrInvalid) {
				return err
			}
			return nil
		}}}},
	})
}

func TestFaultsOfSearchesAreFound(t *testing.T) {
	t.Parallel()
	noIgnore := grepping(func(r *backend.GrepRequest) { r.NoIgnore = true }, nothing)
	areFound(t, []planted{
		{"glob-order-tie", "ties come in any order", globbing(nothing, func(r *backend.GlobReply) {
			slices.SortFunc(r.Matches, func(a, b backend.FileInfo) int { return strings.Compare(b.Path, a.Path) })
		})},
		{"glob-escapes", "a backslash is nothing", globbing(func(r *backend.GlobRequest) { r.Pattern = strings.ReplaceAll(r.Pattern, `\`, "") }, nothing)},
		{"glob-braces", "braces are text", globbing(func(r *backend.GlobRequest) { r.Pattern = strings.ReplaceAll(r.Pattern, "{", `\{`) }, nothing)},
		{"glob-bytes", "a pattern is mended to be UTF-8", globbing(func(r *backend.GlobRequest) { r.Pattern = strings.ToValidUTF8(r.Pattern, "\ufffd") }, nothing)},
		{"glob-stays-below", "a way out is cut off", globbing(func(r *backend.GlobRequest) {
			r.Pattern = strings.ReplaceAll(strings.TrimPrefix(r.Pattern, "/"), "../", "")
		}, nothing)},
		{"glob-default", "no path is the root", globbing(func(r *backend.GlobRequest) {
			if r.Path == "" {
				r.Path = "/"
			}
		}, nothing)},
		{"grep-position", "the position is lost", brokenBackend{sandbox: brokenSandbox{grep: func(s backend.Sandbox, ctx context.Context, req *backend.GrepRequest) (*backend.GrepReply, error) {
			r, err := s.Grep(ctx, req)
			return r, altered(err, func(e *backend.Error) { e.Message = "invalid pattern" })
		}}}},
		{"grep-line-ends", "a line has its end", grepping(nothing, func(r *backend.GrepReply) {
			for i := range r.Matches {
				r.Matches[i].Text += "\r"
			}
		})},
		{"grep-context-files", "context counts as a match", brokenBackend{sandbox: brokenSandbox{grep: func(s backend.Sandbox, ctx context.Context, req *backend.GrepRequest) (*backend.GrepReply, error) {
			r, err := s.Grep(ctx, req)
			if err == nil && req.Limit > 0 && len(r.Matches) > req.Limit {
				r.Matches, r.Truncated = r.Matches[:req.Limit], true
			}
			return r, err
		}}}},
		{"grep-ignored-above", "rules begin where the search does", grepping(func(r *backend.GrepRequest) {
			r.NoIgnore = strings.Count(r.Path, "/") > 1
		}, nothing)},
		{"grep-ignore-syntax", ".gitignore is not read", noIgnore},
		{"grep-ignored-directory", ".gitignore is not read", noIgnore},
		{"grep-default", "no path is the root", grepping(func(r *backend.GrepRequest) {
			if r.Path == "" {
				r.Path = "/"
			}
		}, nothing)},
		{"grep-count-limit", "a cut is not told", grepping(nothing, func(r *backend.GrepReply) { r.Truncated = false })},
		{"grep-expressions", "an expression is text", grepping(func(r *backend.GrepRequest) { r.Literal = true }, nothing)},
		{"search-changing", "a file that is there is left out", globbing(nothing, func(r *backend.GlobReply) {
			r.Matches = r.Matches[1:]
			r.Total--
		})},
	})
}

// bound is a fake that takes directories of this host: it makes files as large as
// those are, and as empty.
type bound struct{ *backendtest.Fake }

func (b bound) Describe(ctx context.Context) (*backend.Description, error) {
	d, err := b.Fake.Describe(ctx)
	if err == nil {
		d.Capabilities = append(d.Capabilities, backend.CapBind)
	}
	return d, err
}

func (b bound) Create(ctx context.Context, req *backend.CreateRequest) (backend.Sandbox, error) {
	r := *req
	source := r.Spec.Workspace.Source
	r.Spec.Workspace.Source = ""
	sb, err := b.Fake.Create(ctx, &r)
	if err != nil || source == "" {
		return sb, err
	}
	st, err := os.Stat(source + "/f")
	if err != nil {
		return nil, errors.Join(err, sb.Close())
	}
	_, err = sb.Exec(ctx, &backend.ExecRequest{Shell: fmt.Sprintf("echo begin > f; truncate -s %d f", st.Size())})
	return sb, err
}

// TestFaultsOfBoundFilesAreFound: what is said of a file of this host is found to
// be kept by one that takes it, and not by one that counts in 32 bits.
func TestFaultsOfBoundFilesAreFound(t *testing.T) {
	t.Parallel()
	const rule = "bound-sparse-file"
	b := bound{backendtest.NewFake()}
	if err := backendtest.Test(t.Context(), b, backendtest.Opts{Shell: true, Only: []string{rule}}); err != nil {
		t.Error(err)
	}
	broken := brokenBackend{Backend: b, sandbox: brokenSandbox{read: func(s backend.Sandbox, ctx context.Context, req *backend.ReadFileRequest) (*backend.File, error) {
		r := *req
		r.Offset = int64(uint32(r.Offset))
		return s.ReadFile(ctx, &r)
	}}}
	var finding *backendtest.Finding
	if err := backendtest.Test(t.Context(), &broken, backendtest.Opts{Shell: true, Only: []string{rule}}); !errors.As(err, &finding) {
		t.Errorf("not found; the rule says %v", err)
	}
}
