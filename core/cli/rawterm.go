package cli

import (
	"errors"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// rawTerminal is the terminal that a command inside has, if one has. A process has
// one terminal at most, and must give it back on every way out.
var rawTerminal rawState

type rawState struct {
	mu   sync.Mutex
	file *os.File
	was  *term.State
}

// enter makes a terminal pass on each key as it is typed.
func (r *rawState) enter(f *os.File) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	was, err := term.MakeRaw(int(f.Fd()))
	if err != nil {
		return err
	}
	r.file, r.was = f, was
	return nil
}

// again makes it so once more, unless it was given back.
func (r *rawState) again() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.was != nil {
		_, _ = term.MakeRaw(int(r.file.Fd())) // one that is gone sends SIGHUP
	}
}

// leave makes the terminal what it was.
func (r *rawState) leave() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.was != nil {
		_ = term.Restore(int(r.file.Fd()), r.was) // one that is gone needs nothing
		r.was = nil
	}
}

// Exit ends the process at once, and leaves the user's terminal as it was.
func Exit(code int) {
	rawTerminal.leave()
	os.Exit(code)
}

// terminalFile returns the terminal that a stream is.
func terminalFile(stream any) (*os.File, bool) {
	f, ok := stream.(*os.File)
	return f, ok && term.IsTerminal(int(f.Fd()))
}

// keyReader reads a terminal until it is closed. A Read that hangs then returns
// and takes nothing: what is typed next is the shell's.
type keyReader struct {
	file *os.File
	// wake is readable once the reader is closed.
	wake, closing *os.File
	once          sync.Once
}

func newKeyReader(f *os.File) (*keyReader, error) {
	wake, closing, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	return &keyReader{file: f, wake: wake, closing: closing}, nil
}

// Read implements io.Reader.
func (k *keyReader) Read(p []byte) (int, error) {
	fds := []unix.PollFd{{Fd: int32(k.file.Fd()), Events: unix.POLLIN}, {Fd: int32(k.wake.Fd()), Events: unix.POLLIN}}
	for {
		_, err := unix.Poll(fds, -1)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return 0, err
		case fds[1].Revents != 0:
			return 0, io.EOF
		}
		return k.file.Read(p)
	}
}

func (k *keyReader) close() { k.once.Do(func() { _ = k.closing.Close() }) }
