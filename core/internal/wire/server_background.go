package wire

import (
	"context"
	"errors"
	"io"
	"time"

	"google.golang.org/grpc"

	"github.com/deep-sandbox/deep/core/backend"
	backendv1 "github.com/deep-sandbox/deep/core/proto/backend/v1"
)

func (s *sandboxServer) Start(ctx context.Context, req *backendv1.StartRequest) (*backendv1.StartReply, error) {
	sb, err := s.sandbox(ctx)
	if err != nil {
		return nil, err
	}
	if req.GetStart() == nil || req.GetStart().GetStdin() {
		return nil, Error(&backend.Error{Kind: backend.ErrInvalid, Op: "start", Message: "a start without a command, or with input to follow"})
	}
	r, err := sb.Start(ctx, execFromWire(req.GetStart()))
	if err != nil {
		return nil, Error(err)
	}
	return &backendv1.StartReply{Id: r.ID}, nil
}

func (s *sandboxServer) ReadOutput(req *backendv1.ReadOutputRequest, stream grpc.ServerStreamingServer[backendv1.ReadOutputReply]) error {
	sb, err := s.sandbox(stream.Context())
	if err != nil {
		return err
	}
	out, err := sb.ReadOutput(stream.Context(), &backend.ReadOutputRequest{
		ID: req.GetId(), Stream: backend.Stream(req.GetStream()), Offset: req.GetOffset(), Follow: req.GetFollow(),
	})
	if err != nil {
		return Error(err)
	}
	return Error(errors.Join(sendOutput(stream, out), out.Close()))
}

// sendOutput sends kept output as it comes. The error is not yet a status, except
// that of Send.
func sendOutput(stream grpc.ServerStreamingServer[backendv1.ReadOutputReply], out *backend.Output) error {
	// At once: who follows wants to know where it begins.
	if err := stream.Send(&backendv1.ReadOutputReply{Start: &backendv1.OutputStart{Offset: out.Offset}}); err != nil {
		return err
	}
	buf := outputBuffers.Get().(*[outputFrame]byte)
	defer outputBuffers.Put(buf)
	for {
		n, err := out.Read(buf[:])
		if n > 0 {
			if err := stream.Send(&backendv1.ReadOutputReply{Data: buf[:n]}); err != nil {
				return err
			}
		}
		if isEnd(err) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (s *sandboxServer) WriteStdin(stream grpc.ClientStreamingServer[backendv1.WriteStdinRequest, backendv1.WriteStdinReply]) error {
	const op = "write stdin"
	sb, err := s.sandbox(stream.Context())
	if err != nil {
		return err
	}
	first, err := stream.Recv()
	if err != nil {
		return Error(noStart(op, err))
	}
	start := first.GetStart()
	if start == nil {
		return Error(noStart(op, nil))
	}
	content := &givenInput{stream: stream}
	if content.err = inputTooLarge(first); content.err == nil {
		content.data = first.GetData()
	}
	r, err := sb.WriteStdin(stream.Context(), &backend.WriteStdinRequest{ID: start.GetId(), Content: content, Close: start.GetClose()})
	if err != nil {
		return Error(err)
	}
	return stream.SendAndClose(&backendv1.WriteStdinReply{Written: r.Written})
}

func inputTooLarge(msg *backendv1.WriteStdinRequest) error {
	if len(msg.GetData()) > outputFrame {
		return &backend.Error{Kind: backend.ErrInvalid, Op: "write stdin", Message: "a message may hold at most 32 KiB of input"}
	}
	return nil
}

// givenInput reads what a caller gives, until it half-closes.
type givenInput struct {
	stream grpc.ClientStreamingServer[backendv1.WriteStdinRequest, backendv1.WriteStdinReply]
	data   []byte
	err    error // what comes after data
}

func (in *givenInput) Read(p []byte) (int, error) {
	for len(in.data) == 0 && len(p) > 0 {
		if in.err != nil {
			return 0, in.err
		}
		msg, err := in.stream.Recv()
		switch {
		case errors.Is(err, io.EOF):
			in.err = io.EOF
		case in.stream.Context().Err() != nil:
			in.err = &backend.Error{Kind: context.Cause(in.stream.Context()), Op: "write stdin"}
		case err != nil:
			in.err = FromStatus(err)
		case msg.GetStart() != nil:
			in.err = &backend.Error{Kind: backend.ErrInvalid, Op: "write stdin", Message: "start may come only once"}
		default:
			if in.err = inputTooLarge(msg); in.err == nil {
				in.data = msg.GetData()
			}
		}
	}
	n := copy(p, in.data)
	in.data = in.data[n:]
	return n, nil
}

func (s *sandboxServer) Signal(ctx context.Context, req *backendv1.SignalRequest) (*backendv1.SignalReply, error) {
	sb, err := s.sandbox(ctx)
	if err != nil {
		return nil, err
	}
	if err := sb.Signal(ctx, &backend.SignalRequest{ID: req.GetId(), Signal: int(req.GetSignal()), All: req.GetAll()}); err != nil {
		return nil, Error(err)
	}
	return &backendv1.SignalReply{}, nil
}

func (s *sandboxServer) Kill(ctx context.Context, req *backendv1.KillRequest) (*backendv1.OutcomeReply, error) {
	sb, err := s.sandbox(ctx)
	if err != nil {
		return nil, err
	}
	kill := &backend.KillRequest{ID: req.GetId()}
	if req.GraceNs != nil {
		kill.Grace = new(time.Duration(req.GetGraceNs()))
	}
	r, err := sb.Kill(ctx, kill)
	if err != nil {
		return nil, Error(err)
	}
	return &backendv1.OutcomeReply{Result: resultToWire(&r.Result)}, nil
}

func (s *sandboxServer) Resize(ctx context.Context, req *backendv1.ResizeRequest) (*backendv1.ResizeReply, error) {
	sb, err := s.sandbox(ctx)
	if err != nil {
		return nil, err
	}
	resize := &backend.ResizeRequest{ID: req.GetId()}
	if size := sizeFromWire(req.GetSize()); size != nil {
		resize.Size = *size
	}
	if err := sb.Resize(ctx, resize); err != nil {
		return nil, Error(err)
	}
	return &backendv1.ResizeReply{}, nil
}

func (s *sandboxServer) Processes(ctx context.Context, _ *backendv1.ProcessesRequest) (*backendv1.ProcessesReply, error) {
	sb, err := s.sandbox(ctx)
	if err != nil {
		return nil, err
	}
	r, err := sb.Processes(ctx, &backend.ProcessesRequest{})
	if err != nil {
		return nil, Error(err)
	}
	return &backendv1.ProcessesReply{Processes: mapSlice(r.Processes, processToWire)}, nil
}

func (s *sandboxServer) Stats(ctx context.Context, _ *backendv1.StatsRequest) (*backendv1.StatsReply, error) {
	sb, err := s.sandbox(ctx)
	if err != nil {
		return nil, err
	}
	r, err := sb.Stats(ctx, &backend.StatsRequest{})
	if err != nil {
		return nil, Error(err)
	}
	return statsToWire(r), nil
}
