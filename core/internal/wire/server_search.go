package wire

import (
	"google.golang.org/grpc"

	"github.com/deep-sandbox/deep/core/backend"
	backendv1 "github.com/deep-sandbox/deep/core/proto/backend/v1"
)

const (
	// searchFrame is how many bytes of matches go into one message.
	searchFrame = 256 << 10
	// maxAnswer is how many bytes of matches one Glob or Grep answers with; more
	// is cut, and the reply says so. 10,000 matching lines with context could be
	// 800 MB.
	maxAnswer = 16 << 20
	// maxUnreadable bounds GlobReply.Unreadable and GrepReply.Unreadable.
	maxUnreadable = 100
	// matchOverhead is what a match costs beside its texts, in bytes.
	matchOverhead = 64
)

func (s *sandboxServer) Glob(req *backendv1.GlobRequest, stream grpc.ServerStreamingServer[backendv1.GlobReply]) error {
	sb, err := s.sandbox(stream.Context())
	if err != nil {
		return err
	}
	r, err := sb.Glob(stream.Context(), globFromWire(req))
	if err != nil {
		return Error(err)
	}
	size := func(f backend.FileInfo) int { return matchOverhead + len(f.Path) + len(f.Target) }
	return sendMatches(r.Matches, size, func(matches []backend.FileInfo, last, cut bool) error {
		msg := &backendv1.GlobReply{Matches: mapSlice(matches, fileToWire)}
		if last {
			msg.Truncated = r.Truncated || cut
			msg.Total = int64(r.Total)
			msg.Unreadable = bytesToWire(r.Unreadable[:min(len(r.Unreadable), maxUnreadable)])
		}
		return stream.Send(msg)
	})
}

func (s *sandboxServer) Grep(req *backendv1.GrepRequest, stream grpc.ServerStreamingServer[backendv1.GrepReply]) error {
	sb, err := s.sandbox(stream.Context())
	if err != nil {
		return err
	}
	r, err := sb.Grep(stream.Context(), grepFromWire(req))
	if err != nil {
		return Error(err)
	}
	size := func(m backend.GrepMatch) int { return matchOverhead + len(m.Path) + len(m.Text) }
	return sendMatches(r.Matches, size, func(matches []backend.GrepMatch, last, cut bool) error {
		msg := &backendv1.GrepReply{Matches: mapSlice(matches, matchToWire)}
		if last {
			msg.Truncated = r.Truncated || cut
			msg.Searched = int64(r.Searched)
			msg.Unreadable = bytesToWire(r.Unreadable[:min(len(r.Unreadable), maxUnreadable)])
		}
		return stream.Send(msg)
	})
}

// sendMatches sends matches in messages of about searchFrame, maxAnswer in all.
// There is always a last message.
func sendMatches[M any](matches []M, size func(M) int, send func(matches []M, last, cut bool) error) error {
	sent := 0
	for {
		n, bytes := 0, 0
		for n < len(matches) && bytes < searchFrame {
			bytes += size(matches[n])
			n++
		}
		sent += bytes
		cut := sent >= maxAnswer && n < len(matches)
		last := cut || n == len(matches)
		if err := send(matches[:n], last, cut); err != nil || last {
			return err
		}
		matches = matches[n:]
	}
}
