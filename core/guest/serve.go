package guest

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	"github.com/deep-sandbox/deep/core/internal/wire"
	guestv1 "github.com/deep-sandbox/deep/core/proto/guest/v1"
)

// Pings tell a host that has gone from one that is silent: a killed engine gives
// no end of file. The host does the same from its side.
const (
	pingEvery   = 5 * time.Second
	pingTimeout = 10 * time.Second
)

// goodbye is how long the last answers may take to reach the host.
const goodbye = 500 * time.Millisecond

// serve is the first process of a sandbox until that ends. It returns 0 when it
// was asked to end or its lease is over.
func serve(args []string, stderr io.Writer) int {
	fail := func(err error) int {
		_, _ = fmt.Fprintf(stderr, "deep-guest: %v\n", err)
		return 1
	}
	flags := flag.NewFlagSet("serve", flag.ContinueOnError)
	flags.SetOutput(stderr)
	socket := flags.String("socket", "", "listen on the unix socket `PATH`")
	fd := flags.Int("listen-fd", -1, "listen on the inherited descriptor `N`")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if flags.NArg() > 0 || (*socket == "") == (*fd < 0) {
		return fail(errors.New("serve takes either --socket PATH or --listen-fd N"))
	}
	if os.Getpid() != 1 {
		return fail(errors.New("serve must be process 1 of a PID namespace: it ends everything in there"))
	}
	term, err := harden()
	if err == nil {
		err = openDirs(os.Getenv("DEEP_OPEN"))
	}
	if err != nil {
		return fail(err)
	}
	var l net.Listener
	if *socket != "" {
		l, err = listenOn(*socket)
	} else {
		l, err = inherited(*fd)
	}
	if err != nil {
		return fail(err)
	}

	life := newLease()
	svc := &service{lease: life}
	server := newServer(svc)
	served := make(chan error, 1)
	go func() { served <- server.Serve(life.listener(l)) }()

	var reason string
	select {
	case err := <-served:
		return fail(err)
	case <-term:
		reason = "the engine asked for it"
	case reason = <-life.expired:
	}
	_, _ = fmt.Fprintf(stderr, "deep-guest: the sandbox ends: %s\n", reason)
	svc.end()
	stopServing(server)
	return 0
}

func newServer(svc *service) *grpc.Server {
	options := append(wire.ServerOptions(),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: pingEvery, Timeout: pingTimeout}),
		grpc.ChainUnaryInterceptor(svc.lease.unary),
		grpc.ChainStreamInterceptor(svc.lease.stream),
	)
	server := grpc.NewServer(options...)
	guestv1.RegisterGuestServer(server, svc)
	wire.RegisterSandbox(server, svc.lookup)
	return server
}

func stopServing(server *grpc.Server) {
	stopped := make(chan struct{})
	go func() {
		server.GracefulStop()
		close(stopped)
	}()
	select {
	case <-stopped:
	case <-time.After(goodbye):
	}
}

// listenOn makes a socket in a directory only the guest may enter.
func listenOn(path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	// What an earlier guest of this container left.
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// inherited listens on a socket that was bound outside.
func inherited(fd int) (net.Listener, error) {
	f := os.NewFile(uintptr(fd), "listener")
	if f == nil {
		return nil, fmt.Errorf("listen on descriptor %d: %w", fd, unix.EBADF)
	}
	l, err := net.FileListener(f)
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("listen on descriptor %d: %w", fd, err)
	}
	if u, ok := l.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false)
	}
	return l, nil
}
