package wire

import (
	"context"
	"errors"
	"io"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"

	"github.com/deep-sandbox/deep/core/backend"
	backendv1 "github.com/deep-sandbox/deep/core/proto/backend/v1"
)

func (s *sandboxServer) ReadFile(req *backendv1.ReadFileRequest, stream grpc.ServerStreamingServer[backendv1.ReadFileReply]) error {
	sb, err := s.sandbox(stream.Context())
	if err != nil {
		return err
	}
	f, err := sb.ReadFile(stream.Context(), &backend.ReadFileRequest{
		Path: string(req.GetPath()), Offset: req.GetOffset(), Length: req.GetLength(),
	})
	if err != nil {
		return Error(err)
	}
	return Error(errors.Join(sendFile(stream, f, req), f.Close()))
}

// sendFile sends what f holds; a small range goes with the description, in one
// message. The error is not yet a status, except that of Send.
func sendFile(stream grpc.ServerStreamingServer[backendv1.ReadFileReply], f *backend.File, req *backendv1.ReadFileRequest) error {
	expected := max(f.Info.Size-req.GetOffset(), 0)
	if req.GetLength() > 0 {
		expected = min(expected, req.GetLength())
	}
	// One byte more than there should be finds the end without a second read into
	// a buffer that is full; 512 are for files that do not tell a size, as those of
	// /proc.
	size := int(min(max(expected+1, 512), fileFrame))
	msg := &backendv1.ReadFileReply{Info: fileToWire(f.Info)}
	for {
		data, err := readPiece(f, size)
		end := isEnd(err)
		if err != nil && !end {
			data.Free()
			return err
		}
		if msg.Info != nil || data.Len() > 0 {
			if err := sendPiece(stream, msg, data); err != nil {
				return err
			}
			msg.Info = nil
		}
		if end {
			return nil
		}
	}
}

// isEnd reports whether a reader has come to its end. One that wraps io.EOF has
// not: it tells of something that broke.
func isEnd(err error) bool {
	return err == io.EOF //nolint:errorlint // see above
}

// fill reads until buf is full or r fails, and returns r's own error. io.ReadFull
// would answer io.ErrUnexpectedEOF both at the end of a short file and for a
// reader that says so itself because it broke.
func fill(r io.Reader, buf []byte) (n int, err error) {
	for n < len(buf) && err == nil {
		var read int
		read, err = r.Read(buf[n:])
		n += read
	}
	return n, err
}

func (s *sandboxServer) WriteFile(stream grpc.ClientStreamingServer[backendv1.WriteFileRequest, backendv1.WriteFileReply]) error {
	sb, err := s.sandbox(stream.Context())
	if err != nil {
		return err
	}
	first := new(backendv1.WriteFileRequest)
	data, err := receivePiece(stream, first)
	if err != nil || first.GetStart() == nil {
		data.Free()
		return Error(noStart("write file", err))
	}
	start := first.GetStart()
	content := &uploaded{ctx: stream.Context(), op: "write file", recv: func() (uploadedFrame, error) {
		msg := new(backendv1.WriteFileRequest)
		data, err := receivePiece(stream, msg)
		return uploadedFrame{msg.GetStart() != nil, data, msg.GetCommit()}, err
	}}
	defer content.free()
	content.take(uploadedFrame{data: data, commit: first.GetCommit()})
	r, err := sb.WriteFile(stream.Context(), &backend.WriteFileRequest{
		Path: string(start.GetPath()), Mode: start.GetMode(), Content: content,
		Append: start.GetAppend(), IfAbsent: start.GetIfAbsent(), IfSHA256: start.GetIfSha256(),
	})
	if err != nil {
		return Error(err)
	}
	return stream.SendAndClose(&backendv1.WriteFileReply{Size: r.Size, Sha256: r.SHA256, Created: r.Created})
}

// uploadedFrame is one message of what a caller uploads.
type uploadedFrame struct {
	start  bool
	data   mem.BufferSlice
	commit bool
}

// uploaded reads what a caller uploads. It ends with io.EOF at the commit and
// nowhere else.
type uploaded struct {
	ctx  context.Context
	op   string
	recv func() (uploadedFrame, error)

	mu   sync.Mutex // of a Read, and of what free frees
	data mem.Reader
	err  error // what comes after data
}

func (u *uploaded) Read(p []byte) (int, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for u.data.Remaining() == 0 {
		if u.err != nil {
			return 0, u.err
		}
		frame, err := u.recv()
		switch {
		case errors.Is(err, io.EOF):
			u.err = &backend.Error{Kind: backend.ErrInvalid, Op: u.op, Message: "the content ended without a commit"}
		case u.ctx.Err() != nil:
			u.err = &backend.Error{Kind: context.Cause(u.ctx), Op: u.op}
		case err != nil:
			u.err = FromStatus(err)
		case frame.start:
			u.err = &backend.Error{Kind: backend.ErrInvalid, Op: u.op, Message: "start may come only once"}
		default:
			u.take(frame)
			continue
		}
		frame.data.Free()
	}
	return u.data.Read(p)
}

// take notes what a message holds, and frees its data.
func (u *uploaded) take(frame uploadedFrame) {
	defer frame.data.Free() // u.data has a reference of its own
	if frame.data.Len() > fileFrame {
		u.err = &backend.Error{Kind: backend.ErrInvalid, Op: u.op, Message: "a message may hold at most 256 KiB of content"}
		return
	}
	u.data.Reset(frame.data)
	if frame.commit {
		u.err = io.EOF
	}
}

// free frees what was not read. A Read the sandbox has abandoned may still wait
// for the next message, and then there is nothing to free.
func (u *uploaded) free() {
	if u.mu.TryLock() {
		defer u.mu.Unlock()
		_ = u.data.Close() // never fails
	}
}
