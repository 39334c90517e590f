package wire

import (
	"context"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"
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
	r := new(backendv1.PutArchiveReply)
	up := &upload{content: req.Content, open: func(ctx context.Context) (grpc.ClientStream, error) { return c.rpc.PutArchive(ctx) },
		head: func(commit bool) proto.Message {
			msg := &backendv1.PutArchiveRequest{Start: start, Commit: commit}
			start = nil
			return msg
		}}
	if _, err := c.upload(ctx, op, req.Path, up, r, "it was unpacked before it had ended"); err != nil {
		return nil, err
	}
	if r.GetEntries() < 0 || r.GetBytes() < 0 {
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
	r := &pieces{peer: c.peer, ctx: ctx, cancel: cancel, op: op, path: req.Path, most: fileFrame, recv: func() (mem.BufferSlice, string, error) {
		data, err := receivePiece(stream, new(backendv1.GetArchiveReply))
		return data, "", err
	}}
	first, err := receivePiece(stream, new(backendv1.GetArchiveReply))
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
	r.err = r.take(first)
	return r, nil
}
