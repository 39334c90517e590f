package backendtest

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"sync"
	"syscall"

	"github.com/deep-sandbox/deep/core/backend"
)

// What is typed to interrupt a command, and to end its input.
const (
	interrupt  = 3
	endOfInput = 4
)

// terminal is a pseudo-terminal: it edits lines, echoes, and sends signals.
type terminal struct {
	exec    *execution
	in, out *pipe

	mu   sync.Mutex
	size backend.WindowSize
	line []byte
	raw  bool // what is typed is passed on as it is
	echo bool
	cook bool // what is written gets \r\n for \n
}

func newTerminal(x *execution, size backend.WindowSize, in, out *pipe) *terminal {
	return &terminal{exec: x, in: in, out: out, size: size, echo: true, cook: true}
}

func (t *terminal) resize(size backend.WindowSize) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.size = size
}

// written returns what comes out of the terminal for what is written to it.
func (t *terminal) written(b []byte) []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.cook {
		return b
	}
	return bytes.ReplaceAll(b, []byte("\n"), []byte("\r\n"))
}

// typed takes what is typed.
func (t *terminal) typed(b []byte, cancelled <-chan struct{}) (int, error) {
	for n, c := range b {
		if err := t.key(c, cancelled); err != nil {
			return n, err
		}
	}
	return len(b), nil
}

func (t *terminal) key(c byte, cancelled <-chan struct{}) error {
	t.mu.Lock()
	if t.raw {
		t.mu.Unlock()
		_, err := t.in.write([]byte{c}, cancelled)
		return err
	}
	if c == '\r' {
		c = '\n'
	}
	echo := string(c)
	var send []byte
	closing, interrupted := false, false
	switch c {
	case interrupt:
		echo, t.line, interrupted = "^C", nil, true
	case endOfInput:
		echo, send, t.line = "", t.line, nil
		closing = len(send) == 0
	default:
		if t.line = append(t.line, c); c == '\n' {
			send, t.line = t.line, nil
		}
	}
	if !t.echo {
		echo = ""
	}
	t.mu.Unlock()
	if echo != "" {
		_, _ = t.out.write(t.written([]byte(echo)), cancelled) // of a command that has ended, nobody's
	}
	if interrupted {
		t.exec.signalAll(int(syscall.SIGINT))
	}
	if closing {
		t.in.finish(io.EOF)
		return nil
	}
	_, err := t.in.write(send, cancelled)
	return err
}

// stty shows and changes a terminal.
func stty(p *proc, argv []string) status {
	t := isTerminal(p.in)
	if t == nil {
		return p.fails(argv, "standard input is no terminal")
	}
	if len(argv) == 2 && argv[1] == "size" {
		t.mu.Lock()
		size := t.size
		t.mu.Unlock()
		return p.print(fmt.Sprintf("%d %d\n", size.Rows, size.Cols))
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, flag := range argv[1:] {
		off := strings.HasPrefix(flag, "-")
		switch strings.TrimPrefix(flag, "-") {
		case "raw":
			t.raw, t.cook = !off, off
		case "echo":
			t.echo = !off
		case "opost", "onlcr":
			t.cook = !off
		default:
			fmt.Fprintf(p.err, "stty: %s is not known\n", flag)
			return status{code: 1}
		}
	}
	return status{}
}
