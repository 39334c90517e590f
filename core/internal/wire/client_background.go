package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"

	"github.com/deep-sandbox/deep/core/backend"
	backendv1 "github.com/deep-sandbox/deep/core/proto/backend/v1"
)

func (c *sandboxClient) Start(ctx context.Context, req *backend.ExecRequest) (*backend.StartReply, error) {
	const op = "start"
	id := orElse(req.ID, backend.NewID())
	if req.Stdin != nil || req.Stdout != nil || req.Stderr != nil {
		return nil, &backend.Error{Kind: backend.ErrInvalid, Backend: string(c.peer), Op: op, Path: id, Message: "a command in the background has no stream of its caller's",
			Hint: "use KeepStdin and WriteStdin for its input, and ReadOutput"}
	}
	msg := &backendv1.StartRequest{Start: execToWire(req, id)}
	if err := c.checkRequest(op, id, msg, id); err != nil {
		return nil, err
	}
	r, err := c.rpc.Start(c.with(ctx), msg)
	if err != nil {
		return nil, c.fail(ctx, op, "", err)
	}
	if r.GetId() != id {
		return nil, c.faulty(op, "the exec %q where %q was asked for", cut(r.GetId()), id)
	}
	return &backend.StartReply{ID: id}, nil
}

func (c *sandboxClient) ReadOutput(ctx context.Context, req *backend.ReadOutputRequest) (*backend.Output, error) {
	const op = "read output"
	msg := &backendv1.ReadOutputRequest{Id: req.ID, Stream: string(req.Stream), Offset: req.Offset, Follow: req.Follow}
	if err := c.checkRequest(op, req.ID, msg, req.ID, string(req.Stream)); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	first, stream, err := c.openOutput(ctx, msg)
	switch {
	case err != nil:
		err = c.fail(ctx, op, req.ID, err)
	case first.GetStart() == nil:
		err = c.faulty(op, "output that begins nowhere")
	case first.GetStart().GetOffset() < req.Offset:
		err = c.faulty(op, "output from %d where %d was asked for", first.GetStart().GetOffset(), req.Offset)
	}
	if err != nil {
		cancel()
		return nil, err
	}
	r := &pieces{peer: c.peer, ctx: ctx, cancel: cancel, op: op, path: req.ID, most: outputFrame, recv: func() (mem.BufferSlice, string, error) {
		msg := new(backendv1.ReadOutputReply)
		data, err := receivePiece(stream, msg)
		if err == nil && msg.GetStart() != nil {
			return data, "a second beginning", nil
		}
		return data, "", err
	}}
	r.err = r.take(mem.BufferSlice{mem.SliceBuffer(first.GetData())})
	return &backend.Output{Offset: first.GetStart().GetOffset(), ReadCloser: r}, nil
}

// openOutput reads the first message. Its error is a *backend.Error or a status.
func (c *sandboxClient) openOutput(ctx context.Context, msg *backendv1.ReadOutputRequest) (*backendv1.ReadOutputReply, grpc.ServerStreamingClient[backendv1.ReadOutputReply], error) {
	stream, err := c.rpc.ReadOutput(c.with(ctx), msg)
	if err != nil {
		return nil, nil, err
	}
	first, err := stream.Recv()
	if errors.Is(err, io.EOF) {
		return nil, stream, nil
	}
	return first, stream, err
}

// WriteStdin implements backend.Sandbox. A Content whose Read hangs does not keep
// it from returning when ctx ends, nor when the sandbox answers; the Read is
// abandoned.
func (c *sandboxClient) WriteStdin(ctx context.Context, req *backend.WriteStdinRequest) (*backend.WriteStdinReply, error) {
	const op = "write stdin"
	first := &backendv1.WriteStdinRequest{Start: &backendv1.WriteStdinStart{Id: req.ID, Close: req.Close}}
	if err := c.checkRequest(op, req.ID, first, req.ID); err != nil {
		return nil, err
	}
	call, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.rpc.WriteStdin(c.with(call))
	if err != nil {
		return nil, c.fail(ctx, op, req.ID, err)
	}
	in := &input{stream: stream, content: req.Content, giveUp: cancel}
	go in.run(first)
	r := new(backendv1.WriteStdinReply)
	err = stream.RecvMsg(r)
	sent, contentErr := in.state()
	switch {
	case contentErr != nil && ctx.Err() == nil:
		return nil, contentErr
	case err != nil:
		return nil, c.fail(ctx, op, req.ID, err)
	case r.GetWritten() != sent:
		return nil, c.faulty(op, "%d bytes taken of %d", r.GetWritten(), sent)
	}
	return &backend.WriteStdinReply{Written: r.GetWritten()}, nil
}

// input sends the content of a WriteStdin.
type input struct {
	stream  grpc.ClientStream
	content io.Reader
	giveUp  context.CancelFunc

	mu   sync.Mutex
	sent int64
	err  error // of content
}

func (in *input) state() (sent int64, err error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.sent, in.err
}

func (in *input) run(msg *backendv1.WriteStdinRequest) {
	buf := make([]byte, outputFrame)
	for end := in.content == nil; ; {
		n := 0
		var err error
		if !end {
			n, err = in.content.Read(buf)
			if end = isEnd(err); end {
				err = nil
			}
		}
		in.mu.Lock()
		in.sent, in.err = in.sent+int64(n), err
		in.mu.Unlock()
		if err != nil {
			in.giveUp() // half-closed, it would look like the end
			return
		}
		if msg.Data = buf[:n]; n > 0 || msg.GetStart() != nil {
			if in.stream.SendMsg(msg) != nil {
				return // the sandbox has answered already, or the stream broke
			}
			msg = new(backendv1.WriteStdinRequest)
		}
		if end {
			_ = in.stream.CloseSend()
			return
		}
	}
}

func (c *sandboxClient) Signal(ctx context.Context, req *backend.SignalRequest) error {
	const op = "signal"
	msg := &backendv1.SignalRequest{Id: req.ID, Signal: int32(min(max(req.Signal, -1), maxSignal+1)), All: req.All}
	if err := c.checkRequest(op, req.ID, msg, req.ID); err != nil {
		return err
	}
	if _, err := c.rpc.Signal(c.with(ctx), msg); err != nil {
		return c.fail(ctx, op, req.ID, err)
	}
	return nil
}

func (c *sandboxClient) Kill(ctx context.Context, req *backend.KillRequest) (*backend.OutcomeReply, error) {
	const op = "kill"
	msg := &backendv1.KillRequest{Id: req.ID}
	if req.Grace != nil {
		msg.GraceNs = new(int64(*req.Grace))
	}
	if err := c.checkRequest(op, req.ID, msg, req.ID); err != nil {
		return nil, err
	}
	r, err := c.rpc.Kill(c.with(ctx), msg)
	if err != nil {
		return nil, c.fail(ctx, op, req.ID, err)
	}
	if bad := badResult(r.GetResult(), req.ID, false); bad != "" {
		return nil, c.faulty(op, "%s", bad)
	}
	return &backend.OutcomeReply{Result: *resultFromWire(r.GetResult())}, nil
}

func (c *sandboxClient) Resize(ctx context.Context, req *backend.ResizeRequest) error {
	const op = "resize"
	msg := &backendv1.ResizeRequest{Id: req.ID, Size: sizeToWire(req.Size)}
	if err := c.checkRequest(op, req.ID, msg, req.ID); err != nil {
		return err
	}
	if _, err := c.rpc.Resize(c.with(ctx), msg); err != nil {
		return c.fail(ctx, op, req.ID, err)
	}
	return nil
}

func (c *sandboxClient) Processes(ctx context.Context, _ *backend.ProcessesRequest) (*backend.ProcessesReply, error) {
	const op = "processes"
	r, err := c.rpc.Processes(c.with(ctx), &backendv1.ProcessesRequest{})
	if err != nil {
		return nil, c.fail(ctx, op, "", err)
	}
	bad := ""
	if n := len(r.GetProcesses()); n > maxProcesses {
		bad = fmt.Sprintf("%d processes", n)
	}
	for _, p := range r.GetProcesses() {
		bad = firstOf(bad, badProcess(p))
	}
	if bad != "" {
		return nil, c.faulty(op, "%s", bad)
	}
	return &backend.ProcessesReply{Processes: mapSlice(r.GetProcesses(), processFromWire)}, nil
}

func (c *sandboxClient) Stats(ctx context.Context, _ *backend.StatsRequest) (*backend.Stats, error) {
	const op = "stats"
	r, err := c.rpc.Stats(c.with(ctx), &backendv1.StatsRequest{})
	if err != nil {
		return nil, c.fail(ctx, op, "", err)
	}
	if bad := badStats(r); bad != "" {
		return nil, c.faulty(op, "%s", bad)
	}
	return statsFromWire(r), nil
}
