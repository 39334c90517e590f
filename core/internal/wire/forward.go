package wire

import (
	"context"
	"errors"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/deep-sandbox/deep/core/backend"
	backendv1 "github.com/deep-sandbox/deep/core/proto/backend/v1"
)

// goneTimeout bounds the question whether a sandbox whose connection broke still
// exists.
const goneTimeout = 5 * time.Second

// ForwardSandbox serves the sandboxes behind the connections conn finds, by
// passing the calls on to them. Messages are not decoded, and at most one each
// way is held: who does not read holds up who writes. conn is called with the
// valid id a call names; its error is the call's. It is called again when a call
// failed because its connection broke, to learn whether the sandbox still exists.
//
// The server must have [ServerOptions], the connections [DialOptions].
func ForwardSandbox(s grpc.ServiceRegistrar, conn func(ctx context.Context, id string) (grpc.ClientConnInterface, error)) {
	desc := backendv1.Sandbox_ServiceDesc
	f := forwarder{conn: conn}
	methods := make([]grpc.MethodDesc, len(desc.Methods))
	for i, m := range desc.Methods {
		methods[i] = f.method(m.MethodName)
	}
	streams := make([]grpc.StreamDesc, len(desc.Streams))
	for i, m := range desc.Streams {
		streams[i] = f.stream(m)
	}
	desc.HandlerType, desc.Methods, desc.Streams = nil, methods, streams
	s.RegisterService(&desc, nil)
}

type forwarder struct {
	conn func(ctx context.Context, id string) (grpc.ClientConnInterface, error)
}

// dial returns the connection for a call and the context to make it with.
func (f forwarder) dial(ctx context.Context) (cc grpc.ClientConnInterface, out context.Context, id string, err error) {
	if id, err = sandboxID(ctx); err != nil {
		return nil, nil, "", Error(err)
	}
	if cc, err = f.conn(ctx, id); err != nil {
		return nil, nil, "", Error(err)
	}
	return cc, withID(ctx, id), id, nil
}

func (f forwarder) method(name string) grpc.MethodDesc {
	path := "/" + backendv1.Sandbox_ServiceDesc.ServiceName + "/" + name
	call := func(ctx context.Context, req any) (any, error) {
		cc, out, id, err := f.dial(ctx)
		if err != nil {
			req.(*frame).free()
			return nil, err
		}
		reply := new(frame)
		if err := cc.Invoke(out, path, req, reply); err != nil {
			return nil, f.failed(ctx, id, err)
		}
		return reply, nil
	}
	return grpc.MethodDesc{
		MethodName: name,
		Handler: func(_ any, ctx context.Context, decode func(any) error, intercept grpc.UnaryServerInterceptor) (any, error) {
			req := new(frame)
			if err := decode(req); err != nil {
				return nil, err
			}
			if intercept == nil {
				return call(ctx, req)
			}
			return intercept(ctx, req, &grpc.UnaryServerInfo{FullMethod: path}, call)
		},
	}
}

func (f forwarder) stream(desc grpc.StreamDesc) grpc.StreamDesc {
	path := "/" + backendv1.Sandbox_ServiceDesc.ServiceName + "/" + desc.StreamName
	clientDesc := desc
	desc.Handler = func(_ any, caller grpc.ServerStream) error {
		ctx, cancel := context.WithCancel(caller.Context())
		defer cancel() // ends the call to the sandbox, however this one ends
		cc, out, id, err := f.dial(ctx)
		if err != nil {
			return err
		}
		callee, err := cc.NewStream(out, &clientDesc, path)
		if err != nil {
			return f.failed(ctx, id, err)
		}
		// Ends with the call: RecvMsg fails once the handler has returned.
		go func() {
			if err := pass(caller.RecvMsg, callee.SendMsg); errors.Is(err, errReceived) && !errors.Is(err, io.EOF) {
				cancel()
				return
			}
			// The caller is done, or the callee is and its status is on the way.
			_ = callee.CloseSend()
		}()
		err = pass(callee.RecvMsg, caller.SendMsg)
		switch {
		case errors.Is(err, errReceived) && errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, errReceived):
			return f.failed(ctx, id, errors.Unwrap(err))
		default:
			return err // the caller is gone
		}
	}
	return desc
}

// errReceived marks an error of the receiving side of pass.
var errReceived = errors.New("received")

type receivedError struct{ err error }

func (e receivedError) Error() string        { return e.err.Error() }
func (e receivedError) Unwrap() error        { return e.err }
func (e receivedError) Is(target error) bool { return target == errReceived }

// pass passes messages on until one side fails. It never returns nil.
func pass(receive, send func(any) error) error {
	for {
		f := new(frame)
		if err := receive(f); err != nil {
			return receivedError{err}
		}
		if err := send(f); err != nil {
			f.free()
			return err
		}
	}
}

// failed returns the status of a call that failed at or on the way to the
// sandbox. One with an ErrorDetail is passed on as it is.
func (f forwarder) failed(ctx context.Context, id string, err error) error {
	st, _ := status.FromError(err)
	if detailOf(st) != nil || ctx.Err() != nil || st.Code() != codes.Unavailable {
		return st.Err()
	}
	ask, cancel := context.WithTimeout(context.WithoutCancel(ctx), goneTimeout)
	defer cancel()
	if _, goneErr := f.conn(ask, id); errors.Is(goneErr, backend.ErrGone) {
		return Error(goneErr)
	}
	return Error(&backend.Error{
		Kind:    backend.ErrUnavailable,
		Path:    id,
		Message: "the connection into the sandbox broke: " + st.Message(),
	})
}
