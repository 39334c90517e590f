package backendtest

import (
	"bytes"
	"errors"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/deep-sandbox/deep/core/backend"
)

// tree is the file system of a fake sandbox. Its lock is held by whoever looks at
// a node.
type tree struct {
	mu        sync.Mutex
	root      *node
	workspace string
	clock     time.Time
	inMemory  []string // directories
	room      int64    // bytes that a file in one of those may have
}

// node is one file. Data of a regular file is never changed in place: who has it
// keeps reading what it was.
type node struct {
	typ      backend.FileType
	mode     uint32
	mtime    time.Time
	data     []byte
	hole     int64 // zeros after data
	target   string
	children map[string]*node
	system   bool // belongs to root
}

func newDir(mode uint32) *node {
	return &node{typ: backend.TypeDirectory, mode: mode, mtime: time.Now(), children: map[string]*node{}}
}

func newTree(workspace string, at *node, room int64) *tree {
	t := &tree{root: newDir(0o755), workspace: path.Clean(workspace), inMemory: []string{"/tmp"}, room: room}
	t.root.system = true
	for _, dir := range []string{"/bin", "/dev", "/etc", "/tmp", path.Dir(t.workspace)} {
		t.makeDirs(dir, 0o755, true)
	}
	for _, name := range []string{"null", "zero"} {
		t.lookup("/dev").children[name] = &node{typ: backend.TypeDevice, mode: 0o666, mtime: time.Now(), system: true}
	}
	t.lookup("/tmp").system = false
	if at == nil {
		at = newDir(0o755)
	}
	t.lookup(path.Dir(t.workspace)).children[path.Base(t.workspace)] = at
	return t
}

// makeDirs and lookup are for paths without links, when a tree is made.
func (t *tree) makeDirs(p string, mode uint32, system bool) {
	n := t.root
	for _, name := range strings.Split(strings.Trim(p, "/"), "/") {
		if name == "" {
			continue
		}
		if n.children[name] == nil {
			n.children[name] = newDir(mode)
			n.children[name].system = system
		}
		n = n.children[name]
	}
}

func (t *tree) lookup(p string) *node {
	n := t.root
	for _, name := range strings.Split(strings.Trim(p, "/"), "/") {
		if name != "" {
			n = n.children[name]
		}
	}
	return n
}

// now returns a time later than the last one it returned.
func (t *tree) now() time.Time {
	now := time.Now()
	if !now.After(t.clock) {
		now = t.clock.Add(1)
	}
	t.clock = now
	return now
}

// checkPath refuses what is no path.
func checkPath(op, p string) error {
	switch {
	case p == "":
		return fault(backend.ErrInvalid, op, p, "an empty path")
	case strings.IndexByte(p, 0) >= 0:
		return fault(backend.ErrInvalid, op, p, "a path with a NUL")
	case len(p) > 4095:
		return fault(backend.ErrInvalid, op, p[:100], "a path above 4095 bytes")
	}
	for part := range strings.SplitSeq(p, "/") {
		if len(part) > 255 {
			return fault(backend.ErrInvalid, op, p[:100], "a name above 255 bytes")
		}
	}
	return nil
}

// place is where a path leads: a name in a directory, and the file of that name
// if there is one. The root has neither parent nor name.
type place struct {
	parent *node
	name   string
	node   *node
	full   string // path without links
}

// find resolves p from dir. make says that missing directories on the way are to
// be made.
func (t *tree) find(op, dir, p string, follow, make bool) (place, error) {
	if err := checkPath(op, p); err != nil {
		return place{}, err
	}
	full := p
	if !strings.HasPrefix(p, "/") {
		full = dir + "/" + p
	}
	links := 0
	way, err := t.walk(op, p, []place{{node: t.root, full: "/"}}, full, follow, make, &links)
	if err != nil {
		return place{}, err
	}
	return way[len(way)-1], nil
}

// walk goes p from the end of way, and returns the way it went: what ".." goes
// back on.
func (t *tree) walk(op, asked string, way []place, p string, follow, make bool, links *int) ([]place, error) {
	if strings.HasPrefix(p, "/") {
		way = way[:1]
	}
	mustDir := strings.HasSuffix(p, "/")
	var parts []string
	for part := range strings.SplitSeq(p, "/") {
		if part != "" && part != "." {
			parts = append(parts, part)
		}
	}
	for i, name := range parts {
		last := i == len(parts)-1
		at := way[len(way)-1]
		if at.node == nil {
			return nil, fault(backend.ErrNotFound, op, asked, "")
		}
		if at.node.typ != backend.TypeDirectory {
			return nil, fault(backend.ErrNotDirectory, op, asked, "")
		}
		if at.node.mode&0o100 == 0 && !at.node.system {
			return nil, fault(backend.ErrPermission, op, asked, "")
		}
		if name == ".." {
			if len(way) > 1 {
				way = way[:len(way)-1]
			}
			continue
		}
		child := at.node.children[name]
		here := place{parent: at.node, name: name, node: child, full: path.Join(at.full, name)}
		if child != nil && child.typ == backend.TypeSymlink && (!last || follow || mustDir) {
			if *links++; *links > 40 {
				return nil, fault(backend.ErrInvalid, op, asked, "too many levels of symbolic links")
			}
			found, err := t.walk(op, asked, way[:len(way):len(way)], child.target, true, make && !last, links)
			if err != nil {
				return nil, err
			}
			way = found
			continue
		}
		if child == nil && make && !last {
			if !writable(at.node) {
				return nil, fault(backend.ErrPermission, op, asked, "")
			}
			here.node = newDir(0o755)
			at.node.children[name] = here.node
			at.node.mtime = t.now()
		}
		way = append(way[:len(way):len(way)], here)
	}
	found := way[len(way)-1]
	if mustDir && found.node != nil && found.node.typ != backend.TypeDirectory {
		return nil, fault(backend.ErrNotDirectory, op, asked, "")
	}
	return way, nil
}

// must is find for what has to be there.
func (t *tree) must(op, dir, p string, follow bool) (place, error) {
	at, err := t.find(op, dir, p, follow, false)
	if err == nil && at.node == nil {
		err = fault(backend.ErrNotFound, op, p, "")
	}
	return at, err
}

// isLink reports whether a link is at p itself.
func (t *tree) isLink(p string) bool {
	at, err := t.find("", t.workspace, p, false, false)
	return err == nil && at.node != nil && at.node.typ == backend.TypeSymlink
}

func readable(n *node) bool { return n.system || n.mode&0o400 != 0 }
func writable(n *node) bool { return !n.system && n.mode&0o200 != 0 }

// put places n at at, in the stead of what is there.
func (t *tree) put(op, asked string, at place, n *node) error {
	if at.parent == nil {
		return fault(backend.ErrIsDirectory, op, asked, "")
	}
	if !writable(at.parent) {
		return fault(backend.ErrPermission, op, asked, "")
	}
	at.parent.children[at.name] = n
	at.parent.mtime = t.now()
	return nil
}

// regular returns the content of a file that can be read.
func (t *tree) regular(op, dir, p string) (place, error) {
	at, err := t.must(op, dir, p, true)
	if err != nil {
		return place{}, err
	}
	switch {
	case at.node.typ == backend.TypeDirectory:
		return place{}, fault(backend.ErrIsDirectory, op, p, "")
	case at.node.typ != backend.TypeRegular:
		return place{}, fault(backend.ErrInvalid, op, p, "a %s has no content", at.node.typ)
	case !readable(at.node):
		return place{}, fault(backend.ErrPermission, op, p, "")
	}
	return at, nil
}

// target returns the file that a write to p would replace, nil if there is none,
// or why it may not.
func (t *tree) target(op, dir, p string) (*node, error) {
	at, err := t.find(op, dir, p, true, false)
	switch {
	case errors.Is(err, backend.ErrNotFound):
		return nil, nil // its directory is yet to be made
	case err != nil || at.node == nil:
		return nil, err
	case at.node.typ == backend.TypeDirectory:
		return nil, fault(backend.ErrIsDirectory, op, p, "")
	case at.node.typ != backend.TypeRegular:
		return nil, fault(backend.ErrInvalid, op, p, "a %s is not replaced", at.node.typ)
	case !writable(at.node):
		return nil, fault(backend.ErrPermission, op, p, "")
	}
	return at.node, nil
}

// write replaces or makes a regular file and keeps the mode of one it replaces.
func (t *tree) write(op, dir, p string, data []byte, mode uint32, parents bool) (created bool, err error) {
	at, err := t.find(op, dir, p, true, parents)
	if err != nil {
		return false, err
	}
	inMemory := slices.ContainsFunc(t.inMemory, func(dir string) bool { return strings.HasPrefix(at.full, dir+"/") })
	if inMemory && int64(len(data)) > t.room {
		return false, fault(backend.ErrNoSpace, op, p, "")
	}
	n := &node{typ: backend.TypeRegular, mode: mode, mtime: t.now(), data: bytes.Clone(data)}
	if old := at.node; old != nil {
		switch {
		case old.typ == backend.TypeDirectory:
			return false, fault(backend.ErrIsDirectory, op, p, "")
		case old.typ != backend.TypeRegular:
			return false, fault(backend.ErrInvalid, op, p, "a %s is not replaced", old.typ)
		case !writable(old):
			return false, fault(backend.ErrPermission, op, p, "")
		}
		n.mode = old.mode
	}
	return at.node == nil, t.put(op, p, at, n)
}

// size of a file's content.
func (n *node) size() int64 { return int64(len(n.data)) + n.hole }

// content of a file, with its hole filled.
func (n *node) content() []byte {
	if n.hole == 0 {
		return n.data
	}
	return append(bytes.Clone(n.data), make([]byte, n.hole)...)
}

// sparse reads data, then zeros without end.
type sparse struct{ data []byte }

// ReadAt implements io.ReaderAt.
func (s sparse) ReadAt(p []byte, offset int64) (int, error) {
	clear(p)
	if offset < int64(len(s.data)) {
		copy(p, s.data[offset:])
	}
	return len(p), nil
}

// describe returns what is known of a node; path is as the caller is to see it.
func describe(n *node, p string) backend.FileInfo {
	return backend.FileInfo{
		Path: p, Type: n.typ, Size: n.size(), Mode: n.mode, ModTime: n.mtime, Target: n.target,
	}
}
