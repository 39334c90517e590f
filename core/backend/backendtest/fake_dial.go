package backendtest

import (
	"context"
	"io"
	"strconv"
	"sync"

	"github.com/deep-sandbox/deep/core/backend"
)

// listener is a port somebody listens on.
type listener struct{ conns chan *connection }

// connection has a pipe for each direction.
type connection struct{ in, out *pipe } // as the command that listens has it

// Dial implements backend.Sandbox.
func (s *fakeSandbox) Dial(ctx context.Context, req *backend.DialRequest) (backend.Conn, error) {
	const op = "dial"
	if err := s.begin(ctx, op); err != nil {
		return nil, err
	}
	port := strconv.Itoa(req.Port)
	if req.Port < 1 || req.Port > 65535 {
		return nil, fault(backend.ErrInvalid, op, port, "not a port")
	}
	c := &connection{newPipe(), newPipe()}
	if !s.connect(req.Port, c) {
		return nil, fault(backend.ErrNotFound, op, port, "nothing listens there")
	}
	d := &fakeConn{connection: c, gone: make(chan struct{})}
	stop := context.AfterFunc(ctx, func() { d.fail(fault(ctx.Err(), op, port, "")) })
	over := context.AfterFunc(s.alive, func() { d.fail(fault(backend.ErrGone, op, port, "")) })
	d.stop = func() { stop(); over() }
	return d, nil
}

// connect reports whether somebody takes the connection.
func (m *machine) connect(port int, c *connection) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := m.ports[port]
	if l == nil {
		return false
	}
	select {
	case l.conns <- c:
		return true
	default:
		return false
	}
}

// fakeConn is a connection as its dialler has it.
type fakeConn struct {
	*connection
	gone chan struct{}
	once sync.Once
	stop func()
}

// fail breaks both directions; to the command it is an end.
func (c *fakeConn) fail(err error) {
	c.out.abandon(err)
	c.in.finish(io.EOF)
}

func (c *fakeConn) Read(b []byte) (int, error) { return c.out.read(b, c.gone) }

func (c *fakeConn) Write(b []byte) (int, error) { return c.in.write(b, c.gone) }

func (c *fakeConn) CloseWrite() error {
	c.in.finish(io.EOF)
	return nil
}

func (c *fakeConn) Close() error {
	c.once.Do(func() {
		c.stop()
		close(c.gone)
		c.fail(errPipe)
	})
	return nil
}

// nc listens on a port for one connection, as busybox has it.
func nc(p *proc, argv []string) status {
	if len(argv) < 6 || argv[1] != "-l" || argv[2] != "-p" || argv[4] != "-e" {
		return p.fails(argv, "only nc -l -p PORT -e PROGRAM is known")
	}
	port, err := strconv.Atoi(argv[3])
	if err != nil {
		return p.fails(argv, "not a port: %s", argv[3])
	}
	l := &listener{make(chan *connection, 1)}
	p.machine.mu.Lock()
	used := p.ports[port] != nil
	if !used {
		p.ports[port] = l
	}
	p.machine.mu.Unlock()
	if used {
		return p.fails(argv, "address in use")
	}
	var c *connection
	select {
	case c = <-l.conns:
	case <-p.self.dead:
	}
	p.machine.mu.Lock()
	delete(p.ports, port)
	p.machine.mu.Unlock()
	select {
	case late := <-l.conns:
		late.out.finish(io.EOF)
		late.in.abandon(errPipe)
	default:
	}
	if c == nil {
		st, _ := p.dead()
		return st
	}
	defer c.out.finish(io.EOF)
	defer c.in.abandon(errPipe)
	q := *p
	q.in, q.out = end{c.in, p.self}, end{c.out, p.self}
	return q.run(argv[5:])
}
