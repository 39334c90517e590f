package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/keepalive"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/internal/handshake"
	"github.com/deep-sandbox/deep/core/internal/procrunner"
	"github.com/deep-sandbox/deep/core/internal/wire"
)

const (
	// lastWords is how long a plugin whose connection has ended gets to end too,
	// so that the error tells how it ended.
	lastWords = 2 * time.Second
	// noticeTime is how much earlier a call may see the end of a connection than
	// the connection's state does.
	noticeTime = time.Second
	// leaveTime is how long a plugin whose lifeline was cut gets to exit.
	leaveTime = 2 * time.Second
	// killTime bounds waiting for a process that was killed: one in the kernel's
	// uninterruptible sleep is not waited for.
	killTime = 5 * time.Second
	// pingEach and pingTimeout decide, together, when a plugin is frozen.
	pingEach    = 10 * time.Second
	pingTimeout = 5 * time.Second
)

// An instance is one process of a plugin, from its start to its end.
type instance struct {
	name   string
	log    *slog.Logger
	runner *procrunner.Runner
	client *goplugin.Client
	cc     *grpc.ClientConn
	// backend speaks to it.
	backend backend.Backend
	desc    *backend.Description

	watch sync.WaitGroup
	stop  context.CancelFunc

	mu      sync.Mutex
	leaving bool
	crash   *backend.CrashError
	// dead is closed once the process has ended and all it held is freed.
	dead chan struct{}
}

// startInstance starts the program and connects to it. What it returns as an
// error is a *StartError, or the end of ctx.
func startInstance(ctx context.Context, o Options, program *procrunner.Program) (*instance, error) { //nolint:contextcheck // the instance outlives its start
	dir, err := socketDir()
	if err != nil {
		return nil, &backend.Error{Kind: backend.ErrUnavailable, Backend: o.Name, Op: "start plugin",
			Message: "cannot make a directory for the plugin's socket", Err: err,
			Hint: fmt.Sprintf("set TMPDIR to a directory that can be written and whose path has at most %d bytes", maxSocketBase)}
	}
	// Once connected, nobody needs the name of the socket: nothing is left when
	// everybody is killed.
	defer func() { _ = os.RemoveAll(dir) }()

	i := &instance{name: o.Name, log: o.Logger, dead: make(chan struct{})}
	i.runner = procrunner.New(procrunner.Config{
		Program: program,
		Env:     procrunner.Environment(o.Env),
		Accept:  func(line string) error { return accept(line, dir) },
		Logger:  o.Logger,
	})
	i.client = goplugin.NewClient(&goplugin.ClientConfig{
		HandshakeConfig: goplugin.HandshakeConfig{
			MagicCookieKey:   handshake.CookieKey,
			MagicCookieValue: handshake.CookieValue,
		},
		VersionedPlugins: map[int]goplugin.PluginSet{
			handshake.ProtocolVersion: {handshake.PluginKey: connection{}},
		},
		RunnerFunc: func(_ hclog.Logger, cmd *exec.Cmd, _ string) (runner.Runner, error) {
			i.runner.AddEnv(cmd.Env)
			return i.runner, nil
		},
		AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC},
		AutoMTLS:         true,
		SkipHostEnv:      true,
		// ctx ends sooner; go-plugin takes none.
		StartTimeout: time.Hour,
		GRPCDialOptions: append(wire.DialOptions(),
			// A plugin that was stopped keeps its socket open: only pings that are not
			// answered tell. 10 s is the least gRPC takes.
			grpc.WithKeepaliveParams(keepalive.ClientParameters{
				Time: pingEach, Timeout: pingTimeout, PermitWithoutStream: true,
			})),
		UnixSocketConfig: &goplugin.UnixSocketConfig{TempDir: dir},
		SyncStdout:       i.runner.Output(),
		SyncStderr:       i.runner.Output(),
		// It calls an orderly end an error; what there is to say is said here.
		Logger: hclog.NewNullLogger(),
	})
	if err := i.connect(ctx); err != nil {
		return nil, i.failStart(ctx, o, err)
	}
	watching, stop := context.WithCancel(context.Background())
	i.stop = stop
	i.watch.Go(func() { i.monitor(watching) })
	return i, nil
}

func (i *instance) connect(ctx context.Context) error {
	// go-plugin waits for a line, for a connection and for a stream without a
	// context: the end of the process ends all three.
	defer context.AfterFunc(ctx, func() {
		kill, cancel := context.WithTimeout(context.WithoutCancel(ctx), killTime)
		defer cancel()
		_ = i.runner.Kill(kill)
	})()
	if _, err := i.client.Start(); err != nil {
		return err
	}
	protocol, err := i.client.Client()
	if err != nil {
		return err
	}
	raw, err := protocol.Dispense(handshake.PluginKey)
	if err != nil {
		return err
	}
	cc, ok := raw.(*grpc.ClientConn)
	if !ok {
		return fmt.Errorf("go-plugin dispensed a %T", raw)
	}
	i.cc = cc
	i.backend = wire.NewBackend(cc, i.name)
	// The first call: go-plugin may return a connection that never was one.
	i.desc, err = i.backend.Describe(ctx)
	return err
}

// connection is the plugin as go-plugin wants it: all we want is the connection.
type connection struct {
	goplugin.NetRPCUnsupportedPlugin
}

var _ goplugin.GRPCPlugin = connection{}

func (connection) GRPCClient(_ context.Context, _ *goplugin.GRPCBroker, cc *grpc.ClientConn) (any, error) {
	return cc, nil
}

func (connection) GRPCServer(*goplugin.GRPCBroker, *grpc.Server) error {
	return errors.New("the host serves nothing")
}

// monitor waits for the end of the process, or of the connection, whichever
// comes first, and frees what is left.
func (i *instance) monitor(ctx context.Context) {
	defer close(i.dead)
	lost := make(chan struct{})
	i.watch.Go(func() {
		defer close(lost)
		for s := i.cc.GetState(); s == connectivity.Ready; s = i.cc.GetState() {
			if !i.cc.WaitForStateChange(ctx, s) {
				return
			}
		}
	})
	reason := ""
	select {
	case <-i.runner.Done():
	case <-lost:
		select {
		case <-i.runner.Done():
		case <-time.After(lastWords):
			// Frozen, or it closed what it is reached by: of no use either way.
			reason = "it stopped answering and was killed"
		case <-ctx.Done():
		}
	}
	i.free() //nolint:contextcheck // what is left is freed though ctx has ended
	if reason == "" {
		reason = i.runner.HowEnded()
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.leaving {
		return
	}
	i.crash = &backend.CrashError{Plugin: i.name, Reason: reason, Stderr: i.runner.Tail()}
	// Not louder: whoever calls gets it as an error, and while nobody calls it is
	// made good again, or revive warns.
	i.log.Info("the plugin crashed", "reason", reason)
}

// free kills what still runs and closes what is open.
func (i *instance) free() {
	ctx, cancel := context.WithTimeout(context.Background(), killTime)
	defer cancel()
	if err := i.runner.Kill(ctx); err != nil {
		i.log.Error("cannot kill the plugin", "error", err)
		return // go-plugin's Kill would wait for ever
	}
	i.client.Kill()
}

// isDead reports whether the instance can serve no more calls.
func (i *instance) isDead() bool {
	select {
	case <-i.dead:
		return true
	case <-i.runner.Done():
		return true
	default:
		return i.cc.GetState() != connectivity.Ready
	}
}

// leave ends the process in good order: it was drained before, is told that
// nobody needs it, and is killed when it stays.
func (i *instance) leave() {
	i.mu.Lock()
	i.leaving = true
	i.mu.Unlock()
	i.runner.LetGo()
	select {
	case <-i.runner.Done():
	case <-time.After(leaveTime):
		i.log.Warn("the plugin does not exit and is killed")
	}
	i.stop()
	i.watch.Wait()
}

// crashed returns how the instance ended, nil if it was in good order.
func (i *instance) crashed() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.crash == nil {
		return nil
	}
	return i.crash
}
