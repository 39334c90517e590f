package wire

import (
	"context"

	"google.golang.org/grpc"

	"github.com/deep-sandbox/deep/core/backend"
	backendv1 "github.com/deep-sandbox/deep/core/proto/backend/v1"
)

// RegisterSandbox serves the sandboxes lookup finds. It is called with the valid
// id a call names, for each call; its error is the call's.
func RegisterSandbox(s grpc.ServiceRegistrar, lookup func(ctx context.Context, id string) (backend.Sandbox, error)) {
	backendv1.RegisterSandboxServer(s, &sandboxServer{lookup: lookup})
}

type sandboxServer struct {
	backendv1.UnimplementedSandboxServer
	lookup func(ctx context.Context, id string) (backend.Sandbox, error)
}

// sandbox returns the one a call is for. The error is a status.
func (s *sandboxServer) sandbox(ctx context.Context) (backend.Sandbox, error) {
	id, err := sandboxID(ctx)
	if err != nil {
		return nil, Error(err)
	}
	sb, err := s.lookup(ctx, id)
	if err != nil {
		return nil, Error(err)
	}
	return sb, nil
}

func (s *sandboxServer) Outcome(ctx context.Context, req *backendv1.OutcomeRequest) (*backendv1.OutcomeReply, error) {
	sb, err := s.sandbox(ctx)
	if err != nil {
		return nil, err
	}
	r, err := sb.Outcome(ctx, &backend.OutcomeRequest{ID: req.GetId(), Wait: req.GetWait()})
	if err != nil {
		return nil, Error(err)
	}
	return &backendv1.OutcomeReply{Result: resultToWire(&r.Result)}, nil
}

func (s *sandboxServer) Stat(ctx context.Context, req *backendv1.StatRequest) (*backendv1.StatReply, error) {
	sb, err := s.sandbox(ctx)
	if err != nil {
		return nil, err
	}
	info, err := sb.Stat(ctx, &backend.StatRequest{Path: string(req.GetPath()), Follow: req.GetFollow(), SHA256: req.GetSha256()})
	if err != nil {
		return nil, Error(err)
	}
	return &backendv1.StatReply{Info: fileToWire(*info)}, nil
}

func (s *sandboxServer) Edit(ctx context.Context, req *backendv1.EditRequest) (*backendv1.EditReply, error) {
	sb, err := s.sandbox(ctx)
	if err != nil {
		return nil, err
	}
	edit := &backend.EditRequest{
		Path: string(req.GetPath()), Old: req.GetOld(), New: req.GetNew(), All: req.GetAll(), IfSHA256: req.GetIfSha256(),
	}
	for _, more := range req.GetThen() {
		edit.Then = append(edit.Then, backend.Replacement{Old: more.GetOld(), New: more.GetNew(), All: more.GetAll()})
	}
	r, err := sb.Edit(ctx, edit)
	if err != nil {
		return nil, Error(err)
	}
	return &backendv1.EditReply{Replaced: int64(r.Replaced), Size: r.Size, Sha256: r.SHA256}, nil
}

func (s *sandboxServer) List(ctx context.Context, req *backendv1.ListDirRequest) (*backendv1.ListDirReply, error) {
	sb, err := s.sandbox(ctx)
	if err != nil {
		return nil, err
	}
	r, err := sb.List(ctx, &backend.ListDirRequest{Path: string(req.GetPath()), Limit: int(req.GetLimit()), After: string(req.GetAfter())})
	if err != nil {
		return nil, Error(err)
	}
	return &backendv1.ListDirReply{Entries: mapSlice(r.Entries, fileToWire), Next: []byte(r.Next), Total: int64(r.Total)}, nil
}

func (s *sandboxServer) Mkdir(ctx context.Context, req *backendv1.MkdirRequest) (*backendv1.MkdirReply, error) {
	sb, err := s.sandbox(ctx)
	if err != nil {
		return nil, err
	}
	if err := sb.Mkdir(ctx, &backend.MkdirRequest{Path: string(req.GetPath()), Mode: req.GetMode()}); err != nil {
		return nil, Error(err)
	}
	return &backendv1.MkdirReply{}, nil
}

func (s *sandboxServer) Remove(ctx context.Context, req *backendv1.RemoveRequest) (*backendv1.RemoveReply, error) {
	sb, err := s.sandbox(ctx)
	if err != nil {
		return nil, err
	}
	if err := sb.Remove(ctx, &backend.RemoveRequest{Path: string(req.GetPath()), Recursive: req.GetRecursive()}); err != nil {
		return nil, Error(err)
	}
	return &backendv1.RemoveReply{}, nil
}

func (s *sandboxServer) Rename(ctx context.Context, req *backendv1.RenameRequest) (*backendv1.RenameReply, error) {
	sb, err := s.sandbox(ctx)
	if err != nil {
		return nil, err
	}
	err = sb.Rename(ctx, &backend.RenameRequest{From: string(req.GetFrom()), To: string(req.GetTo()), NoReplace: req.GetNoReplace()})
	if err != nil {
		return nil, Error(err)
	}
	return &backendv1.RenameReply{}, nil
}

var _ backendv1.SandboxServer = (*sandboxServer)(nil)
