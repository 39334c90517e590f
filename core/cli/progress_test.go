package cli

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/deep-sandbox/deep/core/backend"
)

func pull(layer string, current, total int64) backend.Progress {
	return backend.Progress{Phase: backend.PhasePull, Message: "Downloading", Layer: layer, Current: current, Total: total}
}

// TestProgressLines: without a terminal a pull is a line now and again.
func TestProgressLines(t *testing.T) {
	var out bytes.Buffer
	now := time.Unix(0, 0)
	p := newProgress(newConsole(&out))
	p.now = func() time.Time { return now }
	p.report(backend.Progress{Phase: backend.PhaseStart, Message: "starting"}) // not worth a line
	p.report(backend.Progress{Phase: backend.PhasePull, Message: "pulling x\x1b"})
	for range 1000 {
		p.report(pull("a", 1<<20, 4<<20))
	}
	now = now.Add(lineEach)
	p.report(pull("b", 1<<19, 4<<20))
	now = now.Add(lineEach)
	p.report(pull("b", 1<<19, 4<<20)) // nothing new
	now = now.Add(lineEach)
	p.report(pull("a", 4<<20, 4<<20))
	p.report(pull("a", 0, 4<<20)) // it is unpacked: no step back
	p.done(nil)
	want := `deep: pulling x\x1b
deep: pulling x\x1b: 1.5 of 8.0 MiB, 2 layers
deep: pulling x\x1b: 4.5 of 8.0 MiB, 2 layers
deep: pulling x\x1b: done
`
	if out.String() != want {
		t.Errorf("lines:\n%s\nwant:\n%s", out.String(), want)
	}

	out.Reset()
	p = newProgress(newConsole(&out))
	p.report(pull("a", 1, 2))
	p.done(errors.New("no"))
	if strings.Contains(out.String(), "done") {
		t.Errorf("a failed pull is said to be done:\n%s", out.String())
	}
}

// TestProgressBar: on a terminal it is one line, drawn anew and removed.
func TestProgressBar(t *testing.T) {
	var out bytes.Buffer
	c := &console{w: &out, width: 70}
	p := newProgress(c)
	p.report(backend.Progress{Phase: backend.PhasePull, Message: "pulling x"})
	p.report(pull("a", 1<<20, 4<<20))
	if want := "pulling x [######..................] 1.0 of 4.0 MiB, 1 layer"; c.last != want {
		t.Errorf("the line is %q, want %q", c.last, want)
	}
	_, _ = c.Write([]byte("deep: a line between\n"))
	if !strings.HasSuffix(out.String(), "\r\x1b[Kdeep: a line between\n"+c.last) {
		t.Errorf("a line is not above the bar: %q", out.String())
	}
	p.report(backend.Progress{Phase: backend.PhasePull, Message: strings.Repeat("long ", 50)})
	if n := len([]rune(c.last)); n >= c.width {
		t.Errorf("the line has %d characters, the terminal %d columns", n, c.width)
	}
	p.done(nil)
	if c.last != "" || !strings.HasSuffix(out.String(), "\r\x1b[K") {
		t.Errorf("the bar stays: %q", out.String())
	}
	if lines := strings.Count(out.String(), "\n"); lines != 1 {
		t.Errorf("%d lines, want the one that was said", lines)
	}
}
