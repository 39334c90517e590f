package wire

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/deep-sandbox/deep/core/backend"
	backendv1 "github.com/deep-sandbox/deep/core/proto/backend/v1"
)

func (c *sandboxClient) ReadFile(ctx context.Context, req *backend.ReadFileRequest) (*backend.File, error) {
	const op = "read file"
	msg := &backendv1.ReadFileRequest{Path: []byte(req.Path), Offset: req.Offset, Length: req.Length}
	if err := c.checkRequest(op, cut(req.Path), msg); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	r := &download{peer: c.peer, ctx: ctx, cancel: cancel, path: req.Path, left: -1}
	if req.Length > 0 {
		r.left = req.Length
	}
	info, err := r.open(c.rpc, c.with(ctx), msg)
	if err != nil {
		defer cancel()
		return nil, c.fail(ctx, op, req.Path, err)
	}
	return &backend.File{Info: fileFromWire(info), ReadCloser: r}, nil
}

// download reads the content of a ReadFile.
type download struct {
	peer   peer
	ctx    context.Context
	cancel context.CancelFunc
	path   string
	stream grpc.ServerStreamingClient[backendv1.ReadFileReply]
	left   int64 // of the range, -1 if it has no end
	data   []byte
	err    error // what comes after data
}

// open reads the first message. Its error is a *backend.Error or a status.
func (d *download) open(rpc backendv1.SandboxClient, ctx context.Context, msg *backendv1.ReadFileRequest) (*backendv1.FileInfo, error) {
	const op = "read file"
	stream, err := rpc.ReadFile(ctx, msg)
	if err != nil {
		return nil, err
	}
	d.stream = stream
	first, err := stream.Recv()
	if errors.Is(err, io.EOF) {
		return nil, d.peer.faulty(op, "it ended without a description of the file")
	}
	if err != nil {
		return nil, err
	}
	if bad := badFileAt(first.GetInfo(), d.path); bad != "" {
		return nil, d.peer.faulty(op, "%s", bad)
	}
	if first.GetInfo().GetType() != string(backend.TypeRegular) {
		return nil, d.peer.faulty(op, "the content of a %s", first.GetInfo().GetType())
	}
	return first.GetInfo(), d.take(first.GetData())
}

func (d *download) take(data []byte) error {
	switch {
	case len(data) > fileFrame:
		return d.peer.faulty("read file", "a message with %d bytes of content", len(data))
	case d.left >= 0 && int64(len(data)) > d.left:
		return d.peer.faulty("read file", "more than was asked for")
	}
	if d.left > 0 {
		d.left -= int64(len(data))
	}
	d.data = data
	return nil
}

func (d *download) Read(p []byte) (int, error) {
	for len(d.data) == 0 {
		if d.err != nil {
			return 0, d.err
		}
		msg, err := d.stream.Recv()
		switch {
		case errors.Is(err, io.EOF):
			d.err = io.EOF
		case err != nil:
			d.err = d.peer.fail(d.ctx, "read file", d.path, err)
		case msg.GetInfo() != nil:
			d.err = d.peer.faulty("read file", "a second description of the file")
		case len(msg.GetData()) == 0:
			d.err = d.peer.faulty("read file", "a message that says nothing")
		default:
			d.err = d.take(msg.GetData())
		}
		if d.err != nil {
			d.cancel()
		}
	}
	n := copy(p, d.data)
	d.data = d.data[n:]
	return n, nil
}

// Close ends the call. A Read after it fails with context.Canceled.
func (d *download) Close() error {
	d.cancel()
	return nil
}

// abortTimeout bounds the wait for the sandbox to put away what it has of a file
// whose content failed.
const abortTimeout = 5 * time.Second

// WriteFile implements backend.Sandbox. A Content whose Read hangs does not keep
// it from returning when ctx ends, nor when the sandbox refuses; the Read is
// abandoned.
func (c *sandboxClient) WriteFile(ctx context.Context, req *backend.WriteFileRequest) (*backend.WriteFileReply, error) {
	const op = "write file"
	start := &backendv1.WriteFileStart{
		Path: []byte(req.Path), Mode: req.Mode, Append: req.Append, IfAbsent: req.IfAbsent, IfSha256: req.IfSHA256,
	}
	if err := c.checkRequest(op, cut(req.Path), start, req.IfSHA256); err != nil {
		return nil, err
	}
	call, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.rpc.WriteFile(c.with(call))
	if err != nil {
		return nil, c.fail(ctx, op, req.Path, err)
	}
	up := &upload{stream: stream, content: req.Content, giveUp: cancel}
	go up.run(func(data []byte, commit bool) proto.Message {
		msg := &backendv1.WriteFileRequest{Start: start, Data: data, Commit: commit}
		start = nil
		return msg
	})
	r := new(backendv1.WriteFileReply)
	err = stream.RecvMsg(r)
	sent, committed, contentErr := up.state()
	switch {
	case contentErr != nil && ctx.Err() == nil:
		return nil, contentErr
	case err != nil:
		return nil, c.fail(ctx, op, req.Path, err)
	case !committed:
		return nil, c.faulty(op, "the file was written before its content had ended")
	}
	before := req.Append && r.GetSize() > sent // what it was appended to
	switch {
	case r.GetSize() != sent && !before:
		return nil, c.faulty(op, "%d bytes written of %d", r.GetSize(), sent)
	case badSHA256(r.GetSha256()) && (!req.Append || r.GetSha256() != ""):
		return nil, c.faulty(op, "a sum of %q", cut(r.GetSha256()))
	}
	return &backend.WriteFileReply{Size: r.GetSize(), SHA256: r.GetSha256(), Created: r.GetCreated()}, nil
}

// upload sends what a caller has to give. What is small goes in one message, which
// is one round trip.
type upload struct {
	stream  grpc.ClientStream
	content io.Reader
	giveUp  context.CancelFunc

	mu        sync.Mutex
	sent      int64
	committed bool
	err       error // of content
}

// state tells how far the upload has come; each is noted before the message that
// it could be an answer to.
func (u *upload) state() (sent int64, committed bool, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.sent, u.committed, u.err
}

// run sends the content in messages that frame makes; the last has commit set.
func (u *upload) run(frame func(data []byte, commit bool) proto.Message) {
	var buf []byte
	for commit := false; !commit; {
		n := 0
		var err error
		if u.content == nil {
			err = io.EOF
		} else {
			if buf == nil {
				buf = make([]byte, sizeHint(u.content))
			}
			n, err = fill(u.content, buf)
		}
		if commit = isEnd(err); commit {
			err = nil
		}
		u.mu.Lock()
		u.sent, u.committed, u.err = u.sent+int64(n), commit, err
		u.mu.Unlock()
		if err != nil {
			// Half-closed without a commit: the sandbox lets go of the file and
			// answers, and only then is the write over.
			time.AfterFunc(abortTimeout, u.giveUp)
			break
		}
		if u.stream.SendMsg(frame(buf[:n], commit)) != nil {
			return // the sandbox has answered already, or the stream broke
		}
	}
	_ = u.stream.CloseSend()
}

// sizeHint returns how large a buffer content is worth: one byte above what it
// holds, if that is known, so that its end is found with the first read.
func sizeHint(content io.Reader) int {
	if c, ok := content.(interface{ Len() int }); ok {
		return min(c.Len()+1, fileFrame)
	}
	return fileFrame
}
