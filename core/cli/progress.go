package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/deep-sandbox/deep/core/backend"
)

// lineEach is the time between two lines about one pull where there is no
// terminal: a log wants to know that it goes on, not each byte.
const lineEach = 5 * time.Second

// A progress shows how far the making of a sandbox is: as a bar over all layers
// on a terminal, as a line now and again otherwise.
type progress struct {
	console *console
	now     func() time.Time

	title string
	// layers by their id, those of which the size is known.
	layers map[string]*layer
	said   time.Time
	shown  string
}

type layer struct{ current, total int64 }

func newProgress(c *console) *progress {
	return &progress{console: c, now: time.Now, layers: map[string]*layer{}}
}

// report takes one step. It is the callback of a CreateRequest.
func (p *progress) report(step backend.Progress) {
	message := escapeLine(step.Message)
	if step.Phase != backend.PhasePull {
		// All but a pull is over in a moment: nothing to write into a log.
		p.console.status(message)
		return
	}
	if step.Layer == "" {
		p.title = message
	} else if step.Total > 0 {
		p.count(step)
	}
	if p.title == "" {
		p.title = "pulling the image"
	}
	if p.console.live() {
		p.console.status(p.title + p.bar())
		return
	}
	if now := p.now(); p.said.IsZero() || now.Sub(p.said) >= lineEach {
		if line := p.title + p.sums(); line != p.shown {
			p.console.say("%s", line)
			p.said, p.shown = now, line
		}
	}
}

// count adds up what is known of a layer. An engine counts its bytes again as it
// unpacks it; the bar does not go back for that.
func (p *progress) count(step backend.Progress) {
	l := p.layers[step.Layer]
	if l == nil {
		l = &layer{}
		p.layers[step.Layer] = l
	}
	l.total = max(l.total, step.Total)
	l.current = min(max(l.current, step.Current), l.total)
}

// done removes the bar; a pull is said to be over where it was said to go on.
func (p *progress) done(err error) {
	p.console.status("")
	if err == nil && !p.said.IsZero() {
		p.console.say("%s: done", p.title)
	}
}

func (p *progress) sum() (current, total int64) {
	for _, l := range p.layers {
		current += l.current
		total += l.total
	}
	return current, total
}

// sums is "12.3 of 45.6 MiB, 5 layers", "" while nothing is known.
func (p *progress) sums() string {
	current, total := p.sum()
	if total == 0 {
		return ""
	}
	layers := "1 layer"
	if n := len(p.layers); n > 1 {
		layers = fmt.Sprintf("%d layers", n)
	}
	const mib = 1 << 20
	return fmt.Sprintf(": %.1f of %.1f MiB, %s", float64(current)/mib, float64(total)/mib, layers)
}

// barWidth is the columns of a bar.
const barWidth = 24

func (p *progress) bar() string {
	current, total := p.sum()
	if total == 0 {
		return " …"
	}
	full := int(barWidth * current / total)
	return " [" + strings.Repeat("#", full) + strings.Repeat(".", barWidth-full) + "]" + strings.TrimPrefix(p.sums(), ":")
}
