package guest

import (
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// outputBuffer is how much is read from a command at once.
const outputBuffer = 32 << 10

// outputBuffers are held only while there is output: a command that is silent
// costs none.
var outputBuffers = sync.Pool{New: func() any { return new([outputBuffer]byte) }}

// terminalHolds is more than a terminal holds of what was written to it and not
// yet read: 4 KiB, and up to 64 KiB on the way there.
const terminalHolds = 72 << 10

// pump carries one output stream of a command to its writer. It waits in the
// runtime's poller, not in a thread.
type pump struct {
	pipe *os.File
	// terminal: it is our side of one.
	terminal bool
	// write takes each piece.
	write func(p []byte)
	bytes atomic.Int64
	// finished is closed when everything the command wrote was written.
	finished chan struct{}
	ending   atomic.Bool
}

// newPump returns a pump and the command's end of its pipe.
func newPump(write func(p []byte)) (*pump, *os.File, error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return nil, nil, err
	}
	// Only our end: the command expects a blocking one.
	if err := unix.SetNonblock(fds[0], true); err != nil {
		return nil, nil, errors.Join(err, unix.Close(fds[0]), unix.Close(fds[1]))
	}
	p := &pump{pipe: os.NewFile(uintptr(fds[0]), "output"), write: write, finished: make(chan struct{})}
	return p, os.NewFile(uintptr(fds[1]), "output"), nil
}

// newTerminalPump returns the pump of a terminal.
func newTerminalPump(t *terminal, write func(p []byte)) *pump {
	return &pump{pipe: t.master, terminal: true, write: write, finished: make(chan struct{})}
}

// run carries output until every holder of the pipe has closed it, or the
// command has ended and what was in the pipe by then is written. What a
// background child writes afterwards is thrown away, but taken: the child shall
// not die of a broken pipe.
func (p *pump) run() {
	conn, err := p.pipe.SyscallConn()
	if err != nil {
		panic(err) // only for a nil file
	}
	rest := int64(-1) // bytes still to carry, once the command has ended
	for rest != 0 {
		if rest < 0 && p.ending.Load() {
			if rest = terminalHolds; !p.terminal {
				rest = p.inPipe(conn)
			}
			continue
		}
		n, buf, err := readSome(conn, rest < 0)
		if n > 0 {
			p.bytes.Add(int64(n))
			p.write(buf[:n])
			outputBuffers.Put(buf)
			if rest > 0 {
				rest = max(0, rest-int64(n))
			}
			continue
		}
		if err == nil { // end of file
			close(p.finished)
			_ = p.pipe.Close()
			return
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			rest = 0
		} // else the command has ended
	}
	close(p.finished)
	p.discard(conn)
}

// commandEnded tells the pump to stop waiting for more.
func (p *pump) commandEnded() {
	p.ending.Store(true)
	// It wakes a wait that is under way, and fails the next.
	_ = p.pipe.SetReadDeadline(time.Unix(1, 0))
}

// inPipe is how many bytes can be read without waiting.
func (p *pump) inPipe(conn rawConn) int64 {
	var n int
	err := conn.Control(func(fd uintptr) {
		var ioctlErr error
		if n, ioctlErr = unix.IoctlGetInt(int(fd), unix.TIOCINQ); ioctlErr != nil {
			n = 0
		}
	})
	if err != nil {
		return 0
	}
	return int64(n)
}

func (p *pump) discard(conn rawConn) {
	defer func() { _ = p.pipe.Close() }()
	if err := p.pipe.SetReadDeadline(time.Time{}); err != nil {
		return
	}
	for {
		n, buf, err := readSome(conn, true)
		if n <= 0 || err != nil {
			return
		}
		outputBuffers.Put(buf)
	}
}

type rawConn interface {
	Read(func(fd uintptr) bool) error
	Control(func(fd uintptr)) error
}

// readSome reads what there is. With wait it waits for something; else nothing is
// io.ErrNoProgress. n is 0 without an error at the end of file, and the buffer is
// the caller's to put back only if n > 0.
func readSome(conn rawConn, wait bool) (n int, buf *[outputBuffer]byte, err error) {
	read := func(fd uintptr) bool {
		buf = outputBuffers.Get().(*[outputBuffer]byte)
		for {
			n, err = unix.Read(int(fd), buf[:])
			if err != unix.EINTR {
				break
			}
		}
		if n <= 0 {
			outputBuffers.Put(buf)
			n = 0
		}
		return err != unix.EAGAIN
	}
	if wait {
		if waitErr := conn.Read(read); waitErr != nil {
			return 0, nil, waitErr
		}
		return n, buf, err
	}
	if controlErr := conn.Control(func(fd uintptr) { read(fd) }); controlErr != nil {
		return 0, nil, controlErr
	}
	if err == unix.EAGAIN {
		err = io.ErrNoProgress
	}
	return n, buf, err
}
