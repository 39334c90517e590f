package guest

import (
	"context"
	"net"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"google.golang.org/grpc"
)

// setupLease is the lease until Setup says otherwise: what started the guest may
// have died before it came to that.
const setupLease = 60 * time.Second

// lease ends a sandbox that nobody needs: when no host has been connected for
// too long, when nothing has been done for too long, or when it is too old. The
// guest keeps it by itself, so that it holds though every host process was
// killed.
type lease struct {
	// expired gets one reason, for people.
	expired chan string

	mu          sync.Mutex
	connections int
	calls       int
	commands    int // that run, each in a call or in the background
	// lonely is since when nobody has been connected, idle since when nothing has
	// been done; zero while somebody is and something is.
	lonely, idle             time.Time
	forLonely, forIdle, life time.Duration // 0: never
	began                    time.Time
	timer                    *time.Timer
	// tidy gives memory back once there has been no call for tidyAfter.
	tidy *time.Timer
}

// tidyAfter is how long no call must come before the guest gives back what the
// last ones took: a grep and a flood of output leave 6 MiB behind.
const tidyAfter = time.Second

func newLease() *lease {
	now := time.Now()
	l := &lease{
		expired: make(chan string, 1),
		lonely:  now, idle: now, began: now, forLonely: setupLease,
	}
	l.timer = time.AfterFunc(setupLease, l.check)
	l.tidy = time.AfterFunc(tidyAfter, giveBack)
	return l
}

// giveBack collects twice: what lies in a sync.Pool survives the first.
func giveBack() {
	runtime.GC()
	debug.FreeOSMemory()
}

// settle sets the terms.
func (l *lease) settle(lonely, idle, life time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.forLonely, l.forIdle, l.life = lonely, idle, life
	l.look(time.Now())
}

func (l *lease) check() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.look(time.Now())
}

// look ends the sandbox if it is time, else comes back when it may be.
func (l *lease) look(now time.Time) {
	next := time.Duration(1<<63 - 1)
	for _, term := range []struct {
		since  time.Time
		length time.Duration
		reason string
	}{
		{l.lonely, l.forLonely, "no host has been connected for " + l.forLonely.String()},
		{l.idle, l.forIdle, "nothing was done for " + l.forIdle.String()},
		{l.began, l.life, "it is " + l.life.String() + " old"},
	} {
		if term.length == 0 || term.since.IsZero() {
			continue
		}
		left := term.length - now.Sub(term.since)
		if left <= 0 {
			select {
			case l.expired <- term.reason:
			default:
			}
			return
		}
		next = min(next, left)
	}
	l.timer.Reset(next)
}

// change adds to what goes on: connections and calls.
func (l *lease) change(connections, calls int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.connections += connections
	l.calls += calls
	now := time.Now()
	l.lonely = since(l.lonely, now, l.connections)
	l.idle = since(l.idle, now, l.calls+l.commands)
	if l.calls == 0 {
		l.tidy.Reset(tidyAfter)
	} else {
		l.tidy.Stop()
	}
	if l.connections == 0 || l.calls == 0 {
		l.look(now)
	}
}

// command adds to the commands that run.
func (l *lease) command(by int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.commands += by
	now := time.Now()
	if l.idle = since(l.idle, now, l.calls+l.commands); !l.idle.IsZero() {
		l.look(now)
	}
}

// since is the time from which on n has been 0.
func since(before, now time.Time, n int) time.Time {
	switch {
	case n > 0:
		return time.Time{}
	case before.IsZero():
		return now
	}
	return before
}

// listener counts the connections of inner.
func (l *lease) listener(inner net.Listener) net.Listener { return &countedListener{inner, l} }

type countedListener struct {
	net.Listener
	lease *lease
}

// Accept implements net.Listener.
func (l *countedListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.lease.change(1, 0)
	return &countedConn{Conn: conn, lease: l.lease}, nil
}

type countedConn struct {
	net.Conn
	lease  *lease
	closed sync.Once
}

// Close implements net.Conn.
func (c *countedConn) Close() error {
	c.closed.Do(func() { c.lease.change(-1, 0) })
	return c.Conn.Close()
}

// unary and stream count calls.
func (l *lease) unary(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	l.change(0, 1)
	defer l.change(0, -1)
	return next(ctx, req)
}

func (l *lease) stream(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	l.change(0, 1)
	defer l.change(0, -1)
	return next(srv, stream)
}
