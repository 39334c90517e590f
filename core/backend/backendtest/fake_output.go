package backendtest

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"

	"github.com/deep-sandbox/deep/core/backend"
)

// spool keeps the output of all execs of a sandbox, the newest of it.
type spool struct {
	mu    sync.Mutex
	limit int64
	used  int64
	kept  []*chunk // oldest first
}

// chunk is one piece of one stream.
type chunk struct {
	of     *keptStream
	offset int64
	data   []byte
}

// keptStream is what is kept of one stream. The spool's lock guards it.
type keptStream struct {
	spool   *spool
	chunks  []*chunk
	first   int64 // offset of the first byte that is kept
	end     int64
	over    bool
	changed chan struct{}
}

func (s *spool) stream() *keptStream { return &keptStream{spool: s, changed: make(chan struct{})} }

func (k *keptStream) change() {
	close(k.changed)
	k.changed = make(chan struct{})
}

// add keeps p, and drops the oldest of whatever stream for it.
func (k *keptStream) add(p []byte) {
	s := k.spool
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &chunk{k, k.end, slices.Clone(p)}
	k.end += int64(len(p))
	k.chunks = append(k.chunks, c)
	s.kept = append(s.kept, c)
	for s.used += int64(len(p)); s.used > s.limit; {
		old := s.kept[0]
		s.kept = s.kept[1:]
		s.used -= int64(len(old.data))
		old.of.chunks = old.of.chunks[1:]
		old.of.first = old.offset + int64(len(old.data))
	}
	k.change()
}

func (k *keptStream) finish() {
	k.spool.mu.Lock()
	defer k.spool.mu.Unlock()
	k.over = true
	k.change()
}

// keptReader reads a stream from pos to limit; to its end if that is -1.
type keptReader struct {
	ctx    context.Context
	alive  context.Context
	stream *keptStream
	pos    int64
	limit  int64

	closing sync.Once
	closed  chan struct{}
}

func (r *keptReader) Close() error {
	r.closing.Do(func() { close(r.closed) })
	return nil
}

func (r *keptReader) Read(b []byte) (int, error) {
	const op = "read output"
	for {
		n, changed, err := r.take(b)
		if n > 0 || err != nil || len(b) == 0 {
			return n, err
		}
		select {
		case <-changed:
		case <-r.ctx.Done():
			return 0, fault(r.ctx.Err(), op, "", "")
		case <-r.alive.Done():
			return 0, fault(backend.ErrGone, op, "", "")
		case <-r.closed:
			return 0, fault(backend.ErrInvalid, op, "", "the output was closed")
		}
	}
}

// take reads what is there; changed is closed when there may be more.
func (r *keptReader) take(b []byte) (n int, changed <-chan struct{}, err error) {
	k := r.stream
	k.spool.mu.Lock()
	defer k.spool.mu.Unlock()
	stop := k.end
	if r.limit >= 0 {
		stop = r.limit
	}
	switch {
	case r.pos == stop && (r.limit >= 0 || k.over):
		return 0, nil, io.EOF
	case r.pos < k.first:
		return 0, nil, fault(backend.ErrConflict, "read output", "", "the bytes %d to %d were dropped before they were read", r.pos, k.first)
	}
	for _, c := range k.chunks {
		if skip := r.pos - c.offset; skip >= 0 && skip < int64(len(c.data)) {
			n = copy(b, c.data[skip:min(int64(len(c.data)), stop-c.offset)])
			r.pos += int64(n)
			break
		}
	}
	return n, k.changed, nil
}

// ReadOutput implements backend.Sandbox.
func (s *fakeSandbox) ReadOutput(ctx context.Context, req *backend.ReadOutputRequest) (*backend.Output, error) {
	const op = "read output"
	x, err := s.known(ctx, op, req.ID)
	if err != nil {
		return nil, err
	}
	k := x.kept[0]
	switch req.Stream {
	case "", backend.StreamStdout:
	case backend.StreamStderr:
		k = x.kept[1]
	default:
		return nil, fault(backend.ErrInvalid, op, req.ID, "no such stream: %q", req.Stream)
	}
	k.spool.mu.Lock()
	defer k.spool.mu.Unlock()
	if req.Offset < 0 || req.Offset > k.end {
		return nil, fault(backend.ErrInvalid, op, req.ID, "an offset of %d in %d bytes", req.Offset, k.end)
	}
	r := &keptReader{ctx: ctx, alive: s.alive, stream: k, pos: max(req.Offset, k.first), limit: k.end, closed: make(chan struct{})}
	if req.Follow {
		r.limit = -1
	}
	return &backend.Output{Offset: r.pos, ReadCloser: r}, nil
}

// pump hands on what a command writes to one stream, and keeps it.
type pump struct {
	exec *execution
	from *pipe
	to   io.Writer
	kept *keptStream
	done chan struct{}
}

func (p *pump) run() {
	defer close(p.done)
	defer p.kept.finish()
	buf := make([]byte, 32<<10)
	for {
		n, err := p.from.read(buf, nil)
		if n > 0 {
			p.hand(p.exec.within(buf[:n]))
		}
		if err != nil {
			return
		}
	}
}

func (p *pump) hand(b []byte) {
	p.kept.add(b)
	if p.to == nil || len(b) == 0 {
		return
	}
	if _, err := p.to.Write(b); err != nil {
		p.exec.stop(backend.OutcomeCancelled, err)
		p.to = nil
	}
}

var errPipe = errors.New("broken pipe")
