package wire_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/internal/wire"
)

// failWith returns the error of a call to a sandbox that fails with err, over one
// hop and over two.
func failWith(t *testing.T, err error) (served, forwarded error) {
	t.Helper()
	sb := &stub{stat: func(context.Context, *backend.StatRequest) (*backend.FileInfo, error) { return nil, err }}
	cc := serveSandbox(t, sb)
	_, served = client(cc).Stat(t.Context(), &backend.StatRequest{Path: "asked"})
	_, forwarded = client(forward(t, cc)).Stat(t.Context(), &backend.StatRequest{Path: "asked"})
	return served, forwarded
}

func TestErrorsCrossTheWire(t *testing.T) {
	t.Parallel()
	for _, kind := range backend.Kinds {
		sent := &backend.Error{
			Kind: kind, Backend: "deeper", Op: "some op", Path: "p\xff\n", Message: "what ünd why", Hint: "do this", Count: 7,
		}
		served, forwarded := failWith(t, sent)
		for _, got := range []error{served, forwarded} {
			for _, k := range backend.Kinds {
				if errors.Is(got, k) != errors.Is(kind, k) {
					t.Errorf("%v: errors.Is(%v) is %v", got, k, errors.Is(got, k))
				}
			}
			var e *backend.Error
			if !errors.As(got, &e) {
				t.Fatalf("a %T", got)
			}
			if *e != *sent {
				t.Errorf("got %+v, want %+v", e, sent)
			}
		}
	}
}

func TestErrorText(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		sent    error
		kind    error
		message string
	}{
		{"plain", errors.New("what"), backend.ErrUnavailable, "what"},
		{"sentinel", backend.ErrGone, backend.ErrGone, "sandbox is gone"},
		{"wrapped sentinel", fmt.Errorf("open: %w", backend.ErrPermission), backend.ErrPermission, "open: permission denied"},
		{"cause", &backend.Error{Kind: backend.ErrNoSpace, Message: "write", Err: errors.New("ENOSPC")}, backend.ErrNoSpace, "write: ENOSPC"},
		{"cause alone", &backend.Error{Kind: backend.ErrNoSpace, Err: errors.New("ENOSPC")}, backend.ErrNoSpace, "no space left: ENOSPC"},
		{"wrapped", fmt.Errorf("pulling: %w", &backend.Error{Kind: backend.ErrNotFound, Message: "no image"}), backend.ErrNotFound, "pulling: no image"},
		{"not UTF-8", &backend.Error{Kind: backend.ErrInvalid, Message: "a\xffb"}, backend.ErrInvalid, "a\uFFFDb"},
		{"context", context.DeadlineExceeded, context.DeadlineExceeded, "context deadline exceeded"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			served, forwarded := failWith(t, c.sent)
			for _, got := range []error{served, forwarded} {
				var e *backend.Error
				if !errors.As(got, &e) || !errors.Is(e.Kind, c.kind) || e.Message != c.message || e.Backend != "test" || e.Op != "stat" {
					t.Errorf("got %+v", got)
				}
			}
		})
	}
}

func TestErrorTextIsBounded(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("ü", 100_000)
	served, forwarded := failWith(t, &backend.Error{Kind: backend.ErrInvalid, Message: long, Hint: long, Path: long, Op: long, Backend: long})
	for _, got := range []error{served, forwarded} {
		var e *backend.Error
		if !errors.As(got, &e) || !errors.Is(e.Kind, backend.ErrInvalid) {
			t.Fatalf("got %.200v", got)
		}
		if n := len(e.Error()); n < 1000 || n > 100_000 {
			t.Errorf("%d bytes of text", n)
		}
		if !strings.HasSuffix(e.Message, "(cut)") || !utf8.ValidString(e.Message) {
			t.Errorf("the message ends with %q", e.Message[len(e.Message)-20:])
		}
	}
}

func TestFromStatus(t *testing.T) {
	t.Parallel()
	plain := errors.New("no status")
	if got := wire.FromStatus(plain); !errors.Is(got, plain) {
		t.Errorf("got %v", got)
	}
	if wire.FromStatus(nil) != nil || wire.Error(nil) != nil {
		t.Error("nil is no error")
	}
	sent := &backend.Error{Kind: backend.ErrConflict, Path: "p", Message: "m", Count: 3}
	var e *backend.Error
	if got := wire.FromStatus(wire.Error(sent)); !errors.As(got, &e) || *e != *sent {
		t.Errorf("got %+v", got)
	}
	for code, kind := range map[codes.Code]error{
		codes.Canceled: context.Canceled, codes.DeadlineExceeded: context.DeadlineExceeded, codes.Unavailable: backend.ErrUnavailable,
		codes.Unimplemented: backend.ErrUnsupported, codes.Internal: backend.ErrUnavailable, codes.Unknown: backend.ErrUnavailable,
	} {
		if got := wire.FromStatus(status.Error(code, "m")); !errors.Is(got, kind) {
			t.Errorf("%v: got %v", code, got)
		}
	}
}

// TestContextErrors: what a call ended of is what its own context says, whatever
// the other processes make of it.
func TestContextErrors(t *testing.T) {
	t.Parallel()
	entered := make(chan struct{}, 10)
	sb := &stub{stat: func(ctx context.Context, _ *backend.StatRequest) (*backend.FileInfo, error) {
		entered <- struct{}{}
		<-ctx.Done()
		return nil, errors.New("something else")
	}}
	cc := serveSandbox(t, sb)
	for _, c := range []backend.Sandbox{client(cc), client(forward(t, cc))} {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		if _, err := c.Stat(ctx, &backend.StatRequest{Path: "f"}); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
			t.Errorf("deadline: %v", err)
		}
		cancel()
		<-entered

		cause := errors.New("the user went home")
		ctx, cancelCause := context.WithCancelCause(t.Context())
		go func() {
			<-entered
			cancelCause(cause)
		}()
		if _, err := c.Stat(ctx, &backend.StatRequest{Path: "f"}); !errors.Is(err, context.Canceled) || !errors.Is(err, cause) {
			t.Errorf("cancel: %v", err)
		}
	}
}

func TestDeadlineReachesTheSandbox(t *testing.T) {
	t.Parallel()
	sb := &stub{stat: func(ctx context.Context, req *backend.StatRequest) (*backend.FileInfo, error) {
		if _, ok := ctx.Deadline(); !ok {
			return nil, errors.New("no deadline")
		}
		return &backend.FileInfo{Path: req.Path, Type: backend.TypeRegular}, nil
	}}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := client(forward(t, serveSandbox(t, sb))).Stat(ctx, &backend.StatRequest{Path: "f"}); err != nil {
		t.Error(err)
	}
}

func TestPanicFailsOneCall(t *testing.T) {
	t.Parallel()
	sb := &stub{stat: func(_ context.Context, req *backend.StatRequest) (*backend.FileInfo, error) {
		if req.Path == "boom" {
			panic("a bug")
		}
		return &backend.FileInfo{Path: req.Path, Type: backend.TypeRegular}, nil
	}}
	c := client(serveSandbox(t, sb))
	_, err := c.Stat(t.Context(), &backend.StatRequest{Path: "boom"})
	if !errors.Is(err, backend.ErrUnavailable) || !strings.Contains(err.Error(), "a bug") || backend.HintOf(err) == "" {
		t.Errorf("got %v", err)
	}
	if _, err := c.Stat(t.Context(), &backend.StatRequest{Path: "f"}); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestServerGone(t *testing.T) {
	t.Parallel()
	cc, s := serve(t, func(s *grpc.Server) {
		wire.RegisterSandbox(s, func(context.Context, string) (backend.Sandbox, error) { return nil, backend.ErrGone })
	})
	c := client(cc)
	if _, err := c.Stat(t.Context(), &backend.StatRequest{Path: "f"}); !errors.Is(err, backend.ErrGone) {
		t.Errorf("lookup: %v", err)
	}
	s.Stop()
	_, err := c.Stat(t.Context(), &backend.StatRequest{Path: "f"})
	var broken *wire.BrokenError
	if !errors.Is(err, backend.ErrUnavailable) || !errors.As(err, &broken) {
		t.Errorf("stopped: %v", err)
	}
	res, err := c.Exec(t.Context(), &backend.ExecRequest{Argv: []string{"true"}})
	if !errors.Is(err, backend.ErrUnavailable) || res != nil {
		t.Errorf("an exec that never began: %+v, %v", res, err)
	}
}

// TestRequestsThatCannotBeSent are refused here, and told from faults there.
func TestRequestsThatCannotBeSent(t *testing.T) {
	t.Parallel()
	c := client(serveSandbox(t, &stub{}))
	b := wire.NewBackend(serveSandbox(t, &stub{}), "test")
	big := make([]byte, wire.MaxMessage+1)
	for what, call := range map[string]struct {
		kind error
		call func() error
	}{
		"a large edit": {backend.ErrTooLarge, func() error {
			_, err := c.Edit(t.Context(), &backend.EditRequest{Path: "f", Old: big})
			return err
		}},
		"a large command": {backend.ErrTooLarge, func() error {
			_, err := c.Exec(t.Context(), &backend.ExecRequest{Shell: string(big)})
			return err
		}},
		"input to be kept open, in the foreground": {backend.ErrInvalid, func() error {
			_, err := c.Exec(t.Context(), &backend.ExecRequest{Shell: "true", KeepStdin: true})
			return err
		}},
		"a background command's own input": {backend.ErrInvalid, func() error {
			_, err := c.Start(t.Context(), &backend.ExecRequest{Shell: "true", Stdin: strings.NewReader("")})
			return err
		}},
		"no port": {backend.ErrInvalid, func() error {
			_, err := c.Dial(t.Context(), &backend.DialRequest{Port: 65536})
			return err
		}},
		"an exec id": {backend.ErrInvalid, func() error {
			_, err := c.Exec(t.Context(), &backend.ExecRequest{ID: "\xff", Shell: "true"})
			return err
		}},
		"an image": {backend.ErrInvalid, func() error {
			_, err := b.Create(t.Context(), &backend.CreateRequest{ID: "x", Spec: backend.Spec{Image: "\xff"}})
			return err
		}},
		"a workspace": {backend.ErrInvalid, func() error {
			return b.RemoveWorkspace(t.Context(), &backend.RemoveWorkspaceRequest{Name: "\xff"})
		}},
		"a sum": {backend.ErrInvalid, func() error {
			_, err := c.Edit(t.Context(), &backend.EditRequest{Path: "f", Old: []byte("a"), IfSHA256: "\xff"})
			return err
		}},
		"much context": {backend.ErrInvalid, func() error {
			_, err := c.Grep(t.Context(), &backend.GrepRequest{Pattern: "x", Before: 1 << 40})
			return err
		}},
	} {
		err := call.call()
		if !errors.Is(err, call.kind) || strings.Contains(err.Error(), "faulty") {
			t.Errorf("%s: %v", what, err)
		}
		var e *backend.Error
		if !errors.As(err, &e) || e.Backend != "test" {
			t.Errorf("%s: %v does not name its backend", what, err)
		}
		if errors.Is(err, backend.ErrTooLarge) && e.Hint == "" {
			t.Errorf("%s: %v has no hint", what, err)
		}
	}
}
