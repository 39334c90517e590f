package guest

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/control"
)

// PutArchive implements backend.Sandbox.
//
// A symbolic link in the archive may lead anywhere, as one a command makes may;
// nothing is unpacked through one, wherever it leads. Files are put in place
// whole, but not synced to disk one by one: 10,000 fsyncs take a minute on a
// slow disk, and an archive can be unpacked again.
func (s *Sandbox) PutArchive(ctx context.Context, req *backend.PutArchiveRequest) (*backend.PutArchiveReply, error) {
	reply, err := s.putArchive(ctx, req)
	return reply, failed("put archive", req.Path, err)
}

func (s *Sandbox) putArchive(ctx context.Context, req *backend.PutArchiveRequest) (*backend.PutArchiveReply, error) {
	path, err := s.absOrWorkspace(req.Path)
	if err != nil {
		return nil, err
	}
	content := req.Content
	if content == nil {
		content = strings.NewReader("")
	}
	return unpack(ctx, s.files, s.locks, path, content)
}

// unpack unpacks content in the directory at path.
func unpack(ctx context.Context, files *userThreads, locks *fileLocks, path string, content io.Reader) (*backend.PutArchiveReply, error) {
	u := &unpacking{files: files, locks: locks, path: path, stream: &tarStream{ctx: ctx, content: content}}
	err := files.do(ctx, func() (err error) {
		u.root, err = makeDirs(unix.AT_FDCWD, path, 0o755)
		return err
	})
	if err != nil {
		return nil, err
	}
	defer func() { _ = unix.Close(u.root) }()
	u.archive = tar.NewReader(u.stream)
	err = u.all(ctx)
	// What was unpacked gets its mode in any case.
	if late := files.doAnyway(func() error { return u.leave("") }); err == nil {
		err = late
	}
	if err != nil {
		return nil, err
	}
	return &u.reply, nil
}

// unpacking is one call of PutArchive.
type unpacking struct {
	files   *userThreads
	locks   *fileLocks
	path    string
	root    int // descriptor of the directory, O_PATH
	stream  *tarStream
	archive *tar.Reader
	// open are the directories the archive is in, the outermost first.
	open  []unpackedDir
	reply backend.PutArchiveReply
}

func (u *unpacking) all(ctx context.Context) error {
	for {
		h, err := u.archive.Next()
		switch {
		case err == io.EOF:
			return u.stream.finish()
		case err != nil:
			return u.stream.fault(err)
		case h.Typeflag == tar.TypeXGlobalHeader:
			continue // words about the archive; git writes one
		}
		if err := u.entry(ctx, h); err != nil {
			if u.stream.failed != nil {
				return err // it is about the whole
			}
			return failed("put archive", h.Name, err)
		}
		u.reply.Entries++
	}
}

func (u *unpacking) entry(ctx context.Context, h *tar.Header) error {
	name, err := u.inside(h.Name)
	if err != nil {
		return err
	}
	if name == "." && h.Typeflag != tar.TypeDir {
		return &backend.Error{Kind: backend.ErrInvalid, Message: "it has the name of the directory itself", Hint: hintEntry}
	}
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeGNUSparse:
		return u.file(ctx, h, name)
	case tar.TypeDir:
		return u.files.do(ctx, func() error { return u.directory(h, name) })
	case tar.TypeSymlink:
		return u.files.do(ctx, func() error { return u.symlink(h, name) })
	case tar.TypeLink:
		return u.files.do(ctx, func() error { return u.hardLink(h, name) })
	}
	return &backend.Error{Kind: backend.ErrInvalid, Message: fmt.Sprintf("it is neither a file, a directory nor a link, but of type %q", h.Typeflag), Hint: "leave it out; a command can make devices and pipes"}
}

// hintEntry goes with a name that no entry may have.
const hintEntry = "pack it under a short name relative to the directory, without \"..\""

// inside returns the clean form of a name in the archive, "." for the directory
// itself, and refuses one that is not below it. Since no link is followed, what
// a name means is the same to us and to the kernel.
func (u *unpacking) inside(name string) (string, error) {
	invalid := func(message string) (string, error) {
		return "", &backend.Error{Kind: backend.ErrInvalid, Message: message, Hint: hintEntry}
	}
	clean := path.Clean(name)
	switch {
	case name == "":
		return invalid("an entry without a name")
	case name[0] == '/':
		return invalid("its name is absolute")
	case (clean == ".." || strings.HasPrefix(clean, "../")) && !control.Opened(control.ArchiveNames):
		return invalid("it would be outside of the directory")
	case len(u.path)+1+len(clean) > maxPath:
		return invalid("path too long")
	}
	if err := checkPath(clean); err != nil {
		return invalid(err.(*backend.Error).Message)
	}
	return clean, nil
}

// parent opens the directory an entry goes to, and makes what is missing on the
// way.
func (u *unpacking) parent(name string) (*target, error) {
	dirs, base, _ := splitPath(name)
	dir, err := descend(u.root, dirs, true)
	if err != nil {
		return nil, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(dir, &st); err != nil {
		return nil, errors.Join(err, unix.Close(dir))
	}
	return &target{dir: dir, name: base, key: fileKey{dev: st.Dev, ino: st.Ino, name: base}}, nil
}

// descend opens the directory at a clean relative path, through no link. make
// makes what is missing.
func descend(root int, dirs string, make bool) (int, error) {
	cur, err := openAt(root, ".", unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return -1, err
	}
	for name := range strings.SplitSeq(dirs, "/") {
		if name == "" || name == "." {
			continue
		}
		next, err := openDir(cur, name)
		if err == unix.ENOENT && make {
			if err = unix.Mkdirat(cur, name, 0o755); err == nil || err == unix.EEXIST {
				next, err = openDir(cur, name)
			}
		}
		_ = unix.Close(cur)
		if err != nil {
			return -1, err
		}
		cur = next
	}
	return cur, nil
}

// openDir opens the directory name in another. It judges what it has opened: by
// its name a command may change it at any time.
func openDir(at int, name string) (int, error) {
	var st unix.Stat_t
	fd, err := openStat(at, name, unix.O_PATH|noFollow(), 0, &st)
	if err != nil {
		return -1, err
	}
	switch typeOf(st.Mode) {
	case backend.TypeDirectory:
		return fd, nil
	case backend.TypeSymlink:
		err = &backend.Error{Kind: backend.ErrInvalid, Message: "it would be behind a symbolic link: " + backend.Printable(name),
			Hint: "unpack in the directory the link leads to"}
	default:
		err = unix.ENOTDIR
	}
	_ = unix.Close(fd)
	return -1, err
}

// tarStream is the archive as it comes in. It knows what the tar reader does not
// tell: whether the content failed or ended, and whether it ended too early.
type tarStream struct {
	ctx     context.Context
	content io.Reader
	ended   bool  // a Read found nothing more
	failed  error // what fault and finish have said of the whole
	broken  error // of the content
}

// Read implements io.Reader.
func (s *tarStream) Read(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		s.broken = err
		return 0, err
	}
	n, err := s.content.Read(p)
	switch {
	case err == io.EOF:
		s.ended = s.ended || n == 0
	case err != nil:
		s.broken = err
	}
	return n, err
}

// fault turns what the tar reader says into what is wrong.
func (s *tarStream) fault(err error) error {
	switch {
	case s.broken != nil:
		s.failed = s.broken
	case s.ctx.Err() != nil:
		s.failed = s.ctx.Err()
	case errors.Is(err, io.ErrUnexpectedEOF):
		s.failed = &backend.Error{Kind: backend.ErrInvalid, Message: "the archive ends too early", Hint: "it was cut on its way; send it whole"}
	default:
		s.failed = &backend.Error{Kind: backend.ErrInvalid, Message: "not a tar archive, or a damaged one: " + err.Error(),
			Hint: "it must be ustar, PAX or GNU tar, and not compressed"}
	}
	return s.failed
}

// finish checks that the archive ended as one does, with two blocks of zeros,
// and reads what fills its last record up. The tar reader takes the end of the
// stream for the end of the archive, too.
func (s *tarStream) finish() error {
	if s.ended {
		return s.fault(io.ErrUnexpectedEOF)
	}
	buf := writeBuffers.Get().(*[writeBuffer]byte)
	defer writeBuffers.Put(buf)
	for {
		n, ended, err := fillFrom(s, buf[:])
		if err != nil {
			return s.fault(err)
		}
		if !isZero(buf[:n]) {
			return s.fault(errors.New("something follows its end"))
		}
		if ended {
			return nil
		}
	}
}

var zeros [writeBuffer]byte

// isZero reports whether p, at most a write buffer, holds zeros only.
func isZero(p []byte) bool { return string(p) == string(zeros[:len(p)]) }
