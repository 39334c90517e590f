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
	first := new(backendv1.PutArchiveRequest)
	data, err := receivePiece(stream, first)
	if err != nil || first.GetStart() == nil {
		data.Free()
		return Error(noStart(op, err))
	}
	content := &uploaded{ctx: stream.Context(), op: op, recv: func() (uploadedFrame, error) {
		msg := new(backendv1.PutArchiveRequest)
		data, err := receivePiece(stream, msg)
		return uploadedFrame{msg.GetStart() != nil, data, msg.GetCommit()}, err
	}}
	defer content.free()
	content.take(uploadedFrame{data: data, commit: first.GetCommit()})
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
	for {
		data, err := readPiece(archive, fileFrame)
		if err != nil && !isEnd(err) || data.Len() == 0 {
			data.Free()
			if isEnd(err) {
				return nil
			}
			return err
		}
		if sendErr := sendPiece(stream, new(backendv1.GetArchiveReply), data); sendErr != nil || err != nil {
			return sendErr
		}
	}
}
