package host

import (
	"context"
	"io"
	"sync"
	"time"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/internal/wire"
)

// destroyTime bounds Close of an ephemeral sandbox, which takes no context.
const destroyTime = 30 * time.Second

// sandbox is a handle that outlives the plugin's process: each call goes to the
// one there is, which connects to the sandbox when it has not yet.
type sandbox struct {
	plugin *Plugin
	info   backend.SandboxInfo
	// created, not opened: Close destroys an ephemeral one.
	created bool

	closing  sync.Once
	closeErr error
}

var _ backend.Sandbox = (*sandbox)(nil)

// Info implements backend.Sandbox.
func (s *sandbox) Info() backend.SandboxInfo { return s.info }

// on runs fn on the plugin's current process.
func on[T any](ctx context.Context, s *sandbox, fn func(backend.Sandbox) (T, error)) (T, error) {
	i, err := s.plugin.acquire(ctx)
	if err != nil {
		var none T
		return none, err
	}
	v, err := fn(wire.NewSandbox(i.cc, s.info, func() error { return nil }))
	return v, i.explain(ctx, err)
}

// onStream is on for what goes on after fn has returned, and may yet break.
func onStream[T any](ctx context.Context, s *sandbox, fn func(*instance, backend.Sandbox) (T, error)) (T, error) {
	i, err := s.plugin.acquire(ctx)
	if err != nil {
		var none T
		return none, err
	}
	v, err := fn(i, wire.NewSandbox(i.cc, s.info, func() error { return nil }))
	return v, i.explain(ctx, err)
}

// Exec implements backend.Sandbox.
func (s *sandbox) Exec(ctx context.Context, req *backend.ExecRequest) (*backend.ExecResult, error) {
	res, err := on(ctx, s, func(sb backend.Sandbox) (*backend.ExecResult, error) { return sb.Exec(ctx, req) })
	return res, s.lost(err)
}

// lost says of a crash under a command what it means for the command.
func (s *sandbox) lost(err error) error {
	crash, ok := err.(*backend.CrashError) //nolint:errorlint // of this call, not what kept the plugin from being started again
	if !ok {
		return err
	}
	return &backend.Error{
		Kind: backend.ErrUnavailable, Backend: s.plugin.opts.Name, Op: "exec", Err: crash,
		Message: "the outcome is unknown: the plugin failed while the command ran",
		Hint:    "the command may have done all, some or nothing of its work: look at what it should have changed before you run it again",
	}
}

// Outcome implements backend.Sandbox.
func (s *sandbox) Outcome(ctx context.Context, req *backend.OutcomeRequest) (*backend.OutcomeReply, error) {
	return on(ctx, s, func(sb backend.Sandbox) (*backend.OutcomeReply, error) { return sb.Outcome(ctx, req) })
}

// Start implements backend.Sandbox.
func (s *sandbox) Start(ctx context.Context, req *backend.ExecRequest) (*backend.StartReply, error) {
	return on(ctx, s, func(sb backend.Sandbox) (*backend.StartReply, error) { return sb.Start(ctx, req) })
}

// ReadOutput implements backend.Sandbox.
func (s *sandbox) ReadOutput(ctx context.Context, req *backend.ReadOutputRequest) (*backend.Output, error) {
	return onStream(ctx, s, func(i *instance, sb backend.Sandbox) (*backend.Output, error) {
		out, err := sb.ReadOutput(ctx, req)
		if err == nil {
			out.ReadCloser = &explainedReader{ReadCloser: out.ReadCloser, ctx: ctx, instance: i}
		}
		return out, err
	})
}

// WriteStdin implements backend.Sandbox.
func (s *sandbox) WriteStdin(ctx context.Context, req *backend.WriteStdinRequest) (*backend.WriteStdinReply, error) {
	return on(ctx, s, func(sb backend.Sandbox) (*backend.WriteStdinReply, error) { return sb.WriteStdin(ctx, req) })
}

// Signal implements backend.Sandbox.
func (s *sandbox) Signal(ctx context.Context, req *backend.SignalRequest) error {
	_, err := on(ctx, s, func(sb backend.Sandbox) (struct{}, error) { return struct{}{}, sb.Signal(ctx, req) })
	return err
}

// Kill implements backend.Sandbox.
func (s *sandbox) Kill(ctx context.Context, req *backend.KillRequest) (*backend.OutcomeReply, error) {
	return on(ctx, s, func(sb backend.Sandbox) (*backend.OutcomeReply, error) { return sb.Kill(ctx, req) })
}

// Resize implements backend.Sandbox.
func (s *sandbox) Resize(ctx context.Context, req *backend.ResizeRequest) error {
	_, err := on(ctx, s, func(sb backend.Sandbox) (struct{}, error) { return struct{}{}, sb.Resize(ctx, req) })
	return err
}

// Processes implements backend.Sandbox.
func (s *sandbox) Processes(ctx context.Context, req *backend.ProcessesRequest) (*backend.ProcessesReply, error) {
	return on(ctx, s, func(sb backend.Sandbox) (*backend.ProcessesReply, error) { return sb.Processes(ctx, req) })
}

// Stats implements backend.Sandbox.
func (s *sandbox) Stats(ctx context.Context, req *backend.StatsRequest) (*backend.Stats, error) {
	return on(ctx, s, func(sb backend.Sandbox) (*backend.Stats, error) { return sb.Stats(ctx, req) })
}

// Dial implements backend.Sandbox.
func (s *sandbox) Dial(ctx context.Context, req *backend.DialRequest) (backend.Conn, error) {
	return onStream(ctx, s, func(i *instance, sb backend.Sandbox) (backend.Conn, error) {
		conn, err := sb.Dial(ctx, req)
		if err != nil {
			return nil, err
		}
		return &explainedConn{Conn: conn, ctx: ctx, instance: i}, nil
	})
}

// PutArchive implements backend.Sandbox.
func (s *sandbox) PutArchive(ctx context.Context, req *backend.PutArchiveRequest) (*backend.PutArchiveReply, error) {
	return on(ctx, s, func(sb backend.Sandbox) (*backend.PutArchiveReply, error) { return sb.PutArchive(ctx, req) })
}

// GetArchive implements backend.Sandbox.
func (s *sandbox) GetArchive(ctx context.Context, req *backend.GetArchiveRequest) (io.ReadCloser, error) {
	return onStream(ctx, s, func(i *instance, sb backend.Sandbox) (io.ReadCloser, error) {
		r, err := sb.GetArchive(ctx, req)
		if err != nil {
			return nil, err
		}
		return &explainedReader{ReadCloser: r, ctx: ctx, instance: i}, nil
	})
}

// Stat implements backend.Sandbox.
func (s *sandbox) Stat(ctx context.Context, req *backend.StatRequest) (*backend.FileInfo, error) {
	return on(ctx, s, func(sb backend.Sandbox) (*backend.FileInfo, error) { return sb.Stat(ctx, req) })
}

// ReadFile implements backend.Sandbox.
func (s *sandbox) ReadFile(ctx context.Context, req *backend.ReadFileRequest) (*backend.File, error) {
	return onStream(ctx, s, func(i *instance, sb backend.Sandbox) (*backend.File, error) {
		f, err := sb.ReadFile(ctx, req)
		if err == nil {
			f.ReadCloser = &explainedReader{ReadCloser: f.ReadCloser, ctx: ctx, instance: i}
		}
		return f, err
	})
}

// WriteFile implements backend.Sandbox.
func (s *sandbox) WriteFile(ctx context.Context, req *backend.WriteFileRequest) (*backend.WriteFileReply, error) {
	return on(ctx, s, func(sb backend.Sandbox) (*backend.WriteFileReply, error) { return sb.WriteFile(ctx, req) })
}

// Edit implements backend.Sandbox.
func (s *sandbox) Edit(ctx context.Context, req *backend.EditRequest) (*backend.EditReply, error) {
	return on(ctx, s, func(sb backend.Sandbox) (*backend.EditReply, error) { return sb.Edit(ctx, req) })
}

// List implements backend.Sandbox.
func (s *sandbox) List(ctx context.Context, req *backend.ListDirRequest) (*backend.ListDirReply, error) {
	return on(ctx, s, func(sb backend.Sandbox) (*backend.ListDirReply, error) { return sb.List(ctx, req) })
}

// Glob implements backend.Sandbox.
func (s *sandbox) Glob(ctx context.Context, req *backend.GlobRequest) (*backend.GlobReply, error) {
	return on(ctx, s, func(sb backend.Sandbox) (*backend.GlobReply, error) { return sb.Glob(ctx, req) })
}

// Grep implements backend.Sandbox.
func (s *sandbox) Grep(ctx context.Context, req *backend.GrepRequest) (*backend.GrepReply, error) {
	return on(ctx, s, func(sb backend.Sandbox) (*backend.GrepReply, error) { return sb.Grep(ctx, req) })
}

// Mkdir implements backend.Sandbox.
func (s *sandbox) Mkdir(ctx context.Context, req *backend.MkdirRequest) error {
	_, err := on(ctx, s, func(sb backend.Sandbox) (struct{}, error) { return struct{}{}, sb.Mkdir(ctx, req) })
	return err
}

// Remove implements backend.Sandbox.
func (s *sandbox) Remove(ctx context.Context, req *backend.RemoveRequest) error {
	_, err := on(ctx, s, func(sb backend.Sandbox) (struct{}, error) { return struct{}{}, sb.Remove(ctx, req) })
	return err
}

// Rename implements backend.Sandbox.
func (s *sandbox) Rename(ctx context.Context, req *backend.RenameRequest) error {
	_, err := on(ctx, s, func(sb backend.Sandbox) (struct{}, error) { return struct{}{}, sb.Rename(ctx, req) })
	return err
}

// Close implements backend.Sandbox. After the Plugin's own Close there is nothing
// left to do.
func (s *sandbox) Close() error {
	s.closing.Do(func() {
		if !s.created || !s.info.Ephemeral {
			return
		}
		s.plugin.mu.Lock()
		closed := s.plugin.closing
		s.plugin.mu.Unlock()
		if closed {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), destroyTime)
		defer cancel()
		s.closeErr = s.plugin.Destroy(ctx, &backend.DestroyRequest{ID: s.info.ID, KeepWorkspace: true})
	})
	return s.closeErr
}
