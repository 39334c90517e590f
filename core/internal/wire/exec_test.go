package wire_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/internal/wire"
	backendv1 "github.com/deep-sandbox/deep/core/proto/backend/v1"
)

// patience bounds what a test waits for; nothing should take near as long.
const patience = time.Minute

// await returns what comes from c.
func await[T any](t *testing.T, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("never: %s", what)
		panic("unreachable")
	}
}

// untilCancelled is an exec that runs until it is cancelled.
func untilCancelled(ctx context.Context, req *backend.ExecRequest) (*backend.ExecResult, error) {
	<-ctx.Done()
	return &backend.ExecResult{ID: req.ID, Outcome: backend.OutcomeCancelled, ExitCode: 143, Signal: 15},
		&backend.Error{Kind: context.Canceled, Op: "exec"}
}

// stream opens an exec as some other client would.
func stream(t *testing.T, cc grpc.ClientConnInterface) backendv1.Sandbox_ExecClient {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	s, err := backendv1.NewSandboxClient(cc).Exec(metadata.AppendToOutgoingContext(ctx, wire.SandboxIDKey, "sandbox"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func startMsg(stdin bool) *backendv1.ExecRequest {
	return &backendv1.ExecRequest{Message: &backendv1.ExecRequest_Start{Start: &backendv1.ExecStart{Id: "exec", Argv: [][]byte{[]byte("x")}, Stdin: stdin}}}
}

func stdinMsg(n int) *backendv1.ExecRequest {
	return &backendv1.ExecRequest{Message: &backendv1.ExecRequest_Stdin{Stdin: make([]byte, n)}}
}

var (
	stdinEnd  = &backendv1.ExecRequest{Message: &backendv1.ExecRequest_StdinEnd{StdinEnd: &backendv1.ExecStdinEnd{}}}
	cancelMsg = &backendv1.ExecRequest{Message: &backendv1.ExecRequest_Cancel{Cancel: &backendv1.ExecCancel{}}}
)

// TestExecProtocolViolations: a caller that does not keep to the protocol is
// refused, and its command cancelled.
func TestExecProtocolViolations(t *testing.T) {
	t.Parallel()
	window := make([]*backendv1.ExecRequest, 0, 10)
	window = append(window, startMsg(true))
	for range 9 {
		window = append(window, stdinMsg(32<<10))
	}
	for name, msgs := range map[string][]*backendv1.ExecRequest{
		"no start":                 {stdinMsg(1)},
		"an empty first message":   {{}},
		"cancel first":             {cancelMsg},
		"start twice":              {startMsg(true), startMsg(true)},
		"input not announced":      {startMsg(false), stdinMsg(1)},
		"end not announced":        {startMsg(false), stdinEnd},
		"input after its end":      {startMsg(true), stdinEnd, stdinMsg(1)},
		"two ends":                 {startMsg(true), stdinEnd, stdinEnd},
		"a large frame":            {startMsg(true), stdinMsg(32<<10 + 1)},
		"more than the window":     window,
		"an empty message":         {startMsg(true), {}},
		"an empty message, no in":  {startMsg(false), {}},
		"nothing but a half-close": {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := stream(t, serveSandbox(t, &stub{exec: untilCancelled}))
			for _, m := range msgs {
				if err := s.Send(m); err != nil && !errors.Is(err, io.EOF) {
					t.Fatal(err)
				}
			}
			if len(msgs) == 0 {
				_ = s.CloseSend()
			}
			var err error
			for err == nil {
				_, err = s.Recv()
			}
			if got := wire.FromStatus(err); !errors.Is(got, backend.ErrInvalid) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestSandboxIDIsNeeded: a call names one sandbox.
func TestSandboxIDIsNeeded(t *testing.T) {
	t.Parallel()
	cc := serveSandbox(t, &stub{})
	for _, cc := range []*grpc.ClientConn{cc, forward(t, cc)} {
		for _, ids := range [][]string{nil, {""}, {"../x"}, {"a", "b"}} {
			ctx := metadata.NewOutgoingContext(t.Context(), metadata.MD{wire.SandboxIDKey: ids})
			_, err := backendv1.NewSandboxClient(cc).Stat(ctx, &backendv1.StatRequest{Path: []byte("f")})
			if got := wire.FromStatus(err); !errors.Is(got, backend.ErrInvalid) {
				t.Errorf("%q: %v", ids, err)
			}
			s, err := backendv1.NewSandboxClient(cc).ReadFile(ctx, &backendv1.ReadFileRequest{Path: []byte("f")})
			if err == nil {
				_, err = s.Recv()
			}
			if got := wire.FromStatus(err); !errors.Is(got, backend.ErrInvalid) {
				t.Errorf("%q, a stream: %v", ids, err)
			}
		}
	}
}

// TestBrokenStreamIsACancel: when the caller is gone, however, its command is
// cancelled.
func TestBrokenStreamIsACancel(t *testing.T) {
	t.Parallel()
	cancelled := make(chan struct{})
	sb := &stub{exec: func(ctx context.Context, req *backend.ExecRequest) (*backend.ExecResult, error) {
		_, _ = req.Stdout.Write([]byte("up"))
		defer close(cancelled)
		return untilCancelled(ctx, req)
	}}
	cc := forward(t, serveSandbox(t, sb))
	s := stream(t, cc)
	if err := s.Send(startMsg(false)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Recv(); err != nil {
		t.Fatal(err)
	}
	cc.Close()
	await(t, "the command is cancelled", cancelled)
}

// TestLastOutputTravelsWithExit: a short command costs one message.
func TestLastOutputTravelsWithExit(t *testing.T) {
	t.Parallel()
	sb := &stub{exec: func(_ context.Context, req *backend.ExecRequest) (*backend.ExecResult, error) {
		_, _ = req.Stdout.Write([]byte("out"))
		_, _ = req.Stderr.Write([]byte("err"))
		return &backend.ExecResult{ID: req.ID, Outcome: backend.OutcomeExit, StdoutBytes: 3, StderrBytes: 3}, nil
	}}
	cc := serveSandbox(t, sb)
	// On a loaded machine the delay may pass before the exit, so one of many.
	for range 100 {
		s := stream(t, cc)
		if err := s.Send(startMsg(false)); err != nil {
			t.Fatal(err)
		}
		m, err := s.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if string(m.GetStdout()) == "out" && string(m.GetStderr()) == "err" && m.GetExit() != nil {
			if _, err := s.Recv(); !errors.Is(err, io.EOF) {
				t.Errorf("afterwards: %v", err)
			}
			return
		}
	}
	t.Error("never in one message")
}

// TestOutputOrder: one writer is one on the other side too, and what it gets is
// in the order it was written.
func TestOutputOrder(t *testing.T) {
	t.Parallel()
	var want strings.Builder
	sb := &stub{exec: func(_ context.Context, req *backend.ExecRequest) (*backend.ExecResult, error) {
		r := &backend.ExecResult{ID: req.ID, Outcome: backend.OutcomeExit}
		if !req.Merged() {
			return nil, errors.New("two writers")
		}
		for i := range 400 {
			p := bytes.Repeat([]byte{byte('a' + i%26)}, i*37%5000)
			w := req.Stdout
			if i%3 == 0 {
				w = req.Stderr
			}
			r.StdoutBytes += int64(len(p))
			if n, err := w.Write(p); n != len(p) || err != nil {
				return nil, err
			}
			want.Write(p)
		}
		return r, nil
	}}
	var got bytes.Buffer
	_, err := client(forward(t, serveSandbox(t, sb))).Exec(t.Context(), &backend.ExecRequest{Argv: []string{"x"}, Stdout: &got, Stderr: &got})
	if err != nil || got.String() != want.String() {
		t.Errorf("%d bytes of %d, or others: %v", got.Len(), want.Len(), err)
	}
}

// TestSlowWriter: a caller that does not read holds up the command, and can still
// cancel it.
func TestSlowWriter(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	written := 0
	blocked := make(chan struct{})
	sb := &stub{exec: func(ctx context.Context, req *backend.ExecRequest) (*backend.ExecResult, error) {
		stop := context.AfterFunc(ctx, func() { close(blocked) })
		defer stop()
		p := make([]byte, 32<<10)
		var n int64
		for ctx.Err() == nil {
			m, err := req.Stdout.Write(p)
			n += int64(m)
			mu.Lock()
			written += m
			mu.Unlock()
			if err != nil {
				break
			}
		}
		res, err := untilCancelled(ctx, req)
		res.StdoutBytes = n
		return res, err
	}}
	total := func() int {
		mu.Lock()
		defer mu.Unlock()
		return written
	}
	c := client(forward(t, serveSandbox(t, sb)))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	release := make(chan struct{})
	done := make(chan error, 1)
	go func() {
		res, err := c.Exec(ctx, &backend.ExecRequest{Argv: []string{"x"}, Stdout: writer(func(p []byte) (int, error) {
			<-release
			return len(p), nil
		})})
		if res == nil || res.Outcome != backend.OutcomeCancelled {
			t.Errorf("result %+v", res)
		}
		done <- err
	}()
	// It comes to a halt: no more for a while, and far less than a flood.
	for last, deadline := -1, time.Now().Add(patience); total() == 0 || total() != last; {
		if last = total(); last > 8<<20 {
			t.Errorf("%d bytes for a writer that took none", last)
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("it never came to a halt")
		}
		time.Sleep(300 * time.Millisecond)
	}
	cancel()
	await(t, "the cancel arrives though the writer hangs", blocked)
	close(release)
	if err := await(t, "exec returns", done); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

type writer func([]byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }

// TestStdinWindow: input nobody reads is held up at the window, and a cancel
// passes it.
func TestStdinWindow(t *testing.T) {
	t.Parallel()
	sb := &stub{exec: untilCancelled}
	c := client(forward(t, serveSandbox(t, sb)))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var mu sync.Mutex
	read := 0
	done := make(chan error, 1)
	go func() {
		_, err := c.Exec(ctx, &backend.ExecRequest{Argv: []string{"x"}, Stdin: reader(func(p []byte) (int, error) {
			mu.Lock()
			defer mu.Unlock()
			read += len(p)
			return len(p), nil
		})})
		done <- err
	}()
	total := func() int {
		mu.Lock()
		defer mu.Unlock()
		return read
	}
	// The window, and the one frame that does not fit.
	const most = 256<<10 + 32<<10
	for deadline := time.Now().Add(patience); total() < most; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("only %d bytes were read of stdin", total())
		}
	}
	time.Sleep(200 * time.Millisecond)
	if n := total(); n != most {
		t.Errorf("%d bytes were read of stdin", n)
	}
	cancel()
	if err := await(t, "exec returns", done); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

type reader func([]byte) (int, error)

func (r reader) Read(p []byte) (int, error) { return r(p) }

// TestStdinHangs: a Read that hangs keeps neither the end nor the cancel of a
// command.
func TestStdinHangs(t *testing.T) {
	t.Parallel()
	hang := make(chan struct{})
	defer close(hang)
	stdin := reader(func([]byte) (int, error) {
		<-hang
		return 0, io.EOF
	})
	quick := &stub{exec: func(_ context.Context, req *backend.ExecRequest) (*backend.ExecResult, error) {
		return &backend.ExecResult{ID: req.ID, Outcome: backend.OutcomeExit}, nil
	}}
	if _, err := client(serveSandbox(t, quick)).Exec(t.Context(), &backend.ExecRequest{Argv: []string{"x"}, Stdin: stdin}); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	res, err := client(serveSandbox(t, &stub{exec: untilCancelled})).Exec(ctx, &backend.ExecRequest{Argv: []string{"x"}, Stdin: stdin})
	if !errors.Is(err, context.DeadlineExceeded) || res == nil || res.Outcome != backend.OutcomeCancelled {
		t.Errorf("%+v, %v", res, err)
	}
}

// TestExecEndsThoughCancelled: a command that ended by itself when it was being
// cancelled is not called cancelled.
func TestExecEndsThoughCancelled(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	sb := &stub{exec: func(ctx context.Context, req *backend.ExecRequest) (*backend.ExecResult, error) {
		cancel()
		<-ctx.Done()
		return &backend.ExecResult{ID: req.ID, Outcome: backend.OutcomeExit, ExitCode: 3}, nil
	}}
	res, err := client(serveSandbox(t, sb)).Exec(ctx, &backend.ExecRequest{Argv: []string{"x"}})
	if err != nil || res.ExitCode != 3 {
		t.Errorf("%+v, %v", res, err)
	}
}

// TestExecResultWithError: what is known comes with what went wrong.
func TestExecResultWithError(t *testing.T) {
	t.Parallel()
	sb := &stub{exec: func(_ context.Context, req *backend.ExecRequest) (*backend.ExecResult, error) {
		_, _ = req.Stdout.Write([]byte("partial"))
		return &backend.ExecResult{ID: req.ID, Outcome: backend.OutcomeLost, StdoutBytes: 7}, &backend.Error{Kind: backend.ErrGone, Message: "engine says so"}
	}}
	cc := serveSandbox(t, sb)
	for _, c := range []backend.Sandbox{client(cc), client(forward(t, cc))} {
		var out bytes.Buffer
		res, err := c.Exec(t.Context(), &backend.ExecRequest{Argv: []string{"x"}, Stdout: &out})
		if !errors.Is(err, backend.ErrGone) || res == nil || res.Outcome != backend.OutcomeLost || out.String() != "partial" {
			t.Errorf("%+v, %v, %q", res, err, out.String())
		}
	}
}

// TestConnectionBreaksUnderExec: the caller gets what came until then, and that
// nobody knows the rest.
func TestConnectionBreaksUnderExec(t *testing.T) {
	t.Parallel()
	up := make(chan struct{})
	sb := &stub{exec: func(ctx context.Context, req *backend.ExecRequest) (*backend.ExecResult, error) {
		_, _ = req.Stdout.Write([]byte("partial"))
		return untilCancelled(ctx, req)
	}}
	cc, server := serve(t, func(s *grpc.Server) {
		wire.RegisterSandbox(s, func(context.Context, string) (backend.Sandbox, error) { return sb, nil })
	})
	go func() {
		<-up
		server.Stop()
	}()
	res, err := client(cc).Exec(t.Context(), &backend.ExecRequest{Argv: []string{"x"}, Stdout: writer(func(p []byte) (int, error) {
		close(up)
		return len(p), nil
	})})
	if !errors.Is(err, backend.ErrUnavailable) || res == nil || res.Outcome != backend.OutcomeUnknown || res.StdoutBytes != 7 {
		t.Errorf("%+v, %v", res, err)
	}
}

// TestDeafSandbox: one that does not answer a cancel is left, and asked what
// became of the command.
func TestDeafSandbox(t *testing.T) {
	t.Parallel()
	l := &liar{outcome: &backendv1.OutcomeReply{Result: &backendv1.ExecResult{Id: "exec", Outcome: "signal", Signal: 9, ExitCode: 137}}}
	release := make(chan struct{})
	defer close(release)
	l.exec = func(*backendv1.ExecStart, func(*backendv1.ExecReply)) error {
		<-release
		return nil
	}
	cc, _ := serve(t, func(s *grpc.Server) { backendv1.RegisterSandboxServer(s, sandboxLiar{l}) })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	res, err := client(cc).Exec(ctx, &backend.ExecRequest{ID: "exec", Argv: []string{"x"}, Grace: new(time.Duration)})
	if !errors.Is(err, context.DeadlineExceeded) || res == nil || res.Signal != 9 {
		t.Errorf("%+v, %v", res, err)
	}
}

// TestExecRefused: an id that was started is refused by the
// sandbox, and that is what the caller is told.
func TestExecRefused(t *testing.T) {
	t.Parallel()
	sb := &stub{exec: func(context.Context, *backend.ExecRequest) (*backend.ExecResult, error) {
		return nil, &backend.Error{Kind: backend.ErrExists, Op: "exec", Path: "exec"}
	}}
	res, err := client(forward(t, serveSandbox(t, sb))).Exec(t.Context(), &backend.ExecRequest{ID: "exec", Argv: []string{"x"}, Stdin: strings.NewReader("x")})
	if !errors.Is(err, backend.ErrExists) || res != nil {
		t.Errorf("%+v, %v", res, err)
	}
}

// TestRequestArrives: every field of a request reaches the sandbox.
func TestRequestArrives(t *testing.T) {
	t.Parallel()
	var got backend.ExecRequest
	sb := &stub{exec: func(_ context.Context, req *backend.ExecRequest) (*backend.ExecResult, error) {
		got = *req
		return &backend.ExecResult{ID: req.ID, Outcome: backend.OutcomeExit}, nil
	}}
	grace := 3 * time.Second
	_, err := client(forward(t, serveSandbox(t, sb))).Exec(t.Context(), &backend.ExecRequest{
		ID: "exec", Argv: []string{"a\xff", ""}, Env: map[string]string{"A\xff": "b\xff"}, Dir: "d\xff", Timeout: backend.Unlimited, Grace: &grace, OutputLimit: 99,
	})
	if err != nil {
		t.Fatal(err)
	}
	if got.ID != "exec" || len(got.Argv) != 2 || got.Argv[0] != "a\xff" || got.Argv[1] != "" || got.Env["A\xff"] != "b\xff" ||
		got.Dir != "d\xff" || got.Timeout != backend.Unlimited || got.Grace == nil || *got.Grace != grace || got.OutputLimit != 99 || got.Stdin != nil {
		t.Errorf("%+v", got)
	}
}
