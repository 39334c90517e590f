package host

import (
	"strings"

	"github.com/deep-sandbox/deep/core/backend"
)

// Reason classes why a plugin could not be started.
type Reason string

// Reasons, in the order things are looked at.
const (
	// ReasonMissing: no program of that name, or at that path.
	ReasonMissing Reason = "missing"
	// ReasonUnreadable: the file cannot be opened.
	ReasonUnreadable Reason = "unreadable"
	// ReasonDirectory: there is a directory in its place.
	ReasonDirectory Reason = "directory"
	// ReasonNotRegular: there is something else in its place.
	ReasonNotRegular Reason = "not regular"
	// ReasonNotExecutable: its mode does not allow it.
	ReasonNotExecutable Reason = "not executable"
	// ReasonWritable: somebody else could have changed or replaced it.
	ReasonWritable Reason = "writable by others"
	// ReasonChecksum: it is not the program that was expected.
	ReasonChecksum Reason = "checksum"
	// ReasonArchitecture: it is a program for another kind of machine.
	ReasonArchitecture Reason = "architecture"
	// ReasonFormat: the kernel knows no way to run it.
	ReasonFormat Reason = "format"
	// ReasonExited: it ended before it had said where to reach it.
	ReasonExited Reason = "exited"
	// ReasonTimeout: it did not answer in time.
	ReasonTimeout Reason = "timeout"
	// ReasonOutput: it printed something else than the handshake.
	ReasonOutput Reason = "output before handshake"
	// ReasonHandshake: its handshake is damaged, or not one deep can use.
	ReasonHandshake Reason = "handshake"
	// ReasonProtocol: it speaks another version of the protocol.
	ReasonProtocol Reason = "protocol version"
	// ReasonFaulty: it answered, and what it said makes no sense.
	ReasonFaulty Reason = "faulty"
)

// StartError says why a plugin could not be started. It is an ErrNotFound or
// ErrUnavailable of package backend, whose Error tells path and remedy.
type StartError struct {
	Reason Reason
	// Err is the failure in words.
	Err *backend.Error
	// Output holds the last lines the plugin printed, escaped for a terminal.
	Output []string
}

func (e *StartError) Error() string {
	s := e.Err.Error()
	if len(e.Output) > 0 {
		s += "\nits last lines:\n  " + strings.Join(e.Output, "\n  ")
	}
	return s
}

func (e *StartError) Unwrap() error { return e.Err }

var _ error = (*StartError)(nil)
