package backendtest

import (
	"context"
	"io"

	"github.com/deep-sandbox/deep/core/backend"
)

// watchedSandbox is a sandbox whose calls are watched.
type watchedSandbox struct {
	backend.Sandbox
	t *T
}

// tty is what a command with a terminal needs.
func tty(req *backend.ExecRequest) backend.Capability {
	if req.TTY != nil {
		return backend.CapTTY
	}
	return ""
}

// Exec implements backend.Sandbox.
func (s *watchedSandbox) Exec(ctx context.Context, req *backend.ExecRequest) (*backend.ExecResult, error) {
	return supported(s.t, "exec", tty(req), func() (*backend.ExecResult, error) { return s.Sandbox.Exec(ctx, req) })
}

// Start implements backend.Sandbox.
func (s *watchedSandbox) Start(ctx context.Context, req *backend.ExecRequest) (*backend.StartReply, error) {
	return supported(s.t, "start", tty(req), func() (*backend.StartReply, error) { return s.Sandbox.Start(ctx, req) })
}

// Outcome implements backend.Sandbox.
func (s *watchedSandbox) Outcome(ctx context.Context, req *backend.OutcomeRequest) (*backend.OutcomeReply, error) {
	return supported(s.t, "outcome", "", func() (*backend.OutcomeReply, error) { return s.Sandbox.Outcome(ctx, req) })
}

// ReadOutput implements backend.Sandbox.
func (s *watchedSandbox) ReadOutput(ctx context.Context, req *backend.ReadOutputRequest) (*backend.Output, error) {
	return supported(s.t, "read output", "", func() (*backend.Output, error) { return s.Sandbox.ReadOutput(ctx, req) })
}

// WriteStdin implements backend.Sandbox.
func (s *watchedSandbox) WriteStdin(ctx context.Context, req *backend.WriteStdinRequest) (*backend.WriteStdinReply, error) {
	return supported(s.t, "write stdin", "", func() (*backend.WriteStdinReply, error) { return s.Sandbox.WriteStdin(ctx, req) })
}

// Signal implements backend.Sandbox.
func (s *watchedSandbox) Signal(ctx context.Context, req *backend.SignalRequest) error {
	_, err := supported(s.t, "signal", "", done(func() error { return s.Sandbox.Signal(ctx, req) }))
	return err
}

// Kill implements backend.Sandbox.
func (s *watchedSandbox) Kill(ctx context.Context, req *backend.KillRequest) (*backend.OutcomeReply, error) {
	return supported(s.t, "kill", "", func() (*backend.OutcomeReply, error) { return s.Sandbox.Kill(ctx, req) })
}

// Resize implements backend.Sandbox.
func (s *watchedSandbox) Resize(ctx context.Context, req *backend.ResizeRequest) error {
	_, err := supported(s.t, "resize", backend.CapTTY, done(func() error { return s.Sandbox.Resize(ctx, req) }))
	return err
}

// Processes implements backend.Sandbox.
func (s *watchedSandbox) Processes(ctx context.Context, req *backend.ProcessesRequest) (*backend.ProcessesReply, error) {
	return supported(s.t, "processes", backend.CapProcesses, func() (*backend.ProcessesReply, error) { return s.Sandbox.Processes(ctx, req) })
}

// Stats implements backend.Sandbox.
func (s *watchedSandbox) Stats(ctx context.Context, req *backend.StatsRequest) (*backend.Stats, error) {
	return supported(s.t, "stats", backend.CapProcesses, func() (*backend.Stats, error) { return s.Sandbox.Stats(ctx, req) })
}

// Dial implements backend.Sandbox.
func (s *watchedSandbox) Dial(ctx context.Context, req *backend.DialRequest) (backend.Conn, error) {
	return supported(s.t, "dial", backend.CapDial, func() (backend.Conn, error) { return s.Sandbox.Dial(ctx, req) })
}

// Stat implements backend.Sandbox.
func (s *watchedSandbox) Stat(ctx context.Context, req *backend.StatRequest) (*backend.FileInfo, error) {
	return supported(s.t, "stat", "", func() (*backend.FileInfo, error) { return s.Sandbox.Stat(ctx, req) })
}

// ReadFile implements backend.Sandbox.
func (s *watchedSandbox) ReadFile(ctx context.Context, req *backend.ReadFileRequest) (*backend.File, error) {
	return supported(s.t, "read file", "", func() (*backend.File, error) { return s.Sandbox.ReadFile(ctx, req) })
}

// WriteFile implements backend.Sandbox. Here and below, a mount point is a right
// reason for ErrUnsupported: the rules see whether a plain file can be written.
func (s *watchedSandbox) WriteFile(ctx context.Context, req *backend.WriteFileRequest) (*backend.WriteFileReply, error) {
	return watch(s.t, "write file", func() (*backend.WriteFileReply, error) { return s.Sandbox.WriteFile(ctx, req) })
}

// Edit implements backend.Sandbox.
func (s *watchedSandbox) Edit(ctx context.Context, req *backend.EditRequest) (*backend.EditReply, error) {
	return watch(s.t, "edit", func() (*backend.EditReply, error) { return s.Sandbox.Edit(ctx, req) })
}

// List implements backend.Sandbox.
func (s *watchedSandbox) List(ctx context.Context, req *backend.ListDirRequest) (*backend.ListDirReply, error) {
	return supported(s.t, "list", "", func() (*backend.ListDirReply, error) { return s.Sandbox.List(ctx, req) })
}

// Glob implements backend.Sandbox.
func (s *watchedSandbox) Glob(ctx context.Context, req *backend.GlobRequest) (*backend.GlobReply, error) {
	return supported(s.t, "glob", "", func() (*backend.GlobReply, error) { return s.Sandbox.Glob(ctx, req) })
}

// Grep implements backend.Sandbox.
func (s *watchedSandbox) Grep(ctx context.Context, req *backend.GrepRequest) (*backend.GrepReply, error) {
	return supported(s.t, "grep", "", func() (*backend.GrepReply, error) { return s.Sandbox.Grep(ctx, req) })
}

// PutArchive implements backend.Sandbox.
func (s *watchedSandbox) PutArchive(ctx context.Context, req *backend.PutArchiveRequest) (*backend.PutArchiveReply, error) {
	return supported(s.t, "put archive", "", func() (*backend.PutArchiveReply, error) { return s.Sandbox.PutArchive(ctx, req) })
}

// GetArchive implements backend.Sandbox.
func (s *watchedSandbox) GetArchive(ctx context.Context, req *backend.GetArchiveRequest) (io.ReadCloser, error) {
	return supported(s.t, "get archive", "", func() (io.ReadCloser, error) { return s.Sandbox.GetArchive(ctx, req) })
}

// Mkdir implements backend.Sandbox.
func (s *watchedSandbox) Mkdir(ctx context.Context, req *backend.MkdirRequest) error {
	_, err := supported(s.t, "mkdir", "", done(func() error { return s.Sandbox.Mkdir(ctx, req) }))
	return err
}

// Remove implements backend.Sandbox.
func (s *watchedSandbox) Remove(ctx context.Context, req *backend.RemoveRequest) error {
	_, err := watch(s.t, "remove", done(func() error { return s.Sandbox.Remove(ctx, req) }))
	return err
}

// Rename implements backend.Sandbox.
func (s *watchedSandbox) Rename(ctx context.Context, req *backend.RenameRequest) error {
	_, err := watch(s.t, "rename", done(func() error { return s.Sandbox.Rename(ctx, req) }))
	return err
}

// Close implements backend.Sandbox.
func (s *watchedSandbox) Close() error {
	_, err := watch(s.t, "close", done(s.Sandbox.Close))
	return err
}
