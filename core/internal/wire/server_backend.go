package wire

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"github.com/deep-sandbox/deep/core/backend"
	backendv1 "github.com/deep-sandbox/deep/core/proto/backend/v1"
)

// undoTimeout bounds what is done for a caller that waits no longer, or is gone.
const undoTimeout = 30 * time.Second

// RegisterBackend serves b. The sandboxes it makes are served beside it, with
// [RegisterSandbox] or [ForwardSandbox].
func RegisterBackend(s grpc.ServiceRegistrar, b backend.Backend) {
	backendv1.RegisterBackendServer(s, &backendServer{b: b})
}

type backendServer struct {
	backendv1.UnimplementedBackendServer
	b backend.Backend
}

func (s *backendServer) Describe(ctx context.Context, _ *backendv1.DescribeRequest) (*backendv1.DescribeReply, error) {
	d, err := s.b.Describe(ctx)
	if err != nil {
		return nil, Error(err)
	}
	return descriptionToWire(d), nil
}

func (s *backendServer) Configure(ctx context.Context, req *backendv1.ConfigureRequest) (*backendv1.ConfigureReply, error) {
	if err := s.b.Configure(ctx, configureFromWire(req)); err != nil {
		return nil, Error(err)
	}
	return &backendv1.ConfigureReply{}, nil
}

func (s *backendServer) Check(ctx context.Context, _ *backendv1.CheckRequest) (*backendv1.CheckReply, error) {
	r, err := s.b.Check(ctx)
	if err != nil {
		return nil, Error(err)
	}
	return checkToWire(r), nil
}

func (s *backendServer) Create(stream backendv1.Backend_CreateServer) error {
	first, err := stream.Recv()
	if err != nil {
		return Error(noStart("create", err))
	}
	start := first.GetStart()
	if start == nil {
		return Error(noStart("create", nil))
	}
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	var misused atomic.Bool
	go func() {
		// Ends with the call: Recv fails once the handler has returned.
		msg, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return // half-closed: nothing more to say
		}
		misused.Store(err == nil && msg.GetCancel() == nil)
		cancel()
	}()

	sb, err := s.b.Create(ctx, &backend.CreateRequest{
		ID:   start.GetId(),
		Spec: specFromWire(start.GetSpec()),
		Progress: func(p backend.Progress) {
			// A stream that broke has cancelled ctx already.
			_ = stream.Send(&backendv1.CreateReply{Message: &backendv1.CreateReply_Progress{Progress: progressToWire(p)}})
		},
	})
	if misused.Load() {
		err = errors.Join(&backend.Error{Kind: backend.ErrInvalid, Op: "create", Message: "only a cancel may follow the first message"}, err)
	}
	if err != nil {
		if sb != nil {
			return Error(errors.Join(err, s.undo(ctx, sb)))
		}
		return Error(err)
	}
	if ctx.Err() != nil {
		if err := s.undo(ctx, sb); err != nil {
			return Error(err)
		}
		return Error(&backend.Error{Kind: context.Canceled, Op: "create", Path: start.GetId()})
	}
	info := &backendv1.CreateReply{Message: &backendv1.CreateReply_Sandbox{Sandbox: infoToWire(sb.Info())}}
	if err := stream.Send(info); err != nil {
		return Error(errors.Join(err, s.undo(ctx, sb)))
	}
	return nil
}

// undo destroys a sandbox whose creator has gone away meanwhile.
func (s *backendServer) undo(ctx context.Context, sb backend.Sandbox) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
	defer cancel()
	// A named workspace may have been there before.
	return errors.Join(s.b.Destroy(ctx, &backend.DestroyRequest{ID: sb.Info().ID, KeepWorkspace: true}), sb.Close())
}

func (s *backendServer) Open(ctx context.Context, req *backendv1.OpenRequest) (*backendv1.OpenReply, error) {
	sb, err := s.b.Open(ctx, &backend.OpenRequest{ID: req.GetId()})
	if err != nil {
		return nil, Error(err)
	}
	return &backendv1.OpenReply{Sandbox: infoToWire(sb.Info())}, nil
}

func (s *backendServer) Inspect(ctx context.Context, req *backendv1.InspectRequest) (*backendv1.InspectReply, error) {
	info, err := s.b.Inspect(ctx, &backend.InspectRequest{ID: req.GetId()})
	if err != nil {
		return nil, Error(err)
	}
	return &backendv1.InspectReply{Sandbox: infoToWire(*info)}, nil
}

func (s *backendServer) List(ctx context.Context, _ *backendv1.ListRequest) (*backendv1.ListReply, error) {
	r, err := s.b.List(ctx, &backend.ListRequest{})
	if err != nil {
		return nil, Error(err)
	}
	return &backendv1.ListReply{Sandboxes: mapSlice(r.Sandboxes, infoToWire)}, nil
}

func (s *backendServer) Stop(ctx context.Context, req *backendv1.StopRequest) (*backendv1.StopReply, error) {
	if err := s.b.Stop(ctx, &backend.StopRequest{ID: req.GetId()}); err != nil {
		return nil, Error(err)
	}
	return &backendv1.StopReply{}, nil
}

func (s *backendServer) Destroy(ctx context.Context, req *backendv1.DestroyRequest) (*backendv1.DestroyReply, error) {
	err := s.b.Destroy(ctx, &backend.DestroyRequest{ID: req.GetId(), KeepWorkspace: req.GetKeepWorkspace()})
	if err != nil {
		return nil, Error(err)
	}
	return &backendv1.DestroyReply{}, nil
}

func (s *backendServer) RemoveWorkspace(ctx context.Context, req *backendv1.RemoveWorkspaceRequest) (*backendv1.RemoveWorkspaceReply, error) {
	if err := s.b.RemoveWorkspace(ctx, &backend.RemoveWorkspaceRequest{Name: req.GetName()}); err != nil {
		return nil, Error(err)
	}
	return &backendv1.RemoveWorkspaceReply{}, nil
}

func (s *backendServer) Shutdown(ctx context.Context, _ *backendv1.ShutdownRequest) (*backendv1.ShutdownReply, error) {
	if err := s.b.Shutdown(ctx); err != nil {
		return nil, Error(err)
	}
	return &backendv1.ShutdownReply{}, nil
}

// noStart is the error of a stream that did not begin with `start`.
func noStart(op string, err error) error {
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return &backend.Error{Kind: backend.ErrInvalid, Op: op, Message: "the first message must be start"}
}

var _ backendv1.BackendServer = (*backendServer)(nil)
