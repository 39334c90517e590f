package procrunner

import (
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/deep-sandbox/deep/core/backend"
)

// linesPerSecond is how much of a plugin's log goes on; what is above is counted
// and dropped, so that a flood costs the reading and no more.
const linesPerSecond = 500

// pluginLog passes what a plugin logs on to the host's logger.
type pluginLog struct {
	logger *slog.Logger

	mu      sync.Mutex
	second  time.Time
	passed  int
	dropped int
}

func newPluginLog(logger *slog.Logger) *pluginLog { return &pluginLog{logger: logger} }

// line logs one line of standard error, hclog's JSON or anything else, and
// returns it as a person would read it.
func (l *pluginLog) line(text string) string {
	level, message, fields, ok := parseHCLog(text)
	if !ok {
		return l.raw(text)
	}
	var b strings.Builder
	b.WriteString("[" + level.String() + "] " + message)
	attrs := make([]slog.Attr, 0, len(fields))
	for _, key := range slices.Sorted(maps.Keys(fields)) {
		value := plain(fields[key])
		b.WriteString(" " + key + "=" + value)
		attrs = append(attrs, slog.String(backend.Printable(key), backend.Printable(value)))
	}
	if l.admit() {
		l.logger.LogAttrs(context.Background(), level, backend.Printable(message), attrs...)
	}
	return b.String()
}

// raw logs a line that has no level. It is the plugin's runtime that writes so,
// or something the plugin started.
func (l *pluginLog) raw(text string) string {
	if l.admit() {
		l.logger.Debug(backend.Printable(text))
	}
	return text
}

// admit reports whether one more line may be logged in this second.
func (l *pluginLog) admit() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := time.Now(); now.Sub(l.second) >= time.Second {
		if l.dropped > 0 {
			l.logger.Warn("the plugin logs too much", "dropped", l.dropped)
		}
		l.second, l.passed, l.dropped = now, 0, 0
	}
	if l.passed >= linesPerSecond {
		l.dropped++
		return false
	}
	l.passed++
	return true
}

// parseHCLog takes a line of hclog's JSON apart. Nothing in it is trusted to be
// of the type it should be.
func parseHCLog(text string) (level slog.Level, message string, fields map[string]any, ok bool) {
	if !strings.HasPrefix(text, "{") || json.Unmarshal([]byte(text), &fields) != nil {
		return 0, "", nil, false
	}
	raw, ok := fields["@message"]
	if !ok {
		return 0, "", nil, false
	}
	message = plain(raw)
	switch fields["@level"] {
	case "error":
		level = slog.LevelError
	case "warn":
		level = slog.LevelWarn
	case "info":
		level = slog.LevelInfo
	default:
		level = slog.LevelDebug
	}
	for key := range fields {
		if strings.HasPrefix(key, "@") {
			delete(fields, key)
		}
	}
	return level, message, fields, true
}

// plain is a JSON value as text.
func plain(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(b)
}
