package main

import (
	"context"
	"errors"
	"strings"
	"syscall"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/client"

	"github.com/deep-sandbox/deep/core/backend"
)

// kinds maps what the engine's HTTP status says.
var kinds = []struct {
	is   func(error) bool
	kind error
}{
	{errdefs.IsNotFound, backend.ErrNotFound},
	{errdefs.IsConflict, backend.ErrConflict},
	{errdefs.IsInvalidArgument, backend.ErrInvalid},
	{errdefs.IsPermissionDenied, backend.ErrPermission},
	{errdefs.IsUnauthorized, backend.ErrPermission},
	{errdefs.IsNotImplemented, backend.ErrUnsupported},
}

// failure makes an error of the contract of one of the client's. path is the
// sandbox, image or workspace it is about.
func (b *dockerBackend) failure(err error, path string) error {
	var typed *backend.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &typed):
		return err
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		kind := context.Canceled
		if errors.Is(err, context.DeadlineExceeded) {
			kind = context.DeadlineExceeded
		}
		return &backend.Error{Kind: kind, Path: path, Message: "waiting for the Docker Engine at " + b.address.Address + " was given up"}
	case client.IsErrConnectionFailed(err):
		return b.address.Unreachable(err)
	case strings.Contains(err.Error(), syscall.ENOSPC.Error()):
		// The engine passes the kernel's words on and no code.
		return &backend.Error{Kind: backend.ErrNoSpace, Path: path, Message: "the engine's disk is full", Err: err}
	}
	for _, k := range kinds {
		if k.is(err) {
			return &backend.Error{Kind: k.kind, Path: path, Message: "the Docker Engine refuses", Err: err}
		}
	}
	return &backend.Error{Kind: backend.ErrUnavailable, Path: path, Message: "the Docker Engine failed", Err: err}
}
