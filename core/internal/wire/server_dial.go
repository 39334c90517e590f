package wire

import (
	"errors"
	"net"
	"strconv"

	"github.com/deep-sandbox/deep/core/backend"
	backendv1 "github.com/deep-sandbox/deep/core/proto/backend/v1"
)

func (s *sandboxServer) Dial(stream backendv1.Sandbox_DialServer) error {
	const op = "dial"
	sb, err := s.sandbox(stream.Context())
	if err != nil {
		return err
	}
	first, err := stream.Recv()
	if err != nil {
		return Error(noStart(op, err))
	}
	if first.GetStart() == nil {
		return Error(noStart(op, nil))
	}
	port := int(min(first.GetStart().GetPort(), 1<<16)) // above all ports is none
	conn, err := sb.Dial(stream.Context(), &backend.DialRequest{Port: port})
	if err != nil {
		return Error(err)
	}
	if err := stream.Send(&backendv1.DialReply{Connected: true}); err != nil {
		return errors.Join(err, conn.Close())
	}
	t := &tunnel{stream: stream, conn: conn, port: port, callerEnded: make(chan struct{})}
	go t.write()
	return t.read()
}

// tunnel carries bytes between a caller and a connection inside.
type tunnel struct {
	stream backendv1.Sandbox_DialServer
	conn   backend.Conn
	port   int
	// callerEnded is closed when the caller writes no more.
	callerEnded chan struct{}
	// callerErr is why, if not by its end; set before callerEnded is closed.
	callerErr error
	// deaf: what listens inside takes no more.
	deaf bool
}

// write carries what the caller sends, until the call ends: it ends once the
// handler has returned.
func (t *tunnel) write() {
	ended := false
	end := func(err error) {
		if !ended {
			ended = true
			t.callerErr = err
			close(t.callerEnded)
		}
	}
	for {
		msg, err := t.stream.Recv()
		if err == nil {
			err = t.take(msg, ended)
		}
		switch {
		case err == nil && (msg.GetEnd() || t.deaf):
			end(nil)
		case err != nil:
			// Half-closed, or gone: the connection ends as a whole, and with it the
			// reading.
			if isEnd(err) {
				err = nil
			}
			end(err)
			_ = t.conn.Close()
			return
		}
	}
}

func (t *tunnel) take(msg *backendv1.DialRequest, ended bool) error {
	invalid := func(message string) error {
		return &backend.Error{Kind: backend.ErrInvalid, Op: "dial", Path: strconv.Itoa(t.port), Message: message}
	}
	switch {
	case msg.GetStart() != nil:
		return invalid("start may come only once")
	case ended && !t.deaf:
		return invalid("data after its end")
	case len(msg.GetData()) > outputFrame:
		return invalid("a message may hold at most 32 KiB")
	}
	if t.deaf {
		return nil
	}
	// What it has said before it stopped to listen is still read: an answer may
	// come before the question has ended.
	_, err := t.conn.Write(msg.GetData())
	if err == nil && msg.GetEnd() {
		err = t.conn.CloseWrite()
	}
	t.deaf = err != nil
	return nil
}

// read carries what comes from inside, and returns when both directions have
// ended, or the connection has. Its error is a status.
func (t *tunnel) read() error {
	defer func() { _ = t.conn.Close() }()
	buf := outputBuffers.Get().(*[outputFrame]byte)
	defer outputBuffers.Put(buf)
	for {
		n, err := t.conn.Read(buf[:])
		if n > 0 {
			if err := t.stream.Send(&backendv1.DialReply{Data: buf[:n]}); err != nil {
				return err
			}
		}
		switch {
		case isEnd(err):
			if err := t.stream.Send(&backendv1.DialReply{End: true}); err != nil {
				return err
			}
			select {
			case <-t.callerEnded:
				return Error(t.callerErr)
			case <-t.stream.Context().Done():
				return Error(t.stream.Context().Err())
			}
		case err != nil:
			return Error(t.broken(err))
		}
	}
}

// broken is why reading ended early: what the caller did, if it did something.
func (t *tunnel) broken(err error) error {
	select {
	case <-t.callerEnded:
		if t.callerErr != nil || errors.Is(err, net.ErrClosed) {
			return t.callerErr
		}
	default:
	}
	if e := (*backend.Error)(nil); errors.As(err, &e) {
		return err
	}
	return &backend.Error{Kind: backend.ErrUnavailable, Op: "dial", Path: strconv.Itoa(t.port), Message: "the connection broke: " + err.Error()}
}
