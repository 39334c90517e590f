package backend

import (
	"io"
	"reflect"
	"time"
)

// ExecRequest describes one run of one command.
type ExecRequest struct {
	// ID of this exec, made by the caller so that it can ask again after losing
	// the answer. NewID is used if empty. ErrInvalid unless ValidID.
	ID string

	// Exactly one of Argv and Shell. Argv[0] is looked for in the command's PATH
	// unless it holds a slash. Shell runs as /bin/sh -c.
	Argv  []string
	Shell string

	// Env is added to the sandbox's environment and wins over it.
	Env map[string]string
	// Dir to run in, absolute or relative to the workspace; the workspace itself
	// if empty.
	Dir string

	// Timeout of the command. Zero means the sandbox's default, Unlimited none;
	// a negative one is ErrInvalid.
	Timeout time.Duration
	// Grace is what a command gets between SIGTERM and SIGKILL; DefaultGrace if
	// nil. Zero kills at once, at most one hour.
	Grace *time.Duration

	// TTY gives the command a pseudo-terminal of this size, nil none: it is the
	// command's controlling terminal, and its stdin, stdout and stderr. Everything
	// it writes counts as stdout. ErrUnsupported without CapTTY.
	TTY *WindowSize

	// Stdin is copied to the command until it returns io.EOF; nil is an empty
	// one, on a terminal too. On a terminal the end is a ^D, as typed. Exec does not wait for a Read that hangs once the command has ended.
	// An error other than io.EOF cancels the command and is returned.
	Stdin io.Reader
	// KeepStdin leaves the input of a command that Start starts open, for
	// WriteStdin. Without it the input is empty. It is ErrInvalid for Exec.
	KeepStdin bool
	// Stdout and Stderr get the output as it comes, each from one goroutine at a
	// time. A slow writer slows the command. Nil discards.
	Stdout, Stderr io.Writer
	// Merge makes the command's stderr its stdout: Stdout gets everything in the
	// order it was written, and all of it counts as stdout. One value for both
	// writers means the same.
	Merge bool

	// OutputLimit stops the command once it has written so many bytes to stdout
	// and stderr together; what is over is dropped. 0 means no limit.
	OutputLimit int64
}

// Merged reports whether stdout and stderr are one stream.
func (r *ExecRequest) Merged() bool {
	return r.Merge || r.TTY != nil || r.Stdout != nil && r.Stderr != nil && reflect.TypeOf(r.Stdout).Comparable() &&
		reflect.TypeOf(r.Stderr).Comparable() && r.Stdout == r.Stderr
}

// WindowSize of a terminal, in characters, each at least 1.
type WindowSize struct{ Rows, Cols uint16 }

// ExecResult tells how a command ended. Exactly one of the outcomes holds.
type ExecResult struct {
	// ID of the exec.
	ID string
	// Outcome in one word.
	Outcome Outcome
	// ExitCode is the program's own, 128+Signal after a signal, 127 or 126 when
	// it could not be started.
	ExitCode int
	// Signal that ended the program, 0 if none did.
	Signal int
	// StartError says why the program did not start, with errno's name.
	StartError string
	// Duration from start to end.
	Duration time.Duration
	// UserTime and SystemTime are CPU time of the program and of the children it
	// waited for.
	UserTime, SystemTime time.Duration
	// MaxRSS is the largest resident size of one process among those, in bytes.
	// It is never below the peak of what started the program, whose memory a
	// child shares until it executes: some 14 MB where a guest does.
	MaxRSS int64
	// StdoutBytes and StderrBytes is what was written, read or not.
	StdoutBytes, StderrBytes int64
	// OOMPossible: a SIGKILL that we did not send ended the program, and the
	// kernel may have sent it for want of memory. It is OutcomeOOM where that is
	// known.
	OOMPossible bool
	// Degraded repeats SandboxInfo.Degraded: what this result cannot promise.
	Degraded []string
}

// Outcome of an exec.
type Outcome string

// Outcomes.
const (
	OutcomeRunning       Outcome = "running"
	OutcomeExit          Outcome = "exit"           // it ended by itself
	OutcomeSignal        Outcome = "signal"         // a signal we did not send
	OutcomeTimeout       Outcome = "timeout"        // we ended it at its deadline
	OutcomeCancelled     Outcome = "cancelled"      // we ended it as the caller asked
	OutcomeOutputLimited Outcome = "output_limited" // we ended it at OutputLimit
	OutcomeStartFailed   Outcome = "start_failed"   // it never ran
	OutcomeOOM           Outcome = "oom"            // the kernel ended it at the memory limit
	OutcomeLost          Outcome = "sandbox_lost"   // the sandbox ended under it
	OutcomeUnknown       Outcome = "unknown"        // nobody can tell any more
)

// OutcomeRequest asks what became of an exec.
type OutcomeRequest struct {
	ID string
	// Wait until it has ended, or ctx has.
	Wait bool
}

// OutcomeReply tells it. While the exec runs Result.Outcome is OutcomeRunning, and
// Duration, StdoutBytes and StderrBytes tell of it so far.
type OutcomeReply struct{ Result ExecResult }
