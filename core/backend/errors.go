package backend

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// The sentinels. Find them with errors.Is.
var (
	ErrNotFound     = errors.New("not found")
	ErrExists       = errors.New("already exists")
	ErrIsDirectory  = errors.New("is a directory")
	ErrNotDirectory = errors.New("not a directory")
	ErrPermission   = errors.New("permission denied")
	ErrInvalid      = errors.New("invalid")
	ErrTooLarge     = errors.New("too large")
	ErrConflict     = errors.New("conflict")
	ErrNoSpace      = errors.New("no space left")
	ErrUnsupported  = errors.New("not supported")
	// ErrGone: the sandbox no longer exists.
	ErrGone = errors.New("sandbox is gone")
	// ErrUnavailable: the engine or the plugin is out of reach, or misbehaves.
	ErrUnavailable = errors.New("unavailable")
)

// Kinds are the sentinels an Error may be of, in the order of the protocol's
// ErrorKind, with the two of package context at the end.
var Kinds = []error{
	ErrNotFound, ErrExists, ErrIsDirectory, ErrNotDirectory, ErrPermission,
	ErrInvalid, ErrTooLarge, ErrConflict, ErrNoSpace, ErrUnsupported,
	ErrGone, ErrUnavailable, context.Canceled, context.DeadlineExceeded,
}

// Error is what every failure looks like, whatever process it comes from.
type Error struct {
	// Kind is one of Kinds; errors.Is finds it.
	Kind error
	// Backend that failed, "" when the caller knows.
	Backend string
	// Op is the operation: "exec", "read file", "create".
	Op string
	// Path, image, id or option it is about, "" when there is none.
	Path string
	// Message says what is wrong, in a few words, without the fields above. The
	// kind's own words are used when it is empty.
	Message string
	// Hint says what to do next, as a sentence or a command.
	Hint string
	// Count goes with an ErrConflict of Edit: how often the text was found.
	Count int
	// Err is a cause in this process; it does not cross the wire.
	Err error
}

// Error returns one line, the hint after a dash. The path is quoted when
// printing it plainly would be ambiguous or move the cursor, and cut when it is
// long.
func (e *Error) Error() string {
	var b strings.Builder
	for _, part := range []string{e.Backend, e.Op, PrintablePath(e.Path)} {
		if part != "" {
			b.WriteString(part)
			b.WriteString(": ")
		}
	}
	switch {
	case e.Message != "":
		b.WriteString(e.Message)
	case e.Kind != nil:
		b.WriteString(e.Kind.Error())
	default:
		b.WriteString("failed")
	}
	if e.Err != nil {
		fmt.Fprintf(&b, ": %v", e.Err)
	}
	if e.Hint != "" {
		b.WriteString(" — ")
		b.WriteString(e.Hint)
	}
	return b.String()
}

// Unwrap lets errors.Is and errors.As find the kind and the cause.
func (e *Error) Unwrap() []error {
	var errs []error
	if e.Kind != nil {
		errs = append(errs, e.Kind)
	}
	if e.Err != nil {
		errs = append(errs, e.Err)
	}
	return errs
}

// KindOf returns which of Kinds err is, nil if none.
func KindOf(err error) error {
	var e *Error
	if errors.As(err, &e) && e.Kind != nil {
		return e.Kind
	}
	for _, k := range Kinds {
		if errors.Is(err, k) {
			return k
		}
	}
	return nil
}

// HintOf returns the remedy an error carries, "" if none.
func HintOf(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Hint
	}
	return ""
}

// CrashError is an ErrUnavailable: the plugin's process ended or stopped
// answering while it was needed.
type CrashError struct {
	// Plugin is the backend's name.
	Plugin string
	// Reason says how it ended: "exited with status 2", "killed by signal 9".
	Reason string
	// Stderr holds its last lines, oldest first, escaped for a terminal.
	Stderr []string
}

func (e *CrashError) Error() string {
	s := fmt.Sprintf("plugin %s: %s", e.Plugin, e.Reason)
	if len(e.Stderr) > 0 {
		s += "; its last lines:\n  " + strings.Join(e.Stderr, "\n  ")
	}
	return s
}

func (e *CrashError) Unwrap() error { return ErrUnavailable }

var (
	_ error = (*Error)(nil)
	_ error = (*CrashError)(nil)
)
