package wire_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/internal/wire"
)

// TestForwardToGone: what breaks on the far side of a forwarder is told from a
// sandbox that is gone.
func TestForwardToGone(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		again error // of conn, when it is called after the break
		kind  error
	}{
		"gone":      {&backend.Error{Kind: backend.ErrGone}, backend.ErrGone},
		"reachable": {nil, backend.ErrUnavailable},
		"unknown":   {&backend.Error{Kind: backend.ErrUnavailable}, backend.ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sb := &stub{exec: func(ctx context.Context, req *backend.ExecRequest) (*backend.ExecResult, error) {
				_, _ = req.Stdout.Write([]byte("up"))
				return untilCancelled(ctx, req)
			}}
			guest, server := serve(t, func(s *grpc.Server) {
				wire.RegisterSandbox(s, func(context.Context, string) (backend.Sandbox, error) { return sb, nil })
			})
			var broken atomic.Bool
			cc, _ := serve(t, func(s *grpc.Server) {
				wire.ForwardSandbox(s, func(_ context.Context, id string) (grpc.ClientConnInterface, error) {
					if id != "sandbox" {
						t.Errorf("id %q", id)
					}
					if broken.Load() && c.again != nil {
						return nil, c.again
					}
					return guest, nil
				})
			})
			res, err := client(cc).Exec(t.Context(), &backend.ExecRequest{Argv: []string{"x"}, Stdout: writer(func(p []byte) (int, error) {
				broken.Store(true)
				go server.Stop()
				return len(p), nil
			})})
			if !errors.Is(err, c.kind) || res == nil || res.StdoutBytes != 2 {
				t.Errorf("%+v, %v", res, err)
			}
			if want := map[bool]backend.Outcome{true: backend.OutcomeLost, false: backend.OutcomeUnknown}[errors.Is(c.kind, backend.ErrGone)]; res != nil && res.Outcome != want {
				t.Errorf("outcome %q, want %q", res.Outcome, want)
			}
			if _, err := client(cc).Stat(t.Context(), &backend.StatRequest{Path: "f"}); !errors.Is(err, c.kind) {
				t.Errorf("a call afterwards: %v", err)
			}
		})
	}
}

// TestForwardCancels: when the caller of a forwarded call goes away, the call to
// the sandbox ends.
func TestForwardCancels(t *testing.T) {
	t.Parallel()
	entered, left := make(chan struct{}), make(chan struct{})
	sb := &stub{read: func(ctx context.Context, _ *backend.ReadFileRequest) (*backend.File, error) {
		close(entered)
		<-ctx.Done()
		close(left)
		return nil, ctx.Err()
	}}
	c := client(forward(t, serveSandbox(t, sb)))
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-entered
		cancel()
	}()
	if _, err := c.ReadFile(ctx, &backend.ReadFileRequest{Path: "f"}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	await(t, "the sandbox's call ends", left)
}

// TestForwardHoldsLittle: a reader that stops stops the sandbox, and no process
// between them fills up.
func TestForwardHoldsLittle(t *testing.T) {
	t.Parallel()
	var taken atomic.Int64
	sb := &stub{read: func(_ context.Context, req *backend.ReadFileRequest) (*backend.File, error) {
		endless := reader(func(p []byte) (int, error) {
			taken.Add(int64(len(p)))
			return len(p), nil
		})
		return &backend.File{Info: backend.FileInfo{Path: req.Path, Type: backend.TypeRegular, Size: 1 << 40}, ReadCloser: io.NopCloser(endless)}, nil
	}}
	f, err := client(forward(t, serveSandbox(t, sb))).ReadFile(t.Context(), &backend.ReadFileRequest{Path: "f"})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for last := int64(-1); taken.Load() != last; {
		if last = taken.Load(); last > 8<<20 {
			t.Fatalf("%d bytes for a reader that took none", last)
		}
		time.Sleep(300 * time.Millisecond)
	}
	if _, err := io.CopyN(io.Discard, f, 20<<20); err != nil {
		t.Errorf("going on: %v", err)
	}
}

// TestFilesThroughForward: content passes a forwarder unchanged, whatever size it
// has or tells.
func TestFilesThroughForward(t *testing.T) {
	t.Parallel()
	content := bytes.Repeat([]byte("0123456789abcdef"), 100_000)
	var got bytes.Buffer
	sb := &stub{
		write: func(_ context.Context, req *backend.WriteFileRequest) (*backend.WriteFileReply, error) {
			n, err := io.Copy(&got, req.Content)
			return &backend.WriteFileReply{Size: n, SHA256: strings.Repeat("0", 64)}, err
		},
		read: func(_ context.Context, req *backend.ReadFileRequest) (*backend.File, error) {
			return &backend.File{
				Info:       backend.FileInfo{Path: req.Path, Type: backend.TypeRegular},
				ReadCloser: io.NopCloser(bytes.NewReader(content)),
			}, nil
		},
	}
	c := client(forward(t, serveSandbox(t, sb)))
	if _, err := c.WriteFile(t.Context(), &backend.WriteFileRequest{Path: "f", Content: bytes.NewReader(content)}); err != nil || !bytes.Equal(got.Bytes(), content) {
		t.Errorf("write: %d bytes of %d, %v", got.Len(), len(content), err)
	}
	// A file that tells no size, as those of /proc, is read to its end.
	f, err := c.ReadFile(t.Context(), &backend.ReadFileRequest{Path: "f"})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if read, err := io.ReadAll(f); err != nil || !bytes.Equal(read, content) {
		t.Errorf("read: %d bytes of %d, %v", len(read), len(content), err)
	}
}

// TestReadThatBreaks: a failure half way is never the end of the file.
func TestReadThatBreaks(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 100, 700_000} {
		sb := &stub{read: func(_ context.Context, req *backend.ReadFileRequest) (*backend.File, error) {
			broken := reader(func([]byte) (int, error) { return 0, io.ErrUnexpectedEOF })
			return &backend.File{
				Info:       backend.FileInfo{Path: req.Path, Type: backend.TypeRegular, Size: 1 << 20},
				ReadCloser: io.NopCloser(io.MultiReader(bytes.NewReader(make([]byte, n)), broken)),
			}, nil
		}}
		f, err := client(serveSandbox(t, sb)).ReadFile(t.Context(), &backend.ReadFileRequest{Path: "f"})
		if err == nil {
			_, err = io.ReadAll(f)
			f.Close()
		}
		if !errors.Is(err, backend.ErrUnavailable) {
			t.Errorf("after %d bytes: %v", n, err)
		}
	}
}

// TestWriteRefused: a sandbox that refuses does not wait for content that hangs.
func TestWriteRefused(t *testing.T) {
	t.Parallel()
	hang := make(chan struct{})
	defer close(hang)
	sb := &stub{write: func(context.Context, *backend.WriteFileRequest) (*backend.WriteFileReply, error) {
		return nil, &backend.Error{Kind: backend.ErrIsDirectory}
	}}
	content := io.MultiReader(bytes.NewReader(make([]byte, 300<<10)), reader(func([]byte) (int, error) {
		<-hang
		return 0, io.EOF
	}))
	_, err := client(serveSandbox(t, sb)).WriteFile(t.Context(), &backend.WriteFileRequest{Path: "f", Content: content})
	if !errors.Is(err, backend.ErrIsDirectory) {
		t.Errorf("got %v", err)
	}
}

// TestGrepIsCut: an answer too large for anybody is cut, and says so.
func TestGrepIsCut(t *testing.T) {
	t.Parallel()
	line := strings.Repeat("x", backend.MaxGrepLine)
	sb := &stub{grep: func(context.Context, *backend.GrepRequest) (*backend.GrepReply, error) {
		r := &backend.GrepReply{Searched: 1}
		for i := range backend.MaxGrepMatches {
			r.Matches = append(r.Matches, backend.GrepMatch{Path: "f", Line: i + 1, Text: line})
		}
		return r, nil
	}}
	r, err := client(forward(t, serveSandbox(t, sb))).Grep(t.Context(), &backend.GrepRequest{Pattern: "x"})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(r.Matches); !r.Truncated || n < 8000 || n >= backend.MaxGrepMatches || r.Matches[n-1].Line != n {
		t.Errorf("%d matches, truncated %v", n, r.Truncated)
	}
}

// BenchmarkExec is a command that does nothing, over two hops: what the wire
// costs.
func BenchmarkExec(b *testing.B) {
	sb := &stub{exec: func(_ context.Context, req *backend.ExecRequest) (*backend.ExecResult, error) {
		_, _ = req.Stdout.Write([]byte("hi\n"))
		return &backend.ExecResult{ID: req.ID, Outcome: backend.OutcomeExit, StdoutBytes: 3}, nil
	}}
	c := client(forward(b, serveSandbox(b, sb)))
	for b.Loop() {
		if _, err := c.Exec(b.Context(), &backend.ExecRequest{Argv: []string{"x"}}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRead1K is a small file over two hops.
func BenchmarkRead1K(b *testing.B) {
	content := make([]byte, 1024)
	sb := &stub{read: func(_ context.Context, req *backend.ReadFileRequest) (*backend.File, error) {
		return &backend.File{
			Info:       backend.FileInfo{Path: req.Path, Type: backend.TypeRegular, Size: 1024},
			ReadCloser: io.NopCloser(bytes.NewReader(content)),
		}, nil
	}}
	c := client(forward(b, serveSandbox(b, sb)))
	for b.Loop() {
		f, err := c.ReadFile(b.Context(), &backend.ReadFileRequest{Path: "f"})
		if err != nil {
			b.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, f); n != 1024 || err != nil {
			b.Fatal(n, err)
		}
		f.Close()
	}
}
