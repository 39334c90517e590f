package wire

import (
	"context"
	"errors"
	"strings"
	"unicode/utf8"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/deep-sandbox/deep/core/backend"
	backendv1 "github.com/deep-sandbox/deep/core/proto/backend/v1"
)

// Bounds of the texts of an error, in bytes. Together, in base64 and with the
// status message, they stay far below maxHeaderList.
const (
	maxErrorMessage = 32 << 10
	maxErrorField   = 8 << 10
	maxStatusText   = 1 << 10
)

// kinds pairs the protocol's error kinds with the sentinels, and with the gRPC
// code a tool that knows nothing of ErrorDetail goes by.
var kinds = []struct {
	wire backendv1.ErrorKind
	err  error
	code codes.Code
}{
	{backendv1.ErrorKind_ERROR_KIND_NOT_FOUND, backend.ErrNotFound, codes.NotFound},
	{backendv1.ErrorKind_ERROR_KIND_EXISTS, backend.ErrExists, codes.AlreadyExists},
	{backendv1.ErrorKind_ERROR_KIND_IS_DIRECTORY, backend.ErrIsDirectory, codes.FailedPrecondition},
	{backendv1.ErrorKind_ERROR_KIND_NOT_DIRECTORY, backend.ErrNotDirectory, codes.FailedPrecondition},
	{backendv1.ErrorKind_ERROR_KIND_PERMISSION, backend.ErrPermission, codes.PermissionDenied},
	{backendv1.ErrorKind_ERROR_KIND_INVALID, backend.ErrInvalid, codes.InvalidArgument},
	{backendv1.ErrorKind_ERROR_KIND_TOO_LARGE, backend.ErrTooLarge, codes.OutOfRange},
	{backendv1.ErrorKind_ERROR_KIND_CONFLICT, backend.ErrConflict, codes.Aborted},
	{backendv1.ErrorKind_ERROR_KIND_NO_SPACE, backend.ErrNoSpace, codes.ResourceExhausted},
	{backendv1.ErrorKind_ERROR_KIND_UNSUPPORTED, backend.ErrUnsupported, codes.Unimplemented},
	{backendv1.ErrorKind_ERROR_KIND_GONE, backend.ErrGone, codes.FailedPrecondition},
	{backendv1.ErrorKind_ERROR_KIND_UNAVAILABLE, backend.ErrUnavailable, codes.Unavailable},
	{backendv1.ErrorKind_ERROR_KIND_CANCELED, context.Canceled, codes.Canceled},
	{backendv1.ErrorKind_ERROR_KIND_DEADLINE_EXCEEDED, context.DeadlineExceeded, codes.DeadlineExceeded},
}

// Error turns an error of a Backend or Sandbox into the gRPC status that carries
// it: kind, backend, operation, path, message, hint and count. The text of its
// causes is added to the message, the causes themselves stay here. Text that is
// too long is cut and marked, text that is not UTF-8 mended; the path is bytes.
func Error(err error) error {
	if err == nil {
		return nil
	}
	d := &backendv1.ErrorDetail{Message: err.Error()}
	var e *backend.Error
	if errors.As(err, &e) {
		d.Backend, d.Op, d.Path, d.Hint, d.Count = e.Backend, e.Op, []byte(e.Path), e.Hint, int64(e.Count)
		d.Message = messageOf(err, e)
	}
	code := codes.Unknown
	kind := backend.KindOf(err)
	for _, k := range kinds {
		if errors.Is(kind, k.err) {
			d.Kind, code = k.wire, k.code
			break
		}
	}
	d.Backend, d.Op, d.Hint = text(d.Backend, maxErrorField), text(d.Op, maxErrorField), text(d.Hint, maxErrorField)
	d.Message = text(d.Message, maxErrorMessage)
	if len(d.Path) > maxErrorField {
		d.Path = d.Path[:maxErrorField]
	}
	st, detailErr := status.New(code, text(err.Error(), maxStatusText)).WithDetails(d)
	if detailErr != nil {
		// Only a code of OK or a message that cannot be marshalled does this, and
		// neither is possible above.
		return status.Error(codes.Internal, detailErr.Error())
	}
	return st.Err()
}

// messageOf returns what err says beyond the fields of e, which it is or wraps.
func messageOf(err error, e *backend.Error) string {
	msg := e.Message
	if e.Err != nil {
		if msg == "" && e.Kind != nil {
			msg = e.Kind.Error()
		}
		msg = strings.TrimPrefix(msg+": "+e.Err.Error(), ": ")
	}
	if around, ok := strings.CutSuffix(err.Error(), e.Error()); ok && around != "" {
		if msg == "" && e.Kind != nil {
			msg = e.Kind.Error()
		}
		msg = around + msg
	}
	return msg
}

// text returns s as a proto string of at most limit bytes.
func text(s string, limit int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= limit {
		return s
	}
	const mark = " … (cut)"
	n := limit - len(mark)
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + mark
}
