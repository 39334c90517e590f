package backendtest_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"path"
	"strings"
	"testing"

	"github.com/deep-sandbox/deep/core/backend"
)

// repacked returns a tar stream with its entries changed, or left out where change
// says no.
func repacked(r io.Reader, change func(h *tar.Header, data *[]byte) bool) io.Reader {
	var out bytes.Buffer
	in, w := tar.NewReader(r), tar.NewWriter(&out)
	for {
		h, err := in.Next()
		if err != nil {
			break
		}
		data, _ := io.ReadAll(in)
		if !change(h, &data) {
			continue
		}
		if h.Typeflag == tar.TypeReg {
			h.Size = int64(len(data))
		}
		h.Format, h.PAXRecords = tar.FormatPAX, nil
		_ = w.WriteHeader(h)
		_, _ = w.Write(data)
	}
	_ = w.Close()
	return &out
}

func unpacking(change func(h *tar.Header, data *[]byte) bool) brokenBackend {
	return brokenBackend{sandbox: brokenSandbox{put: func(s backend.Sandbox, ctx context.Context, req *backend.PutArchiveRequest) (*backend.PutArchiveReply, error) {
		return s.PutArchive(ctx, &backend.PutArchiveRequest{Path: req.Path, Content: repacked(req.Content, change)})
	}}}
}

func packing(change func(path string, h *tar.Header, data *[]byte) bool) brokenBackend {
	return brokenBackend{sandbox: brokenSandbox{get: func(s backend.Sandbox, ctx context.Context, req *backend.GetArchiveRequest) (io.ReadCloser, error) {
		r, err := s.GetArchive(ctx, req)
		if err != nil {
			return nil, err
		}
		return io.NopCloser(repacked(r, func(h *tar.Header, data *[]byte) bool { return change(req.Path, h, data) })), r.Close()
	}}}
}

// packedAnyway is an empty archive in the place of an error.
func packedAnyway(kind error) brokenBackend {
	return brokenBackend{sandbox: brokenSandbox{get: func(s backend.Sandbox, ctx context.Context, req *backend.GetArchiveRequest) (io.ReadCloser, error) {
		r, err := s.GetArchive(ctx, req)
		if errors.Is(err, kind) {
			return io.NopCloser(bytes.NewReader(make([]byte, 1024))), nil
		}
		return r, err
	}}}
}

// naive unpacks as one does who trusts an archive: joins names, goes through links,
// passes over what it does not know and takes any end for the end.
func naive(s backend.Sandbox, ctx context.Context, req *backend.PutArchiveRequest) (*backend.PutArchiveReply, error) {
	r := tar.NewReader(req.Content)
	reply := &backend.PutArchiveReply{}
	for {
		h, err := r.Next()
		if err != nil {
			return reply, nil //nolint:nilerr // that is the fault
		}
		name := path.Join(req.Path, h.Name)
		if path.IsAbs(h.Name) {
			name = path.Clean(h.Name)
		}
		data, _ := io.ReadAll(r)
		switch h.Typeflag {
		case tar.TypeDir:
			_ = s.Mkdir(ctx, &backend.MkdirRequest{Path: name})
		case tar.TypeSymlink:
			_ = s.Mkdir(ctx, &backend.MkdirRequest{Path: path.Dir(name)})
			_, _ = s.Exec(ctx, &backend.ExecRequest{Argv: []string{"ln", "-s", h.Linkname, name}})
		case tar.TypeLink:
			data = content(ctx, s, path.Join(req.Path, h.Linkname))
			fallthrough
		case tar.TypeReg:
			_, _ = s.WriteFile(ctx, &backend.WriteFileRequest{Path: name, Content: bytes.NewReader(data)})
		}
		reply.Entries++
		reply.Bytes += int64(len(data))
	}
}

func TestFaultsOfArchivesAreFound(t *testing.T) {
	t.Parallel()
	trusting := brokenBackend{sandbox: brokenSandbox{put: naive}}
	faults := []planted{
		{"archive-put", "modes are not kept", unpacking(func(h *tar.Header, _ *[]byte) bool {
			h.Mode = 0o644
			return true
		})},
		{"archive-put", "line ends are made alike", unpacking(func(_ *tar.Header, data *[]byte) bool {
			*data = bytes.ReplaceAll(*data, []byte("\r\n"), []byte("\n"))
			return true
		})},
		{"archive-put-default", "no path is the home directory", brokenBackend{sandbox: brokenSandbox{put: func(s backend.Sandbox, ctx context.Context, req *backend.PutArchiveRequest) (*backend.PutArchiveReply, error) {
			r := *req
			if r.Path == "" {
				r.Path = "/tmp"
			}
			return s.PutArchive(ctx, &r)
		}}}},
		{"archive-put-over", "the directory is emptied first", brokenBackend{sandbox: brokenSandbox{put: func(s backend.Sandbox, ctx context.Context, req *backend.PutArchiveRequest) (*backend.PutArchiveReply, error) {
			_ = s.Remove(ctx, &backend.RemoveRequest{Path: req.Path, Recursive: true})
			return s.PutArchive(ctx, req)
		}}}},
		{"archive-put-over", "a link is written through", trusting},
		{"archive-put-owner", "setuid is kept", brokenBackend{sandbox: brokenSandbox{put: func(s backend.Sandbox, ctx context.Context, req *backend.PutArchiveRequest) (*backend.PutArchiveReply, error) {
			r, err := s.PutArchive(ctx, req)
			_, _ = s.Exec(ctx, &backend.ExecRequest{Argv: []string{"chmod", "4755", "f"}, Dir: req.Path})
			return r, err
		}}}},
		{"archive-formats", "long names of GNU are cut", unpacking(func(h *tar.Header, _ *[]byte) bool {
			if h.Format == tar.FormatGNU && len(h.Name) > 100 {
				h.Name = h.Name[:100]
			}
			return true
		})},
		{"archive-names", "names are mended to be UTF-8", unpacking(func(h *tar.Header, _ *[]byte) bool {
			h.Name = strings.ToValidUTF8(h.Name, "?")
			return true
		})},
		{"archive-names", "targets are mended to be UTF-8", packing(func(_ string, h *tar.Header, _ *[]byte) bool {
			h.Linkname = strings.ToValidUTF8(h.Linkname, "?")
			return true
		})},
		{"archive-get", "hidden files are left out", packing(func(_ string, h *tar.Header, _ *[]byte) bool { return h.Name[0] != '.' })},
		{"archive-get", "links are followed", packing(func(_ string, h *tar.Header, _ *[]byte) bool {
			if h.Typeflag == tar.TypeSymlink {
				h.Typeflag, h.Linkname = tar.TypeReg, ""
			}
			return true
		})},
		{"archive-get-file", "a file is packed under its path", packing(func(path string, h *tar.Header, _ *[]byte) bool {
			h.Name = path
			return true
		})},
		{"archive-round-trip", "long names are left out", packing(func(_ string, h *tar.Header, _ *[]byte) bool { return len(h.Name) < 100 })},
		{"archive-many", "the last is left out", packing(func(_ string, h *tar.Header, _ *[]byte) bool { return h.Name != "f0999" })},
		{"archive-get-special", "a FIFO is an empty archive", packedAnyway(backend.ErrInvalid)},
		{"archive-get-unreadable", "it is left out", packedAnyway(backend.ErrPermission)},
		{"archive-get-changing", "a file is packed by half", packing(func(_ string, _ *tar.Header, data *[]byte) bool {
			*data = (*data)[:len(*data)/2]
			return true
		})},
		{"archive-get-cancelled", "it ends with io.EOF", brokenBackend{sandbox: brokenSandbox{get: func(s backend.Sandbox, ctx context.Context, req *backend.GetArchiveRequest) (io.ReadCloser, error) {
			r, err := s.GetArchive(ctx, req)
			if err != nil {
				return nil, err
			}
			return struct {
				io.Reader
				io.Closer
			}{readFunc(func(p []byte) (int, error) {
				n, err := r.Read(p)
				if err != nil {
					err = io.EOF
				}
				return n, err
			}), r}, nil
		}}}},
		{"archive-refused", "a closed directory is passed over", brokenBackend{sandbox: brokenSandbox{put: func(s backend.Sandbox, ctx context.Context, req *backend.PutArchiveRequest) (*backend.PutArchiveReply, error) {
			r, err := s.PutArchive(ctx, req)
			if errors.Is(err, backend.ErrPermission) {
				return &backend.PutArchiveReply{}, nil
			}
			return r, err
		}}}},
		{"archive-content-fails", "its error is told as another", brokenBackend{sandbox: brokenSandbox{put: func(s backend.Sandbox, ctx context.Context, req *backend.PutArchiveRequest) (*backend.PutArchiveReply, error) {
			r, err := s.PutArchive(ctx, req)
			if err != nil {
				return nil, &backend.Error{Kind: backend.ErrUnavailable, Op: "put archive"}
			}
			return r, nil
		}}}},
	}
	for _, rule := range []string{
		"archive-escape-dotdot", "archive-escape-absolute", "archive-escape-symlink", "archive-escape-existing-link", "archive-escape-last-link",
		"archive-escape-hard-link", "archive-escape-special", "archive-truncated", "archive-garbage",
	} {
		faults = append(faults, planted{rule, "an archive is trusted", trusting})
	}
	areFound(t, faults)
}

type readFunc func([]byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }
