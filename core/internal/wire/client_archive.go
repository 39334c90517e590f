package wire

import (
	"context"
	"io"

	"google.golang.org/protobuf/proto"

	"github.com/deep-sandbox/deep/core/backend"
	backendv1 "github.com/deep-sandbox/deep/core/proto/backend/v1"
)

// PutArchive implements backend.Sandbox. A Content whose Read hangs does not keep
// it from returning when ctx ends, nor when the sandbox refuses; the Read is
// abandoned.
func (c *sandboxClient) PutArchive(ctx context.Context, req *backend.PutArchiveRequest) (*backend.PutArchiveReply, error) {
	const op = "put archive"
	start := &backendv1.PutArchiveStart{Path: []byte(req.Path)}
	if err := c.checkRequest(op, cut(req.Path), start); err != nil {
		return nil, err
	}
	call, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.rpc.PutArchive(c.with(call))
	if err != nil {
		return nil, c.fail(ctx, op, req.Path, err)
	}
	up := &upload{stream: stream, content: req.Content, giveUp: cancel}
	go up.run(func(data []byte, commit bool) proto.Message {
		msg := &backendv1.PutArchiveRequest{Start: start, Data: data, Commit: commit}
		start = nil
		return msg
	})
	r := new(backendv1.PutArchiveReply)
	err = stream.RecvMsg(r)
	_, committed, contentErr := up.state()
	switch {
	case contentErr != nil && ctx.Err() == nil:
		return nil, contentErr
	case err != nil:
		return nil, c.fail(ctx, op, req.Path, err)
	case !committed:
		return nil, c.faulty(op, "it was unpacked before it had ended")
	case r.GetEntries() < 0 || r.GetBytes() < 0:
		return nil, c.faulty(op, "%d entries of %d bytes", r.GetEntries(), r.GetBytes())
	}
	return &backend.PutArchiveReply{Entries: int(r.GetEntries()), Bytes: r.GetBytes()}, nil
}

// GetArchive implements backend.Sandbox. What is wrong with the path is told
// here, not by the reader.
func (c *sandboxClient) GetArchive(ctx context.Context, req *backend.GetArchiveRequest) (io.ReadCloser, error) {
	const op = "get archive"
	msg := &backendv1.GetArchiveRequest{Path: []byte(req.Path)}
	if err := c.checkRequest(op, cut(req.Path), msg); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	stream, err := c.rpc.GetArchive(c.with(ctx), msg)
	if err != nil {
		err = c.fail(ctx, op, req.Path, err) // before the cancelling, which would be the reason else
		cancel()
		return nil, err
	}
	r := &pieces{peer: c.peer, ctx: ctx, cancel: cancel, op: op, path: req.Path, most: fileFrame, recv: func() ([]byte, string, error) {
		msg, err := stream.Recv()
		return msg.GetData(), "", err
	}}
	first, err := stream.Recv()
	switch {
	case isEnd(err):
		err = c.faulty(op, "an archive without its end mark")
	case err != nil:
		err = c.fail(ctx, op, req.Path, err)
	}
	if err != nil {
		cancel()
		return nil, err
	}
	r.take(first.GetData())
	return r, nil
}
