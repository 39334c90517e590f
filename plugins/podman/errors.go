package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"

	"github.com/containers/podman/v5/pkg/errorhandling"

	"github.com/deep-sandbox/deep/core/backend"
)

// kinds maps what the service's HTTP status says.
var kinds = map[int]error{
	http.StatusNotFound:       backend.ErrNotFound,
	http.StatusConflict:       backend.ErrConflict,
	http.StatusBadRequest:     backend.ErrInvalid,
	http.StatusForbidden:      backend.ErrPermission,
	http.StatusUnauthorized:   backend.ErrPermission,
	http.StatusNotImplemented: backend.ErrUnsupported,
}

// status returns the HTTP status of an error of the service, 0 for any other.
func status(err error) int {
	var model *errorhandling.ErrorModel
	if errors.As(err, &model) {
		return model.Code()
	}
	return 0
}

// notFound reports whether the service says that there is no such object. It has
// another status for one that goes while it is looked at, and the same words.
func notFound(err error) bool {
	return status(err) == http.StatusNotFound ||
		status(err) == http.StatusInternalServerError && strings.Contains(err.Error(), "no such container")
}

// failure makes an error of the contract of one of the bindings'. path is the
// sandbox, image or workspace it is about.
func (b *podmanBackend) failure(err error, path string) error {
	var typed *backend.Error
	var transport *url.Error
	var network net.Error
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
		return &backend.Error{Kind: kind, Path: path, Message: "waiting for the Podman service at " + b.address.Address + " was given up"}
	case errors.As(err, &transport), errors.As(err, &network):
		b.disconnect()
		return b.address.Unreachable(err)
	case strings.Contains(err.Error(), syscall.ENOSPC.Error()):
		// The service passes the kernel's words on and no code.
		return &backend.Error{Kind: backend.ErrNoSpace, Path: path, Message: "the engine's disk is full", Err: err}
	}
	if kind := kinds[status(err)]; kind != nil {
		return &backend.Error{Kind: kind, Path: path, Message: "the Podman service refuses", Err: err}
	}
	return &backend.Error{Kind: backend.ErrUnavailable, Path: path, Message: "the Podman service failed", Err: err}
}
