package cli

import (
	"context"
	"log/slog"
	"strings"
)

// logHandler writes what plugins log for people: a line each, warnings and worse,
// or all of it.
type logHandler struct {
	console *console
	level   slog.Level
	attrs   []slog.Attr
}

func newLogHandler(c *console, verbose bool) slog.Handler {
	h := &logHandler{console: c, level: slog.LevelWarn}
	if verbose {
		h.level = slog.LevelDebug
	}
	return h
}

func (h *logHandler) Enabled(_ context.Context, level slog.Level) bool { return level >= h.level }

func (h *logHandler) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	b.WriteString(strings.ToLower(r.Level.String()) + ": " + r.Message)
	add := func(a slog.Attr) bool {
		b.WriteString(" " + a.Key + "=" + a.Value.String())
		return true
	}
	for _, a := range h.attrs {
		add(a)
	}
	r.Attrs(add)
	h.console.say("%s", escapeLine(b.String()))
	return nil
}

func (h *logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	more := *h
	more.attrs = append(append([]slog.Attr{}, h.attrs...), attrs...)
	return &more
}

// WithGroup returns h: nobody groups here, and a flat line is what is read.
func (h *logHandler) WithGroup(string) slog.Handler { return h }

var _ slog.Handler = (*logHandler)(nil)
