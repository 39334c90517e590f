package backendtest

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/deep-sandbox/deep/core/backend"
)

func sum(data []byte) string {
	s := sha256.Sum256(data)
	return hex.EncodeToString(s[:])
}

// Stat implements backend.Sandbox.
func (s *fakeSandbox) Stat(ctx context.Context, req *backend.StatRequest) (*backend.FileInfo, error) {
	const op = "stat"
	if err := s.begin(ctx, op); err != nil {
		return nil, err
	}
	s.files.mu.Lock()
	defer s.files.mu.Unlock()
	at, err := s.files.must(op, s.files.workspace, req.Path, req.Follow)
	if err != nil {
		return nil, err
	}
	info := describe(at.node, req.Path)
	if req.SHA256 {
		switch {
		case at.node.typ != backend.TypeRegular:
			return nil, fault(backend.ErrInvalid, op, req.Path, "a %s has no sum", at.node.typ)
		case !readable(at.node):
			return nil, fault(backend.ErrPermission, op, req.Path, "")
		}
		info.SHA256 = sum(at.node.content())
	}
	return &info, nil
}

// ReadFile implements backend.Sandbox.
func (s *fakeSandbox) ReadFile(ctx context.Context, req *backend.ReadFileRequest) (*backend.File, error) {
	const op = "read file"
	if err := s.begin(ctx, op); err != nil {
		return nil, err
	}
	if req.Offset < 0 || req.Length < 0 {
		return nil, fault(backend.ErrInvalid, op, req.Path, "a negative range")
	}
	s.files.mu.Lock()
	defer s.files.mu.Unlock()
	at, err := s.files.regular(op, s.files.workspace, req.Path)
	if err != nil {
		return nil, err
	}
	offset := min(req.Offset, at.node.size())
	length := at.node.size() - offset
	if req.Length > 0 {
		length = min(req.Length, length)
	}
	data := io.NewSectionReader(sparse{at.node.data}, offset, length)
	return &backend.File{Info: describe(at.node, req.Path), ReadCloser: &openFile{ctx: ctx, data: data}}, nil
}

// openFile reads the content a file had when it was opened.
type openFile struct {
	ctx    context.Context
	data   io.Reader
	closed bool
}

func (f *openFile) Read(p []byte) (int, error) {
	if f.closed {
		return 0, fault(context.Canceled, "read file", "", "closed")
	}
	if err := f.ctx.Err(); err != nil {
		return 0, fault(err, "read file", "", "")
	}
	return f.data.Read(p)
}

func (f *openFile) Close() error {
	f.closed = true
	return nil
}

// WriteFile implements backend.Sandbox.
func (s *fakeSandbox) WriteFile(ctx context.Context, req *backend.WriteFileRequest) (*backend.WriteFileReply, error) {
	const op = "write file"
	if err := s.begin(ctx, op); err != nil {
		return nil, err
	}
	if err := checkPath(op, req.Path); err != nil {
		return nil, err
	}
	mode := cmp.Or(req.Mode, 0o644)
	if mode&^0o777 != 0 {
		return nil, fault(backend.ErrInvalid, op, req.Path, "mode %#o holds more than permission bits", mode)
	}
	if req.IfAbsent && req.IfSHA256 != "" {
		return nil, fault(backend.ErrInvalid, op, req.Path, "two conditions that exclude each other")
	}
	var content []byte
	if req.Content != nil {
		var err error
		if content, err = io.ReadAll(req.Content); err != nil {
			return nil, err
		}
	}
	if err := s.begin(ctx, op); err != nil {
		return nil, err
	}
	s.files.mu.Lock()
	defer s.files.mu.Unlock()
	old, err := s.files.target(op, s.files.workspace, req.Path)
	if err != nil {
		return nil, err
	}
	if err := holds(op, req, old); err != nil {
		return nil, err
	}
	appended := req.Append && old != nil
	if appended {
		content = slices.Concat(old.content(), content)
	}
	created, err := s.files.write(op, s.files.workspace, req.Path, content, mode, true)
	if err != nil {
		return nil, err
	}
	reply := &backend.WriteFileReply{Size: int64(len(content)), Created: created}
	if !appended {
		reply.SHA256 = sum(content)
	}
	return reply, nil
}

// holds reports whether the condition of a write does for what is there, nil for
// nothing.
func holds(op string, req *backend.WriteFileRequest, old *node) error {
	switch {
	case req.IfAbsent && old != nil:
		return fault(backend.ErrConflict, op, req.Path, "there is such a file")
	case req.IfSHA256 != "" && old == nil:
		return fault(backend.ErrConflict, op, req.Path, "there is no such file")
	case req.IfSHA256 != "" && req.IfSHA256 != sum(old.content()):
		return fault(backend.ErrConflict, op, req.Path, "the file has changed")
	}
	return nil
}

// Edit implements backend.Sandbox.
func (s *fakeSandbox) Edit(ctx context.Context, req *backend.EditRequest) (*backend.EditReply, error) {
	const op = "edit"
	if err := s.begin(ctx, op); err != nil {
		return nil, err
	}
	edits := append([]backend.Replacement{{Old: req.Old, New: req.New, All: req.All}}, req.Then...)
	for i, e := range edits {
		if len(e.Old) == 0 || bytes.Equal(e.Old, e.New) {
			return nil, fault(backend.ErrInvalid, op, req.Path, "replacement %d of %d: nothing to replace", i+1, len(edits))
		}
	}
	s.files.mu.Lock()
	defer s.files.mu.Unlock()
	at, err := s.files.regular(op, s.files.workspace, req.Path)
	switch {
	case err != nil:
		return nil, err
	case at.node.size() > backend.MaxEditSize:
		return nil, fault(backend.ErrTooLarge, op, req.Path, "above %d bytes", backend.MaxEditSize)
	case req.IfSHA256 != "" && req.IfSHA256 != sum(at.node.content()):
		return nil, fault(backend.ErrConflict, op, req.Path, "the file has changed")
	}
	data := at.node.content()
	reply := &backend.EditReply{}
	for i, e := range edits {
		n := bytes.Count(data, e.Old)
		switch {
		case n == 0:
			return nil, fault(backend.ErrNotFound, op, req.Path, "replacement %d of %d: the text is not in the file", i+1, len(edits))
		case n > 1 && !e.All:
			err := fault(backend.ErrConflict, op, req.Path, "replacement %d of %d: the text is there %d times", i+1, len(edits), n)
			err.Count = n
			return nil, err
		}
		data = bytes.ReplaceAll(data, e.Old, e.New)
		reply.Replaced += n
	}
	if _, err := s.files.write(op, s.files.workspace, req.Path, data, 0, false); err != nil {
		return nil, err
	}
	reply.Size, reply.SHA256 = int64(len(data)), sum(data)
	return reply, nil
}

// directory returns the directory at p, the workspace if empty.
func (t *tree) directory(op, p string) (place, error) {
	at, err := t.must(op, t.workspace, cmp.Or(p, t.workspace), true)
	if err != nil {
		return place{}, err
	}
	switch {
	case at.node.typ != backend.TypeDirectory:
		return place{}, fault(backend.ErrNotDirectory, op, p, "")
	case !readable(at.node):
		return place{}, fault(backend.ErrPermission, op, p, "")
	}
	return at, nil
}

// List implements backend.Sandbox. A page is named by the last entry of the one
// before: type and name, which is what entries are sorted by.
func (s *fakeSandbox) List(ctx context.Context, req *backend.ListDirRequest) (*backend.ListDirReply, error) {
	const op = "list"
	if err := s.begin(ctx, op); err != nil {
		return nil, err
	}
	if req.Limit < 0 {
		return nil, fault(backend.ErrInvalid, op, req.Path, "a negative limit")
	}
	limit := req.Limit
	if limit == 0 || limit > backend.MaxListEntries {
		limit = backend.MaxListEntries
	}
	s.files.mu.Lock()
	defer s.files.mu.Unlock()
	at, err := s.files.directory(op, req.Path)
	if err != nil {
		return nil, err
	}
	key := func(name string) string {
		if at.node.children[name].typ == backend.TypeDirectory {
			return "d" + name
		}
		return "f" + name
	}
	keys := make([]string, 0, len(at.node.children))
	for name := range at.node.children {
		keys = append(keys, key(name))
	}
	slices.Sort(keys)
	r := &backend.ListDirReply{Total: len(keys)}
	for _, k := range keys {
		if k <= req.After {
			continue
		}
		if len(r.Entries) == limit {
			r.Next = key(r.Entries[limit-1].Path)
			break
		}
		r.Entries = append(r.Entries, describe(at.node.children[k[1:]], k[1:]))
	}
	return r, nil
}

// Mkdir implements backend.Sandbox.
func (s *fakeSandbox) Mkdir(ctx context.Context, req *backend.MkdirRequest) error {
	const op = "mkdir"
	if err := s.begin(ctx, op); err != nil {
		return err
	}
	mode := cmp.Or(req.Mode, 0o755)
	if mode&^0o777 != 0 {
		return fault(backend.ErrInvalid, op, req.Path, "mode %#o holds more than permission bits", mode)
	}
	s.files.mu.Lock()
	defer s.files.mu.Unlock()
	at, err := s.files.find(op, s.files.workspace, req.Path, true, true)
	switch {
	case err != nil:
		return err
	case at.node == nil && s.files.isLink(req.Path):
		return fault(backend.ErrNotFound, op, req.Path, "the link leads nowhere")
	case at.node == nil:
		return s.files.put(op, req.Path, at, newDir(mode))
	case at.node.typ != backend.TypeDirectory:
		return fault(backend.ErrExists, op, req.Path, "")
	}
	return nil
}

// Remove implements backend.Sandbox.
func (s *fakeSandbox) Remove(ctx context.Context, req *backend.RemoveRequest) error {
	const op = "remove"
	if err := s.begin(ctx, op); err != nil {
		return err
	}
	s.files.mu.Lock()
	defer s.files.mu.Unlock()
	at, err := s.files.must(op, s.files.workspace, req.Path, false)
	switch {
	case err != nil:
		return err
	case at.parent == nil || at.full == s.files.workspace || strings.HasPrefix(s.files.workspace, at.full+"/"):
		return fault(backend.ErrInvalid, op, req.Path, "the root and the workspace are not removed")
	case at.node.typ == backend.TypeDirectory && len(at.node.children) > 0 && !req.Recursive:
		return fault(backend.ErrConflict, op, req.Path, "the directory is not empty")
	case !writable(at.parent):
		return fault(backend.ErrPermission, op, req.Path, "")
	}
	delete(at.parent.children, at.name)
	at.parent.mtime = s.files.now()
	return nil
}

// Rename implements backend.Sandbox.
func (s *fakeSandbox) Rename(ctx context.Context, req *backend.RenameRequest) error {
	const op = "rename"
	if err := s.begin(ctx, op); err != nil {
		return err
	}
	s.files.mu.Lock()
	defer s.files.mu.Unlock()
	from, err := s.files.must(op, s.files.workspace, req.From, false)
	if err != nil {
		return err
	}
	to, err := s.files.find(op, s.files.workspace, req.To, false, false)
	if err != nil {
		return err
	}
	isDir := from.node.typ == backend.TypeDirectory
	switch {
	case from.parent == nil || to.parent == nil || from.full == s.files.workspace || to.full == s.files.workspace:
		return fault(backend.ErrInvalid, op, req.From, "the root and the workspace are not moved")
	case from.node == to.node:
		return nil
	case isDir && strings.HasPrefix(to.full, from.full+"/"):
		return fault(backend.ErrInvalid, op, req.To, "a directory cannot be moved into itself")
	case to.node != nil && req.NoReplace:
		return fault(backend.ErrExists, op, req.To, "")
	case to.node != nil && to.node.typ == backend.TypeDirectory && !isDir:
		return fault(backend.ErrIsDirectory, op, req.To, "")
	case to.node != nil && to.node.typ != backend.TypeDirectory && isDir:
		return fault(backend.ErrNotDirectory, op, req.To, "")
	case to.node != nil && isDir && len(to.node.children) > 0:
		return fault(backend.ErrConflict, op, req.To, "the directory is not empty")
	case !writable(from.parent) || !writable(to.parent):
		return fault(backend.ErrPermission, op, req.From, "")
	}
	delete(from.parent.children, from.name)
	to.parent.children[to.name] = from.node
	return nil
}

// each calls visit for what is below a directory, each directory's entries by
// name, without following links. A directory is searched when visit says so.
func each(dir *node, rel string, visit func(rel string, n *node) bool) {
	for _, name := range slices.Sorted(maps.Keys(dir.children)) {
		n := dir.children[name]
		p := path.Join(rel, name)
		if visit(p, n) && n.typ == backend.TypeDirectory {
			each(n, p, visit)
		}
	}
}
