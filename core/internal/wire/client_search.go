package wire

import (
	"context"
	"errors"
	"io"
	"math"

	"google.golang.org/grpc"

	"github.com/deep-sandbox/deep/core/backend"
	backendv1 "github.com/deep-sandbox/deep/core/proto/backend/v1"
)

// maxContext is the most lines of context a Grep may ask for, on either side.
const maxContext = 20

func (c *sandboxClient) Glob(ctx context.Context, req *backend.GlobRequest) (*backend.GlobReply, error) {
	const op = "glob"
	msg := globToWire(req)
	if err := c.checkRequest(op, cut(req.Path), msg, string(req.Order)); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.rpc.Glob(c.with(ctx), msg)
	if err != nil {
		return nil, c.fail(ctx, op, req.Path, err)
	}
	reply := new(backend.GlobReply)
	check := func(f *backendv1.FileInfo) (int, string) {
		bad := badFile(f)
		if bad == "" && badRelative(f.GetPath()) {
			bad = "a match outside the directory"
		}
		return matchOverhead + len(f.GetPath()) + len(f.GetTarget()), bad
	}
	last, err := receiveMatches(c.peer, op, stream, bound(req.Limit, backend.MaxGlobMatches), (*backendv1.GlobReply).GetMatches, check,
		func(f *backendv1.FileInfo) { reply.Matches = append(reply.Matches, fileFromWire(f)) })
	if err != nil {
		return nil, c.fail(ctx, op, req.Path, err)
	}
	if last.GetTotal() < int64(len(reply.Matches)) {
		return nil, c.faulty(op, "%d matches of %d", len(reply.Matches), last.GetTotal())
	}
	reply.Truncated, reply.Total, reply.Unreadable = last.GetTruncated(), int(last.GetTotal()), bytesFromWire(last.GetUnreadable())
	return reply, nil
}

func (c *sandboxClient) Grep(ctx context.Context, req *backend.GrepRequest) (*backend.GrepReply, error) {
	const op = "grep"
	if req.Before != int(int32(req.Before)) || req.After != int(int32(req.After)) {
		return nil, c.refuse(backend.ErrInvalid, op, cut(req.Path), "at most %d lines of context", maxContext)
	}
	msg := grepToWire(req)
	if err := c.checkRequest(op, cut(req.Path), msg, string(req.Mode)); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.rpc.Grep(c.with(ctx), msg)
	if err != nil {
		return nil, c.fail(ctx, op, req.Path, err)
	}
	reply := new(backend.GrepReply)
	check := func(m *backendv1.GrepMatch) (int, string) {
		return matchOverhead + len(m.GetPath()) + len(m.GetText()), badMatch(m)
	}
	limit := bound(req.Limit, backend.MaxGrepMatches)
	lines := limit * (1 + min(max(req.Before, 0), maxContext) + min(max(req.After, 0), maxContext))
	matching := 0
	last, err := receiveMatches(c.peer, op, stream, lines, (*backendv1.GrepReply).GetMatches, check,
		func(m *backendv1.GrepMatch) {
			if !m.GetContext() {
				matching++
			}
			reply.Matches = append(reply.Matches, matchFromWire(m))
		})
	if err != nil {
		return nil, c.fail(ctx, op, req.Path, err)
	}
	switch {
	case matching > limit:
		return nil, c.faulty(op, "%d matches where %d were asked for", matching, limit)
	case last.GetSearched() < 0 || last.GetSearched() > math.MaxInt32:
		return nil, c.faulty(op, "%d files searched", last.GetSearched())
	}
	reply.Truncated, reply.Searched, reply.Unreadable = last.GetTruncated(), int(last.GetSearched()), bytesFromWire(last.GetUnreadable())
	return reply, nil
}

// receiveMatches reads the replies of a search and returns the last of them.
// Only that one may hold no match, so a stream of empty ones comes to an end.
// Its error is a *backend.Error or a status.
func receiveMatches[R interface{ GetUnreadable() [][]byte }, M any](
	p peer, op string, stream interface {
		grpc.ClientStream
		Recv() (R, error)
	},
	limit int, matches func(R) []M, check func(M) (bytes int, bad string), add func(M),
) (last R, err error) {
	n, bytes, ended := 0, 0, false
	for messages := 0; ; messages++ {
		r, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			if messages == 0 {
				return last, p.faulty(op, "it ended without an answer")
			}
			return last, nil
		}
		if err != nil {
			return last, err
		}
		if ended {
			return last, p.faulty(op, "more after the last message")
		}
		ended = len(matches(r)) == 0 || len(r.GetUnreadable()) > 0
		if len(r.GetUnreadable()) > maxUnreadable {
			return last, p.faulty(op, "%d unreadable files", len(r.GetUnreadable()))
		}
		for _, u := range r.GetUnreadable() {
			if badPath(u) {
				return last, p.faulty(op, "an unreadable file named %q", cut(string(u)))
			}
		}
		for _, m := range matches(r) {
			size, bad := check(m)
			if bad != "" {
				return last, p.faulty(op, "%s", bad)
			}
			n, bytes = n+1, bytes+size
			if n > limit {
				return last, p.faulty(op, "more than the %d matches asked for", limit)
			}
			// The server stops at the first match beyond maxAnswer.
			if bytes > maxAnswer+MaxMessage {
				return last, p.faulty(op, "an answer of more than %d bytes", maxAnswer)
			}
			add(m)
		}
		last = r
	}
}
