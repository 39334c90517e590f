package wire

import (
	"errors"
	"io"

	"google.golang.org/grpc"

	"github.com/deep-sandbox/deep/core/backend"
	backendv1 "github.com/deep-sandbox/deep/core/proto/backend/v1"
)

func (s *sandboxServer) PutArchive(stream grpc.ClientStreamingServer[backendv1.PutArchiveRequest, backendv1.PutArchiveReply]) error {
	const op = "put archive"
	sb, err := s.sandbox(stream.Context())
	if err != nil {
		return err
	}
	first, err := stream.Recv()
	if err != nil {
		return Error(noStart(op, err))
	}
	if first.GetStart() == nil {
		return Error(noStart(op, nil))
	}
	content := &uploaded{ctx: stream.Context(), op: op, recv: func() (uploadedFrame, error) {
		msg, err := stream.Recv()
		return uploadedFrame{msg.GetStart() != nil, msg.GetData(), msg.GetCommit()}, err
	}}
	content.take(uploadedFrame{data: first.GetData(), commit: first.GetCommit()})
	r, err := sb.PutArchive(stream.Context(), &backend.PutArchiveRequest{Path: string(first.GetStart().GetPath()), Content: content})
	if err != nil {
		return Error(err)
	}
	return stream.SendAndClose(&backendv1.PutArchiveReply{Entries: int64(r.Entries), Bytes: r.Bytes})
}

func (s *sandboxServer) GetArchive(req *backendv1.GetArchiveRequest, stream grpc.ServerStreamingServer[backendv1.GetArchiveReply]) error {
	sb, err := s.sandbox(stream.Context())
	if err != nil {
		return err
	}
	archive, err := sb.GetArchive(stream.Context(), &backend.GetArchiveRequest{Path: string(req.GetPath())})
	if err != nil {
		return Error(err)
	}
	return Error(errors.Join(sendArchive(stream, archive), archive.Close()))
}

// sendArchive sends an archive in full messages. The error is not yet a status,
// except that of Send.
func sendArchive(stream grpc.ServerStreamingServer[backendv1.GetArchiveReply], archive io.Reader) error {
	buf := fileBuffers.Get().(*[fileFrame]byte)
	defer fileBuffers.Put(buf)
	for {
		n, err := fill(archive, buf[:])
		if err != nil && !isEnd(err) {
			return err
		}
		if n > 0 {
			if err := stream.Send(&backendv1.GetArchiveReply{Data: buf[:n]}); err != nil {
				return err
			}
		}
		if err != nil {
			return nil
		}
	}
}
