package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/plugins/local/internal/jail"
)

// failure makes an error of the contract of one of the kernel's. path is what it
// is about.
func failure(err error, path string) error {
	var typed *backend.Error
	if err == nil || errors.As(err, &typed) {
		return err
	}
	kind := backend.ErrUnavailable
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		kind = context.Canceled
		if errors.Is(err, context.DeadlineExceeded) {
			kind = context.DeadlineExceeded
		}
		err = nil
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		kind = backend.ErrNoSpace
	case errors.Is(err, fs.ErrPermission):
		kind = backend.ErrPermission
	}
	return &backend.Error{Kind: kind, Path: path, Err: err}
}

// ctxError is what ended ctx, nil while nothing has.
func ctxError(ctx context.Context, path string) error { return failure(ctx.Err(), path) }

func noSandbox(id string) error {
	return &backend.Error{Kind: backend.ErrNotFound, Path: id, Message: "no such sandbox"}
}

// asError says what a failure to make a sandbox means to who asked for it.
func asError(err error, id string) error {
	var f *jail.Failure
	if !errors.As(err, &f) {
		return failure(err, id)
	}
	e := &backend.Error{Kind: backend.ErrUnavailable, Path: id, Message: f.Error()}
	denied := f.Errno == unix.EPERM || f.Errno == unix.EACCES
	switch {
	case f.Errno == unix.ENOSYS:
		e.Kind, e.Hint = backend.ErrUnsupported, "Linux 5.12 or later is needed"
	case f.Step == jail.StepNamespaces && (denied || f.Errno == unix.ENOSPC || f.Errno == unix.EUSERS || f.Errno == unix.EINVAL),
		// Where AppArmor restricts them, namespaces can be made and not be used.
		denied && (f.Step == jail.StepMap || f.Step == jail.StepPrivate || f.Step == jail.StepRoot):
		e.Kind, e.Hint = backend.ErrUnsupported, namespaceRemedy()
	case f.Step == jail.StepProc && denied:
		e.Kind = backend.ErrUnsupported
		e.Hint = "this looks like a container whose /proc is masked: run deep outside of it, or use another backend"
	case f.Step == jail.StepGuest && denied:
		e.Kind, e.Hint = backend.ErrPermission, "the guest's program must be readable and executable for everybody (chmod 755)"
	case f.Step == jail.StepBind && (f.Errno == unix.ESTALE || f.Errno == unix.ELOOP):
		e.Kind, e.Hint = backend.ErrConflict, "see who replaces it, and try again"
	case f.Step == jail.StepBind && f.Errno == unix.EROFS:
		e.Kind, e.Hint = backend.ErrInvalid, "directories of this host are read-only inside: mount it at another path"
	case f.Step == jail.StepBind && denied:
		e.Kind, e.Hint = backend.ErrPermission, "see that this user may reach it"
	case f.Errno == unix.ENOSPC, f.Errno == unix.EDQUOT:
		e.Kind = backend.ErrNoSpace
	}
	return e
}

// kernelSwitches are what user namespaces are forbidden with.
var kernelSwitches = []struct{ name, off, on string }{
	{"user.max_user_namespaces", "0", "10000"},
	{"kernel.unprivileged_userns_clone", "0", "1"},
	{"kernel.apparmor_restrict_unprivileged_userns", "1", "0"},
}

// namespaceRemedy names the switch that forbids user namespaces here.
func namespaceRemedy() string {
	for _, s := range kernelSwitches {
		data, err := os.ReadFile("/proc/sys/" + strings.ReplaceAll(s.name, ".", "/"))
		if err == nil && strings.TrimSpace(string(data)) == s.off {
			return fmt.Sprintf("the kernel's switch %s is %s: as root, sysctl -w %s=%s", s.name, s.off, s.name, s.on)
		}
	}
	return "something else than the kernel's switches forbids it: if this is a container, its seccomp profile; else a security module, or a kernel without CONFIG_USER_NS"
}
