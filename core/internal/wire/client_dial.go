package wire

import (
	"context"
	"io"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"github.com/deep-sandbox/deep/core/backend"
	backendv1 "github.com/deep-sandbox/deep/core/proto/backend/v1"
)

// lingerTime is how long a closed connection may take to deliver what was written
// before.
const lingerTime = 5 * time.Second

// Dial implements backend.Sandbox.
func (c *sandboxClient) Dial(ctx context.Context, req *backend.DialRequest) (backend.Conn, error) {
	const op = "dial"
	port := strconv.Itoa(req.Port)
	if req.Port < 1 || req.Port > 65535 {
		return nil, &backend.Error{Kind: backend.ErrInvalid, Backend: string(c.peer), Op: op, Path: port, Message: "no port", Hint: "name one from 1 to 65535"}
	}
	ctx, cancel := context.WithCancel(ctx)
	stream, err := c.rpc.Dial(c.with(ctx))
	if err == nil {
		// An error of Send is told by Recv, with its reason.
		_ = stream.Send(&backendv1.DialRequest{Start: &backendv1.DialStart{Port: uint32(req.Port)}})
		var first *backendv1.DialReply
		if first, err = stream.Recv(); err == nil && !first.GetConnected() {
			err = c.faulty(op, "data before there is a connection")
		} else if isEnd(err) {
			err = c.faulty(op, "it ended without a connection")
		}
	}
	if err != nil {
		err = c.fail(ctx, op, port, err) // before the cancelling, which would be the reason else
		cancel()
		return nil, err
	}
	return &dialled{peer: c.peer, ctx: ctx, cancel: cancel, stream: stream, port: port}, nil
}

// dialled is a connection to a port inside.
type dialled struct {
	peer   peer
	ctx    context.Context
	cancel context.CancelFunc
	stream grpc.BidiStreamingClient[backendv1.DialRequest, backendv1.DialReply]
	port   string

	readMu sync.Mutex
	data   []byte
	err    error // what comes after data

	writeMu sync.Mutex
	ended   bool

	shut atomic.Bool
}

func (d *dialled) Read(p []byte) (int, error) {
	d.readMu.Lock()
	defer d.readMu.Unlock()
	for len(d.data) == 0 && len(p) > 0 {
		switch {
		case d.isClosed():
			return 0, net.ErrClosed
		case d.err != nil:
			return 0, d.err
		}
		d.receive()
	}
	n := copy(p, d.data)
	d.data = d.data[n:]
	return n, nil
}

// receive takes one message.
func (d *dialled) receive() {
	const op = "dial"
	msg, err := d.stream.Recv()
	switch {
	case isEnd(err):
		d.err = &backend.Error{Kind: backend.ErrUnavailable, Backend: string(d.peer), Op: op, Path: d.port, Message: "the connection broke"}
	case err != nil && d.isClosed():
		d.err = net.ErrClosed
	case err != nil:
		d.err = d.peer.fail(d.ctx, op, d.port, err)
	case len(msg.GetData()) > outputFrame:
		d.err = d.peer.faulty(op, "a message with %d bytes", len(msg.GetData()))
	case msg.GetConnected() || len(msg.GetData()) == 0 && !msg.GetEnd():
		d.err = d.peer.faulty(op, "a message that says nothing")
	default:
		d.data = msg.GetData()
		if msg.GetEnd() {
			d.err = io.EOF
		}
	}
}

// Write implements io.Writer. It waits while what listens inside does not read.
func (d *dialled) Write(p []byte) (written int, err error) {
	d.writeMu.Lock()
	defer d.writeMu.Unlock()
	for written < len(p) {
		if d.ended || d.isClosed() {
			return written, net.ErrClosed
		}
		n := min(len(p)-written, outputFrame)
		if err := d.send(&backendv1.DialRequest{Data: p[written : written+n]}); err != nil {
			return written, err
		}
		written += n
	}
	return written, nil
}

func (d *dialled) send(msg *backendv1.DialRequest) error {
	switch err := d.stream.Send(msg); {
	case err == nil:
		return nil
	case d.isClosed():
		return net.ErrClosed
	case d.ctx.Err() != nil:
		return d.peer.fail(d.ctx, "dial", d.port, err)
	default: // the reason is for Read to tell
		return &backend.Error{Kind: backend.ErrUnavailable, Backend: string(d.peer), Op: "dial", Path: d.port, Message: "the connection was closed at the other end"}
	}
}

func (d *dialled) CloseWrite() error {
	d.writeMu.Lock()
	defer d.writeMu.Unlock()
	if d.ended {
		return nil
	}
	d.ended = true
	return d.send(&backendv1.DialRequest{End: true})
}

func (d *dialled) isClosed() bool { return d.shut.Load() }

// Close implements io.Closer. What was written before still arrives, if that
// takes no longer than lingerTime; what was not read is lost.
func (d *dialled) Close() error {
	if !d.shut.Swap(true) {
		go d.linger()
	}
	return nil
}

// linger ends the call once the other side has taken all.
func (d *dialled) linger() {
	defer d.cancel()
	defer time.AfterFunc(lingerTime, d.cancel).Stop()
	d.writeMu.Lock()
	d.ended = true
	_ = d.stream.CloseSend() // never fails
	d.writeMu.Unlock()
	d.readMu.Lock()
	defer d.readMu.Unlock()
	for {
		if _, err := d.stream.Recv(); err != nil {
			d.data, d.err = nil, net.ErrClosed
			return
		}
	}
}

var _ backend.Conn = (*dialled)(nil)
