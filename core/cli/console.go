package cli

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"unicode/utf8"
)

// A console is standard error: lines of text, and on a terminal one line at the
// end that is drawn anew as things go on. It is safe for concurrent use.
type console struct {
	mu sync.Mutex
	w  io.Writer
	// width of the terminal; 0 if it is none, and there is no last line then.
	width int
	// last line as drawn, "" for none.
	last string
	// isRaw says that the terminal does not begin a line behind a \n.
	isRaw bool
}

func newConsole(w io.Writer) *console {
	width, ok := terminal(w)
	if !ok || os.Getenv("TERM") == "dumb" {
		width = 0
	}
	return &console{w: w, width: width}
}

// live reports whether there can be a last line.
func (c *console) live() bool { return c.width > 0 }

// Write writes text above the last line. It should be whole lines.
func (c *console) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last != "" {
		fmt.Fprint(c.w, "\r\x1b[K")
		defer fmt.Fprint(c.w, c.last)
	}
	if c.isRaw {
		_, err := c.w.Write(bytes.ReplaceAll(p, []byte("\n"), []byte("\r\n")))
		return len(p), err
	}
	return c.w.Write(p)
}

// raw says that the terminal passes on bytes as they are, or no more so.
func (c *console) raw(is bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.isRaw = is && c.width > 0
}

// say writes one line that begins with the program's name.
func (c *console) say(format string, args ...any) {
	_, _ = fmt.Fprintf(c, "deep: %s\n", strings.TrimSuffix(fmt.Sprintf(format, args...), "\n"))
}

// status draws the last line; "" removes it. Without a terminal it does nothing.
func (c *console) status(line string) {
	if !c.live() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if line == c.last {
		return
	}
	if c.last != "" {
		fmt.Fprint(c.w, "\r\x1b[K")
	}
	c.last = clip(line, c.width-1) // a full line would wrap
	fmt.Fprint(c.w, c.last)
}

// clip returns at most width characters of a line.
func clip(line string, width int) string {
	if utf8.RuneCountInString(line) <= width {
		return line
	}
	return string([]rune(line)[:max(width-1, 0)]) + "…"
}
