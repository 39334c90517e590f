package script

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/backend/backendtest"
	"github.com/deep-sandbox/deep/core/pluginsdk"
)

// faultyProgram is the name under which this test's program is a plugin.
const faultyProgram = "deep-backend-faulty"

// installFaulty is `faulty DIR`: it puts the faulty plugin there.
func installFaulty(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: faulty DIR")
	}
	self, err := os.Executable()
	ts.Check(err)
	dir := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(dir, 0o700))
	ts.Check(os.Symlink(self, filepath.Join(dir, faultyProgram)))
}

// serveFaulty runs the plugin, and does not return, in a process that was started
// as it: sandboxes in memory, with faults.
func serveFaulty() {
	if filepath.Base(os.Args[0]) != faultyProgram {
		return
	}
	pluginsdk.Serve(pluginsdk.Plugin{
		Name: "faulty", Version: "1", Summary: "sandboxes in memory that lie, crash and hang",
		// It can keep workspaces and does not say so.
		NewBackend: func(_ context.Context, env pluginsdk.Env) (backend.Backend, error) {
			return &faulty{backendtest.NewFake(), filepath.Join(env.StateDir, "hanging")}, nil
		},
	})
	os.Exit(0)
}

// faulty is a backend whose sandboxes are.
type faulty struct {
	backend.Backend
	// hanging is a file it makes when it hangs.
	hanging string
}

// Create implements backend.Backend.
func (f *faulty) Create(ctx context.Context, req *backend.CreateRequest) (backend.Sandbox, error) {
	sb, err := f.Backend.Create(ctx, req)
	if err != nil {
		return nil, err
	}
	return &faultySandbox{sb, f.hanging}, nil
}

type faultySandbox struct {
	backend.Sandbox
	hanging string
}

// Glob lies: there is never a file.
func (*faultySandbox) Glob(context.Context, *backend.GlobRequest) (*backend.GlobReply, error) {
	return &backend.GlobReply{}, nil
}

// Rename crashes, in the rule of that name.
func (s *faultySandbox) Rename(ctx context.Context, req *backend.RenameRequest) error {
	if strings.HasPrefix(req.From, "rename/") {
		go func() { panic("no idea how to rename") }() // beyond what recovers a panic in a call
		<-ctx.Done()
	}
	return s.Sandbox.Rename(ctx, req)
}

// Edit hangs.
func (s *faultySandbox) Edit(context.Context, *backend.EditRequest) (*backend.EditReply, error) {
	if err := os.WriteFile(s.hanging, nil, 0o600); err != nil {
		return nil, err
	}
	select {}
}

// Grep panics.
func (*faultySandbox) Grep(context.Context, *backend.GrepRequest) (*backend.GrepReply, error) {
	panic(errors.New("no idea how to search"))
}
