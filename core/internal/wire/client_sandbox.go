package wire

import (
	"context"
	"sync"

	"google.golang.org/grpc"

	"github.com/deep-sandbox/deep/core/backend"
	backendv1 "github.com/deep-sandbox/deep/core/proto/backend/v1"
)

// NewSandbox returns the sandbox described by info, served at the other end of
// cc, which has [DialOptions]. closeFn, if not nil, is what Close does; after it
// has succeeded it is not called again.
func NewSandbox(cc grpc.ClientConnInterface, info backend.SandboxInfo, closeFn func() error) backend.Sandbox {
	return &sandboxClient{rpc: backendv1.NewSandboxClient(cc), info: info, closeFn: closeFn, peer: peer(info.Backend)}
}

type sandboxClient struct {
	rpc  backendv1.SandboxClient
	info backend.SandboxInfo
	peer

	closeMu sync.Mutex
	closeFn func() error
}

func (c *sandboxClient) Info() backend.SandboxInfo { return c.info }

// Close implements backend.Sandbox.
func (c *sandboxClient) Close() error {
	c.closeMu.Lock()
	defer c.closeMu.Unlock()
	if c.closeFn == nil {
		return nil
	}
	if err := c.closeFn(); err != nil {
		return err
	}
	c.closeFn = nil
	return nil
}

func (c *sandboxClient) with(ctx context.Context) context.Context { return withID(ctx, c.info.ID) }

func (c *sandboxClient) Outcome(ctx context.Context, req *backend.OutcomeRequest) (*backend.OutcomeReply, error) {
	const op = "outcome"
	msg := &backendv1.OutcomeRequest{Id: req.ID, Wait: req.Wait}
	if err := c.checkRequest(op, req.ID, msg, req.ID); err != nil {
		return nil, err
	}
	r, err := c.rpc.Outcome(c.with(ctx), msg)
	if err != nil {
		return nil, c.fail(ctx, op, req.ID, err)
	}
	if bad := badResult(r.GetResult(), req.ID, !req.Wait); bad != "" {
		return nil, c.faulty(op, "%s", bad)
	}
	return &backend.OutcomeReply{Result: *resultFromWire(r.GetResult())}, nil
}

func (c *sandboxClient) Stat(ctx context.Context, req *backend.StatRequest) (*backend.FileInfo, error) {
	const op = "stat"
	msg := &backendv1.StatRequest{Path: []byte(req.Path), Follow: req.Follow, Sha256: req.SHA256}
	if err := c.checkRequest(op, cut(req.Path), msg); err != nil {
		return nil, err
	}
	r, err := c.rpc.Stat(c.with(ctx), msg)
	if err != nil {
		return nil, c.fail(ctx, op, req.Path, err)
	}
	if bad := badFileAt(r.GetInfo(), req.Path); bad != "" {
		return nil, c.faulty(op, "%s", bad)
	}
	if req.SHA256 && r.GetInfo().GetSha256() == "" {
		return nil, c.faulty(op, "no sum where one was asked for")
	}
	info := fileFromWire(r.GetInfo())
	return &info, nil
}

func (c *sandboxClient) Edit(ctx context.Context, req *backend.EditRequest) (*backend.EditReply, error) {
	const op = "edit"
	msg := &backendv1.EditRequest{Path: []byte(req.Path), Old: req.Old, New: req.New, All: req.All, IfSha256: req.IfSHA256}
	all := req.All
	for _, more := range req.Then {
		msg.Then = append(msg.Then, &backendv1.Replacement{Old: more.Old, New: more.New, All: more.All})
		all = all || more.All
	}
	if err := c.checkRequest(op, cut(req.Path), msg, req.IfSHA256); err != nil {
		return nil, err
	}
	r, err := c.rpc.Edit(c.with(ctx), msg)
	if err != nil {
		return nil, c.fail(ctx, op, req.Path, err)
	}
	switch {
	case r.GetReplaced() <= int64(len(req.Then)) || (!all && r.GetReplaced() != int64(1+len(req.Then))):
		return nil, c.faulty(op, "%d matches replaced", r.GetReplaced())
	case r.GetSize() < 0:
		return nil, c.faulty(op, "a file of %d bytes", r.GetSize())
	case badSHA256(r.GetSha256()):
		return nil, c.faulty(op, "a sum of %q", cut(r.GetSha256()))
	}
	return &backend.EditReply{Replaced: int(r.GetReplaced()), Size: r.GetSize(), SHA256: r.GetSha256()}, nil
}

func (c *sandboxClient) List(ctx context.Context, req *backend.ListDirRequest) (*backend.ListDirReply, error) {
	const op = "list"
	msg := &backendv1.ListDirRequest{Path: []byte(req.Path), Limit: int64(req.Limit), After: []byte(req.After)}
	if err := c.checkRequest(op, cut(req.Path), msg); err != nil {
		return nil, err
	}
	r, err := c.rpc.List(c.with(ctx), msg)
	if err != nil {
		return nil, c.fail(ctx, op, req.Path, err)
	}
	entries := r.GetEntries()
	switch {
	case len(entries) > bound(req.Limit, backend.MaxListEntries):
		return nil, c.faulty(op, "%d entries where %d were asked for", len(entries), bound(req.Limit, backend.MaxListEntries))
	case r.GetTotal() < int64(len(entries)):
		return nil, c.faulty(op, "%d entries of %d", len(entries), r.GetTotal())
	case len(r.GetNext()) > maxPath:
		return nil, c.faulty(op, "a next page named in %d bytes", len(r.GetNext()))
	case len(r.GetNext()) > 0 && (len(entries) == 0 || string(r.GetNext()) == req.After):
		return nil, c.faulty(op, "pages without end")
	}
	for _, e := range entries {
		if bad := badEntry(e); bad != "" {
			return nil, c.faulty(op, "%s", bad)
		}
	}
	return &backend.ListDirReply{Entries: mapSlice(entries, fileFromWire), Next: string(r.GetNext()), Total: int(r.GetTotal())}, nil
}

func (c *sandboxClient) Mkdir(ctx context.Context, req *backend.MkdirRequest) error {
	const op = "mkdir"
	msg := &backendv1.MkdirRequest{Path: []byte(req.Path), Mode: req.Mode}
	if err := c.checkRequest(op, cut(req.Path), msg); err != nil {
		return err
	}
	if _, err := c.rpc.Mkdir(c.with(ctx), msg); err != nil {
		return c.fail(ctx, op, req.Path, err)
	}
	return nil
}

func (c *sandboxClient) Remove(ctx context.Context, req *backend.RemoveRequest) error {
	const op = "remove"
	msg := &backendv1.RemoveRequest{Path: []byte(req.Path), Recursive: req.Recursive}
	if err := c.checkRequest(op, cut(req.Path), msg); err != nil {
		return err
	}
	if _, err := c.rpc.Remove(c.with(ctx), msg); err != nil {
		return c.fail(ctx, op, req.Path, err)
	}
	return nil
}

func (c *sandboxClient) Rename(ctx context.Context, req *backend.RenameRequest) error {
	const op = "rename"
	msg := &backendv1.RenameRequest{From: []byte(req.From), To: []byte(req.To), NoReplace: req.NoReplace}
	if err := c.checkRequest(op, cut(req.From), msg); err != nil {
		return err
	}
	if _, err := c.rpc.Rename(c.with(ctx), msg); err != nil {
		return c.fail(ctx, op, req.From, err)
	}
	return nil
}

// bound returns how much a reply may hold when limit was asked for.
func bound(limit, most int) int {
	if limit <= 0 || limit > most {
		return most
	}
	return limit
}

var _ backend.Sandbox = (*sandboxClient)(nil)
