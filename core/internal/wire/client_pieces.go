package wire

import (
	"context"
	"errors"
	"io"
	"sync"

	"google.golang.org/grpc/mem"
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
	// recv returns the data of the next message, and what is wrong with it.
	recv func() (data mem.BufferSlice, bad string, err error)

	mu    sync.Mutex // of a Read, and of what Close frees
	taken int64      // bytes so far
	data  mem.Reader
	err   error // what comes after data
}

// take notes the data of a message, and frees it.
func (p *pieces) take(data mem.BufferSlice) error {
	defer data.Free() // p.data has a reference of its own
	size := data.Len()
	switch {
	case size > p.most:
		return p.peer.faulty(p.op, "a message with %d bytes of content", size)
	case p.limit > 0 && p.taken+int64(size) > p.limit:
		return p.peer.faulty(p.op, "more than was asked for")
	}
	p.taken += int64(size)
	p.data.Reset(data)
	return nil
}

func (p *pieces) Read(buf []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.data.Remaining() == 0 && len(buf) > 0 {
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
			data.Free()
			p.err = p.peer.faulty(p.op, "%s", bad)
		case data.Len() == 0:
			p.err = p.peer.faulty(p.op, "a message that says nothing")
		default:
			p.err = p.take(data)
		}
		if p.err != nil {
			p.cancel()
		}
	}
	if len(buf) == 0 {
		return 0, nil
	}
	return p.data.Read(buf)
}

// Close ends the call. A Read after it fails with context.Canceled.
func (p *pieces) Close() error {
	p.cancel() // and with it a Read that waits
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.data.Close()
}
