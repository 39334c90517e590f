package pluginsdk

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/internal/handshake"
)

// A lifeline ends when the host does, even by SIGKILL: it is the read end of a
// pipe whose other end only the host holds. (PR_SET_PDEATHSIG would fire when
// the host's thread ends that happened to start us.)
type lifeline struct {
	pipe *os.File
	term chan os.Signal
}

// takeLifeline moves the pipe away from standard input and puts /dev/null there,
// so that nothing the plugin starts or reads takes part in it.
func takeLifeline() (*lifeline, error) {
	fd, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, fmt.Errorf("standard input: %w", err)
	}
	null, err := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &backend.Error{Kind: backend.ErrUnavailable, Path: os.DevNull, Err: err}
	}
	defer func() { _ = unix.Close(null) }()
	if err := unix.Dup3(null, 0, 0); err != nil {
		return nil, fmt.Errorf("put %s at standard input: %w", os.DevNull, err)
	}
	l := &lifeline{pipe: os.NewFile(uintptr(fd), "lifeline"), term: make(chan os.Signal, 1)}
	signal.Notify(l.term, unix.SIGTERM)
	return l, nil
}

// watch waits for the host's end, or for SIGTERM, then cleans up and exits.
func (l *lifeline) watch(f *front) {
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		// Nothing is ever sent, and nothing sent would mean anything.
		if _, err := io.Copy(io.Discard, l.pipe); err != nil && !errors.Is(err, io.EOF) {
			f.log.Warn("lifeline", "error", err)
		}
	}()
	select {
	case <-gone:
	case <-l.term:
		f.log.Warn("SIGTERM: cleaning up")
	}
	f.abandon()
	removeSockets()
	os.Exit(0)
}

// removeSockets removes the directory of go-plugin's socket, which a host that
// was killed before it had connected could not: it and its parent were made for
// this process alone.
func removeSockets() {
	dir := os.Getenv("PLUGIN_UNIX_SOCKET_DIR")
	parent := filepath.Dir(dir)
	if !strings.HasPrefix(filepath.Base(parent), handshake.SocketDirPrefix) {
		return // somebody else's way to start a plugin
	}
	sockets, err := filepath.Glob(filepath.Join(dir, "plugin*"))
	if err != nil {
		return // a pattern in the path: not ours
	}
	for _, s := range sockets {
		_ = os.Remove(s)
	}
	// Each only if it is empty; the host removes them too, as a rule before us.
	_ = os.Remove(dir)
	_ = os.Remove(parent)
}
