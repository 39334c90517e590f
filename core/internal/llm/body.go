package llm

import (
	"errors"
	"io"
)

const (
	// maxResponseBytes bounds an answer, and one event of it. Far above any model's longest output.
	maxResponseBytes = 8 << 20

	// maxStreamBytes bounds what a response costs on the wire, where each token is wrapped in some 300 bytes of JSON.
	// Without it a stream of empty events would never end.
	maxStreamBytes = 256 << 20
)

var (
	errEventTooLarge  = errors.New("one event is over 8 MiB")
	errStreamTooLarge = errors.New("the stream is over 256 MiB")
)

// readError marks an error of the connection, to be told from one of decoding what came over it.
type readError struct{ error }

func (e readError) Unwrap() error { return e.error }

// boundedBody is a stream of server-sent events that ends with an error before the decoder behind it, which collects an
// event's lines up to the empty one, could take more memory than it should.
type boundedBody struct {
	io.ReadCloser
	stream, event, line int
	loneCR              bool // the line so far is a single carriage return
	err                 error
}

func (b *boundedBody) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	n, err := b.ReadCloser.Read(p)
	if b.err = b.count(p[:n]); b.err != nil {
		return 0, b.err
	}
	if err != nil && err != io.EOF {
		err = readError{err}
	}
	return n, err
}

func (b *boundedBody) count(p []byte) error {
	if b.stream += len(p); b.stream > maxStreamBytes {
		return errStreamTooLarge
	}
	for _, c := range p {
		if b.event++; b.event > maxResponseBytes {
			return errEventTooLarge
		}
		if c != '\n' {
			b.loneCR = b.line == 0 && c == '\r'
			b.line++
			continue
		}
		if b.line == 0 || b.loneCR {
			b.event = 0
		}
		b.line, b.loneCR = 0, false
	}
	return nil
}
