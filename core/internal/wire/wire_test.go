package wire_test

import (
	"context"
	"net"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/backend/backendtest"
	"github.com/deep-sandbox/deep/core/internal/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve starts a server on a socket, as plugin and guest do, and returns a
// connection to it.
func serve(t testing.TB, register func(*grpc.Server)) (*grpc.ClientConn, *grpc.Server) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer(append(wire.ServerOptions(), grpc.WaitForHandlers(true))...)
	register(s)
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = s.Serve(l)
	}()
	cc, err := grpc.NewClient("unix:"+path, append(wire.DialOptions(), grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cc.Close()
		s.Stop()
		<-served
	})
	return cc, s
}

// serveSandbox serves one sandbox whatever id is asked for.
func serveSandbox(t testing.TB, sb backend.Sandbox) *grpc.ClientConn {
	cc, _ := serve(t, func(s *grpc.Server) {
		wire.RegisterSandbox(s, func(context.Context, string) (backend.Sandbox, error) { return sb, nil })
	})
	return cc
}

// forward serves what is behind cc, as a plugin does for its guests.
func forward(t testing.TB, cc grpc.ClientConnInterface) *grpc.ClientConn {
	forwarded, _ := serve(t, func(s *grpc.Server) {
		wire.ForwardSandbox(s, func(context.Context, string) (grpc.ClientConnInterface, error) { return cc, nil })
	})
	return forwarded
}

// tcpPair returns both ends of a connection over loopback.
func tcpPair(t testing.TB) (a, b *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dialled, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return dialled.(*net.TCPConn), accepted.(*net.TCPConn)
}

// client returns the sandbox behind cc.
func client(cc grpc.ClientConnInterface) backend.Sandbox {
	return wire.NewSandbox(cc, backend.SandboxInfo{ID: "sandbox", Backend: "test"}, nil)
}

// stub is a sandbox of which a test says what it does.
type stub struct {
	backend.Sandbox
	exec  func(ctx context.Context, req *backend.ExecRequest) (*backend.ExecResult, error)
	stat  func(ctx context.Context, req *backend.StatRequest) (*backend.FileInfo, error)
	read  func(ctx context.Context, req *backend.ReadFileRequest) (*backend.File, error)
	write func(ctx context.Context, req *backend.WriteFileRequest) (*backend.WriteFileReply, error)
	grep  func(ctx context.Context, req *backend.GrepRequest) (*backend.GrepReply, error)
}

func (s *stub) Exec(ctx context.Context, req *backend.ExecRequest) (*backend.ExecResult, error) {
	return s.exec(ctx, req)
}
func (s *stub) Stat(ctx context.Context, req *backend.StatRequest) (*backend.FileInfo, error) {
	return s.stat(ctx, req)
}
func (s *stub) ReadFile(ctx context.Context, req *backend.ReadFileRequest) (*backend.File, error) {
	return s.read(ctx, req)
}
func (s *stub) WriteFile(ctx context.Context, req *backend.WriteFileRequest) (*backend.WriteFileReply, error) {
	return s.write(ctx, req)
}
func (s *stub) Grep(ctx context.Context, req *backend.GrepRequest) (*backend.GrepReply, error) {
	return s.grep(ctx, req)
}

// TestContract runs every rule over the wire: the contract is the same on both
// sides of it.
func TestContract(t *testing.T) {
	t.Parallel()
	t.Run("served", func(t *testing.T) {
		t.Parallel()
		backendtest.Run(t, func(t *testing.T) (backend.Backend, backendtest.Opts) {
			h := wire.NewHandles(backendtest.NewFake())
			cc, _ := serve(t, func(s *grpc.Server) {
				wire.RegisterBackend(s, h)
				wire.RegisterSandbox(s, h.Lookup)
			})
			return wire.NewBackend(cc, "fake"), backendtest.Opts{Shell: true}
		})
	})
	t.Run("forwarded", func(t *testing.T) {
		t.Parallel()
		backendtest.Run(t, func(t *testing.T) (backend.Backend, backendtest.Opts) {
			h := wire.NewHandles(backendtest.NewFake())
			guest, _ := serve(t, func(s *grpc.Server) { wire.RegisterSandbox(s, h.Lookup) })
			cc, _ := serve(t, func(s *grpc.Server) {
				wire.RegisterBackend(s, h)
				wire.ForwardSandbox(s, func(context.Context, string) (grpc.ClientConnInterface, error) { return guest, nil })
			})
			return wire.NewBackend(cc, "fake"), backendtest.Opts{Shell: true}
		})
	})
}
