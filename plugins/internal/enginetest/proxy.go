package enginetest

import (
	"io"
	"net"
	"testing"
)

// testTCP reaches the engine over TCP, as one of another host is.
func testTCP(s *suite) { RunAt(s.T, s.engine, "tcp://"+proxy(s.T, s.engine.Socket)) }

// proxy serves a socket at a port of the loopback interface, and returns that
// address.
func proxy(t *testing.T, socket string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			from, err := l.Accept()
			if err != nil {
				return // the test is over
			}
			to, err := net.Dial("unix", socket)
			if err != nil {
				_ = from.Close()
				continue
			}
			go pass(from, to)
			go pass(to, from)
		}
	}()
	return l.Addr().String()
}

// pass copies one direction and its end.
func pass(from, to net.Conn) {
	_, _ = io.Copy(to, from)
	if half, ok := to.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
}
