package wire

import (
	"context"
	"errors"
	"io"
)

// pieces reads what a sandbox sends in one stream of messages.
type pieces struct {
	peer     peer
	ctx      context.Context
	cancel   context.CancelFunc
	op, path string
	// most is how many bytes a message may hold, limit how many all together may; 0
	// for no limit.
	most  int
	limit int64
	// recv returns the data of the next message, or what is wrong with it.
	recv func() (data []byte, bad string, err error)

	taken int64 // bytes so far
	data  []byte
	err   error // what comes after data
}

// take notes the data of a message.
func (p *pieces) take(data []byte) error {
	switch {
	case len(data) > p.most:
		return p.peer.faulty(p.op, "a message with %d bytes of content", len(data))
	case p.limit > 0 && p.taken+int64(len(data)) > p.limit:
		return p.peer.faulty(p.op, "more than was asked for")
	}
	p.taken += int64(len(data))
	p.data = data
	return nil
}

func (p *pieces) Read(buf []byte) (int, error) {
	for len(p.data) == 0 && len(buf) > 0 {
		if p.err != nil {
			return 0, p.err
		}
		data, bad, err := p.recv()
		switch {
		case errors.Is(err, io.EOF):
			p.err = io.EOF
		case err != nil:
			p.err = p.peer.fail(p.ctx, p.op, p.path, err)
		case bad != "":
			p.err = p.peer.faulty(p.op, "%s", bad)
		case len(data) == 0:
			p.err = p.peer.faulty(p.op, "a message that says nothing")
		default:
			p.err = p.take(data)
		}
		if p.err != nil {
			p.cancel()
		}
	}
	n := copy(buf, p.data)
	p.data = p.data[n:]
	return n, nil
}

// Close ends the call. A Read after it fails with context.Canceled.
func (p *pieces) Close() error {
	p.cancel()
	return nil
}
