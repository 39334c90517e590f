package pluginsdk

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/internal/trust"
)

// GuestProgram finds the program that runs as PID 1 in a sandbox. Safe for
// concurrent use.
type GuestProgram struct {
	dir  string
	sums *guestSums
}

// guestSums remembers the sum of each architecture's program while the file is
// the same: summing 10 MB takes longer than starting a container's process.
type guestSums struct {
	mu   sync.Mutex
	arch map[string]guestSum
}

type guestSum struct {
	file fs.FileInfo
	hex  string
}

// NewGuestProgram returns the guest's programs in dir, named
// deep-guest-linux-ARCH.
func NewGuestProgram(dir string) GuestProgram {
	return GuestProgram{dir: dir, sums: &guestSums{arch: map[string]guestSum{}}}
}

// Path returns where on this host the program for arch is, in Go's words
// ("amd64", "arm64"). ErrUnsupported for an architecture there is no guest for,
// ErrNotFound if the file is missing, ErrPermission if somebody else can change it.
func (g GuestProgram) Path(arch string) (string, error) {
	if arch != "amd64" && arch != "arm64" {
		return "", &backend.Error{Kind: backend.ErrUnsupported, Op: "place guest", Path: arch,
			Message: "there is no guest for this architecture", Hint: "use an image for amd64 or arm64"}
	}
	path := filepath.Join(g.dir, "deep-guest-linux-"+arch)
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", &backend.Error{Kind: backend.ErrNotFound, Op: "place guest", Path: path,
			Message: "the guest's program is missing", Hint: "it comes with deep, in guest/ beside it; set DEEP_GUEST_DIR to where it is, or run make build"}
	case err != nil:
		return "", &backend.Error{Kind: backend.ErrPermission, Op: "place guest", Path: path, Err: err}
	case !info.Mode().IsRegular():
		return "", &backend.Error{Kind: backend.ErrInvalid, Op: "place guest", Path: path, Message: "not a regular file"}
	}
	who, of := trust.Writer(info, trust.Owner()...), path
	if who == "" {
		of, who, err = trust.Directory(path, trust.Owner()...)
	}
	switch {
	case err != nil:
		return "", &backend.Error{Kind: backend.ErrPermission, Op: "place guest", Path: path, Err: err}
	case who != "":
		return "", &backend.Error{Kind: backend.ErrPermission, Op: "place guest", Path: path,
			Message: who + " can write " + backend.Printable(of), Hint: "check it, then chmod go-w, or have it owned by you or root"}
	}
	return path, nil
}

// SHA256 returns the sum of that program in lower-case hex.
func (g GuestProgram) SHA256(arch string) (string, error) {
	path, err := g.Path(arch)
	if err != nil {
		return "", err
	}
	g.sums.mu.Lock()
	defer g.sums.mu.Unlock()

	f, err := os.Open(path)
	if err != nil {
		return "", &backend.Error{Kind: backend.ErrPermission, Op: "place guest", Path: path, Err: err}
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return "", &backend.Error{Kind: backend.ErrUnavailable, Op: "place guest", Path: path, Err: err}
	}
	if known, ok := g.sums.arch[arch]; ok && os.SameFile(known.file, info) &&
		known.file.Size() == info.Size() && known.file.ModTime().Equal(info.ModTime()) {
		return known.hex, nil
	}
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", &backend.Error{Kind: backend.ErrUnavailable, Op: "place guest", Path: path, Err: err}
	}
	sum := hex.EncodeToString(h.Sum(nil))
	g.sums.arch[arch] = guestSum{file: info, hex: sum}
	return sum, nil
}
