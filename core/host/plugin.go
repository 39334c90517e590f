package host

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/internal/procid"
	"github.com/deep-sandbox/deep/core/internal/procrunner"
	"github.com/deep-sandbox/deep/core/internal/wire"
)

// A Plugin is a backend that lives in a process of its own, which is watched and
// replaced when it fails. Safe for concurrent use.
type Plugin struct {
	opts    Options
	program *procrunner.Program
	desc    *backend.Description
	request *backend.ConfigureRequest

	// life ends with Close.
	life context.Context
	end  context.CancelFunc
	work sync.WaitGroup

	mu      sync.Mutex
	current *instance
	restart *restart
	history []time.Time
	// lastCrash is why there is no current instance.
	lastCrash error
	closing   bool
	// ephemeral sandboxes made through this Plugin, and the instance that did.
	ephemeral map[string]*instance

	closed   chan struct{}
	closeErr error
}

var _ backend.Backend = (*Plugin)(nil)

// Launch starts the plugin that o names and configures it. The error is a
// *StartError when the plugin cannot be started, what the plugin says of its
// options when they are wrong (ErrInvalid), or the end of ctx; no process is left
// then. ctx governs the start alone. Close the Plugin when done.
func Launch(ctx context.Context, o Options) (*Plugin, error) {
	o, err := o.settle()
	if err != nil {
		return nil, err
	}
	owner, err := procid.Self()
	if err != nil {
		return nil, &backend.Error{Kind: backend.ErrUnavailable, Backend: o.Name, Op: "start plugin", Err: err, Hint: "is /proc mounted?"}
	}
	program, err := openProgram(o)
	if err != nil {
		return nil, err
	}
	p := &Plugin{
		opts: o, program: program,
		request: &backend.ConfigureRequest{
			Config: o.Config, GuestDir: o.GuestDir, StateDir: o.StateDir, Owner: owner,
		},
		ephemeral: map[string]*instance{},
		closed:    make(chan struct{}),
	}
	p.life, p.end = context.WithCancel(context.Background())
	first, err := p.start(ctx)
	if err != nil {
		p.end()
		_ = program.Close()
		return nil, err
	}
	p.desc = first.desc
	p.adopt(first)
	return p, nil
}

// Describe starts the plugin that o names, asks what it is, and stops it. Config
// and Decode are not looked at.
func Describe(ctx context.Context, o Options) (*backend.Description, error) {
	o, err := o.settle()
	if err != nil {
		return nil, err
	}
	program, err := openProgram(o)
	if err != nil {
		return nil, err
	}
	defer func() { _ = program.Close() }()
	ctx, cancel := context.WithTimeoutCause(ctx, o.StartTimeout, errStartTimeout)
	defer cancel()
	i, err := startInstance(ctx, o, program)
	if err != nil {
		return nil, err
	}
	i.leave()
	return i.desc, checkDescription(o, i.desc)
}

// checkDescription refuses a plugin that is another than its file's name says.
func checkDescription(o Options, d *backend.Description) error {
	if d.Name == o.Name {
		return nil
	}
	return &StartError{Reason: ReasonFaulty, Err: &backend.Error{
		Kind: backend.ErrUnavailable, Backend: o.Name, Op: "start plugin", Path: o.Path,
		Message: "it says that it is the backend " + excerpt(d.Name), Hint: "install it under its own name",
	}}
}

// start makes one instance and configures it.
func (p *Plugin) start(ctx context.Context) (*instance, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, p.opts.StartTimeout, errStartTimeout)
	defer cancel()
	i, err := startInstance(ctx, p.opts, p.program)
	if err != nil {
		return nil, err
	}
	if err := p.configure(ctx, i); err != nil {
		err = i.explain(ctx, err)
		i.leave()
		awaitDeadline(ctx, err)
		if errors.Is(context.Cause(ctx), errStartTimeout) {
			return nil, i.fail(p.opts, ReasonTimeout, fmt.Sprintf("it was not ready within %s", p.opts.StartTimeout), "its engine may not answer")
		}
		return nil, err
	}
	return i, nil
}

func (p *Plugin) configure(ctx context.Context, i *instance) error {
	if err := checkDescription(p.opts, i.desc); err != nil {
		return err
	}
	if p.opts.Decode != nil && p.request.Config == nil {
		config, err := p.opts.Decode(i.desc.Schema)
		if err != nil {
			return err
		}
		// For the restarts too. Nobody else looks at it before the first start is
		// over, and later ones find it set.
		p.request.Config = append([]byte{}, config...)
	}
	return i.backend.Configure(ctx, p.request)
}

// Name returns the backend's name, and Path that of its program.
func (p *Plugin) Name() string { return p.opts.Name }

// Path returns where the program that runs was found.
func (p *Plugin) Path() string { return p.program.Path }

// PID returns the process id of the plugin, 0 while there is none.
func (p *Plugin) PID() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.current == nil || p.current.isDead() {
		return 0
	}
	return p.current.runner.PID()
}

// Describe implements backend.Backend: it tells what the plugin said when it was
// started.
func (p *Plugin) Describe(context.Context) (*backend.Description, error) {
	d := *p.desc
	return &d, nil
}

// Configure implements backend.Backend. Launch did it.
func (p *Plugin) Configure(context.Context, *backend.ConfigureRequest) error {
	return &backend.Error{Kind: backend.ErrExists, Backend: p.opts.Name, Op: "configure", Message: "Launch has configured it"}
}

// Check implements backend.Backend.
func (p *Plugin) Check(ctx context.Context) (*backend.CheckReport, error) {
	return call(ctx, p, func(b backend.Backend) (*backend.CheckReport, error) { return b.Check(ctx) })
}

// Create implements backend.Backend.
func (p *Plugin) Create(ctx context.Context, req *backend.CreateRequest) (backend.Sandbox, error) {
	i, err := p.acquire(ctx)
	if err != nil {
		return nil, err
	}
	sb, err := i.backend.Create(ctx, req)
	if err != nil {
		return nil, i.explain(ctx, err)
	}
	info := sb.Info()
	info.Ephemeral = req.Spec.Ephemeral // its maker knows
	if info.Ephemeral {
		p.mu.Lock()
		p.ephemeral[info.ID] = i
		p.mu.Unlock()
	}
	return &sandbox{plugin: p, info: info, created: true}, nil
}

// Open implements backend.Backend.
func (p *Plugin) Open(ctx context.Context, req *backend.OpenRequest) (backend.Sandbox, error) {
	sb, err := call(ctx, p, func(b backend.Backend) (backend.Sandbox, error) { return b.Open(ctx, req) })
	if err != nil {
		return nil, err
	}
	return &sandbox{plugin: p, info: sb.Info()}, nil
}

// Inspect implements backend.Backend.
func (p *Plugin) Inspect(ctx context.Context, req *backend.InspectRequest) (*backend.SandboxInfo, error) {
	return call(ctx, p, func(b backend.Backend) (*backend.SandboxInfo, error) { return b.Inspect(ctx, req) })
}

// List implements backend.Backend.
func (p *Plugin) List(ctx context.Context, req *backend.ListRequest) (*backend.ListSandboxesReply, error) {
	return call(ctx, p, func(b backend.Backend) (*backend.ListSandboxesReply, error) { return b.List(ctx, req) })
}

// Stop implements backend.Backend.
func (p *Plugin) Stop(ctx context.Context, req *backend.StopRequest) error {
	return do(ctx, p, func(b backend.Backend) error { return b.Stop(ctx, req) })
}

// Destroy implements backend.Backend.
func (p *Plugin) Destroy(ctx context.Context, req *backend.DestroyRequest) error {
	err := do(ctx, p, func(b backend.Backend) error { return b.Destroy(ctx, req) })
	if err == nil {
		p.mu.Lock()
		delete(p.ephemeral, req.ID)
		p.mu.Unlock()
	}
	return err
}

// RemoveWorkspace implements backend.Backend.
func (p *Plugin) RemoveWorkspace(ctx context.Context, req *backend.RemoveWorkspaceRequest) error {
	return do(ctx, p, func(b backend.Backend) error { return b.RemoveWorkspace(ctx, req) })
}

// Shutdown implements backend.Backend; it is Close.
func (p *Plugin) Shutdown(ctx context.Context) error { return p.Close(ctx) }

// call runs fn on the plugin's current process.
func call[T any](ctx context.Context, p *Plugin, fn func(backend.Backend) (T, error)) (T, error) {
	i, err := p.acquire(ctx)
	if err != nil {
		var none T
		return none, err
	}
	v, err := fn(i.backend)
	return v, i.explain(ctx, err)
}

func do(ctx context.Context, p *Plugin, fn func(backend.Backend) error) error {
	_, err := call(ctx, p, func(b backend.Backend) (struct{}, error) { return struct{}{}, fn(b) })
	return err
}

// explain returns the crash in place of an error that is only its consequence.
func (i *instance) explain(ctx context.Context, err error) error {
	var broken *wire.BrokenError
	if !errors.As(err, &broken) || ctx.Err() != nil {
		return err
	}
	// The call may learn of the end before those who watch for it.
	for notice := time.Now().Add(noticeTime); !i.isDead(); {
		if time.Now().After(notice) {
			return err // it lives, and what it sent looks like this
		}
		time.Sleep(time.Millisecond)
	}
	select {
	case <-i.dead:
	case <-time.After(lastWords + killTime):
		return err // it is stuck in the kernel
	}
	if crash := i.crashed(); crash != nil {
		return crash
	}
	return err
}
