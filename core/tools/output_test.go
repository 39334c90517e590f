package tools_test

import (
	"context"
	"fmt"
	"io"
	"regexp"
	"strings"
	"testing"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/tools"
)

// printed is a command of which the test says what it has printed, and what is
// still kept of that.
type printed struct {
	backend.Sandbox
	result backend.ExecResult
	all    string
	// first byte that is kept.
	first int64
	// reads counts bytes that were read; drop, if not nil, is called by each.
	reads int64
	drop  func()
}

func (p *printed) Outcome(_ context.Context, req *backend.OutcomeRequest) (*backend.OutcomeReply, error) {
	p.result.ID, p.result.StdoutBytes = req.ID, int64(len(p.all))
	return &backend.OutcomeReply{Result: p.result}, nil
}

func (p *printed) ReadOutput(_ context.Context, req *backend.ReadOutputRequest) (*backend.Output, error) {
	at := max(req.Offset, p.first)
	return &backend.Output{Offset: at, ReadCloser: io.NopCloser(&keptReader{p, at, strings.NewReader(p.all[at:])})}, nil
}

type keptReader struct {
	p  *printed
	at int64
	r  *strings.Reader
}

func (k *keptReader) Read(b []byte) (int, error) {
	if k.p.drop != nil {
		k.p.drop()
	}
	if k.at < k.p.first {
		return 0, &backend.Error{Kind: backend.ErrConflict, Message: "dropped"}
	}
	n, err := k.r.Read(b[:min(len(b), 1000)])
	k.at += int64(n)
	k.p.reads += int64(n)
	return n, err
}

func running(all string) *printed {
	return &printed{result: backend.ExecResult{Outcome: backend.OutcomeRunning, Duration: 1}, all: all}
}

var more = regexp.MustCompile(`(?:and |with )offset=(\d+)\]\n`)

// TestReadTheRest: what execute cut is read in parts, each byte of it once, and
// nothing else.
func TestReadTheRest(t *testing.T) {
	b := newBench(t)
	a := b.call("execute", m{"command": "yes 123456789 | head -c 123456"})
	head, rest, cut := strings.Cut(a.Text, "[")
	_, tail, _ := strings.Cut(rest, "]\n")
	if !cut || !a.Truncated {
		t.Fatalf("it is not cut: %q", a.Text)
	}
	pages := 0
	for notice := more.FindStringSubmatch(a.Text); notice != nil; notice = more.FindStringSubmatch(a.Text) {
		a = b.call("read_output", m{"id": "cmd-1", "offset": atoi(t, notice[1])})
		page, _, _ := strings.Cut(a.Text, "[")
		head += page
		pages++
	}
	all := strings.TrimSuffix(head, "Command succeeded.\n")
	if want := strings.Repeat("123456789\n", 12346)[:123456] + "\n"; all != want {
		t.Errorf("%d bytes in %d pages, want %d", len(all), pages, len(want))
	}
	if pages != 4 || !strings.HasSuffix(all, tail) {
		t.Errorf("%d pages of at most 30,000 bytes", pages)
	}
	// Both ends count as read.
	b.ok("read_output", m{"id": "cmd-1"}, "No new output; offset=0 reads from the beginning.\nCommand succeeded.\n")
}

func atoi(t *testing.T, s string) (n int64) {
	t.Helper()
	if _, err := fmt.Sscan(s, &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestNewOutputCut: of much that is new both ends are shown, and of a flood the
// middle is not even read.
func TestNewOutputCut(t *testing.T) {
	p := running("")
	b := benchOn(t, p)
	for _, lines := range []int{5_000, 500_000} {
		from := len(p.all)
		var printed strings.Builder
		for i := range lines {
			fmt.Fprintf(&printed, "line %06d\n", i)
		}
		p.all += printed.String()
		p.reads = 0
		a := b.call("read_output", m{"id": "x"})
		notice := fmt.Sprintf("line 000832\n[%d bytes of output are missing here. To read them, use read_output with id=x and offset=%d]\nline ", lines*12-833*12-1666*12, from+833*12)
		if !a.Truncated || !strings.HasPrefix(a.Text, "line 000000\n") || !strings.Contains(a.Text, notice) ||
			!strings.HasSuffix(a.Text, fmt.Sprintf("line %06d\nx is running, for 0.0 s.\n", lines-1)) {
			t.Errorf("%d lines, truncated %v: %.200q … %q\nwant %q", lines, a.Truncated, a.Text, a.Text[9_900:10_300], notice)
		}
		if p.reads > 1<<20 {
			t.Errorf("%d bytes were read to show %d", p.reads, len(a.Text))
		}
	}
}

// TestHalfCharacters: what is printed of a character so far waits for its end.
func TestHalfCharacters(t *testing.T) {
	p := running("caf\xc3")
	b := benchOn(t, p)
	b.ok("read_output", m{"id": "x"}, "caf\nx is running, for 0.0 s.\n")
	b.ok("read_output", m{"id": "x", "offset": 0}, "caf\nx is running, for 0.0 s.\n")
	p.all += "\xa9 \xff"
	b.ok("read_output", m{"id": "x"}, "é \uFFFD\nx is running, for 0.0 s.\n")
	p.all, p.result.Outcome = p.all+"\xe2\x82", backend.OutcomeExit
	b.ok("read_output", m{"id": "x"}, "\uFFFD\nCommand succeeded.\n")
	p.all = strings.Repeat("€", 10_001) // 3 bytes each
	for _, offset := range []int{0, 3} {
		if a := b.call("read_output", m{"id": "x", "offset": offset}); strings.Contains(a.Text, "\uFFFD") {
			t.Errorf("from %d: a character is cut in two", offset)
		}
	}
}

// TestDroppedOutput: nothing is left out unsaid.
func TestDroppedOutput(t *testing.T) {
	p := running("0123456789")
	p.first = 4
	b := benchOn(t, p)
	b.ok("read_output", m{"id": "x"}, "[4 bytes from offset 0 on were dropped: only the newest output is kept]\n456789\nx is running, for 0.0 s.\n")
	b.ok("read_output", m{"id": "x", "offset": 3}, "[1 byte from offset 3 on were dropped: only the newest output is kept]\n456789\nx is running, for 0.0 s.\n")

	// Dropped as it is read: once, and for ever.
	for name, offset := range map[string]int{"all that is new": -1, "a page": 0} {
		dropping := running("0123456789")
		dropping.drop = func() { dropping.first, dropping.drop = 5, nil }
		benchOn(t, dropping).ok("read_output", m{"id": "x", "offset": offset},
			"[5 bytes from offset 0 on were dropped: only the newest output is kept]\n56789\nx is running, for 0.0 s.\n")
		flood := running(strings.Repeat("x", 2<<20))
		flood.drop = func() { flood.first += 300_000 }
		a := benchOn(t, flood).call("read_output", m{"id": "x", "offset": offset})
		if !a.Failed || !strings.HasPrefix(a.Text, "x prints faster than can be read") {
			t.Errorf("%s of a flood: %.300q", name, a.Text)
		}
	}
}

// TestReadOutputDenied: execute does not speak of a tool that is not there.
func TestReadOutputDenied(t *testing.T) {
	b := newBench(t)
	b.Set = tools.New(tools.Options{
		Sandbox: func(context.Context) (backend.Sandbox, error) { return b.sb, nil }, Deny: []string{"read_output"},
	}, tools.State{})
	a := b.call("execute", m{"command": "yes | head -c 40000"})
	if !a.Truncated || strings.Contains(a.Text, "read_output") || !strings.Contains(a.Text, "read_file") {
		t.Errorf("%.300q", a.Text)
	}
}
