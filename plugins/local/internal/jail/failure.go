package jail

import (
	"errors"
	"syscall"
)

// A Step is one of those a sandbox is made in, in words that follow "cannot".
type Step string

// Steps that callers know.
const (
	StepNamespaces Step = "make namespaces"
	StepMap        Step = "map users"
	StepPrivate    Step = "make mounts private"
	StepRoot       Step = "make its root file system"
	StepProc       Step = "mount /proc"
	StepBind       Step = "show a directory of this host"
	StepGuest      Step = "start the guest"
)

// Failure says in which step making a sandbox failed, and why.
type Failure struct {
	Step    Step          `json:"step"`
	Errno   syscall.Errno `json:"errno,omitempty"`
	Message string        `json:"message"`
}

// Error implements error.
func (f *Failure) Error() string { return "cannot " + string(f.Step) + ": " + f.Message }

// Unwrap returns the kernel's error, if it was one.
func (f *Failure) Unwrap() error {
	if f.Errno == 0 {
		return nil
	}
	return f.Errno
}

// failed makes a Failure of err, which may be one already.
func failed(step Step, err error) *Failure {
	var f *Failure
	if errors.As(err, &f) {
		return f
	}
	f = &Failure{Step: step, Message: err.Error()}
	_ = errors.As(err, &f.Errno)
	return f
}
