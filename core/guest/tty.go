package guest

import (
	"bytes"
	"context"
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"github.com/deep-sandbox/deep/core/backend"
)

// endOfInput is what ends the input of a terminal where its settings do not say.
const endOfInput = 0x04 // ^D

// terminal is the pseudo-terminal of a command.
type terminal struct {
	// master is our side. It waits in the poller.
	master *os.File
	// slave is the command's. It is held while the command runs, so that a command
	// that closes its own for a while does not end the output.
	slave *os.File
}

// openTerminal makes a terminal that belongs to the sandbox's user, in the
// sandbox's own devpts.
func (s *Sandbox) openTerminal(ctx context.Context, size backend.WindowSize) (*terminal, error) {
	var fds [2]int
	err := s.files.do(ctx, func() error { return openPTY(&fds, size) })
	var errno unix.Errno
	switch {
	case err == nil:
		return &terminal{master: os.NewFile(uintptr(fds[0]), "terminal"), slave: os.NewFile(uintptr(fds[1]), "terminal")}, nil
	case !errors.As(err, &errno):
		return nil, err
	case errno == unix.ENOSPC, errno == unix.EMFILE, errno == unix.ENFILE, errno == unix.ENOMEM:
		return nil, &backend.Error{Kind: backend.ErrUnavailable, Message: "no terminal is left: " + errnoText(errno),
			Hint: "end a command that has one"}
	}
	return nil, &backend.Error{Kind: backend.ErrUnsupported, Message: "the sandbox has no terminals: " + errnoText(errno),
		Hint: "mount a devpts of its own at /dev/pts, with /dev/ptmx a link to pts/ptmx, or run the command without a terminal"}
}

func openPTY(fds *[2]int, size backend.WindowSize) error {
	master, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	err = errors.Join(unix.IoctlSetPointerInt(master, unix.TIOCSPTLCK, 0), setSize(master, size))
	if err != nil {
		return errors.Join(err, unix.Close(master))
	}
	// By the master and not by a path, which may show another devpts.
	const flags = unix.O_RDWR | unix.O_NOCTTY | unix.O_CLOEXEC
	slave, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(master), unix.TIOCGPTPEER, flags)
	if errno != 0 {
		return errors.Join(errno, unix.Close(master))
	}
	fds[0], fds[1] = master, int(slave)
	return nil
}

func setSize(fd int, size backend.WindowSize) error {
	return unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: size.Rows, Col: size.Cols})
}

// resize changes the size; the kernel tells what runs in the foreground.
func (t *terminal) resize(size backend.WindowSize) error {
	return t.control(func(fd int) error { return setSize(fd, size) })
}

// endKey is what the terminal takes for the end of the input.
func (t *terminal) endKey() (byte, error) {
	key := byte(endOfInput)
	err := t.control(func(fd int) error {
		settings, err := unix.IoctlGetTermios(fd, unix.TCGETS)
		if err == nil && settings.Cc[unix.VEOF] != 0 {
			key = settings.Cc[unix.VEOF]
		}
		return err
	})
	return key, err
}

// control runs f on the master's descriptor, which goes on waiting in the poller.
func (t *terminal) control(f func(fd int) error) error {
	conn, err := t.master.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	err = conn.Control(func(fd uintptr) { inner = f(int(fd)) })
	return errors.Join(err, inner)
}

// end of the input, typed behind last, the last byte before it: within a line the
// key only hands over what there is, so it takes two.
func (t *terminal) end(last byte) ([]byte, error) {
	key, err := t.endKey()
	if err != nil {
		return nil, err
	}
	if last == '\n' || last == '\r' {
		return []byte{key}, nil
	}
	return bytes.Repeat([]byte{key}, 2), nil
}

// close closes both sides, of a terminal that nobody uses.
func (t *terminal) close() {
	_ = t.slave.Close()
	_ = t.master.Close()
}

// Resize implements backend.Sandbox.
func (s *Sandbox) Resize(ctx context.Context, req *backend.ResizeRequest) error {
	const op = "resize"
	e, err := s.execs.find(op, req.ID)
	if err != nil {
		return err
	}
	if req.Size.Rows == 0 || req.Size.Cols == 0 {
		return &backend.Error{Kind: backend.ErrInvalid, Op: op, Path: req.ID, Message: errSize, Hint: hintSize}
	}
	x, err := s.execs.findRunning(ctx, op, e.id)
	if err != nil {
		return err
	}
	if x.terminal == nil {
		return &backend.Error{Kind: backend.ErrConflict, Op: op, Path: req.ID, Message: "it has no terminal", Hint: "start it with one"}
	}
	if err := x.terminal.resize(req.Size); err != nil {
		return failed(op, req.ID, err)
	}
	return nil
}
