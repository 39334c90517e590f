package plugintest

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/internal/isolation"
	"github.com/deep-sandbox/deep/core/internal/wire"
	guestv1 "github.com/deep-sandbox/deep/core/proto/guest/v1"
)

// guestKey makes a program that calls RunGuest the guest of the sandbox whose
// directory it names.
const guestKey = "PLUGINTEST_GUEST"

// RunGuest runs the guest, and does not return, in a process that was started as
// one. Call it first in TestMain.
func RunGuest() {
	dir := os.Getenv(guestKey)
	if dir == "" {
		return
	}
	if err := serveGuest(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// guest is one guest's process.
type guest struct {
	guestv1.UnimplementedGuestServer
	dir string

	mu      sync.Mutex
	setup   *guestv1.SetupRequest
	sandbox *Sandbox
	conns   int
	// alone ends the process when nobody has been connected for the lease.
	alone *time.Timer
}

func serveGuest(dir string) error {
	g := &guest{dir: dir}
	listener, err := net.Listen("unix", filepath.Join(dir, "guest.sock"))
	if err != nil {
		return err
	}
	server := grpc.NewServer(append(wire.ServerOptions(),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 5 * time.Second, Timeout: 10 * time.Second}))...)
	guestv1.RegisterGuestServer(server, g)
	wire.RegisterSandbox(server, func(context.Context, string) (backend.Sandbox, error) {
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.sandbox == nil {
			return nil, &backend.Error{Kind: backend.ErrUnavailable, Message: "not set up"}
		}
		return g.sandbox, nil
	})
	return server.Serve(&counted{Listener: listener, guest: g})
}

// Setup implements guestv1.GuestServer.
func (g *guest) Setup(_ context.Context, req *guestv1.SetupRequest) (*guestv1.SetupReply, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.setup != nil {
		return nil, status.Error(codes.AlreadyExists, "set up before")
	}
	g.setup = req
	g.sandbox = newSandbox(backend.SandboxInfo{ID: req.GetSandboxId()}, filepath.Join(g.dir, "workspace"), func() error { return nil })
	return g.reply(), nil
}

// Info implements guestv1.GuestServer.
func (g *guest) Info(context.Context, *guestv1.InfoRequest) (*guestv1.SetupReply, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.setup == nil {
		return nil, status.Error(codes.NotFound, "not set up")
	}
	return g.reply(), nil
}

func (g *guest) reply() *guestv1.SetupReply {
	r := &guestv1.SetupReply{Setup: g.setup, Domain: "none", Version: "test", Found: g.found(), Degraded: slices.Clone(g.setup.GetDegraded())}
	for _, l := range isolation.Judge(g.setup.GetExpect(), r.GetFound()) {
		if slices.Contains(g.setup.GetAcceptDegraded(), l.Layer) {
			r.Degraded = append(r.GetDegraded(), l.Layer)
		}
	}
	return r
}

// found is what was expected, but for what FoundFile says.
func (g *guest) found() *guestv1.Findings {
	e := g.setup.GetExpect()
	f := &guestv1.Findings{
		Uid: g.setup.GetUid(), Gid: g.setup.GetGid(), UserSplit: true, NoNewPrivileges: true, Seccomp: true, Landlock: 1, ReadOnlyRoot: true,
		Memory: e.GetMemory(), Pids: e.GetPids(), Cpus: e.GetCpus(), OpenFiles: e.GetOpenFiles(), FileSize: e.GetFileSize(),
	}
	if change, err := os.ReadFile(filepath.Join(g.dir, "..", FoundFile)); err == nil {
		if err := overlay(f, change); err != nil {
			panic(err)
		}
	}
	return f
}

// overlay replaces the fields of f that change names.
func overlay(f *guestv1.Findings, change []byte) error {
	whole, err := protojson.Marshal(f)
	if err != nil {
		return err
	}
	fields := map[string]json.RawMessage{}
	for _, part := range [][]byte{whole, change} {
		if err := json.Unmarshal(part, &fields); err != nil {
			return err
		}
	}
	if whole, err = json.Marshal(fields); err != nil {
		return err
	}
	return protojson.Unmarshal(whole, f)
}

// count keeps the lease: n is +1 or -1.
func (g *guest) count(n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.conns += n
	if g.alone != nil {
		g.alone.Stop()
	}
	if lease := time.Duration(g.setup.GetLeaseNs()); g.conns == 0 && lease > 0 {
		g.alone = time.AfterFunc(lease, func() { os.Exit(0) })
	}
}

// counted counts the connections of a guest.
type counted struct {
	net.Listener
	guest *guest
}

func (c *counted) Accept() (net.Conn, error) {
	conn, err := c.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c.guest.count(1)
	return &countedConn{Conn: conn, guest: c.guest}, nil
}

type countedConn struct {
	net.Conn
	guest *guest
	once  sync.Once
}

func (c *countedConn) Close() error {
	c.once.Do(func() { c.guest.count(-1) })
	return c.Conn.Close()
}
