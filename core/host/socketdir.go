package host

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/deep-sandbox/deep/core/internal/handshake"
)

// maxSocketBase is how long the path of a directory may be in which the directory
// of a socket is made. The kernel takes 107 bytes, and below the base come
// "/deep-plugin-", "/plugin-dir" and "/plugin", the last two go-plugin's, each with
// a random number of up to 10 digits.
const maxSocketBase = 107 - (len("/"+handshake.SocketDirPrefix) + len("/plugin-dir") + len("/plugin") + 3*10)

// socketDir makes a private directory, of mode 0700, whose name leaves room for a
// socket's: in $TMPDIR, else in $XDG_RUNTIME_DIR, else in /tmp.
func socketDir() (string, error) {
	var errs []error
	for _, base := range []string{os.TempDir(), os.Getenv("XDG_RUNTIME_DIR"), "/tmp"} {
		if !filepath.IsAbs(base) || len(base) > maxSocketBase {
			continue
		}
		dir, err := os.MkdirTemp(base, handshake.SocketDirPrefix)
		if err == nil {
			return dir, nil
		}
		errs = append(errs, err)
	}
	return "", errors.Join(errs...)
}
