package backendtest_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/deep-sandbox/deep/core/backend"
)

// stating changes what Stat returns.
func stating(change func(*backend.StatRequest, *backend.FileInfo, error) (*backend.FileInfo, error)) brokenBackend {
	return brokenBackend{sandbox: brokenSandbox{stat: func(s backend.Sandbox, ctx context.Context, req *backend.StatRequest) (*backend.FileInfo, error) {
		i, err := s.Stat(ctx, req)
		return change(req, i, err)
	}}}
}

// statOut changes the description of a file.
func statOut(change func(*backend.FileInfo)) brokenBackend {
	return stating(func(_ *backend.StatRequest, i *backend.FileInfo, err error) (*backend.FileInfo, error) {
		if err == nil {
			change(i)
		}
		return i, err
	})
}

// opening changes what comes of opening a file.
func opening(change func(*backend.ReadFileRequest, *backend.File, error) (*backend.File, error)) brokenBackend {
	return brokenBackend{sandbox: brokenSandbox{read: func(s backend.Sandbox, ctx context.Context, req *backend.ReadFileRequest) (*backend.File, error) {
		f, err := s.ReadFile(ctx, req)
		return change(req, f, err)
	}}}
}

// readAnyway is an empty file in the place of an error.
func readAnyway(kind error) brokenBackend {
	return opening(func(_ *backend.ReadFileRequest, f *backend.File, err error) (*backend.File, error) {
		if errors.Is(err, kind) {
			return &backend.File{ReadCloser: io.NopCloser(strings.NewReader(""))}, nil
		}
		return f, err
	})
}

// editErr changes the error of an edit.
func editErr(change func(error) error) brokenBackend {
	return editOut(func(r *backend.EditReply, err error) (*backend.EditReply, error) { return r, change(err) })
}

func TestFaultsOfFilesAreFound(t *testing.T) {
	t.Parallel()
	areFound(t, []planted{
		{"stat-file", "no time is told", statOut(func(i *backend.FileInfo) { i.ModTime = i.ModTime.AddDate(-1, 0, 0) })},
		{"stat-directory", "a directory has a size", statOut(func(i *backend.FileInfo) { i.Size = max(i.Size, 4096) })},
		{"stat-special", "a FIFO is a file", statOut(func(i *backend.FileInfo) {
			if i.Type == backend.TypeFIFO {
				i.Type = backend.TypeRegular
			}
		})},
		{"stat-sha256", "the sum is in capitals", statOut(func(i *backend.FileInfo) { i.SHA256 = strings.ToUpper(i.SHA256) })},
		{"stat-paths", ".. is taken off the text of a path", brokenBackend{sandbox: brokenSandbox{stat: func(s backend.Sandbox, ctx context.Context, req *backend.StatRequest) (*backend.FileInfo, error) {
			r := *req
			before, after, found := strings.Cut(r.Path, "/link/..")
			if found {
				r.Path = before + after
			}
			return s.Stat(ctx, &r)
		}}}},
		{"stat-invalid-path", "a name too long is missing", stating(func(_ *backend.StatRequest, i *backend.FileInfo, err error) (*backend.FileInfo, error) {
			return i, another(err, backend.ErrInvalid, backend.ErrNotFound)
		})},
		{"read-whole", "the last byte is lost", opening(func(_ *backend.ReadFileRequest, f *backend.File, err error) (*backend.File, error) {
			if err == nil {
				whole := f.ReadCloser
				f.ReadCloser = struct {
					io.Reader
					io.Closer
				}{io.LimitReader(whole, max(0, f.Info.Size-1)), whole}
			}
			return f, err
		})},
		{"read-negative", "a negative offset is the beginning", brokenBackend{sandbox: brokenSandbox{read: func(s backend.Sandbox, ctx context.Context, req *backend.ReadFileRequest) (*backend.File, error) {
			r := *req
			r.Offset = max(r.Offset, 0)
			return s.ReadFile(ctx, &r)
		}}}},
		{"read-special", "a FIFO is an empty file", readAnyway(backend.ErrInvalid)},
		{"read-permission", "a closed file is an empty one", readAnyway(backend.ErrPermission)},
		{"read-symlink", "a loop is an empty file", readAnyway(backend.ErrInvalid)},
		{"read-cancelled", "it ends with io.EOF", opening(func(_ *backend.ReadFileRequest, f *backend.File, err error) (*backend.File, error) {
			if err != nil {
				return nil, err
			}
			return &backend.File{Info: f.Info, ReadCloser: struct {
				io.Reader
				io.Closer
			}{readFunc(func(p []byte) (int, error) {
				n, err := f.Read(p)
				if err != nil {
					err = io.EOF
				}
				return n, err
			}), f}}, nil
		})},
		{"write-reply", "every file is new", brokenBackend{sandbox: brokenSandbox{write: func(s backend.Sandbox, ctx context.Context, req *backend.WriteFileRequest) (*backend.WriteFileReply, error) {
			r, err := s.WriteFile(ctx, req)
			if err == nil {
				r.Created = true
			}
			return r, err
		}}}},
		{"write-nothing", "no content changes nothing", brokenBackend{sandbox: brokenSandbox{write: func(s backend.Sandbox, ctx context.Context, req *backend.WriteFileRequest) (*backend.WriteFileReply, error) {
			if req.Content == nil {
				return &backend.WriteFileReply{}, nil
			}
			return s.WriteFile(ctx, req)
		}}}},
		{"write-large", "content is cut at 8 MiB", writing(func(_ backend.Sandbox, _ context.Context, r *backend.WriteFileRequest) error {
			r.Content = io.LimitReader(r.Content, 8<<20)
			return nil
		})},
		{"write-parents", "parents are not made", writing(func(s backend.Sandbox, ctx context.Context, r *backend.WriteFileRequest) error {
			_, err := s.List(ctx, &backend.ListDirRequest{Path: r.Path[:max(0, strings.LastIndex(r.Path, "/"))]})
			return err
		})},
		{"write-refused", "a directory is in the way of a name", writeOut(func(err error) error { return another(err, backend.ErrIsDirectory, backend.ErrExists) })},
		{"write-permission", "a closed directory is missing", writeOut(func(err error) error { return another(err, backend.ErrPermission, backend.ErrNotFound) })},
		{"write-cancelled", "what came until then is written", brokenBackend{sandbox: brokenSandbox{write: swallowing}}},
		{"write-at-once", "half of a file is there first", writing(func(s backend.Sandbox, ctx context.Context, r *backend.WriteFileRequest) error {
			// For ever, so that each reader sees what one would between.
			data, err := io.ReadAll(r.Content)
			r.Content = bytes.NewReader(data[:len(data)/2])
			return err
		})},
		{"write-seen-by-commands", "it is written elsewhere", writing(func(_ backend.Sandbox, _ context.Context, r *backend.WriteFileRequest) error {
			r.Path = "/tmp/" + strings.ReplaceAll(r.Path, "/", "-")
			return nil
		})},
		{"edit-unique", "the sum is that of before", editOut(func(r *backend.EditReply, err error) (*backend.EditReply, error) {
			if err == nil {
				r.SHA256 = sumOf(nil)
			}
			return r, err
		})},
		{"edit-all", "one is replaced", editOut(func(r *backend.EditReply, err error) (*backend.EditReply, error) {
			if err == nil {
				r.Replaced = 1
			}
			return r, err
		})},
		{"edit-no-match", "nothing to replace is no error", editErr(func(err error) error {
			if errors.Is(err, backend.ErrNotFound) {
				return nil
			}
			return err
		})},
		{"edit-invalid", "identical texts change nothing", brokenBackend{sandbox: brokenSandbox{edit: func(s backend.Sandbox, ctx context.Context, req *backend.EditRequest) (*backend.EditReply, error) {
			if len(req.Old) > 0 && bytes.Equal(req.Old, req.New) {
				return &backend.EditReply{}, nil
			}
			return s.Edit(ctx, req)
		}}}},
		{"edit-not-a-file", "a directory is missing", editErr(func(err error) error { return another(err, backend.ErrIsDirectory, backend.ErrNotFound) })},
		{"edit-keeps-mode", "the file is written anew", editing(func(s backend.Sandbox, ctx context.Context, r *backend.EditRequest) error {
			data := content(ctx, s, r.Path)
			if err := s.Remove(ctx, &backend.RemoveRequest{Path: r.Path}); err != nil {
				return err
			}
			_, err := s.WriteFile(ctx, &backend.WriteFileRequest{Path: r.Path, Content: bytes.NewReader(data)})
			return err
		})},
		{"edit-large", "a large file is cut", editing(func(s backend.Sandbox, ctx context.Context, r *backend.EditRequest) error {
			data := content(ctx, s, r.Path)
			_, err := s.WriteFile(ctx, &backend.WriteFileRequest{Path: r.Path, Content: bytes.NewReader(data[max(0, len(data)-1<<20):])})
			return err
		})},
	})
}

func TestFaultsOfListsAreFound(t *testing.T) {
	t.Parallel()
	listErr := func(kind error) brokenBackend {
		return brokenBackend{sandbox: brokenSandbox{list: func(s backend.Sandbox, ctx context.Context, req *backend.ListDirRequest) (*backend.ListDirReply, error) {
			r, err := s.List(ctx, req)
			if errors.Is(err, kind) {
				return &backend.ListDirReply{}, nil
			}
			return r, err
		}}}
	}
	areFound(t, []planted{
		{"list-default", "no path is the root", brokenBackend{sandbox: brokenSandbox{list: func(s backend.Sandbox, ctx context.Context, req *backend.ListDirRequest) (*backend.ListDirReply, error) {
			r := *req
			if r.Path == "" {
				r.Path = "/"
			}
			return s.List(ctx, &r)
		}}}},
		{"list-empty", "a directory holds itself", listing(func(r *backend.ListDirReply) {
			r.Entries = append(r.Entries, backend.FileInfo{Path: ".", Type: backend.TypeDirectory})
		})},
		{"list-links", "targets are not told", listing(func(r *backend.ListDirReply) {
			for i := range r.Entries {
				r.Entries[i].Target = ""
			}
		})},
		{"list-refused", "a missing directory is an empty one", listErr(backend.ErrNotFound)},
		{"mkdir-refused", "a file in its place is taken for it", brokenBackend{sandbox: brokenSandbox{mkdir: func(s backend.Sandbox, ctx context.Context, req *backend.MkdirRequest) error {
			if err := s.Mkdir(ctx, req); !errors.Is(err, backend.ErrExists) {
				return err
			}
			return nil
		}}}},
		{"rename", "a file in the way is an error", brokenBackend{sandbox: brokenSandbox{rename: func(s backend.Sandbox, ctx context.Context, req *backend.RenameRequest) error {
			r := *req
			r.NoReplace = true
			return s.Rename(ctx, &r)
		}}}},
		{"rename-link", "the target is moved", brokenBackend{sandbox: brokenSandbox{rename: func(s backend.Sandbox, ctx context.Context, req *backend.RenameRequest) error {
			r := *req
			if i, err := s.Stat(ctx, &backend.StatRequest{Path: r.From}); err == nil && i.Type == backend.TypeSymlink {
				r.From = r.From[:strings.LastIndex(r.From, "/")+1] + i.Target
			}
			return s.Rename(ctx, &r)
		}}}},
	})
}

func TestFaultsOfMatchesAreFound(t *testing.T) {
	t.Parallel()
	hiddenNames := func(r *backend.GrepRequest) { r.NoIgnore, r.Hidden = true, true }
	areFound(t, []planted{
		{"glob-directories", "directories are found unasked", globbing(func(r *backend.GlobRequest) { r.Directories = true }, nothing)},
		{"glob-refused", "a failed search is no matches", brokenBackend{sandbox: brokenSandbox{glob: func(s backend.Sandbox, ctx context.Context, req *backend.GlobRequest) (*backend.GlobReply, error) {
			r, err := s.Glob(ctx, req)
			if err != nil {
				return &backend.GlobReply{}, nil //nolint:nilerr // the fault
			}
			return r, err
		}}}},
		{"glob-loops", "a link to a directory is searched", globbing(nothing, func(r *backend.GlobReply) {
			for _, m := range slices.Clone(r.Matches) {
				m.Path = "self/" + m.Path
				r.Matches, r.Total = append(r.Matches, m), r.Total+1
			}
		})},
		{"grep-modes", "counts are files", grepping(nothing, func(r *backend.GrepReply) {
			for i := range r.Matches {
				r.Matches[i].Count = min(r.Matches[i].Count, 1)
			}
		})},
		{"grep-include-exclude", "what is excluded is searched", grepping(func(r *backend.GrepRequest) { r.Exclude = nil }, nothing)},
		{"grep-binary", "a binary file is told of", grepping(nothing, func(r *backend.GrepReply) {
			r.Matches = append([]backend.GrepMatch{{Path: "binary", Line: 1, Text: "binary file matches"}}, r.Matches...)
		})},
		{"grep-named-file", "a binary file is skipped, named or not", grepping(nothing, func(r *backend.GrepReply) {
			r.Matches = slices.DeleteFunc(r.Matches, func(m backend.GrepMatch) bool { return m.Path == "binary" })
		})},
		{"grep-long-line", "a cut is not marked", grepping(nothing, func(r *backend.GrepReply) {
			for i := range r.Matches {
				r.Matches[i].Cut = false
			}
		})},
		{"grep-many", "an answer ends at 1000 lines", grepping(nothing, func(r *backend.GrepReply) { r.Matches = r.Matches[:min(len(r.Matches), 1000)] })},
		{"grep-special", "a FIFO named is empty", brokenBackend{sandbox: brokenSandbox{grep: func(s backend.Sandbox, ctx context.Context, req *backend.GrepRequest) (*backend.GrepReply, error) {
			r, err := s.Grep(ctx, req)
			if errors.Is(err, backend.ErrInvalid) {
				return &backend.GrepReply{}, nil
			}
			return r, err
		}}}},
		{"grep-unreadable", "what cannot be read is not told", grepping(nothing, func(r *backend.GrepReply) { r.Unreadable = nil })},
		{"grep-ignored", "a hidden and ignored file is searched", grepping(hiddenNames, nothing)},
	})
}

func TestFaultsOfNamesAreFound(t *testing.T) {
	t.Parallel()
	areFound(t, []planted{
		{"name-quotes", "quotes are taken off", renaming(func(s string) string { return strings.ReplaceAll(s, `"`, "") })},
		{"name-leading-dash", "a dash begins an option", renaming(func(s string) string { return strings.ReplaceAll(s, "/-", "/") })},
		{"name-unicode", "marks of direction are taken off", renaming(func(s string) string { return strings.ReplaceAll(s, "\u202e", "") })},
		{"name-shell", "variables are expanded", renaming(func(s string) string { return strings.ReplaceAll(s, "$HOME", "/tmp") })},
		{"name-glob", "a class is a pattern", renaming(func(s string) string { return strings.ReplaceAll(s, "[a]", "a") })},
		{"name-dots", "dots are taken for the directory", renaming(func(s string) string { return strings.TrimSuffix(s, ".") })},
		{"name-long", "a name ends at 254 bytes", renaming(func(s string) string {
			dir, name := s[:strings.LastIndex(s, "/")+1], s[strings.LastIndex(s, "/")+1:]
			return dir + name[:min(len(name), 254)]
		})},
	})
}
