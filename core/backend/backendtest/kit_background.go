package backendtest

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/deep-sandbox/deep/core/backend"
)

// smallMemory is the memory of the small sandbox, which keeps an eighth of it of
// output: a rule can fill both in little time.
const (
	smallMemory = 64 << 20
	smallKept   = smallMemory / 8
)

// small returns a sandbox of little memory that rules share.
func (t *T) small() backend.Sandbox {
	p := t.kit.pool
	p.mu.Lock()
	sb := p.small
	p.mu.Unlock()
	if sb != nil {
		watched := &watchedSandbox{sb, t}
		if _, err := watched.Stat(t.ctx, &backend.StatRequest{Path: "/"}); err == nil {
			return watched
		}
	}
	spec := t.kit.opts.Spec
	spec.Memory = smallMemory
	id := backend.NewID()
	t.track(id)
	sb, err := t.kit.b.Create(t.ctx, &backend.CreateRequest{ID: id, Spec: spec})
	t.must("create the small sandbox", err)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.small = sb.(*watchedSandbox).Sandbox
	p.handles = append(p.handles, p.small)
	return sb
}

// later runs fn when the rule ends.
func (t *T) later(fn func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.cleanups = append(t.cleanups, fn)
}

// start starts a command in the background, and kills it when the rule ends.
func (t *T) start(sb backend.Sandbox, req *backend.ExecRequest) string {
	r, err := sb.Start(t.ctx, req)
	t.must("start", err)
	if !backend.ValidID(r.ID) || req.ID != "" && r.ID != req.ID {
		t.Fatalf("started %q as %q", req.ID, r.ID)
	}
	t.later(func() { t.kill(sb, r.ID) })
	return r.ID
}

// kill ends an exec, if its sandbox is there.
func (t *T) kill(sb backend.Sandbox, id string) *backend.ExecResult {
	r, err := sb.Kill(context.WithoutCancel(t.ctx), &backend.KillRequest{ID: id, Grace: new(time.Duration)})
	if errors.Is(err, backend.ErrGone) {
		return nil
	}
	t.must("kill", err)
	return &r.Result
}

// ended waits until an exec has.
func (t *T) ended(sb backend.Sandbox, id string) *backend.ExecResult {
	r, err := sb.Outcome(t.ctx, &backend.OutcomeRequest{ID: id, Wait: true})
	t.must("wait", err)
	if r.Result.ID != id || r.Result.Outcome == backend.OutcomeRunning {
		t.Fatalf("waited for %s, and got %+v", id, r.Result)
	}
	return &r.Result
}

// kept reads what is kept of a stream from an offset on.
func (t *T) kept(sb backend.Sandbox, req *backend.ReadOutputRequest) (text string, from int64) {
	o, err := sb.ReadOutput(t.ctx, req)
	t.must("read output", err)
	data, err := io.ReadAll(o)
	t.must("read output", errors.Join(err, o.Close()))
	return string(data), o.Offset
}

// printed waits until an exec has written text.
func (t *T) printed(sb backend.Sandbox, id, text string) {
	o, err := sb.ReadOutput(t.ctx, &backend.ReadOutputRequest{ID: id, Follow: true})
	t.must("read output", err)
	defer func() { t.must("close", o.Close()) }()
	var got strings.Builder
	buf := make([]byte, 4096)
	for !strings.Contains(got.String(), text) {
		n, err := o.Read(buf)
		got.Write(buf[:n])
		if err != nil {
			t.Fatalf("it never wrote %q, but %s; %v", text, short(got.String()), err)
		}
	}
}

// collector is a writer whose content can be looked at meanwhile.
type collector struct {
	mu   sync.Mutex
	text strings.Builder
}

func (c *collector) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.text.Write(p)
}

func (c *collector) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.text.String()
}

func (c *collector) holds(text string) bool { return strings.Contains(c.String(), text) }

// running runs a command beside the rule; what it returns waits for its end.
func (t *T) running(ctx context.Context, sb backend.Sandbox, req *backend.ExecRequest) func() ran {
	done := make(chan ran, 1)
	go func() { done <- t.execIn(ctx, sb, req) }()
	return func() ran { return <-done }
}
