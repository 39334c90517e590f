package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/deep-sandbox/deep/core/backend"
	backendv1 "github.com/deep-sandbox/deep/core/proto/backend/v1"
)

// maxProgress bounds the progress one Create reports; at ten messages a second
// it lasts for almost three hours.
const maxProgress = 100_000

// NewBackend returns the backend served at the other end of cc. name is what its
// errors call it. Its sandboxes use the same connection, which has [DialOptions].
func NewBackend(cc grpc.ClientConnInterface, name string) backend.Backend {
	return &backendClient{cc: cc, rpc: backendv1.NewBackendClient(cc), peer: peer(name)}
}

type backendClient struct {
	cc  grpc.ClientConnInterface
	rpc backendv1.BackendClient
	peer
}

// checkRequest refuses what cannot be put on the wire, before gRPC would with an
// error that cannot be told from one of the plugin's.
func (p peer) checkRequest(op, path string, msg proto.Message, texts ...string) error {
	if s, bad := unsendable(texts...); bad {
		return p.refuse(backend.ErrInvalid, op, s, "must be valid UTF-8")
	}
	if n := proto.Size(msg); n > MaxMessage {
		return &backend.Error{Kind: backend.ErrTooLarge, Backend: string(p), Op: op, Path: path,
			Message: fmt.Sprintf("the request is %d bytes, at most %d can be sent", n, MaxMessage),
			Hint:    "send less at once; what is large goes into a file with WriteFile, or to a command as its input"}
	}
	return nil
}

func (c *backendClient) Describe(ctx context.Context) (*backend.Description, error) {
	const op = "describe"
	r, err := c.rpc.Describe(ctx, &backendv1.DescribeRequest{})
	if err != nil {
		return nil, c.fail(ctx, op, "", err)
	}
	if len(r.GetSchema()) > maxTexts {
		return nil, c.faulty(op, "%d options", len(r.GetSchema()))
	}
	for _, a := range r.GetSchema() {
		switch backend.AttributeType(a.GetType()) {
		case backend.TypeString, backend.TypeNumber, backend.TypeBool, backend.TypeStringList, backend.TypeStringMap:
		default:
			return nil, c.faulty(op, "the option %q of type %q", cut(a.GetName()), cut(a.GetType()))
		}
		if bad := badTexts("an option's text", []string{a.GetName(), a.GetDefault(), a.GetDescription()}); bad != "" {
			return nil, c.faulty(op, "%s", bad)
		}
	}
	bad := firstOf(
		badTexts("a text", []string{r.GetName(), r.GetVersion(), r.GetSummary()}), badTexts("a capability", r.GetCapabilities()),
	)
	if bad != "" {
		return nil, c.faulty(op, "%s", bad)
	}
	return descriptionFromWire(r), nil
}

func (c *backendClient) Configure(ctx context.Context, req *backend.ConfigureRequest) error {
	const op = "configure"
	msg := configureToWire(req)
	if err := c.checkRequest(op, "", msg, req.GuestDir, req.StateDir, req.Owner.HostID, req.Owner.BootID); err != nil {
		return err
	}
	if _, err := c.rpc.Configure(ctx, msg); err != nil {
		return c.fail(ctx, op, "", err)
	}
	return nil
}

func (c *backendClient) Check(ctx context.Context) (*backend.CheckReport, error) {
	const op = "check"
	r, err := c.rpc.Check(ctx, &backendv1.CheckRequest{})
	if err != nil {
		return nil, c.fail(ctx, op, "", err)
	}
	if len(r.GetLayers()) > maxTexts {
		return nil, c.faulty(op, "%d layers", len(r.GetLayers()))
	}
	for _, l := range r.GetLayers() {
		switch backend.LayerState(l.GetState()) {
		case backend.LayerPresent, backend.LayerDegraded, backend.LayerMissing, backend.LayerPlanned:
		default:
			return nil, c.faulty(op, "the layer %q in the state %q", cut(l.GetName()), cut(l.GetState()))
		}
		if bad := badTexts("a layer's text", []string{l.GetName(), l.GetDetail(), l.GetRemedy()}); bad != "" {
			return nil, c.faulty(op, "%s", bad)
		}
	}
	if bad := badTexts("a text", []string{r.GetEngine(), r.GetEndpoint()}); bad != "" {
		return nil, c.faulty(op, "%s", bad)
	}
	return checkFromWire(r), nil
}

// Create implements backend.Backend. When ctx ends it tells the plugin, and waits
// up to undoTimeout for it to have undone what it began.
func (c *backendClient) Create(ctx context.Context, req *backend.CreateRequest) (backend.Sandbox, error) {
	const op = "create"
	start := &backendv1.CreateStart{Id: req.ID, Spec: specToWire(&req.Spec)}
	texts := append([]string{req.ID, req.Spec.Image, string(req.Spec.Pull), req.Spec.Workspace.Name, string(req.Spec.Network)}, req.Spec.AcceptDegraded...)
	if err := c.checkRequest(op, req.ID, start, texts...); err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, c.ended(ctx, op, req.ID)
	}
	call, err := detach(ctx, context.WithoutCancel(ctx), func(ctx context.Context) (grpc.ClientStream, error) {
		return c.rpc.Create(ctx)
	})
	if err != nil {
		return nil, c.fail(ctx, op, req.ID, err)
	}
	defer call.close()
	stop := call.cancelWith(ctx, &backendv1.CreateRequest{Message: &backendv1.CreateRequest_Cancel{Cancel: &backendv1.CreateCancel{}}}, undoTimeout)
	defer stop()

	// An error of Send is told by Recv, with its reason.
	_ = call.send(&backendv1.CreateRequest{Message: &backendv1.CreateRequest_Start{Start: start}})
	info, err := c.created(call, req)
	if err != nil {
		if call.torn() {
			e := c.ended(ctx, op, req.ID)
			e.Message = "the plugin did not confirm that it removed what it had made"
			e.Hint = "look for it with `deep plugin list`, or in the engine by the label deep.sandbox=" + req.ID
			return nil, e
		}
		return nil, c.fail(ctx, op, req.ID, err)
	}
	// Also when ctx has ended meanwhile: the sandbox is there, and its owner is
	// the one to say what becomes of it.
	return c.sandbox(ctx, infoFromWire(info), info.GetEphemeral()), nil
}

// created reads the answer to Create. Its error is a *backend.Error or a status.
func (c *backendClient) created(call *detached, req *backend.CreateRequest) (*backendv1.SandboxInfo, error) {
	const op = "create"
	var info *backendv1.SandboxInfo
	for n := 0; ; n++ {
		r := new(backendv1.CreateReply)
		err := call.stream.RecvMsg(r)
		if errors.Is(err, io.EOF) {
			if info == nil {
				return nil, c.faulty(op, "it ended without a sandbox")
			}
			return info, nil
		}
		if err != nil {
			return nil, err
		}
		switch m := r.GetMessage().(type) {
		case *backendv1.CreateReply_Progress:
			p := m.Progress
			switch {
			case info != nil:
				return nil, c.faulty(op, "progress after the sandbox was made")
			case n >= maxProgress:
				return nil, c.faulty(op, "more than %d steps of progress", maxProgress)
			case p.GetCurrent() < 0 || p.GetTotal() < 0:
				return nil, c.faulty(op, "a negative number of bytes")
			}
			if bad := badTexts("a text", []string{p.GetPhase(), p.GetMessage(), p.GetLayer()}); bad != "" {
				return nil, c.faulty(op, "%s", bad)
			}
			if req.Progress != nil {
				req.Progress(progressFromWire(p))
			}
		case *backendv1.CreateReply_Sandbox:
			if info != nil {
				return nil, c.faulty(op, "two sandboxes for one")
			}
			if bad := badInfo(m.Sandbox, req.ID); bad != "" {
				return nil, c.faulty(op, "%s", bad)
			}
			info = m.Sandbox
		default:
			return nil, c.faulty(op, "a message that says nothing")
		}
	}
}

// sandbox returns a handle; closing it destroys the sandbox if ephemeral.
func (c *backendClient) sandbox(ctx context.Context, info backend.SandboxInfo, ephemeral bool) backend.Sandbox {
	if !ephemeral {
		return NewSandbox(c.cc, info, nil)
	}
	return NewSandbox(c.cc, info, func() error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
		defer cancel()
		// A workspace that has a name is to outlive its sandboxes.
		return c.Destroy(ctx, &backend.DestroyRequest{ID: info.ID, KeepWorkspace: true})
	})
}

func (c *backendClient) Open(ctx context.Context, req *backend.OpenRequest) (backend.Sandbox, error) {
	const op = "open"
	msg := &backendv1.OpenRequest{Id: req.ID}
	if err := c.checkRequest(op, req.ID, msg, req.ID); err != nil {
		return nil, err
	}
	r, err := c.rpc.Open(ctx, msg)
	if err != nil {
		return nil, c.fail(ctx, op, req.ID, err)
	}
	if bad := badInfo(r.GetSandbox(), req.ID); bad != "" {
		return nil, c.faulty(op, "%s", bad)
	}
	return c.sandbox(ctx, infoFromWire(r.GetSandbox()), false), nil
}

func (c *backendClient) Inspect(ctx context.Context, req *backend.InspectRequest) (*backend.SandboxInfo, error) {
	const op = "inspect"
	msg := &backendv1.InspectRequest{Id: req.ID}
	if err := c.checkRequest(op, req.ID, msg, req.ID); err != nil {
		return nil, err
	}
	r, err := c.rpc.Inspect(ctx, msg)
	if err != nil {
		return nil, c.fail(ctx, op, req.ID, err)
	}
	if bad := badInfo(r.GetSandbox(), req.ID); bad != "" {
		return nil, c.faulty(op, "%s", bad)
	}
	info := infoFromWire(r.GetSandbox())
	return &info, nil
}

func (c *backendClient) List(ctx context.Context, _ *backend.ListRequest) (*backend.ListSandboxesReply, error) {
	const op = "list"
	r, err := c.rpc.List(ctx, &backendv1.ListRequest{})
	if err != nil {
		return nil, c.fail(ctx, op, "", err)
	}
	if len(r.GetSandboxes()) > maxSandboxes {
		return nil, c.faulty(op, "%d sandboxes", len(r.GetSandboxes()))
	}
	seen := make(map[string]bool, len(r.GetSandboxes()))
	for _, i := range r.GetSandboxes() {
		if bad := badInfo(i, ""); bad != "" {
			return nil, c.faulty(op, "%s", bad)
		}
		if seen[i.GetId()] {
			return nil, c.faulty(op, "the sandbox %q twice", i.GetId())
		}
		seen[i.GetId()] = true
	}
	return &backend.ListSandboxesReply{Sandboxes: mapSlice(r.GetSandboxes(), infoFromWire)}, nil
}

func (c *backendClient) Stop(ctx context.Context, req *backend.StopRequest) error {
	const op = "stop"
	msg := &backendv1.StopRequest{Id: req.ID}
	if err := c.checkRequest(op, req.ID, msg, req.ID); err != nil {
		return err
	}
	if _, err := c.rpc.Stop(ctx, msg); err != nil {
		return c.fail(ctx, op, req.ID, err)
	}
	return nil
}

func (c *backendClient) Destroy(ctx context.Context, req *backend.DestroyRequest) error {
	const op = "destroy"
	msg := &backendv1.DestroyRequest{Id: req.ID, KeepWorkspace: req.KeepWorkspace}
	if err := c.checkRequest(op, req.ID, msg, req.ID); err != nil {
		return err
	}
	if _, err := c.rpc.Destroy(ctx, msg); err != nil {
		return c.fail(ctx, op, req.ID, err)
	}
	return nil
}

func (c *backendClient) RemoveWorkspace(ctx context.Context, req *backend.RemoveWorkspaceRequest) error {
	const op = "remove workspace"
	msg := &backendv1.RemoveWorkspaceRequest{Name: req.Name}
	if err := c.checkRequest(op, req.Name, msg, req.Name); err != nil {
		return err
	}
	if _, err := c.rpc.RemoveWorkspace(ctx, msg); err != nil {
		return c.fail(ctx, op, req.Name, err)
	}
	return nil
}

func (c *backendClient) Shutdown(ctx context.Context) error {
	if _, err := c.rpc.Shutdown(ctx, &backendv1.ShutdownRequest{}); err != nil {
		return c.fail(ctx, "shutdown", "", err)
	}
	return nil
}

// detached is a call that outlives the context of its caller, so that the caller
// can be told how it ended after it was cancelled.
type detached struct {
	stream grpc.ClientStream
	cancel context.CancelFunc

	sendMu sync.Mutex

	mu         sync.Mutex
	timer      *time.Timer
	cancelling bool
	tornDown   bool
	closed     bool
}

// detach opens a stream with base as its context. While it is being opened it
// still ends with ctx: until then the other side has not begun anything.
func detach(ctx, base context.Context, open func(context.Context) (grpc.ClientStream, error)) (*detached, error) {
	base, cancel := context.WithCancel(base)
	stop := context.AfterFunc(ctx, cancel)
	stream, err := open(base)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		cancel()
		return nil, err
	}
	return &detached{stream: stream, cancel: cancel}, nil
}

// send sends one message; several goroutines may.
func (d *detached) send(msg proto.Message) error {
	d.sendMu.Lock()
	defer d.sendMu.Unlock()
	return d.stream.SendMsg(msg)
}

// cancelWith sends msg when ctx ends, see cancelNow. The result undoes that.
func (d *detached) cancelWith(ctx context.Context, msg proto.Message, patience time.Duration) (stop func() bool) {
	return context.AfterFunc(ctx, func() { d.cancelNow(msg, patience) })
}

// cancelNow sends msg, once, and tears the call down unless it has ended when
// patience is over.
func (d *detached) cancelNow(msg proto.Message, patience time.Duration) {
	d.mu.Lock()
	if d.cancelling || d.closed {
		d.mu.Unlock()
		return
	}
	d.cancelling = true
	d.timer = time.AfterFunc(patience, func() {
		d.mu.Lock()
		d.tornDown = true
		d.mu.Unlock()
		d.cancel()
	})
	d.mu.Unlock()
	// If it cannot be sent the call has ended or is torn down soon.
	_ = d.send(msg)
}

// torn reports whether the call was torn down by cancelNow.
func (d *detached) torn() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.tornDown
}

// close frees what the call holds.
func (d *detached) close() {
	d.mu.Lock()
	d.closed = true
	if d.timer != nil {
		d.timer.Stop()
	}
	d.mu.Unlock()
	d.cancel()
}

var _ backend.Backend = (*backendClient)(nil)
