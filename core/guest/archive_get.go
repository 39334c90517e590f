package guest

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/deep-sandbox/deep/core/backend"
)

const (
	// packVisit is how many entries one visit to a thread packs at most, and
	// packPiece how many bytes make it end.
	packVisit = 256
	packPiece = 128 << 10
)

// GetArchive implements backend.Sandbox. The archive is made as it is read, in
// visits to a thread: a reader that is slow, or has gone, holds none.
func (s *Sandbox) GetArchive(ctx context.Context, req *backend.GetArchiveRequest) (io.ReadCloser, error) {
	p, err := s.pack(ctx, req)
	if err != nil {
		return nil, failed("get archive", req.Path, err)
	}
	return p, nil
}

func (s *Sandbox) pack(ctx context.Context, req *backend.GetArchiveRequest) (*packing, error) {
	path, err := s.absOrWorkspace(req.Path)
	if err != nil {
		return nil, err
	}
	p := &packing{walks: s.walks, path: req.Path}
	p.ctx, p.cancel = context.WithCancel(ctx)
	p.archive = tar.NewWriter(&p.out)
	err = p.walks.do(p.ctx, func() error {
		t, err := openTree(path)
		if err == nil {
			p.tree = t
			return p.enter("", t.root)
		}
		if !errors.Is(err, unix.ENOTDIR) {
			return err
		}
		return p.only(path)
	})
	if err != nil {
		p.release()
		return nil, err
	}
	return p, nil
}

// packing is an archive that is being read.
type packing struct {
	ctx    context.Context
	cancel context.CancelFunc
	walks  *userThreads
	path   string // as asked for

	mu      sync.Mutex
	tree    *tree // nil for a single file
	levels  []*packedDir
	file    *packedFile // whose content comes next
	archive *tar.Writer
	out     bytes.Buffer // made, and not yet read
	ended   bool
	err     error
}

// packedDir is a directory on the way to what is packed next.
type packedDir struct {
	rel   string
	names names
	next  int
}

// packedFile is a file whose header has been written.
type packedFile struct {
	rel  string
	fd   int
	left int64
}

// Read implements io.Reader.
func (p *packing) Read(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(b) > 0 && p.out.Len() == 0 && p.err == nil {
		if p.ended {
			return 0, io.EOF
		}
		p.out.Reset()
		if err := p.walks.do(p.ctx, p.fill); err != nil {
			// What came before it is whole entries, or the beginning of one.
			p.err = failed("get archive", p.path, err)
		}
	}
	if p.out.Len() == 0 && p.err != nil {
		return 0, p.err
	}
	n := copy(b, p.out.Bytes())
	p.out.Next(n)
	return n, nil
}

// Close implements io.Closer. It waits for no more than one visit to a thread.
func (p *packing) Close() error {
	p.cancel()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.release()
	p.out.Reset()
	p.err = &backend.Error{Kind: context.Canceled, Op: "get archive", Path: p.path, Message: "the archive was closed", Err: os.ErrClosed}
	return nil
}

// release closes what is open. They were only read.
func (p *packing) release() {
	p.cancel()
	p.closeFile()
	if p.tree != nil {
		p.tree.close()
		p.tree = nil
	}
	p.levels = nil
}

func (p *packing) closeFile() {
	if p.file != nil {
		_ = unix.Close(p.file.fd)
		p.file = nil
	}
}

// fill packs for one visit.
func (p *packing) fill() error {
	for range packVisit {
		if err := p.ctx.Err(); err != nil {
			return err
		}
		more, err := p.step()
		if err != nil {
			return err
		}
		if !more {
			p.ended = true
			return p.archive.Close()
		}
		if p.out.Len() >= packPiece {
			return nil
		}
	}
	return nil
}

// step packs a piece of a file, or the next entry, and reports whether there may
// be more.
func (p *packing) step() (more bool, err error) {
	if p.file != nil {
		return true, p.piece()
	}
	if len(p.levels) == 0 {
		return false, nil
	}
	d := p.levels[len(p.levels)-1]
	if d.next == len(d.names.list) {
		p.levels = p.levels[:len(p.levels)-1]
		return true, nil
	}
	name := string(d.names.name(d.next))
	d.next++
	rel := name
	if d.rel != "" {
		rel = d.rel + "/" + name
	}
	if len(rel) > p.tree.room {
		return false, &backend.Error{Kind: backend.ErrInvalid, Path: rel, Message: "path too long", Hint: "what is so deep has no path; move it up"}
	}
	if err := p.entry(rel); err != nil {
		return false, failed("get archive", rel, err)
	}
	return true, nil
}

// entry packs what is at rel. What has vanished, and what is neither a file, a
// directory nor a link, is left out.
func (p *packing) entry(rel string) error {
	var st unix.Stat_t
	at, err := openStat(p.tree.root, rel, unix.O_PATH|unix.O_NOFOLLOW, 0, &st)
	if err != nil {
		return vanished(err)
	}
	defer func() { _ = unix.Close(at) }()
	switch typeOf(st.Mode) {
	case backend.TypeRegular:
		return vanished(p.begin(rel, at, &st))
	case backend.TypeDirectory:
		dir, err := reopen(at, unix.O_RDONLY|unix.O_DIRECTORY)
		if err != nil {
			return vanished(err)
		}
		defer func() { _ = unix.Close(dir) }()
		if err := p.header(tar.TypeDir, rel+"/", "", 0, &st); err != nil {
			return err
		}
		return p.enter(rel, dir)
	case backend.TypeSymlink:
		target, err := readlinkat(at, "")
		if err != nil {
			return vanished(err)
		}
		return p.header(tar.TypeSymlink, rel, target, 0, &st)
	}
	return nil
}

// vanished returns nil for an error that says so.
func vanished(err error) error {
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ESTALE):
		return nil
	}
	return err
}

// enter goes into the directory rel. One of a million names takes 20 MiB; of the
// entries there are no more than a visit makes.
func (p *packing) enter(rel string, dir int) error {
	d := &packedDir{rel: rel}
	if err := d.names.read(p.ctx, dir); err != nil {
		return vanished(err)
	}
	p.levels = append(p.levels, d)
	return nil
}

// only packs a single file, under its name.
func (p *packing) only(path string) error {
	var st unix.Stat_t
	at, err := openStat(unix.AT_FDCWD, path, unix.O_PATH, 0, &st)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(at) }()
	if err := mustBeRegular(&st); err != nil {
		return err
	}
	_, name, _ := splitPath(path)
	return p.begin(name, at, &st)
}

// begin packs the header of the regular file that at stands for.
func (p *packing) begin(rel string, at int, st *unix.Stat_t) error {
	fd, err := reopen(at, unix.O_RDONLY)
	if err != nil {
		return err
	}
	if err := unix.Fstat(fd, st); err != nil { // its size now
		return errors.Join(err, unix.Close(fd))
	}
	p.file = &packedFile{rel: rel, fd: fd, left: st.Size}
	return p.header(tar.TypeReg, rel, "", st.Size, st)
}

func (p *packing) header(kind byte, name, link string, size int64, st *unix.Stat_t) error {
	err := p.archive.WriteHeader(&tar.Header{
		Format: tar.FormatPAX, Typeflag: kind, Name: name, Linkname: link, Size: size,
		Mode: int64(st.Mode & 0o7777), ModTime: time.Unix(st.Mtim.Unix()),
	})
	if err != nil {
		return &backend.Error{Kind: backend.ErrInvalid, Message: "it cannot be packed: " + err.Error(), Hint: "rename or exclude it"}
	}
	return nil
}

// piece packs what comes next of a file. Its header has told its size: what it has
// grown by since is left out.
func (p *packing) piece() error {
	f := p.file
	buf := writeBuffers.Get().(*[writeBuffer]byte)
	defer writeBuffers.Put(buf)
	b := buf[:min(f.left, writeBuffer)]
	for len(b) > 0 {
		n, err := unix.Read(f.fd, b)
		if err == unix.EINTR {
			continue
		}
		if err == nil && n == 0 {
			err = &backend.Error{Kind: backend.ErrConflict, Message: fmt.Sprintf("it became shorter by %d bytes while it was packed", f.left),
				Hint: "try again when what writes to it has ended"}
		}
		if err == nil {
			_, err = p.archive.Write(b[:n])
			f.left -= int64(n)
		}
		if err != nil {
			return failed("get archive", f.rel, err)
		}
		b = b[n:]
	}
	if f.left == 0 {
		p.closeFile()
	}
	return nil
}
