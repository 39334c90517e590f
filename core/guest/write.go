package guest

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/deep-sandbox/deep/core/backend"
)

// writeBuffer is how much content is taken and written at once. Each piece is one
// visit to a thread: of 64 KiB, a large file costs the guest a tenth more, and of
// 256 KiB what is saved is lost in the processor's caches.
const writeBuffer = 128 << 10

var writeBuffers = sync.Pool{New: func() any { return new([writeBuffer]byte) }}

// WriteFile implements backend.Sandbox.
//
// A file with several names (hard links) is replaced under this one; the others
// keep the old content. A file that is mounted by itself cannot be replaced and
// is ErrUnsupported. Killed half way, the guest leaves a file ".deep-….tmp", or
// what it had appended until then.
func (s *Sandbox) WriteFile(ctx context.Context, req *backend.WriteFileRequest) (*backend.WriteFileReply, error) {
	reply, err := s.writeFile(ctx, req)
	return reply, failed("write file", req.Path, err)
}

func (s *Sandbox) writeFile(ctx context.Context, req *backend.WriteFileRequest) (*backend.WriteFileReply, error) {
	path, err := s.abs(req.Path)
	if err != nil {
		return nil, err
	}
	w := &writing{sandbox: s, path: path, mode: req.Mode, content: req.Content, condition: condition{req.IfAbsent, req.IfSHA256}}
	switch {
	case w.mode == 0:
		w.mode = 0o644
	case w.mode&^0o777 != 0:
		return nil, &backend.Error{Kind: backend.ErrInvalid, Message: fmt.Sprintf("mode %#o holds more than permission bits", w.mode), Hint: "give one of 0 to 0777; a command can set other bits"}
	}
	if err := w.condition.check(); err != nil {
		return nil, err
	}
	if w.content == nil {
		w.content = strings.NewReader("")
	}
	w.buf = writeBuffers.Get().(*[writeBuffer]byte)
	defer writeBuffers.Put(w.buf)
	// The first piece is taken before anything is touched: most files are no
	// longer, and are then written in one visit to a thread.
	if err := w.fill(); err != nil {
		return nil, err
	}
	if req.Append {
		return w.append(ctx)
	}
	return w.replace(ctx)
}

// writing is one call of WriteFile.
type writing struct {
	sandbox   *Sandbox
	path      string
	mode      uint32
	condition condition
	content   io.Reader

	buf   *[writeBuffer]byte
	n     int  // bytes in buf
	ended bool // they are the last of content
}

// fill takes the next piece of the content into buf.
func (w *writing) fill() (err error) {
	w.n, w.ended, err = fillFrom(w.content, w.buf[:])
	return err
}

// replace puts the content in the place of what is there.
func (w *writing) replace(ctx context.Context) (*backend.WriteFileReply, error) {
	s := w.sandbox
	r, err := w.begin(ctx)
	if r != nil {
		defer func() { _ = s.files.doAnyway(r.discard) }()
	}
	if err == nil {
		err = w.copyTo(ctx, r)
	}
	if err != nil {
		return nil, err
	}
	unlock, err := s.locks.lock(ctx, r.target.key)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := w.condition.holds(ctx, s.files, r); err != nil {
		return nil, err
	}
	return w.commit(ctx, r)
}

// begin makes the file that is to take the other's place, and writes what is in
// buf. It is the caller's to discard, with an error too.
func (w *writing) begin(ctx context.Context) (r *replacement, err error) {
	err = w.sandbox.files.do(ctx, func() error {
		t, err := w.condition.target(w.path)
		if err != nil {
			return err
		}
		r, err = replace(t, w.mode)
		if err != nil {
			t.close()
			return err
		}
		return r.write(w.buf[:w.n])
	})
	return r, err
}

// copyTo writes what comes after buf.
func (w *writing) copyTo(ctx context.Context, r *replacement) error {
	for !w.ended {
		if err := w.fill(); err != nil {
			return err
		}
		if err := w.sandbox.files.do(ctx, func() error { return r.write(w.buf[:w.n]) }); err != nil {
			return err
		}
	}
	return nil
}

func (w *writing) commit(ctx context.Context, r *replacement) (*backend.WriteFileReply, error) {
	if err := w.sandbox.files.do(ctx, r.commit); err != nil {
		return nil, err
	}
	return &backend.WriteFileReply{Size: r.size, SHA256: hexSum(r.sum), Created: r.target.old == nil}, nil
}

// fillFrom reads until buf is full or r has ended.
func fillFrom(r io.Reader, buf []byte) (n int, ended bool, err error) {
	for n < len(buf) {
		m, err := r.Read(buf[n:])
		n += m
		if err == io.EOF {
			return n, true, nil
		}
		if err != nil {
			return n, false, err
		}
	}
	return n, false, nil
}

// replacement is a file that will take the place of another, or of none. Its
// methods are for one thread with the user's rights at a time.
type replacement struct {
	target *target
	tmp    string // "" once it is in place or removed
	fd     int
	size   int64
	sum    hash.Hash // of what was written; nil where nobody asks
	// expected is what must be in its place when it gets there: any file if zero.
	expected expectation
}

// replace begins a file in the place of t, which it owns if there is no error.
func replace(t *target, mode uint32) (*replacement, error) {
	if t.old != nil {
		if err := mayReplace(t); err != nil {
			return nil, err
		}
		// A write clears setuid and setgid, and so does this.
		mode = t.old.Mode & 0o1777
	}
	r, err := temporary(t)
	if err != nil {
		return nil, err
	}
	r.sum = sha256.New()
	if err := r.adopt(mode); err != nil {
		r.target = nil // stays the caller's
		_ = unix.Unlinkat(t.dir, r.tmp, 0)
		_ = unix.Close(r.fd)
		return nil, err
	}
	return r, nil
}

// temporary makes the file beside the place of t.
func temporary(t *target) (*replacement, error) {
	r := &replacement{target: t, tmp: temporaryName()}
	var err error
	// Nobody else reads it before it is whole.
	r.fd, err = openAt(t.dir, r.tmp, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW, 0o600)
	return r, err
}

// temporaryName is one that nobody else has.
func temporaryName() string { return ".deep-" + rand.Text()[:16] + ".tmp" }

// adopt gives the new file mode and group of the old one.
func (r *replacement) adopt(mode uint32) error {
	if old := r.target.old; old != nil {
		var st unix.Stat_t
		if err := unix.Fstat(r.fd, &st); err != nil {
			return err
		}
		if st.Uid != old.Uid {
			return &backend.Error{Kind: backend.ErrPermission,
				Message: fmt.Sprintf("it belongs to uid %d, and replacing it would change that", old.Uid),
				Hint:    "remove it and write it anew, or change its owner outside of the sandbox"}
		}
		if st.Gid != old.Gid {
			if err := unix.Fchown(r.fd, -1, int(old.Gid)); err != nil {
				return &backend.Error{Kind: backend.ErrPermission,
					Message: fmt.Sprintf("it belongs to group %d, and replacing it would change that", old.Gid),
					Hint:    "change its group, or remove it and write it anew"}
			}
		}
	}
	return unix.Fchmod(r.fd, mode)
}

// mayReplace refuses what could not be written in place either: a rename asks
// only the directory.
func mayReplace(t *target) error {
	if err := mustBeRegular(t.old); err != nil {
		return err
	}
	var st unix.Stat_t
	fd, err := t.open(unix.O_WRONLY, &st)
	switch err {
	case nil:
		return unix.Close(fd)
	case unix.ETXTBSY:
		return nil // a program that runs; it keeps its old file
	case unix.EACCES:
		return &backend.Error{Kind: backend.ErrPermission, Message: "the file may not be written",
			Hint: "look at its owner and mode; a command can chmod what is the user's"}
	}
	return err
}

func (r *replacement) write(p []byte) error {
	if r.sum != nil {
		_, _ = r.sum.Write(p) // never fails
	}
	r.size += int64(len(p))
	for len(p) > 0 {
		n, err := unix.Write(r.fd, p)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}

// commit puts the file in place, for good: on disk when it returns.
func (r *replacement) commit() error {
	if err := unix.Fsync(r.fd); err != nil {
		return err
	}
	if err := r.place(); err != nil {
		return err
	}
	dir, err := openAt(r.target.dir, ".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		if err == unix.EACCES {
			return nil // a directory that may be written and not read cannot be synced
		}
		return err
	}
	defer func() { _ = unix.Close(dir) }()
	if err := unix.Fsync(dir); err != nil && err != unix.EINVAL { // EINVAL: it cannot be
		return err
	}
	return nil
}

// place puts the file in place if what is there is what is expected.
func (r *replacement) place() error {
	if r.expected.nothing {
		return r.placeFirst()
	}
	if err := r.expected.unchanged(r.target); err != nil {
		return err
	}
	if err := unix.Renameat(r.target.dir, r.tmp, r.target.dir, r.target.name); err != nil {
		return err
	}
	r.tmp = ""
	return nil
}

// placeFirst puts the file where nothing is. Of several who try, also from other
// processes, one succeeds.
func (r *replacement) placeFirst() error {
	err := unix.Renameat2(r.target.dir, r.tmp, r.target.dir, r.target.name, unix.RENAME_NOREPLACE)
	switch err {
	case nil:
		r.tmp = ""
	case unix.EINVAL, unix.ENOSYS:
		// A file system that does not know the flag. A second name says the same,
		// and the first is removed when the rest is.
		err = unix.Linkat(r.target.dir, r.tmp, r.target.dir, r.target.name, 0)
	}
	if err == unix.EEXIST {
		return errPresent()
	}
	return err
}

// discard frees everything, and removes the file unless it is in place.
func (r *replacement) discard() error {
	if r.tmp != "" {
		_ = unix.Unlinkat(r.target.dir, r.tmp, 0)
	}
	_ = unix.Close(r.fd)
	r.target.close()
	return nil
}
