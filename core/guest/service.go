package guest

import (
	"context"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/guest/internal/confine"
	"github.com/deep-sandbox/deep/core/internal/version"
	"github.com/deep-sandbox/deep/core/internal/wire"
	guestv1 "github.com/deep-sandbox/deep/core/proto/guest/v1"
)

// service serves guestv1.Guest: it makes the sandbox, once.
type service struct {
	guestv1.UnimplementedGuestServer
	lease *lease

	mu      sync.Mutex
	settled *guestv1.SetupReply
	sandbox *Sandbox
}

// Setup implements guestv1.GuestServer. One that fails may be tried again.
func (s *service) Setup(_ context.Context, req *guestv1.SetupRequest) (*guestv1.SetupReply, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.settled != nil {
		return nil, wire.Error(&backend.Error{Kind: backend.ErrExists, Op: "setup", Message: "the sandbox was set up before"})
	}
	for _, d := range []int64{req.GetLeaseNs(), req.GetIdleTimeoutNs(), req.GetMaxLifetimeNs()} {
		if d < 0 {
			return nil, wire.Error(&backend.Error{Kind: backend.ErrInvalid, Op: "setup", Message: "negative duration"})
		}
	}
	rules := confine.Rules{Filter: slices.Clone(req.GetConfinement().GetSeccomp())}
	for _, path := range req.GetConfinement().GetWritable() {
		rules.Writable = append(rules.Writable, string(path))
	}
	sandbox, err := NewSandbox(Config{
		ID:        req.GetSandboxId(),
		Workspace: string(req.GetWorkspace()),
		UID:       req.GetUid(), GID: req.GetGid(),
		Env:        req.GetEnv(),
		Timeout:    time.Duration(req.GetDefaultTimeoutNs()),
		KeptOutput: req.GetKeptOutput(),
		Degraded:   req.GetDegraded(),
		Confine:    rules,
		Expect:     req.GetExpect(), AcceptDegraded: req.GetAcceptDegraded(),
	})
	if err != nil {
		return nil, wire.Error(err)
	}
	s.sandbox = sandbox
	s.settled = &guestv1.SetupReply{
		Setup: proto.Clone(req).(*guestv1.SetupRequest), Domain: sandbox.domain.name(), Version: version.Version,
		Found: sandbox.found, Degraded: sandbox.info.Degraded,
	}
	sandbox.execs.changed = s.lease.command
	s.lease.settle(time.Duration(req.GetLeaseNs()), time.Duration(req.GetIdleTimeoutNs()), time.Duration(req.GetMaxLifetimeNs()))
	return s.settled, nil
}

// Info implements guestv1.GuestServer.
func (s *service) Info(context.Context, *guestv1.InfoRequest) (*guestv1.SetupReply, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.settled == nil {
		return nil, wire.Error(errNotSetUp())
	}
	return s.settled, nil
}

// lookup finds the one sandbox there is.
func (s *service) lookup(_ context.Context, id string) (backend.Sandbox, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.sandbox == nil:
		return nil, errNotSetUp()
	case s.sandbox.info.ID != id:
		return nil, &backend.Error{Kind: backend.ErrGone, Path: id, Message: "another sandbox is here by now"}
	}
	return s.sandbox, nil
}

func errNotSetUp() error {
	return &backend.Error{Kind: backend.ErrNotFound, Message: "the sandbox has not been set up"}
}

// end ends everything in the sandbox, if there is one.
func (s *service) end() {
	s.mu.Lock()
	sandbox := s.sandbox
	s.mu.Unlock()
	if sandbox != nil {
		sandbox.end()
	}
}

var _ guestv1.GuestServer = (*service)(nil)
