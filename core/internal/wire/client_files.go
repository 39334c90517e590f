package wire

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"
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
	info, data, stream, err := c.openFile(ctx, msg)
	if err != nil {
		defer cancel()
		return nil, c.fail(ctx, op, req.Path, err)
	}
	r := &pieces{peer: c.peer, ctx: ctx, cancel: cancel, op: op, path: req.Path, most: fileFrame, limit: max(req.Length, 0), recv: func() (mem.BufferSlice, string, error) {
		msg := new(backendv1.ReadFileReply)
		data, err := receivePiece(stream, msg)
		if err == nil && msg.GetInfo() != nil {
			return data, "a second description of the file", nil
		}
		return data, "", err
	}}
	if err := r.take(data); err != nil {
		cancel()
		return nil, err
	}
	return &backend.File{Info: fileFromWire(info), ReadCloser: r}, nil
}

// openFile reads the first message. Its error is a *backend.Error or a status.
func (c *sandboxClient) openFile(ctx context.Context, msg *backendv1.ReadFileRequest) (*backendv1.FileInfo, mem.BufferSlice, grpc.ClientStream, error) {
	const op = "read file"
	stream, err := c.rpc.ReadFile(c.with(ctx), msg)
	if err != nil {
		return nil, nil, nil, err
	}
	first := new(backendv1.ReadFileReply)
	data, err := receivePiece(stream, first)
	switch bad := badFileAt(first.GetInfo(), string(msg.GetPath())); {
	case errors.Is(err, io.EOF):
		err = c.faulty(op, "it ended without a description of the file")
	case err != nil:
	case bad != "":
		err = c.faulty(op, "%s", bad)
	case first.GetInfo().GetType() != string(backend.TypeRegular):
		err = c.faulty(op, "the content of a %s", first.GetInfo().GetType())
	}
	if err != nil {
		data.Free()
		return nil, nil, nil, err
	}
	return first.GetInfo(), data, stream, nil
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
	r := new(backendv1.WriteFileReply)
	up := &upload{content: req.Content, open: func(ctx context.Context) (grpc.ClientStream, error) { return c.rpc.WriteFile(ctx) },
		head: func(commit bool) proto.Message {
			msg := &backendv1.WriteFileRequest{Start: start, Commit: commit}
			start = nil
			return msg
		}}
	sent, err := c.upload(ctx, op, req.Path, up, r, "the file was written before its content had ended")
	if err != nil {
		return nil, err
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
	content io.Reader
	// open begins the call.
	open func(context.Context) (grpc.ClientStream, error)
	// head makes a message without its data; the last has commit set.
	head func(commit bool) proto.Message

	stream grpc.ClientStream
	giveUp context.CancelFunc

	mu        sync.Mutex
	sent      int64
	committed bool
	err       error // of content
}

// upload sends u and waits for reply; it returns how many bytes of content it sent.
// An answer before the content had ended is a fault, in the words of early.
func (c *sandboxClient) upload(ctx context.Context, op, path string, u *upload, reply proto.Message, early string) (int64, error) {
	call, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := u.open(c.with(call))
	if err != nil {
		return 0, c.fail(ctx, op, path, err)
	}
	u.stream, u.giveUp = stream, cancel
	go u.run()
	err = stream.RecvMsg(reply)
	sent, committed, contentErr := u.state()
	switch {
	case contentErr != nil && ctx.Err() == nil:
		return 0, contentErr
	case err != nil:
		return 0, c.fail(ctx, op, path, err)
	case !committed:
		return 0, c.faulty(op, "%s", early)
	}
	return sent, nil
}

// state tells how far the upload has come; each is noted before the message that
// it could be an answer to.
func (u *upload) state() (sent int64, committed bool, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.sent, u.committed, u.err
}

func (u *upload) run() {
	content := u.content
	if content == nil {
		content = strings.NewReader("")
	}
	size := fileFrame
	if c, ok := content.(interface{ Len() int }); ok {
		// One byte above what it holds finds its end with the first read.
		size = min(c.Len()+1, fileFrame)
	}
	for commit := false; !commit; {
		data, err := readPiece(content, size)
		if commit = isEnd(err); commit {
			err = nil
		}
		u.mu.Lock()
		u.sent, u.committed, u.err = u.sent+int64(data.Len()), commit, err
		u.mu.Unlock()
		if err != nil {
			data.Free()
			// Half-closed without a commit: the sandbox lets go of the file and
			// answers, and only then is the write over.
			time.AfterFunc(abortTimeout, u.giveUp)
			break
		}
		if sendPiece(u.stream, u.head(commit), data) != nil {
			return // the sandbox has answered already, or the stream broke
		}
	}
	_ = u.stream.CloseSend()
}
