package backendtest

import (
	"io"
	"sync"
)

// pipeSize is what a pipe holds, as Linux has it.
const pipeSize = 64 << 10

// pipe is a pipe, or one direction of a terminal or connection. Whoever waits at
// it stops doing so when killed.
type pipe struct {
	term *terminal // it is one of a terminal's

	mu      sync.Mutex
	data    []byte
	changed chan struct{} // closed, and made anew, at each change
	readErr error         // what a reader gets behind the data
	broken  error         // what a writer gets
}

func newPipe() *pipe { return &pipe{changed: make(chan struct{})} }

// change wakes those who wait. p.mu is held.
func (p *pipe) change() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// finish lets readers have what is there and err behind it; writers break.
func (p *pipe) finish(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.readErr == nil {
		p.readErr = err
	}
	if p.broken == nil {
		p.broken = errPipe
	}
	p.change()
}

// abandon is the end of the reader.
func (p *pipe) abandon(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.broken == nil {
		p.broken = err
	}
	if p.readErr == nil {
		p.readErr = err
	}
	p.data = nil
	p.change()
}

func (p *pipe) read(b []byte, dead <-chan struct{}) (int, error) {
	for {
		p.mu.Lock()
		if n := copy(b, p.data); n > 0 {
			p.data = p.data[n:]
			p.change()
			p.mu.Unlock()
			return n, nil
		}
		err, changed := p.readErr, p.changed
		p.mu.Unlock()
		if err != nil {
			return 0, err
		}
		select {
		case <-changed:
		case <-dead:
			return 0, errPipe
		}
	}
}

func (p *pipe) write(b []byte, dead <-chan struct{}) (written int, err error) {
	for {
		p.mu.Lock()
		if p.broken != nil {
			defer p.mu.Unlock()
			return written, p.broken
		}
		if n := min(len(b), pipeSize-len(p.data)); n > 0 {
			p.data = append(p.data, b[:n]...)
			b, written = b[n:], written+n
			p.change()
		}
		changed := p.changed
		p.mu.Unlock()
		if len(b) == 0 {
			return written, nil
		}
		select {
		case <-changed:
		case <-dead:
			return written, errPipe
		}
	}
}

// end is a pipe as one process has it.
type end struct {
	*pipe
	self *process
}

func (e end) Read(b []byte) (int, error) { return e.read(b, e.self.dead) }

func (e end) Write(b []byte) (int, error) {
	if e.term != nil {
		if _, err := e.write(e.term.written(b), e.self.dead); err != nil {
			return 0, err
		}
		return len(b), nil
	}
	return e.write(b, e.self.dead)
}

// reader and writer return a stream as process self has it.
func reader(stream io.Reader, self *process) io.Reader {
	if e, ok := stream.(end); ok {
		e.self = self
		return e
	}
	return stream
}

func writer(stream io.Writer, self *process) io.Writer {
	if e, ok := stream.(end); ok {
		e.self = self
		return e
	}
	return stream
}

// isTerminal reports whether a stream is one.
func isTerminal(stream any) *terminal {
	if e, ok := stream.(end); ok {
		return e.term
	}
	return nil
}
