package pluginsdk

import "github.com/deep-sandbox/deep/core/backend"

// NewForTest returns what Serve serves.
func NewForTest(p Plugin) (backend.Backend, error) {
	f, err := newFront(p)
	if err != nil {
		return nil, err
	}
	return f, nil
}

func connsOf(b backend.Backend) *conns {
	return (*b.(*front).inner.Load()).(*guestBacked).conns
}

// BreakStream ends the stream to a guest there is, as an engine would that is
// restarted.
func BreakStream(b backend.Backend, id string) {
	c := connsOf(b)
	c.mu.Lock()
	conn := c.open[id]
	c.mu.Unlock()
	if conn != nil {
		_ = conn.stream.rwc.Close()
	}
}

// Connected reports whether there is a live stream to a guest.
func Connected(b backend.Backend, id string) bool {
	c := connsOf(b)
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.open[id] != nil && !c.open[id].isDead()
}
