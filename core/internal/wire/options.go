package wire

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/experimental"
	"google.golang.org/grpc/keepalive"

	"github.com/deep-sandbox/deep/core/backend"
)

// Bounds of the protocol, in bytes.
const (
	// MaxMessage is the largest message either side sends or takes.
	MaxMessage = 8 << 20

	// streamWindow and connWindow are fixed: gRPC's own estimate lets them grow
	// to 16 MiB each, and then one stream that nobody reads keeps that much in
	// every process on its way. With 256 KiB a stream, a file of 256 MiB takes 1.5
	// (docker) to 1.8 (local) times as long, since each hop waits for the next.
	streamWindow = 1 << 20
	connWindow   = 4 << 20

	// transportBuffer is what a connection reads and writes at once; gRPC's own is
	// 32 KiB. The one for writing is there while there is something to write.
	transportBuffer = 128 << 10

	// maxHeaderList bounds headers and trailers, a status with its ErrorDetail
	// among them. gRPC's default is 16 MiB.
	maxHeaderList = 256 << 10

	// maxStreams is how many calls may be under way on one connection.
	maxStreams = 1024

	// outputFrame, fileFrame and stdinWindow are those of backend.proto.
	outputFrame = 32 << 10
	fileFrame   = 256 << 10
	stdinWindow = 256 << 10
)

// ServerOptions are the options of every gRPC server that serves the contract or
// forwards it: its bounds, the codec that forwarding and files need, and a last
// defence that turns a panic in a call into the failure of that call.
func ServerOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.MaxRecvMsgSize(MaxMessage),
		grpc.MaxSendMsgSize(MaxMessage),
		grpc.MaxHeaderListSize(maxHeaderList),
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.StaticStreamWindowSize(streamWindow),
		grpc.StaticConnWindowSize(connWindow),
		grpc.WriteBufferSize(transportBuffer),
		grpc.ReadBufferSize(transportBuffer),
		// The default refuses a peer that pings more often than every five
		// minutes; liveness here is decided by pings every few seconds.
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: time.Second, PermitWithoutStream: true}),
		grpc.ForceServerCodecV2(codec{}),
		experimental.BufferPool(buffers),
		grpc.ChainUnaryInterceptor(recoverUnary),
		grpc.ChainStreamInterceptor(recoverStream),
	}
}

// DialOptions are the options of every gRPC client that speaks the contract: the
// same bounds and codec. They hold no credentials and no dialer. What is at the
// other end of a connection is one process, and who supervises it makes a new
// client with a new one: a dialer is expected to fail when it is asked a second
// time, and is then not asked again.
func DialOptions() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(MaxMessage), grpc.MaxCallSendMsgSize(MaxMessage), grpc.ForceCodecV2(codec{})),
		experimental.WithBufferPool(buffers),
		grpc.WithMaxHeaderListSize(maxHeaderList),
		grpc.WithStaticStreamWindowSize(streamWindow),
		grpc.WithStaticConnWindowSize(connWindow),
		grpc.WithWriteBufferSize(transportBuffer),
		grpc.WithReadBufferSize(transportBuffer),
		grpc.WithDisableServiceConfig(),
		grpc.WithDisableRetry(),
		grpc.WithNoProxy(),
		// Without this an idle connection is closed after 30 minutes and dialled
		// again with the next call.
		grpc.WithIdleTimeout(0),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff: backoff.Config{BaseDelay: 24 * time.Hour, Multiplier: 1, MaxDelay: 24 * time.Hour},
		}),
	}
}

func recoverUnary(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (reply any, err error) {
	defer recovered(&err)
	return next(ctx, req)
}

func recoverStream(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) (err error) {
	defer recovered(&err)
	return next(srv, stream)
}

// recovered turns a panic into *err. The stack goes to standard error, which the
// host keeps the last lines of.
func recovered(err *error) {
	p := recover()
	if p == nil {
		return
	}
	fmt.Fprintf(os.Stderr, "panic: %v\n%s", p, debug.Stack())
	*err = Error(&backend.Error{
		Kind:    backend.ErrUnavailable,
		Message: "a fault in the program that serves this call",
		Hint:    "please report it with the lines it wrote to its log",
		Err:     errors.New(fmt.Sprint(p)),
	})
}
