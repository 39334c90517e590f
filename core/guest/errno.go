package guest

import (
	"context"
	"errors"

	"golang.org/x/sys/unix"

	"github.com/deep-sandbox/deep/core/backend"
)

// failed turns what the kernel said about path into an error of the contract.
// One that is of the contract already gets its operation and path filled in.
func failed(op, path string, err error) error {
	if err == nil {
		return nil
	}
	var typed *backend.Error
	if errors.As(err, &typed) {
		filled := *typed
		if filled.Op == "" {
			filled.Op = op
		}
		if filled.Path == "" {
			filled.Path = path
		}
		return &filled
	}
	if errors.Is(err, context.Canceled) {
		return &backend.Error{Kind: context.Canceled, Op: op, Path: path}
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return &backend.Error{Kind: context.DeadlineExceeded, Op: op, Path: path}
	}
	var errno unix.Errno
	if !errors.As(err, &errno) {
		return &backend.Error{Kind: backend.ErrUnavailable, Op: op, Path: path, Err: err}
	}
	e := &backend.Error{Op: op, Path: path}
	e.Kind, e.Message, e.Hint = classify(errno)
	return e
}

// classify returns the kind of an errno, and words where the kind's own do not
// say enough.
func classify(errno unix.Errno) (kind error, message, hint string) {
	switch errno {
	case unix.ENOENT:
		return backend.ErrNotFound, "", "list its directory to see what is there; a directory on the way may be missing too"
	case unix.EEXIST:
		return backend.ErrExists, "", "choose another name, or remove or rename what is there first"
	case unix.EISDIR:
		return backend.ErrIsDirectory, "", "name a file in it, or list it"
	case unix.ENOTDIR:
		return backend.ErrNotDirectory, "", "the path, or a part of it, is a file; list its directory to see what is there"
	case unix.EACCES, unix.EPERM:
		return backend.ErrPermission, "", "the sandbox's user may not do this; look at owner and mode"
	case unix.EROFS:
		return backend.ErrPermission, "read-only file system", "write below the workspace, $HOME or /tmp"
	case unix.ELOOP:
		return backend.ErrInvalid, "a symbolic link that is not followed", "links form a loop, or one leads into a process of /proc; name what it leads to"
	case unix.ENAMETOOLONG:
		return backend.ErrInvalid, "name too long", "a name takes 255 bytes and a path 4095; choose a shorter one"
	case unix.EINVAL:
		return backend.ErrInvalid, errnoText(errno), "the kernel does not do this with such a file; look at what it is with a stat"
	case unix.ENOSPC:
		return backend.ErrNoSpace, "", "remove files, or give the sandbox more space"
	case unix.EDQUOT:
		return backend.ErrNoSpace, "quota exceeded", "remove files, or give the sandbox more space"
	case unix.ENOTEMPTY:
		return backend.ErrConflict, "directory not empty", "ask for a recursive removal"
	case unix.EFBIG:
		return backend.ErrTooLarge, "above the limit of a file's size", "write less, or in several files"
	case unix.EBUSY:
		return backend.ErrUnsupported, "it is a mount point", "a file or directory that is mounted by itself cannot be replaced, moved or removed"
	case unix.EXDEV:
		return backend.ErrUnsupported, "on different file systems", "copy it and remove the original"
	case unix.EAGAIN, unix.ENOMEM, unix.EMFILE, unix.ENFILE:
		return backend.ErrUnavailable, errnoText(errno), "the sandbox has no processes, memory or descriptors left; end a command, or give it more"
	case unix.ENXIO, unix.ENODEV, unix.ESPIPE:
		return backend.ErrInvalid, "not a regular file", "it is a device, a socket or a pipe; use it in a command"
	}
	return backend.ErrUnavailable, errnoText(errno), "the kernel has refused it; try again, and look at the file system if it stays so"
}

// errnoText says "ENOENT: no such file or directory".
func errnoText(errno unix.Errno) string {
	if name := unix.ErrnoName(errno); name != "" {
		return name + ": " + errno.Error()
	}
	return errno.Error()
}
