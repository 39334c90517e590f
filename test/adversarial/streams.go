package main

import (
	"bytes"
	"os"
	"strings"
	"sync"
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

// openToAll lets everybody use a file.
func openToAll(path string) error { return os.Chmod(path, 0o777) }
