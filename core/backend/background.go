package backend

import (
	"io"
	"time"
)

// KeptOutput is how much output of its execs a sandbox keeps, in bytes, for all
// of them together: an eighth of its memory limit, at most this. The oldest is
// dropped for the newest.
const KeptOutput = 64 << 20

// StartReply names an exec that runs in the background.
type StartReply struct{ ID string }

// Stream is one of the output streams of a command.
type Stream string

// Streams. The zero value is StreamStdout.
const (
	StreamStdout Stream = "stdout"
	StreamStderr Stream = "stderr"
)

// ReadOutputRequest asks for kept output of an exec, one that runs or has ended.
type ReadOutputRequest struct {
	ID     string
	Stream Stream
	// Offset in the stream of the first byte. One past the end is ErrInvalid.
	Offset int64
	// Follow waits for what is still to come, until the command has ended.
	Follow bool
}

// Output is kept output from some byte on.
type Output struct {
	// Offset in the stream of the first byte that is read. It is above the one
	// asked for when what stood before it was dropped.
	Offset int64
	// ReadCloser returns io.EOF where the stream ends, without Follow where it
	// ended when it was asked for. Output that is dropped before it was read is
	// ErrConflict: nothing is left out unsaid. The caller closes it.
	io.ReadCloser
}

// WriteStdinRequest gives input to an exec that was started with KeepStdin.
type WriteStdinRequest struct {
	ID string
	// Content is copied to the command until it returns io.EOF. Nil is none.
	Content io.Reader
	// Close ends the input behind it.
	Close bool
}

// WriteStdinReply tells what was taken.
type WriteStdinReply struct{ Written int64 }

// SignalRequest sends a signal to an exec that runs.
type SignalRequest struct {
	ID string
	// Signal by its Linux number, 1 to 64.
	Signal int
	// All sends it to everything the command started, not to its program alone.
	All bool
}

// KillRequest ends an exec and everything it started.
type KillRequest struct {
	ID string
	// Grace between SIGTERM and SIGKILL; DefaultGrace if nil.
	Grace *time.Duration
}

// ResizeRequest changes the size of an exec's terminal.
type ResizeRequest struct {
	ID   string
	Size WindowSize
}
