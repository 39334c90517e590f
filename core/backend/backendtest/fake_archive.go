package backendtest

import (
	"archive/tar"
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"path"
	"strings"

	"github.com/deep-sandbox/deep/core/backend"
)

// PutArchive implements backend.Sandbox.
func (s *fakeSandbox) PutArchive(ctx context.Context, req *backend.PutArchiveRequest) (*backend.PutArchiveReply, error) {
	const op = "put archive"
	if err := s.begin(ctx, op); err != nil {
		return nil, err
	}
	if err := s.Mkdir(ctx, &backend.MkdirRequest{Path: cmp.Or(req.Path, s.files.workspace)}); err != nil {
		if errors.Is(err, backend.ErrExists) {
			return nil, fault(backend.ErrNotDirectory, op, req.Path, "")
		}
		return nil, fault(backend.KindOf(err), op, req.Path, "")
	}
	s.files.mu.Lock()
	at, err := s.files.directory(op, req.Path)
	s.files.mu.Unlock()
	if err != nil {
		return nil, err
	}
	content := &remembering{r: req.Content}
	if req.Content == nil {
		content.r = strings.NewReader("")
	}
	archive := tar.NewReader(content)
	reply := &backend.PutArchiveReply{}
	for {
		h, err := archive.Next()
		var data []byte
		if err == nil {
			data, err = io.ReadAll(archive)
		}
		switch {
		case content.err != nil:
			return nil, content.err
		case errors.Is(err, io.EOF) && content.whole():
			return reply, nil
		case err != nil:
			return nil, fault(backend.ErrInvalid, op, req.Path, "not a whole tar stream: %v", err)
		}
		if err := s.begin(ctx, op); err != nil {
			return nil, err
		}
		if err := s.unpack(op, at, h, data); err != nil {
			return nil, err
		}
		reply.Entries++
		reply.Bytes += int64(len(data))
	}
}

// remembering is a reader that knows how its stream ended.
type remembering struct {
	r    io.Reader
	err  error
	last []byte
}

func (r *remembering) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	if err != nil && err != io.EOF {
		r.err = err
	}
	r.last = append(r.last, p[:n]...)
	r.last = r.last[max(0, len(r.last)-1024):]
	return n, err
}

// whole reports whether it ended with two blocks of zeros, as an archive does.
func (r *remembering) whole() bool {
	_, _ = io.Copy(io.Discard, r)
	return bytes.Equal(r.last, make([]byte, 1024))
}

// unpack puts one entry below a directory. Nothing leads out of there: neither a
// name nor a link on the way.
func (s *fakeSandbox) unpack(op string, dir place, h *tar.Header, data []byte) error {
	s.files.mu.Lock()
	defer s.files.mu.Unlock()
	invalid := func(format string, args ...any) error {
		return fault(backend.ErrInvalid, op, h.Name, format, args...)
	}
	at, err := s.inside(op, dir, h.Name)
	if err != nil {
		return err
	}
	n := &node{mode: uint32(h.Mode) & 0o777, mtime: s.files.now()}
	switch h.Typeflag {
	case tar.TypeReg:
		n.typ, n.data = backend.TypeRegular, data
	case tar.TypeSymlink:
		n.typ, n.mode, n.target = backend.TypeSymlink, 0o777, h.Linkname
	case tar.TypeLink:
		to, err := s.inside(op, dir, h.Linkname)
		if err != nil || to.node == nil || to.node.typ != backend.TypeRegular {
			return invalid("a hard link to what is no file here")
		}
		n = to.node
	case tar.TypeDir:
		if at.node != nil && at.node.typ == backend.TypeDirectory {
			at.node.mode = n.mode
			return nil
		}
		n.typ, n.children = backend.TypeDirectory, map[string]*node{}
	default:
		return invalid("neither a file, a directory nor a link")
	}
	if at.node != nil && at.node.typ == backend.TypeDirectory {
		return fault(backend.ErrIsDirectory, op, h.Name, "")
	}
	return s.files.put(op, h.Name, at, n)
}

// inside returns the place of a name in an archive, and makes what is missing on
// the way there. A link on the way is refused wherever it leads to.
func (s *fakeSandbox) inside(op string, dir place, name string) (place, error) {
	invalid := func(what string) (place, error) { return place{}, fault(backend.ErrInvalid, op, name, "%s", what) }
	clean := path.Clean(name)
	if path.IsAbs(name) || clean == ".." || strings.HasPrefix(clean, "../") {
		return invalid("it would be outside")
	}
	at := dir
	for i, part := range strings.Split(clean, "/") {
		switch {
		case part == ".":
			continue
		case i == 0:
		case at.node == nil:
			if err := s.files.put(op, name, at, newDir(0o755)); err != nil {
				return place{}, err
			}
			at.node = at.parent.children[at.name]
		case at.node.typ == backend.TypeSymlink:
			return invalid("it would be behind a symbolic link")
		case at.node.typ != backend.TypeDirectory:
			return place{}, fault(backend.ErrNotDirectory, op, name, "")
		}
		if err := checkPath(op, part); err != nil {
			return place{}, err
		}
		at = place{parent: at.node, name: part, node: at.node.children[part], full: path.Join(at.full, part)}
	}
	return at, nil
}

// GetArchive implements backend.Sandbox.
func (s *fakeSandbox) GetArchive(ctx context.Context, req *backend.GetArchiveRequest) (io.ReadCloser, error) {
	const op = "get archive"
	if err := s.begin(ctx, op); err != nil {
		return nil, err
	}
	s.files.mu.Lock()
	defer s.files.mu.Unlock()
	at, err := s.files.must(op, s.files.workspace, cmp.Or(req.Path, s.files.workspace), true)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	archive := tar.NewWriter(&out)
	switch at.node.typ {
	case backend.TypeDirectory:
		if !readable(at.node) {
			return nil, fault(backend.ErrPermission, op, req.Path, "")
		}
		each(at.node, "", func(rel string, n *node) bool {
			err = errors.Join(err, pack(op, archive, rel, n))
			return err == nil
		})
	case backend.TypeRegular:
		err = pack(op, archive, path.Base(req.Path), at.node)
	default:
		err = fault(backend.ErrInvalid, op, req.Path, "a %s is not packed", at.node.typ)
	}
	if err == nil {
		err = archive.Close()
	}
	if err != nil {
		return nil, err
	}
	return &openFile{ctx: ctx, data: bytes.NewReader(out.Bytes())}, nil
}

// pack writes one entry. What is neither a file, a directory nor a link is left
// out.
func pack(op string, archive *tar.Writer, rel string, n *node) error {
	h := &tar.Header{Format: tar.FormatPAX, Name: rel, Mode: int64(n.mode), ModTime: n.mtime}
	switch n.typ {
	case backend.TypeRegular:
		h.Typeflag, h.Size = tar.TypeReg, n.size()
	case backend.TypeDirectory:
		h.Typeflag, h.Name = tar.TypeDir, rel+"/"
	case backend.TypeSymlink:
		h.Typeflag, h.Linkname = tar.TypeSymlink, n.target
	default:
		return nil
	}
	if !readable(n) {
		return fault(backend.ErrPermission, op, rel, "")
	}
	if err := archive.WriteHeader(h); err != nil {
		return fault(backend.ErrInvalid, op, rel, "%v", err)
	}
	if n.typ == backend.TypeRegular {
		_, err := archive.Write(n.content())
		return err
	}
	return nil
}
