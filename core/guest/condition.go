package guest

import (
	"context"
	"crypto/sha256"
	"errors"
	"hash"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/deep-sandbox/deep/core/backend"
)

// condition is what must hold for a write to be made.
type condition struct {
	absent bool
	sha256 string // "": any
}

// check refuses a condition that means nothing.
func (c condition) check() error {
	invalid := func(message, hint string) error {
		return &backend.Error{Kind: backend.ErrInvalid, Message: message, Hint: hint}
	}
	switch {
	case c.absent && c.sha256 != "":
		return invalid("two conditions that exclude each other: absent, and with a sum", "give one of them")
	case c.sha256 != "" && (len(c.sha256) != 2*sha256.Size || strings.Trim(c.sha256, "0123456789abcdef") != ""):
		return invalid("the sum is no SHA-256 in lower-case hex", "give the sum a read, a stat or the last write told")
	}
	return nil
}

// target finds what is to be written, and refuses at once what cannot hold. It
// is for a thread with the user's rights.
func (c condition) target(path string) (*target, error) {
	links := maxLinks
	if c.absent {
		links = 0 // whatever a link leads to, it is there itself
	}
	t, err := followTo(path, c.sha256 == "", links)
	switch {
	case c.absent && errors.Is(err, unix.ELOOP) && isLink(path):
		return nil, errPresent()
	case c.sha256 != "" && errors.Is(err, unix.ENOENT):
		return nil, errMissing()
	case err != nil:
		return nil, err
	case c.absent && t.old != nil:
		t.close()
		return nil, errPresent()
	case c.sha256 != "" && t.old == nil:
		t.close()
		return nil, errMissing()
	}
	return t, nil
}

func isLink(path string) bool {
	var st unix.Stat_t
	return statAt(unix.AT_FDCWD, path, unix.O_NOFOLLOW, &st) == nil && typeOf(st.Mode) == backend.TypeSymlink
}

// holds checks the condition for what is in the place of r now, and has r check
// again, when it gets there, that it is the same. The caller holds the lock.
func (c condition) holds(ctx context.Context, files *userThreads, r *replacement) error {
	r.expected.nothing = c.absent
	if c.sha256 == "" {
		return nil
	}
	f := &summing{target: r.target, hash: sha256.New(), fd: -1}
	defer f.close()
	for more := true; more; {
		err := files.do(ctx, func() (err error) {
			more, err = f.next()
			return err
		})
		if errors.Is(err, unix.ENOENT) {
			return errMissing()
		}
		if err != nil {
			return err
		}
	}
	if hexSum(f.hash) != c.sha256 {
		return errChanged()
	}
	r.expected.file = &f.st
	return nil
}

// summing sums the file at a target in pieces, each a visit to a thread.
type summing struct {
	target *target
	hash   hash.Hash
	fd     int
	st     unix.Stat_t // of when it was opened
	offset int64
}

// next sums what fits in one visit and reports whether there may be more.
func (f *summing) next() (more bool, err error) {
	if f.fd < 0 {
		if f.fd, err = f.target.open(unix.O_RDONLY, &f.st); err != nil {
			return false, err
		}
	}
	buf := writeBuffers.Get().(*[writeBuffer]byte)
	defer writeBuffers.Put(buf)
	for range maxRead / writeBuffer {
		n, err := unix.Pread(f.fd, buf[:], f.offset)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return false, err
		}
		if n == 0 {
			return false, nil
		}
		_, _ = f.hash.Write(buf[:n]) // never fails
		f.offset += int64(n)
	}
	return true, nil
}

func (f *summing) close() {
	if f.fd >= 0 {
		_ = unix.Close(f.fd) // it was only read
	}
}

// expectation is what a replacement must find in its place.
type expectation struct {
	nothing bool
	file    *unix.Stat_t // nil: any
}

// unchanged checks that the file at t is the one expected. What changes it from
// inside the sandbox between this and the rename is lost, as with any editor.
func (e expectation) unchanged(t *target) error {
	if e.file == nil {
		return nil
	}
	var st unix.Stat_t
	if err := unix.Fstatat(t.dir, t.name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		if err == unix.ENOENT {
			return errMissing()
		}
		return err
	}
	if st.Dev != e.file.Dev || st.Ino != e.file.Ino || st.Size != e.file.Size || st.Mtim != e.file.Mtim {
		return errChanged()
	}
	return nil
}

func errPresent() error {
	return &backend.Error{Kind: backend.ErrConflict, Message: "there is something of that name",
		Hint: "look at it, then replace it knowingly or choose another name"}
}

func errMissing() error {
	return &backend.Error{Kind: backend.ErrConflict, Message: "there is no file",
		Hint: "it was removed or renamed; write it on the condition that it is absent"}
}

func errChanged() error {
	return &backend.Error{Kind: backend.ErrConflict, Message: "the file is not what it was", Hint: "read it again"}
}
