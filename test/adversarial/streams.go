package main

import (
	"bytes"
	"context"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/deep-sandbox/deep/core/backend"
)

// firstLine is a writer that tells the first line it gets, and keeps the rest.
type firstLine struct {
	line chan string

	mu   sync.Mutex
	text bytes.Buffer
	told bool
}

func newFirstLine() *firstLine { return &firstLine{line: make(chan string, 1)} }

func (f *firstLine) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.text.Write(p)
	if line, _, ok := strings.Cut(f.text.String(), "\n"); ok && !f.told {
		f.told = true
		f.line <- line
	}
	return len(p), nil
}

// rest is what came after the first line.
func (f *firstLine) rest() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, rest, _ := strings.Cut(f.text.String(), "\n")
	return rest
}

// A running attack has told its first line, and goes on until it is ended.
type running struct {
	*firstLine
	// first is that line.
	first  string
	cancel context.CancelFunc
	ended  <-chan error
}

// start starts an attack and waits for its first line.
func (t *trial) start(sb backend.Sandbox, args ...string) *running {
	r := &running{firstLine: newFirstLine()}
	req := t.request(args[0], args[1:]...)
	req.Timeout, req.Stdout = backend.Unlimited, r
	ctx, cancel := context.WithCancel(t.ctx)
	r.cancel = cancel
	r.ended = beside(func() error { _, err := sb.Exec(ctx, req); return err })
	select {
	case r.first = <-r.line:
		return r
	case err := <-r.ended:
		cancel()
		t.fail("it ended before it was ready: %v", err)
	case <-time.After(attackTime):
		cancel()
		t.fail("it was never ready")
	}
	return nil
}

// end cancels it, and returns how it ended.
func (r *running) end() error {
	r.cancel()
	return <-r.ended
}

// openToAll lets everybody use a file.
func openToAll(path string) error { return os.Chmod(path, 0o777) }
