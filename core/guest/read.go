package guest

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/control"
)

const (
	// firstRead is how much is read together with opening: most files of a
	// workspace are smaller, and cost one visit to a thread.
	firstRead = 16 << 10
	// maxRead bounds one visit to a thread, in bytes.
	maxRead = 256 << 10
)

// ReadFile implements backend.Sandbox.
func (s *Sandbox) ReadFile(ctx context.Context, req *backend.ReadFileRequest) (*backend.File, error) {
	path, err := s.abs(req.Path)
	if err == nil && (req.Offset < 0 || req.Length < 0) {
		err = &backend.Error{Kind: backend.ErrInvalid, Message: "negative offset or length", Hint: "leave out the length to read to the end; a stat tells the size"}
	}
	if err != nil {
		return nil, failed("read file", req.Path, err)
	}
	f, err := s.open(ctx, path, req.Path, req.Offset, req.Length)
	if err != nil {
		return nil, failed("read file", req.Path, err)
	}
	return &backend.File{Info: f.info, ReadCloser: f}, nil
}

// openFile is a byte range of a regular file that is being read.
type openFile struct {
	ctx   context.Context
	files *userThreads
	info  backend.FileInfo

	mu     sync.Mutex
	fd     int
	offset int64
	left   int64  // of the range, -1 for all there is
	ahead  []byte // read already
	ended  bool   // there is nothing after ahead
}

func (s *Sandbox) open(ctx context.Context, path, asked string, offset, length int64) (*openFile, error) {
	f := &openFile{ctx: ctx, files: s.files, fd: -1, offset: offset, left: length}
	if length == 0 {
		f.left = -1
	}
	err := s.files.do(ctx, func() error {
		fd, st, err := openRegular(path)
		if err != nil {
			return err
		}
		f.fd, f.info = fd, fileInfo(asked, st)
		// One byte more than the file holds finds its end at once. The size of a
		// file in /proc says nothing.
		size := int64(firstRead)
		if st.Size > 0 {
			size = min(size, max(0, st.Size-offset)+1)
		}
		if f.left >= 0 {
			size = min(size, f.left)
		}
		f.ahead = make([]byte, size)
		n, err := f.pread(f.ahead)
		f.ahead = f.ahead[:n]
		if err != nil || f.ended {
			f.closeFD()
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return f, nil
}

// pread reads what comes next in the range into p, and sets ended at its end.
func (f *openFile) pread(p []byte) (n int, err error) {
	if f.left >= 0 {
		p = p[:min(int64(len(p)), f.left)]
	}
	for n < len(p) {
		m, err := unix.Pread(f.fd, p[n:], f.offset)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return n, err
		}
		if m == 0 {
			f.ended = true
			break
		}
		n += m
		f.offset += int64(m)
	}
	if f.left >= 0 {
		f.left -= int64(n)
		f.ended = f.ended || f.left == 0
	}
	return n, nil
}

// Read implements io.Reader.
func (f *openFile) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	n, more, err := f.next(p)
	if err != nil {
		return n, failed("read file", f.info.Path, err)
	}
	if !more {
		return n, io.EOF
	}
	return n, nil
}

// next reads the next piece and reports whether there may be more after it.
func (f *openFile) next(p []byte) (n int, more bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.ahead) > 0 {
		n = copy(p, f.ahead)
		f.ahead = f.ahead[n:]
		return n, len(f.ahead) > 0 || !f.ended, nil
	}
	if f.ended {
		return 0, false, nil
	}
	if f.fd < 0 {
		return 0, false, os.ErrClosed
	}
	err = f.files.do(f.ctx, func() error {
		n, err = f.pread(p[:min(len(p), maxRead)])
		return err
	})
	return n, !f.ended, err
}

// Close implements io.Closer.
func (f *openFile) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ahead, f.ended = nil, false
	f.closeFD()
	return nil
}

func (f *openFile) closeFD() {
	if f.fd >= 0 {
		_ = unix.Close(f.fd) // it was only read
		f.fd = -1
	}
}

// openRegular opens a regular file for reading, and nothing else: a FIFO would
// block, a device may act on being opened. So it looks first, through a
// descriptor that opens nothing, and then opens what it looked at.
func openRegular(path string) (fd int, st *unix.Stat_t, err error) {
	st = new(unix.Stat_t)
	at, err := openStat(unix.AT_FDCWD, path, unix.O_PATH, 0, st)
	if err != nil {
		return -1, nil, err
	}
	defer func() { _ = unix.Close(at) }()
	if err := mustBeRegular(st); err != nil {
		return -1, nil, err
	}
	fd, err = reopen(at, unix.O_RDONLY)
	return fd, st, err
}

func mustBeRegular(st *unix.Stat_t) error {
	if control.Opened(control.RegularFiles) {
		return nil
	}
	switch t := typeOf(st.Mode); t {
	case backend.TypeRegular:
		return nil
	case backend.TypeDirectory:
		return unix.EISDIR
	default:
		return &backend.Error{Kind: backend.ErrInvalid, Message: fmt.Sprintf("not a regular file but a %s", t),
			Hint: "use it in a command"}
	}
}
