package procrunner

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/deep-sandbox/deep/core/backend"
)

const (
	// maxLine bounds a line in bytes; go-plugin's handshake takes about 1 KiB.
	maxLine = 16 << 10
	// tailLines and tailLine bound what is kept for a crash's error.
	tailLines = 200
	tailLine  = 1 << 10
)

// lineReader splits a stream into lines of bounded length.
type lineReader struct{ r *bufio.Reader }

func newLineReader(r io.Reader) *lineReader {
	return &lineReader{r: bufio.NewReaderSize(r, maxLine)}
}

// next returns the next line without its end. What a line has beyond maxLine is
// read and dropped. With an error comes what was read of a last line.
func (l *lineReader) next() (string, error) {
	head, err := l.r.ReadSlice('\n')
	if err != bufio.ErrBufferFull { //nolint:errorlint // bufio returns it bare
		return strings.TrimRight(string(head), "\r\n"), err
	}
	line, dropped := string(head), 0
	for err == bufio.ErrBufferFull { //nolint:errorlint // as above
		head, err = l.r.ReadSlice('\n')
		dropped += len(head)
	}
	return fmt.Sprintf("%s… (%d bytes more)", line, dropped), err
}

// tail keeps the last lines of a plugin's output.
type tail struct {
	mu    sync.Mutex
	ring  [tailLines]string
	count int
}

func (t *tail) add(line string) {
	if len(line) > tailLine {
		line = strings.ToValidUTF8(line[:tailLine], "") + "…"
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ring[t.count%tailLines] = backend.Printable(line)
	t.count++
}

func (t *tail) lines() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	kept := min(t.count, tailLines)
	lines := make([]string, 0, kept)
	for i := t.count - kept; i < t.count; i++ {
		lines = append(lines, t.ring[i%tailLines])
	}
	return lines
}
