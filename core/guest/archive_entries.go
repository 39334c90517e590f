package guest

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/control"
)

// What becomes of the entries of an archive. What does not say otherwise is for a
// thread with the user's rights.

// permissions are all that is kept of a mode.
func permissions(h *tar.Header) uint32 {
	if control.Opened(control.Modes) {
		return uint32(h.Mode & 0o7777)
	}
	return uint32(h.Mode & 0o777)
}

// file unpacks a regular file, in as many visits to a thread as its content needs.
func (u *unpacking) file(ctx context.Context, h *tar.Header, name string) error {
	buf := writeBuffers.Get().(*[writeBuffer]byte)
	defer writeBuffers.Put(buf)
	n, ended, err := fillFrom(u.archive, buf[:])
	if err != nil {
		return u.stream.fault(err)
	}
	var r *replacement
	err = u.files.do(ctx, func() error {
		if err := u.leave(name); err != nil {
			return err
		}
		if r, err = u.begin(h, name); err != nil {
			return err
		}
		return r.writeSparsely(buf[:n])
	})
	if r != nil {
		defer func() { _ = u.files.doAnyway(r.discard) }()
	}
	for err == nil && !ended {
		if n, ended, err = fillFrom(u.archive, buf[:]); err != nil {
			return u.stream.fault(err)
		}
		err = u.files.do(ctx, func() error { return r.writeSparsely(buf[:n]) })
	}
	if err != nil {
		return err
	}
	unlock, err := u.locks.lock(ctx, r.target.key)
	if err != nil {
		return err
	}
	defer unlock()
	if err := u.files.do(ctx, func() error { return r.finish(h) }); err != nil {
		return err
	}
	u.reply.Bytes += r.size
	return nil
}

// begin makes the file that will be there under name. It is the caller's to
// discard, with an error too.
func (u *unpacking) begin(h *tar.Header, name string) (*replacement, error) {
	t, err := u.parent(name)
	if err != nil {
		return nil, err
	}
	if kindOf(t.dir, t.name) == unix.DT_DIR {
		t.close()
		return nil, unix.EISDIR
	}
	err = hasRoom(t.dir, h.Size)
	var r *replacement
	if err == nil {
		r, err = temporary(t)
	}
	if err != nil {
		t.close()
		return nil, err
	}
	// What is not written is a hole then, and a size that no file can have is
	// refused at once.
	return r, unix.Ftruncate(r.fd, h.Size)
}

// hasRoom refuses a file that cannot fit before anything of it is written: a few
// bytes of a sparse one may stand for 8 EiB.
func hasRoom(dir int, size int64) error {
	const smallest = 1 << 20
	if size < smallest {
		return nil
	}
	var st unix.Statfs_t
	if err := unix.Fstatfs(dir, &st); err != nil {
		return err
	}
	if st.Blocks == 0 {
		return nil // the file system does not tell
	}
	if free := freeBytes(&st); size > free {
		return &backend.Error{Kind: backend.ErrNoSpace, Message: fmt.Sprintf("it has %d bytes, and %d are free", size, free),
			Hint: "remove files, or give the sandbox more space"}
	}
	return nil
}

// freeBytes is what a user may still write.
func freeBytes(st *unix.Statfs_t) int64 {
	unit := st.Frsize
	if unit == 0 {
		unit = st.Bsize
	}
	if unit <= 0 || st.Bavail > uint64(math.MaxInt64/unit) {
		return math.MaxInt64
	}
	return int64(st.Bavail) * unit
}

// writeSparsely is write that leaves a hole for zeros.
func (r *replacement) writeSparsely(p []byte) error {
	if !isZero(p) {
		return r.write(p)
	}
	r.size += int64(len(p))
	_, err := unix.Seek(r.fd, r.size, unix.SEEK_SET)
	return err
}

// finish puts a whole file in place.
func (r *replacement) finish(h *tar.Header) error {
	if err := unix.Fchmod(r.fd, permissions(h)); err != nil {
		return err
	}
	if err := setTime(r.fd, h.ModTime); err != nil {
		return err
	}
	return r.place()
}

// setTime sets the time of what a descriptor stands for.
func setTime(fd int, t time.Time) error {
	return unix.UtimesNanoAt(unix.AT_FDCWD, ownLink(fd), times(t), 0)
}

func times(t time.Time) []unix.Timespec {
	at := unix.Timespec{Sec: t.Unix(), Nsec: int64(t.Nanosecond())}
	return []unix.Timespec{at, at}
}

// symlink unpacks a symbolic link, whatever it says.
func (u *unpacking) symlink(h *tar.Header, name string) error {
	if h.Linkname == "" || len(h.Linkname) > maxPath || strings.IndexByte(h.Linkname, 0) >= 0 {
		return &backend.Error{Kind: backend.ErrInvalid, Message: "what it links to is empty, too long, or holds a NUL", Hint: "pack it without the link, or as the file it leads to"}
	}
	return u.link(name, func(dir int, tmp string) error {
		if err := unix.Symlinkat(h.Linkname, dir, tmp); err != nil {
			return err
		}
		return unix.UtimesNanoAt(dir, tmp, times(h.ModTime), unix.AT_SYMLINK_NOFOLLOW)
	})
}

// hardLink gives a file of the directory a second name.
func (u *unpacking) hardLink(h *tar.Header, name string) error {
	invalid := &backend.Error{Kind: backend.ErrInvalid, Message: "a hard link to what is no file in the directory: " + backend.PrintablePath(h.Linkname),
		Hint: "pack the file itself before its second name, or pack without hard links"}
	to, err := u.inside(h.Linkname)
	if err != nil {
		return invalid
	}
	dirs, base, _ := splitPath(to)
	from, err := descend(u.root, dirs, false)
	if err != nil {
		return invalid
	}
	defer func() { _ = unix.Close(from) }()
	if kindOf(from, base) != unix.DT_REG {
		return invalid
	}
	return u.link(name, func(dir int, tmp string) error { return unix.Linkat(from, base, dir, tmp, 0) })
}

// link puts in place what make makes under a temporary name.
func (u *unpacking) link(name string, make func(dir int, tmp string) error) error {
	if err := u.leave(name); err != nil {
		return err
	}
	t, err := u.parent(name)
	if err != nil {
		return err
	}
	defer t.close()
	tmp := temporaryName()
	if err = make(t.dir, tmp); err == nil {
		err = unix.Renameat(t.dir, tmp, t.dir, t.name)
	}
	// It is still there also if both are names of one file already.
	_ = unix.Unlinkat(t.dir, tmp, 0)
	return err
}

// unpackedDir is a directory that gets its mode and time when the archive has left
// it: what follows may need the right to write there, and changes its time.
type unpackedDir struct {
	name string
	mode uint32
	time time.Time
	// ours: the archive has made it.
	ours bool
}

// directory unpacks a directory. One that is there is kept, with what it holds.
func (u *unpacking) directory(h *tar.Header, name string) error {
	if err := u.leave(name); err != nil {
		return err
	}
	d := unpackedDir{name: name, mode: permissions(h), time: h.ModTime}
	if name != "." {
		t, err := u.parent(name)
		if err != nil {
			return err
		}
		defer t.close()
		if d.ours, err = t.makeDirectory(); err != nil {
			return err
		}
	}
	u.open = append(u.open, d)
	if d.ours {
		return nil
	}
	open := d
	open.mode |= 0o700
	return u.settle(open)
}

// makeDirectory reports whether it has made one; else there was one.
func (t *target) makeDirectory() (made bool, err error) {
	const forNow = 0o700
	err = unix.Mkdirat(t.dir, t.name, forNow)
	if err != unix.EEXIST {
		return err == nil, err
	}
	if kindOf(t.dir, t.name) == unix.DT_DIR {
		return false, nil
	}
	// Another kind of file is replaced, as by any entry.
	if err := unix.Unlinkat(t.dir, t.name, 0); err != nil && err != unix.ENOENT {
		return false, err
	}
	err = unix.Mkdirat(t.dir, t.name, forNow)
	return err == nil, err
}

// leave settles the directories that name is not in, the innermost first.
func (u *unpacking) leave(name string) error {
	for len(u.open) > 0 {
		last := u.open[len(u.open)-1]
		if name != "" && (last.name == "." || strings.HasPrefix(name, last.name+"/")) {
			return nil
		}
		u.open = u.open[:len(u.open)-1]
		if err := u.settle(last); err != nil {
			return failed("put archive", last.name, err)
		}
	}
	return nil
}

func (u *unpacking) settle(d unpackedDir) error {
	fd, err := descend(u.root, d.name, false)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, backend.ErrInvalid) {
		return nil // a command has taken it away
	}
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	if err = setTime(fd, d.time); err == nil {
		err = unix.Chmod(ownLink(fd), d.mode)
	}
	if err == unix.EPERM && !d.ours {
		return nil // another's directory stays as it is
	}
	return err
}
