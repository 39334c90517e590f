package guest

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/deep-sandbox/deep/core/backend"
)

// listEntry is an entry of a directory before it is looked at. Its key, which
// sorts directories first and then by name, is also what a page's Next holds.
type listEntry struct{ key string }

const (
	directoryKey = "d/"
	otherKey     = "f/"
)

func (e listEntry) name() string { return e.key[len(directoryKey):] }

// List implements backend.Sandbox. Each page reads the directory's names anew
// and keeps no more than a page of them: it need not fit into memory.
func (s *Sandbox) List(ctx context.Context, req *backend.ListDirRequest) (*backend.ListDirReply, error) {
	reply, err := s.list(ctx, req)
	return reply, failed("list", req.Path, err)
}

func (s *Sandbox) list(ctx context.Context, req *backend.ListDirRequest) (*backend.ListDirReply, error) {
	path, err := s.absOrWorkspace(req.Path)
	if err != nil {
		return nil, err
	}
	limit := bounded(req.Limit, backend.MaxListEntries)
	switch {
	case req.Limit < 0:
		return nil, &backend.Error{Kind: backend.ErrInvalid, Message: "negative limit", Hint: hintLimit}
	case req.After != "" && !strings.HasPrefix(req.After, directoryKey) && !strings.HasPrefix(req.After, otherKey):
		return nil, &backend.Error{Kind: backend.ErrInvalid, Message: "After is not the Next of a page", Hint: "leave it out to begin anew"}
	}
	reply := &backend.ListDirReply{}
	err = s.walks.do(ctx, func() error {
		dir, err := openAt(unix.AT_FDCWD, path, unix.O_RDONLY|unix.O_DIRECTORY, 0)
		if err != nil {
			return err
		}
		defer func() { _ = unix.Close(dir) }()
		page := newSmallest(limit+1, func(a, b listEntry) int { return cmp.Compare(a.key, b.key) })
		err = readDir(ctx, dir, func(name []byte, kind byte) {
			reply.Total++
			key := otherKey
			if isDirectory(dir, name, kind) {
				key = directoryKey
			}
			if key += string(name); key > req.After {
				page.add(listEntry{key})
			}
		})
		if err != nil {
			return err
		}
		entries := page.sorted()
		if len(entries) > limit {
			entries = entries[:limit]
			reply.Next = entries[limit-1].key
		}
		for _, e := range entries {
			info, err := entryInfo(dir, e.name())
			if err == unix.ENOENT {
				continue // it vanished meanwhile
			}
			if err != nil {
				return err
			}
			reply.Entries = append(reply.Entries, info)
		}
		return nil
	})
	return reply, err
}

// hintLimit goes with a limit below 0.
const hintLimit = "leave it out, or give 0, for as many as one answer holds"

// bounded is a limit of a request, where 0 and too much mean the most.
func bounded(limit, most int) int {
	if limit <= 0 || limit > most {
		return most
	}
	return limit
}

// readDir calls visit for each entry of dir, in the order the file system has
// them. The name is valid during the call only.
func readDir(ctx context.Context, dir int, visit func(name []byte, kind byte)) error {
	return readDirWhile(ctx, dir, func(name []byte, kind byte) bool {
		visit(name, kind)
		return true
	})
}

// readDirWhile is readDir until visit returns false.
func readDirWhile(ctx context.Context, dir int, visit func(name []byte, kind byte) bool) error {
	buf := outputBuffers.Get().(*[outputBuffer]byte)
	defer outputBuffers.Put(buf)
	for more := true; more; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := unix.Getdents(dir, buf[:])
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		if n <= 0 {
			return nil
		}
		eachDirent(buf[:n], func(name []byte, kind byte) {
			more = more && visit(name, kind)
		})
	}
	return nil
}

// isDirectory asks the file system where it did not tell.
func isDirectory(dir int, name []byte, kind byte) bool {
	if kind != unix.DT_UNKNOWN {
		return kind == unix.DT_DIR
	}
	var st unix.Stat_t
	err := unix.Fstatat(dir, string(name), &st, unix.AT_SYMLINK_NOFOLLOW)
	return err == nil && typeOf(st.Mode) == backend.TypeDirectory
}

// entryInfo describes an entry of dir, a link by itself.
func entryInfo(dir int, name string) (backend.FileInfo, error) {
	var st unix.Stat_t
	if err := unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return backend.FileInfo{}, err
	}
	info := fileInfo(name, &st)
	if info.Type == backend.TypeSymlink {
		var err error
		// Of some links, as /proc/1/exe, only their owner may know the target.
		if info.Target, err = readlinkat(dir, name); err != nil && !isUnreadable(err) {
			return backend.FileInfo{}, err
		}
	}
	return info, nil
}

// smallest keeps the n smallest of what is added.
type smallest[T any] struct {
	n       int
	compare func(a, b T) int
	// heap has its largest first once it holds n.
	heap []T
}

func newSmallest[T any](n int, compare func(a, b T) int) *smallest[T] {
	return &smallest[T]{n: n, compare: compare}
}

func (s *smallest[T]) add(v T) {
	switch {
	case len(s.heap) < s.n:
		s.heap = append(s.heap, v)
		for i := len(s.heap) - 1; i > 0 && s.compare(s.heap[(i-1)/2], s.heap[i]) < 0; i = (i - 1) / 2 {
			s.heap[(i-1)/2], s.heap[i] = s.heap[i], s.heap[(i-1)/2]
		}
	case s.compare(v, s.heap[0]) < 0:
		s.heap[0] = v
		s.sink()
	}
}

// sink moves the first down to where it belongs.
func (s *smallest[T]) sink() {
	for i := 0; ; {
		largest := i
		for _, child := range []int{2*i + 1, 2*i + 2} {
			if child < len(s.heap) && s.compare(s.heap[child], s.heap[largest]) > 0 {
				largest = child
			}
		}
		if largest == i {
			return
		}
		s.heap[i], s.heap[largest] = s.heap[largest], s.heap[i]
		i = largest
	}
}

func (s *smallest[T]) sorted() []T {
	slices.SortFunc(s.heap, s.compare)
	return s.heap
}
