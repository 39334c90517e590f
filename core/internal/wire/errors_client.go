package wire

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/deep-sandbox/deep/core/backend"
	backendv1 "github.com/deep-sandbox/deep/core/proto/backend/v1"
)

// FromStatus turns the gRPC status of a failed call back into the error it
// carries, a *backend.Error of one of backend.Kinds. A status without an
// ErrorDetail was made by gRPC itself: a connection that broke, a context that
// ended, a peer that does not keep to the protocol. An error that is no status is
// returned as it is.
func FromStatus(err error) error {
	if err == nil {
		return nil
	}
	st, ok := status.FromError(err)
	if !ok {
		return err
	}
	if d := detailOf(st); d != nil {
		return fromDetail(d)
	}
	e := &backend.Error{Kind: backend.ErrUnavailable, Message: text(st.Message(), maxErrorMessage)}
	switch st.Code() {
	case codes.Canceled:
		e.Kind = context.Canceled
	case codes.DeadlineExceeded:
		e.Kind = context.DeadlineExceeded
	case codes.Unimplemented:
		e.Kind = backend.ErrUnsupported
	}
	return e
}

func detailOf(st *status.Status) *backendv1.ErrorDetail {
	for _, d := range st.Details() {
		if d, ok := d.(*backendv1.ErrorDetail); ok {
			return d
		}
	}
	return nil
}

func fromDetail(d *backendv1.ErrorDetail) *backend.Error {
	e := &backend.Error{
		// A kind this side does not know is a failure of no particular kind.
		Kind:    backend.ErrUnavailable,
		Backend: text(d.GetBackend(), maxErrorField),
		Op:      text(d.GetOp(), maxErrorField),
		Path:    string(d.GetPath()),
		Message: text(d.GetMessage(), maxErrorMessage),
		Hint:    text(d.GetHint(), maxErrorField),
		Count:   int(max(d.GetCount(), 0)),
	}
	if len(e.Path) > maxErrorField {
		e.Path = e.Path[:maxErrorField]
	}
	for _, k := range kinds {
		if k.wire == d.GetKind() {
			e.Kind = k.err
		}
	}
	return e
}

// BrokenError is the cause of an ErrUnavailable that nobody sent: the connection
// ended under a call. Who supervises the other end knows more than it tells.
type BrokenError struct {
	// Reason in gRPC's words.
	Reason string
}

func (e *BrokenError) Error() string { return e.Reason }

// peer is the plugin at the other end, as its errors name it.
type peer string

// fail turns the error of a call into the one its caller gets. ctx is the
// caller's: once it has ended, that is what the call ended of, whichever process
// noticed first and whatever it called it.
func (p peer) fail(ctx context.Context, op, path string, err error) error {
	if e := (*backend.Error)(nil); errors.As(err, &e) {
		return err // made on this side
	}
	st, _ := status.FromError(err)
	d := detailOf(st)
	if ctx.Err() != nil {
		e := p.ended(ctx, op, path)
		if d != nil && d.GetKind() == backendv1.ErrorKind_ERROR_KIND_CANCELED {
			// It knows what was being waited for.
			told := fromDetail(d)
			e.Path, e.Message, e.Hint = orElse(told.Path, path), told.Message, told.Hint
		}
		return e
	}
	if d != nil {
		e := fromDetail(d)
		e.Backend, e.Op = orElse(e.Backend, string(p)), orElse(e.Op, op)
		return e
	}
	switch st.Code() {
	case codes.DeadlineExceeded:
		// Set from ctx, and noticed by gRPC a moment before ctx itself.
		return &backend.Error{Kind: context.DeadlineExceeded, Backend: string(p), Op: op, Path: path}
	case codes.Canceled, codes.Unavailable:
		return &backend.Error{
			Kind: backend.ErrUnavailable, Backend: string(p), Op: op, Path: path,
			Message: "the connection to the plugin broke",
			Err:     &BrokenError{Reason: text(st.Message(), maxErrorMessage)},
		}
	case codes.Unimplemented:
		return &backend.Error{
			Kind: backend.ErrUnsupported, Backend: string(p), Op: op, Path: path,
			Message: fmt.Sprintf("plugin %s does not know this call", p),
			Hint:    "use a plugin of the same version as deep",
		}
	default:
		return p.faulty(op, "it failed with %v and without an ErrorDetail: %s", st.Code(), st.Message())
	}
}

// ended is the error of a call whose context has ended.
func (p peer) ended(ctx context.Context, op, path string) *backend.Error {
	e := &backend.Error{Kind: ctx.Err(), Backend: string(p), Op: op, Path: path}
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, ctx.Err()) {
		e.Err = cause
	}
	return e
}

// faulty is the error of a call in which the plugin broke the protocol.
func (p peer) faulty(op, format string, args ...any) error {
	return &backend.Error{
		Kind: backend.ErrUnavailable, Backend: string(p), Op: op,
		Message: text(fmt.Sprintf("plugin %s is faulty: %s", p, fmt.Sprintf(format, args...)), maxErrorMessage),
		Hint:    "report it to the plugin's author",
	}
}

// refuse is the error of a request that cannot be put on the wire.
func (p peer) refuse(kind error, op, path, format string, args ...any) error {
	return &backend.Error{Kind: kind, Backend: string(p), Op: op, Path: path, Message: fmt.Sprintf(format, args...)}
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}
