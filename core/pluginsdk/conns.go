package pluginsdk

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/internal/wire"
	guestv1 "github.com/deep-sandbox/deep/core/proto/guest/v1"
)

const (
	// connectTimeout bounds one attempt to reach a guest that has been set up.
	connectTimeout = 20 * time.Second
	// verdictTimeout bounds asking the engine what became of a sandbox.
	verdictTimeout = 3 * time.Second
	// settleTime is how long an engine may say that a sandbox runs whose guest
	// has ended.
	settleTime = time.Second
)

// conns keeps one connection to each guest.
type conns struct {
	p   Provisioner
	log hclog.Logger
	// silence before a stream is given up.
	silence time.Duration
	// life ends when the plugin's work does.
	life context.Context

	mu     sync.Mutex
	open   map[string]*guestConn
	dials  map[string]*dial
	closed bool
	wg     sync.WaitGroup
}

// dial is an attempt that callers share.
type dial struct {
	done chan struct{}
	conn *guestConn
	err  error
	// cancel ends it: the sandbox is being removed.
	cancel context.CancelFunc
}

func newConns(life context.Context, p Provisioner, log hclog.Logger) *conns {
	return &conns{p: p, log: log, silence: silence, life: life, open: map[string]*guestConn{}, dials: map[string]*dial{}}
}

// get returns a live connection to the guest of sandbox id. ErrGone if the
// provisioner says that it does not run.
func (c *conns) get(ctx context.Context, id string) (*guestConn, error) { //nolint:contextcheck // others wait for the same connection
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil, errClosed()
	}
	if conn := c.open[id]; conn != nil && !conn.isDead() {
		c.mu.Unlock()
		return conn, nil
	}
	d := c.dials[id]
	if d == nil {
		// Not the caller's context: others wait for the same connection.
		dialCtx, cancel := context.WithTimeout(c.life, connectTimeout)
		d = &dial{done: make(chan struct{}), cancel: cancel}
		c.dials[id] = d
		c.wg.Go(func() { c.reconnect(dialCtx, id, d) })
	}
	c.mu.Unlock()

	select {
	case <-d.done:
		return d.conn, d.err
	case <-ctx.Done():
		return nil, ctxError(ctx)
	}
}

func (c *conns) reconnect(ctx context.Context, id string, d *dial) {
	defer d.cancel()
	conn, err := c.connect(ctx, id, nil)

	c.mu.Lock()
	defer c.mu.Unlock()
	defer close(d.done)
	current := c.dials[id] == d
	if current {
		delete(c.dials, id)
	}
	if err == nil && (!current || c.closed) {
		// Removed or shut down meanwhile.
		conn.close()
		conn, err = nil, Gone(id)
	}
	d.conn, d.err = conn, err
	if err == nil {
		c.adopt(id, conn)
	}
}

// add keeps the connection of a sandbox that was just created.
func (c *conns) add(id string, conn *guestConn) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		conn.close()
		return errClosed()
	}
	c.adopt(id, conn)
	return nil
}

// adopt stores conn and frees it when its stream has died. Call with mu held.
func (c *conns) adopt(id string, conn *guestConn) {
	c.open[id] = conn
	c.wg.Go(func() {
		<-conn.stream.dead
		conn.close()
		c.mu.Lock()
		if c.open[id] == conn {
			delete(c.open, id)
		}
		c.mu.Unlock()
	})
}

// dead returns a channel that is closed when the connection to id there is now
// has ended; nil if there is none.
func (c *conns) dead(id string) <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if conn := c.open[id]; conn != nil {
		return conn.stream.dead
	}
	return nil
}

// drop ends the connection to a sandbox that is being ended, and an attempt at one.
func (c *conns) drop(id string) {
	c.mu.Lock()
	conn, d := c.open[id], c.dials[id]
	delete(c.open, id)
	delete(c.dials, id)
	c.mu.Unlock()
	if d != nil {
		d.cancel()
	}
	if conn != nil {
		conn.dropped.Store(true)
		conn.close()
	}
}

// close ends every connection and waits until all is freed.
func (c *conns) close() {
	c.mu.Lock()
	c.closed = true
	open := c.open
	c.open = map[string]*guestConn{}
	for _, d := range c.dials {
		d.cancel()
	}
	c.mu.Unlock()
	for _, conn := range open {
		conn.close()
	}
	c.wg.Wait()
}

// connect opens one stream and agrees with the guest on what it is: by setup if
// this is a new sandbox, else by asking.
func (c *conns) connect(ctx context.Context, id string, setup *guestv1.SetupRequest) (*guestConn, error) {
	rwc, err := c.p.Connect(ctx, id)
	if err != nil {
		return nil, toldGone(id, err)
	}
	stream := newLiveStream(rwc, c.silence)
	cc, err := dialGuest(stream)
	if err != nil {
		return nil, err
	}
	conn := &guestConn{id: id, cc: cc, stream: stream, verdict: func() error { return c.verdict(id) }} //nolint:contextcheck // asked when the call is over
	client := guestv1.NewGuestClient(cc)
	if setup != nil {
		conn.settled, err = client.Setup(ctx, setup)
		if status.Code(err) == codes.AlreadyExists {
			// An earlier attempt got through and its answer did not.
			err = nil
		}
	}
	if err == nil && conn.settled == nil {
		conn.settled, err = client.Info(ctx, &guestv1.InfoRequest{})
	}
	if err == nil && conn.settled.GetSetup().GetSandboxId() != id {
		err = &backend.Error{Kind: backend.ErrUnavailable, Path: id,
			Message: "the guest that answered belongs to sandbox " + backend.Printable(conn.settled.GetSetup().GetSandboxId())}
	}
	if err == nil {
		// Each time: what made the sandbox may have died before it looked.
		err = refuse(conn.settled)
	}
	if err == nil {
		return conn, nil
	}
	conn.close()
	var typed *backend.Error
	switch {
	case ctx.Err() != nil:
		return nil, &backend.Error{Kind: ctx.Err(), Path: id, Message: "the guest does not answer"}
	case errors.As(err, &typed):
		return nil, err
	case status.Code(err) == codes.NotFound:
		return nil, &backend.Error{Kind: backend.ErrGone, Path: id, Message: "it was never set up: what created it died before",
			Hint: "remove it with destroy"}
	case len(status.Convert(err).Details()) > 0:
		return nil, toldGone(id, wire.FromStatus(err)) // else the guest's own words
	case status.Code(err) == codes.Unavailable:
		return nil, c.verdict(id) //nolint:contextcheck // the call is over, as likely as not
	}
	return nil, &backend.Error{Kind: backend.ErrUnavailable, Path: id, Message: "the guest refuses: " + backend.Printable(status.Convert(err).Message())}
}

// verdict asks the engine what became of a sandbox whose stream has ended.
func (c *conns) verdict(id string) error {
	// Not a caller's context: it has ended, as likely as not.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.life), verdictTimeout)
	defer cancel()
	// An engine learns of a container's end a moment after its streams do.
	for until := time.Now().Add(settleTime); ; {
		info, err := c.p.Inspect(ctx, &backend.InspectRequest{ID: id})
		switch {
		case errors.Is(err, backend.ErrNotFound), errors.Is(err, backend.ErrGone), err == nil && info.State == backend.StateStopped:
			return Gone(id)
		case err != nil:
			return &backend.Error{Kind: backend.ErrUnavailable, Path: id,
				Message: "lost the connection to the sandbox, and the engine does not tell what became of it: " + err.Error()}
		case info.State == backend.StatePaused:
			return &backend.Error{Kind: backend.ErrUnavailable, Path: id, Message: "the sandbox is paused",
				Hint: "resume it with the engine's tools"}
		case time.Now().After(until):
			return &backend.Error{Kind: backend.ErrUnavailable, Path: id, Message: "lost the connection to the sandbox",
				Hint: "it still runs; try again"}
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

func errClosed() error {
	return &backend.Error{Kind: backend.ErrUnavailable, Message: "the plugin is shutting down"}
}
