package host

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/internal/procrunner"
)

// programFaults maps what procrunner finds to what is told, with the remedy.
var programFaults = map[procrunner.Fault]struct {
	reason Reason
	kind   error
	hint   string
}{
	procrunner.FaultMissing:       {ReasonMissing, backend.ErrNotFound, "install the plugin there, or name another path"},
	procrunner.FaultUnreadable:    {ReasonUnreadable, backend.ErrPermission, "make it readable for this user"},
	procrunner.FaultDirectory:     {ReasonDirectory, backend.ErrUnavailable, "put the plugin's program there"},
	procrunner.FaultNotRegular:    {ReasonNotRegular, backend.ErrUnavailable, "put the plugin's program there"},
	procrunner.FaultNotExecutable: {ReasonNotExecutable, backend.ErrPermission, "chmod +x"},
	procrunner.FaultWritable:      {ReasonWritable, backend.ErrPermission, "check it, then chmod go-w, or have it owned by you or root"},
	procrunner.FaultDirectoryWritable: {ReasonWritable, backend.ErrPermission,
		"check the program, then chmod go-w its directory, or have that owned by you or root"},
	procrunner.FaultArchitecture: {ReasonArchitecture, backend.ErrUnavailable, "install the plugin for this machine"},
	procrunner.FaultFormat:       {ReasonFormat, backend.ErrUnavailable, "is it a plugin of deep? install it again"},
	procrunner.FaultStart:        {ReasonFormat, backend.ErrUnavailable, "see what the kernel says"},
}

// openProgram opens the plugin's program and compares its sum, if one is known.
func openProgram(o Options) (*procrunner.Program, error) {
	program, err := procrunner.Open(o.Path)
	if err != nil {
		return nil, programError(o, err)
	}
	sum, err := program.SHA256()
	if err == nil && (o.SHA256 == "" || o.SHA256 == sum) {
		return program, nil
	}
	_ = program.Close()
	if err != nil {
		return nil, programError(o, &procrunner.ProgramError{Fault: procrunner.FaultUnreadable, Path: o.Path, Detail: err.Error()})
	}
	hint := "the file was changed, or replaced by another version: find out which"
	if o.SHA256 == bundled(o.Name, o.Path) {
		hint = `it is not the one that was built with this deep: build or install both again, or name it as plugin = "…" in its backend block`
	}
	return nil, &StartError{Reason: ReasonChecksum, Err: &backend.Error{
		Kind: backend.ErrUnavailable, Backend: o.Name, Op: "start plugin", Path: o.Path,
		Message: "its sha256 is " + sum + ", want " + o.SHA256,
		Hint:    hint,
	}}
}

func programError(o Options, err error) error {
	var pe *procrunner.ProgramError
	if !errors.As(err, &pe) {
		return &backend.Error{Kind: backend.ErrUnavailable, Backend: o.Name, Op: "start plugin", Path: o.Path, Err: err}
	}
	fault := programFaults[pe.Fault]
	message := string(pe.Fault)
	if pe.Detail != "" {
		message += ": " + pe.Detail
	}
	return &StartError{Reason: fault.reason, Err: &backend.Error{
		Kind: fault.kind, Backend: o.Name, Op: "start plugin", Path: pe.Path, Message: message, Hint: fault.hint,
	}}
}

// failStart frees an instance that did not come up and says why it did not: from
// what was seen of the process, go-plugin has it in prose only.
func (i *instance) failStart(ctx context.Context, o Options, err error) error {
	i.free() //nolint:contextcheck // what is left is freed though ctx has ended

	var pe *procrunner.ProgramError
	if errors.As(err, &pe) {
		return programError(o, err)
	}
	awaitDeadline(ctx, err)
	cause := context.Cause(ctx)
	timeout := errors.Is(cause, errStartTimeout)
	if cause != nil && !timeout {
		return &backend.Error{Kind: ctx.Err(), Backend: o.Name, Op: "start plugin"}
	}
	spoke, refused := i.runner.FirstLine()
	var r *refusal
	switch {
	case errors.As(refused, &r):
		return i.fail(o, r.reason, r.message, r.hint)
	case timeout && !spoke:
		return i.fail(o, ReasonTimeout, fmt.Sprintf("it said nothing within %s and was killed", o.StartTimeout), "is it a plugin of deep?")
	case timeout:
		return i.fail(o, ReasonTimeout, fmt.Sprintf("it did not answer within %s and was killed", o.StartTimeout), "try again; the machine may be busy")
	case !i.runner.EndedByItself() && !spoke:
		return i.fail(o, ReasonHandshake, "it closed its output without a handshake", "is it a plugin of deep?")
	case !spoke:
		return i.fail(o, ReasonExited, "it ended before the handshake: "+i.runner.HowEnded(), "its last lines say more; is it a plugin of deep?")
	case i.runner.EndedByItself():
		return i.fail(o, ReasonExited, "it ended right after the handshake: "+i.runner.HowEnded(), "its last lines say more")
	}
	return i.fail(o, ReasonFaulty, "it was started and cannot be used: "+backend.Printable(err.Error()), "build it with the SDK of this deep")
}

// errStartTimeout is the cause when Options.StartTimeout is over, and not the
// caller's own time.
var errStartTimeout = errors.New("the plugin takes too long to start")

// awaitDeadline waits for the end of ctx if err says that it has come: gRPC, and
// the process at the other end, may notice a moment before ctx itself.
func awaitDeadline(ctx context.Context, err error) {
	if deadline, ok := ctx.Deadline(); ok && errors.Is(err, context.DeadlineExceeded) && time.Until(deadline) < time.Second {
		<-ctx.Done()
	}
}

// fail is what a plugin's start failed of, with its last lines.
func (i *instance) fail(o Options, reason Reason, message, hint string) error {
	return &StartError{Reason: reason, Output: i.runner.Tail(), Err: &backend.Error{
		Kind: backend.ErrUnavailable, Backend: o.Name, Op: "start plugin", Path: o.Path, Message: message, Hint: hint,
	}}
}
