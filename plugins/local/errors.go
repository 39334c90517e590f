package main

import (
	"errors"
	"io/fs"

	"golang.org/x/sys/unix"

	"github.com/deep-sandbox/deep/core/backend"
)

// failure makes an error of the contract of one of the kernel's.
func failure(err error, path string) error {
	var typed *backend.Error
	if err == nil || errors.As(err, &typed) {
		return err
	}
	kind := backend.ErrUnavailable
	switch {
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		kind = backend.ErrNoSpace
	case errors.Is(err, fs.ErrPermission):
		kind = backend.ErrPermission
	case errors.Is(err, fs.ErrNotExist):
		kind = backend.ErrNotFound
	}
	return &backend.Error{Kind: kind, Path: path, Err: err}
}

// namespaceRemedy says how to allow the namespaces that were refused.
func namespaceRemedy() string {
	for _, k := range kernelSwitches {
		if v, err := readSwitch(k.path); err == nil && v == k.off {
			return "as root: " + k.allow
		}
	}
	return "user namespaces are refused here: look at sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone and kernel.apparmor_restrict_unprivileged_userns, and at the seccomp profile if this is a container"
}

// stageFailure is what a stage says when it cannot go on.
type stageFailure struct {
	Step    string `json:"step,omitempty"`
	Errno   int    `json:"errno,omitempty"`
	Message string `json:"message,omitempty"`
}

func failedStep(step string, err error) *stageFailure {
	f := &stageFailure{Step: step, Message: err.Error()}
	var errno unix.Errno
	if errors.As(err, &errno) {
		f.Errno = int(errno)
	}
	return f
}

// asError says what a failure of a stage means to who asked for a sandbox.
func (f *stageFailure) asError(id string) error {
	e := &backend.Error{Kind: backend.ErrUnavailable, Path: id, Message: "cannot " + f.Step + ": " + f.Message}
	switch errno := unix.Errno(f.Errno); {
	case errno == unix.ENOSPC && f.Step == stepNamespaces, errno == unix.EPERM && f.Step == stepNamespaces, errno == unix.EINVAL && f.Step == stepNamespaces:
		e.Kind, e.Hint = backend.ErrUnsupported, namespaceRemedy()
	case errno == unix.ENOSYS:
		e.Kind, e.Hint = backend.ErrUnsupported, "Linux 5.12 or later is needed"
	case f.Step == stepProc && errno == unix.EPERM:
		e.Kind, e.Hint = backend.ErrUnsupported, "this looks like a container whose /proc is masked: run deep outside of it, or use another backend"
	case f.Step == stepGuest && errno == unix.EACCES:
		e.Kind, e.Hint = backend.ErrPermission, "the guest's program must be readable and executable for everybody (chmod 755)"
	case errno == unix.ENOSPC:
		e.Kind = backend.ErrNoSpace
	}
	return e
}
