package pluginsdk

import (
	"io"
	"net"
	"sync"
	"time"
)

// silence is how long a guest may say nothing. Its server pings every 5 s, so
// that three in a row are missing; an engine that was killed, or a container
// that is paused, gives no end of file.
const silence = 15 * time.Second

// A liveStream is the byte stream to a guest as a net.Conn, which it ends when
// the guest has been silent for too long.
type liveStream struct {
	rwc   io.ReadWriteCloser
	after time.Duration
	dead  chan struct{}

	mu     sync.Mutex
	timer  *time.Timer
	closed bool
}

func newLiveStream(rwc io.ReadWriteCloser, after time.Duration) *liveStream {
	s := &liveStream{rwc: rwc, after: after, dead: make(chan struct{})}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.timer = time.AfterFunc(after, func() { _ = s.Close() })
	return s
}

// Read implements net.Conn.
func (s *liveStream) Read(p []byte) (int, error) {
	n, err := s.rwc.Read(p)
	if n > 0 {
		s.mu.Lock()
		if !s.closed {
			s.timer.Reset(s.after)
		}
		s.mu.Unlock()
	}
	if err != nil {
		_ = s.Close()
	}
	return n, err
}

// Write implements net.Conn.
func (s *liveStream) Write(p []byte) (int, error) {
	n, err := s.rwc.Write(p)
	if err != nil {
		_ = s.Close()
	}
	return n, err
}

// Close implements net.Conn. The stream is dead at once, however long its engine
// takes to close it.
func (s *liveStream) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.timer.Stop()
	close(s.dead)
	s.mu.Unlock()
	return s.rwc.Close()
}

// LocalAddr implements net.Conn.
func (s *liveStream) LocalAddr() net.Addr { return guestAddr{} }

// RemoteAddr implements net.Conn.
func (s *liveStream) RemoteAddr() net.Addr { return guestAddr{} }

// SetDeadline implements net.Conn. gRPC closes what takes too long; it asks for
// deadlines only to speed that up.
func (s *liveStream) SetDeadline(time.Time) error { return nil }

// SetReadDeadline implements net.Conn.
func (s *liveStream) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline implements net.Conn.
func (s *liveStream) SetWriteDeadline(time.Time) error { return nil }

var _ net.Conn = (*liveStream)(nil)

type guestAddr struct{}

func (guestAddr) Network() string { return "guest" }
func (guestAddr) String() string  { return "guest" }
