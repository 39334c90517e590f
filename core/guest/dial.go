package guest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/deep-sandbox/deep/core/backend"
)

// loopbacks are where a server that is to be reached from inside listens.
var loopbacks = []string{"127.0.0.1", "::1"}

// Dial implements backend.Sandbox. The guest is in the sandbox's network
// namespace, whose loopback interface is up without any network too.
func (s *Sandbox) Dial(ctx context.Context, req *backend.DialRequest) (backend.Conn, error) {
	port := strconv.Itoa(req.Port)
	if req.Port < 1 || req.Port > 65535 {
		return nil, &backend.Error{Kind: backend.ErrInvalid, Op: "dial", Path: port, Message: "no port: one is between 1 and 65535", Hint: "give the one a server in the sandbox listens on"}
	}
	var refused error
	for _, host := range loopbacks {
		// Both ends are on one machine: neither goes away unseen.
		d := net.Dialer{KeepAlive: -1}
		conn, err := d.DialContext(ctx, "tcp", net.JoinHostPort(host, port))
		if err == nil {
			return newTunnel(ctx, conn.(*net.TCPConn), port), nil
		}
		if ctx.Err() != nil {
			return nil, failed("dial", port, ctx.Err())
		}
		// IPv6 may be switched off; then what 127.0.0.1 said counts.
		if refused == nil || !unreachable(err) {
			refused = err
		}
	}
	if errors.Is(refused, unix.ECONNREFUSED) {
		return nil, &backend.Error{Kind: backend.ErrNotFound, Op: "dial", Path: port, Message: "nothing listens on port " + port,
			Hint: "start a server that listens on 127.0.0.1 or on all addresses, and give it time to begin"}
	}
	return nil, &backend.Error{Kind: backend.ErrUnavailable, Op: "dial", Path: port, Message: fmt.Sprintf("port %s cannot be reached: %v", port, refused), Hint: "look at what listens there, and try again"}
}

// unreachable reports that there is no such address here at all.
func unreachable(err error) bool {
	for _, errno := range []unix.Errno{unix.EADDRNOTAVAIL, unix.EAFNOSUPPORT, unix.ENETUNREACH, unix.EHOSTUNREACH, unix.EPROTONOSUPPORT} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

// tunnel is a connection that ends with a context.
type tunnel struct {
	conn *net.TCPConn
	ctx  context.Context
	port string
	stop func() bool
}

func newTunnel(ctx context.Context, conn *net.TCPConn, port string) *tunnel {
	return &tunnel{conn: conn, ctx: ctx, port: port, stop: context.AfterFunc(ctx, func() { _ = conn.Close() })}
}

// Read implements io.Reader.
func (t *tunnel) Read(p []byte) (int, error) {
	n, err := t.conn.Read(p)
	return n, t.why(err)
}

// Write implements io.Writer.
func (t *tunnel) Write(p []byte) (int, error) {
	n, err := t.conn.Write(p)
	return n, t.why(err)
}

// CloseWrite implements backend.Conn.
func (t *tunnel) CloseWrite() error { return t.why(t.conn.CloseWrite()) }

// Close implements io.Closer.
func (t *tunnel) Close() error {
	t.stop()
	if err := t.conn.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return t.why(err)
	}
	return nil
}

// why says what a failure means.
func (t *tunnel) why(err error) error {
	switch {
	case err == nil || err == io.EOF:
		return err
	case t.ctx.Err() != nil:
		return failed("dial", t.port, t.ctx.Err())
	case errors.Is(err, net.ErrClosed):
		return err
	case errors.Is(err, unix.ECONNRESET), errors.Is(err, unix.EPIPE):
		return &backend.Error{Kind: backend.ErrUnavailable, Op: "dial", Path: t.port, Message: "what listens there has cut the connection", Hint: "look at the server's output, and connect again"}
	}
	return &backend.Error{Kind: backend.ErrUnavailable, Op: "dial", Path: t.port, Message: "the connection broke: " + err.Error(), Hint: "connect again"}
}

var _ backend.Conn = (*tunnel)(nil)
