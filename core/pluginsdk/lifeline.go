package pluginsdk

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"

	"github.com/deep-sandbox/deep/core/backend"
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
	os.Exit(0)
}
