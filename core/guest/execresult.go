package guest

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"github.com/deep-sandbox/deep/core/backend"
)

// Exit codes of a program that did not start, as a shell has them.
const (
	codeNotExecutable = 126
	codeNotFound      = 127
)

// result tells how the command ended, once it is dead.
func (x *execution) result() *backend.ExecResult {
	r := x.soFar()
	x.mu.Lock()
	r.Outcome = x.reason
	x.mu.Unlock()
	if !x.reaped {
		// It was sent SIGKILL, and dies of it when the kernel lets it.
		r.Signal, r.ExitCode = int(unix.SIGKILL), 128+int(unix.SIGKILL)
		return &r
	}
	e := x.task.ended()
	r.Duration = e.at.Sub(x.started)
	r.UserTime, r.SystemTime = time.Duration(e.usage.Utime.Nano()), time.Duration(e.usage.Stime.Nano())
	// Never below the guest's own peak, which the kernel counts in: until it
	// executes the program, a child shares the guest's memory.
	r.MaxRSS = e.usage.Maxrss << 10
	if e.status.Signaled() {
		r.Signal = int(e.status.Signal())
		r.ExitCode = 128 + r.Signal
	} else {
		r.ExitCode = e.status.ExitStatus()
	}
	if r.Outcome == "" {
		r.Outcome, r.OOMPossible = x.natural, x.oomPossible
	}
	return &r
}

// soFar tells what is known while the command runs.
func (x *execution) soFar() backend.ExecResult {
	x.mu.Lock()
	defer x.mu.Unlock()
	r := backend.ExecResult{ID: x.plan.id, Outcome: backend.OutcomeRunning, Degraded: x.sandbox.info.Degraded}
	if !x.started.IsZero() {
		r.Duration = time.Since(x.started)
		r.StdoutBytes = x.stdout.bytes.Load()
		if x.stderr != nil {
			r.StderrBytes = x.stderr.bytes.Load()
		}
	}
	return r
}

// startFailed tells why a program did not start.
func (x *execution) startFailed(program string, errno unix.Errno) *backend.ExecResult {
	r := &backend.ExecResult{
		ID: x.plan.id, Outcome: backend.OutcomeStartFailed, ExitCode: codeNotExecutable,
		StartError: errnoText(errno), Degraded: x.sandbox.info.Degraded,
	}
	if errno == unix.ENOENT {
		r.ExitCode = codeNotFound
	}
	r.StartError += " (" + backend.PrintablePath(program) + ")"
	return r
}

// notStarted sorts out why a domain could not start a program: because of the
// program, which is a result, or because of the sandbox, which is an error too.
func (x *execution) notStarted(program string, err error) (*backend.ExecResult, error) {
	var errno unix.Errno
	if !errors.As(err, &errno) {
		return nil, failed(x.op, "", err)
	}
	switch errno {
	case unix.EAGAIN, unix.ENOMEM, unix.EMFILE, unix.ENFILE, unix.ENOSPC:
		return x.startFailed(program, errno), &backend.Error{Kind: backend.ErrUnavailable, Op: x.op,
			Message: "no process could be started: " + errnoText(errno),
			Hint:    "the sandbox has no processes, memory or descriptors left; end a command, or give it more"}
	case unix.ENOENT:
		r := x.startFailed(program, errno)
		r.StartError += x.missingPart(program)
		return r, nil
	}
	return x.startFailed(program, errno), nil
}

// missingPart says what is missing of a program that is there itself, "" if it is
// not.
func (x *execution) missingPart(program string) string {
	if program[0] != '/' {
		program = x.plan.dir + "/" + program
	}
	var name string
	err := x.sandbox.files.doAnyway(func() error {
		if err := executable(program); err != nil {
			return err
		}
		name = interpreterOf(program)
		return nil
	})
	switch {
	case err != nil:
		return ""
	case name == "":
		return ": the program is there, the interpreter it names is not"
	}
	return ": the program is there, its interpreter is not (" + backend.PrintablePath(name) + ")"
}
