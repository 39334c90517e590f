package pluginsdk

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"

	"github.com/deep-sandbox/deep/core/backend"
)

// Streams of an attached exec, as the first byte of a frame has them.
const (
	streamStdout = 1
	streamStderr = 2
	// streamFault is an error of Podman's own.
	streamFault = 3

	// engineBuffer is how much is read from an engine at once.
	engineBuffer = 128 << 10

	// maxStderr is how much of a line of stderr is kept.
	maxStderr = 4 << 10
)

// EngineStream is the byte stream to the guest over the attached exec of
// EngineConnect, without a terminal: what is written is its stdin, what is read
// is its stdout. Engines put stdout and stderr into one stream of frames, eight
// bytes of header before each: the number of the stream, three zeros, the length
// (big endian).
type EngineStream struct {
	conn net.Conn
	// r reads from conn, and first what was read ahead of it. Engines send frames
	// of at most 32 KiB: with room for several, a large file costs a quarter of the
	// reads.
	r *bufio.Reader
	// log gets what the program says on stderr, line by line.
	log func(line string)

	// left of the frame of stdout that is being read.
	left uint32
	line []byte

	once sync.Once
	err  error
}

var _ io.ReadWriteCloser = (*EngineStream)(nil)

// NewEngineStream returns the stream over conn, of which r holds what was read
// ahead.
func NewEngineStream(conn net.Conn, r io.Reader, log func(line string)) *EngineStream {
	return &EngineStream{conn: conn, r: bufio.NewReaderSize(r, engineBuffer), log: log}
}

// Read implements io.Reader. It is to be called by one goroutine at a time.
func (s *EngineStream) Read(p []byte) (int, error) {
	for s.left == 0 {
		if err := s.frame(); err != nil {
			s.flush()
			return 0, err
		}
	}
	if uint64(len(p)) > uint64(s.left) {
		p = p[:s.left]
	}
	n, err := s.r.Read(p)
	s.left -= uint32(n)
	if err == io.EOF && s.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// frame reads on until the next bytes are of stdout.
func (s *EngineStream) frame() error {
	var header [8]byte
	if _, err := io.ReadFull(s.r, header[:]); err != nil {
		return err
	}
	size := binary.BigEndian.Uint32(header[4:])
	switch {
	case header[1] != 0 || header[2] != 0 || header[3] != 0:
	case header[0] == streamStdout:
		s.left = size
		return nil
	case header[0] == streamStderr:
		return s.stderr(size)
	case header[0] == streamFault:
		text := make([]byte, min(size, maxStderr))
		if _, err := io.ReadFull(s.r, text); err != nil {
			return err
		}
		return &backend.Error{Kind: backend.ErrUnavailable, Message: "the engine ended the stream: " + backend.Printable(strings.TrimSpace(string(text)))}
	}
	return &backend.Error{Kind: backend.ErrUnavailable,
		Message: fmt.Sprintf("the engine sent no frame of an attached exec but %x", header)}
}

// stderr passes on lines, and no more of each than maxStderr.
func (s *EngineStream) stderr(size uint32) error {
	var buf [512]byte
	for size > 0 {
		n, err := s.r.Read(buf[:min(size, uint32(len(buf)))])
		size -= uint32(n)
		for _, c := range buf[:n] {
			switch {
			case c == '\n':
				s.flush()
			case len(s.line) < maxStderr:
				s.line = append(s.line, c)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *EngineStream) flush() {
	if len(s.line) > 0 {
		s.log(backend.Printable(string(s.line)))
		s.line = s.line[:0]
	}
}

// Write implements io.Writer.
func (s *EngineStream) Write(p []byte) (int, error) { return s.conn.Write(p) }

// Close implements io.Closer. The engine then ends the stdin of the program,
// which ends by that.
func (s *EngineStream) Close() error {
	s.once.Do(func() { s.err = s.conn.Close() })
	return s.err
}
