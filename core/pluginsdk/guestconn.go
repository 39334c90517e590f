package pluginsdk

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/internal/wire"
	guestv1 "github.com/deep-sandbox/deep/core/proto/guest/v1"
)

// A guestConn is one connection to one guest, over one byte stream. It is not
// redialled: when the stream is dead, so is the connection, and the next call
// makes another.
type guestConn struct {
	// id of the sandbox.
	id     string
	cc     *grpc.ClientConn
	stream *liveStream
	// settled is what Setup agreed on.
	settled *guestv1.SetupReply
	// verdict tells, once the stream is dead, what became of the sandbox.
	verdict func() error
	// dropped: we are ending the sandbox ourselves, so nobody need be asked.
	dropped atomic.Bool
}

// dialGuest speaks gRPC over rwc, which it closes if it fails.
func dialGuest(rwc net.Conn) (*grpc.ClientConn, error) {
	var taken atomic.Bool
	opts := append(wire.DialOptions(),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) {
			if taken.Swap(true) {
				return nil, errors.New("the stream to the guest has ended")
			}
			return rwc, nil
		}))
	cc, err := grpc.NewClient("passthrough:///guest", opts...)
	if err != nil {
		_ = rwc.Close()
		return nil, fmt.Errorf("speak gRPC to the guest: %w", err)
	}
	return cc, nil
}

func (c *guestConn) close() {
	_ = c.cc.Close()
	_ = c.stream.Close()
}

func (c *guestConn) isDead() bool {
	select {
	case <-c.stream.dead:
		return true
	default:
		return false
	}
}

// Invoke implements grpc.ClientConnInterface.
func (c *guestConn) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	return c.explain(ctx, c.cc.Invoke(ctx, method, args, reply, opts...))
}

// NewStream implements grpc.ClientConnInterface.
func (c *guestConn) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	s, err := c.cc.NewStream(ctx, desc, method, opts...)
	if err != nil {
		return nil, c.explain(ctx, err)
	}
	return &guestStream{ClientStream: s, conn: c, ctx: ctx}, nil
}

var _ grpc.ClientConnInterface = (*guestConn)(nil)

// guestStream explains why its last message did not come.
type guestStream struct {
	grpc.ClientStream
	conn *guestConn
	ctx  context.Context // the caller's
}

// RecvMsg implements grpc.ClientStream.
func (s *guestStream) RecvMsg(m any) error {
	return s.conn.explain(s.ctx, s.ClientStream.RecvMsg(m))
}

// explain replaces what gRPC says of a broken stream by what became of the
// sandbox: gone, or out of reach. What the guest itself answered has details and
// stays as it is, but for its last words: an engine that ends it gently lets it
// say that the sandbox ends, another does not.
func (c *guestConn) explain(ctx context.Context, err error) error {
	st, ok := status.FromError(err)
	if err == nil || !ok {
		return err
	}
	if len(st.Details()) > 0 {
		if last := wire.FromStatus(err); errors.Is(last, backend.ErrGone) {
			return wire.Error(toldGone(c.id, last))
		}
		return err
	}
	// Closing the connection cancels what is under way on it, as the caller would.
	broke := st.Code() == codes.Unavailable || st.Code() == codes.Canceled && ctx.Err() == nil
	switch {
	case !broke:
		return err
	case c.dropped.Load():
		return wire.Error(Gone(c.id))
	}
	// gRPC may learn of the end a moment before the stream's owner does.
	select {
	case <-c.stream.dead:
	case <-time.After(time.Second):
		return err
	}
	return wire.Error(c.verdict())
}

// info completes what the provisioner knows with what was settled inside.
func (c *guestConn) complete(info backend.SandboxInfo) backend.SandboxInfo {
	setup := c.settled.GetSetup()
	info.Workspace = string(setup.GetWorkspace())
	info.User = fmt.Sprintf("%d:%d", setup.GetUid(), setup.GetGid())
	info.Degraded = c.settled.GetDegraded()
	info.Isolation = isolationOf(c.settled)
	info.State = backend.StateRunning
	return info
}
