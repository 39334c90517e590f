package plugintest

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/deep-sandbox/deep/core/backend"
)

// Sandbox runs commands in a directory, and reads and writes files there. It
// knows no other operation.
type Sandbox struct {
	backend.Unsupported

	info backend.SandboxInfo
	dir  string
	// end is called by Close.
	end func() error

	mu       sync.Mutex
	outcomes map[string]backend.ExecResult
}

var _ backend.Sandbox = (*Sandbox)(nil)

func newSandbox(info backend.SandboxInfo, dir string, end func() error) *Sandbox {
	return &Sandbox{info: info, dir: dir, end: end, outcomes: map[string]backend.ExecResult{}}
}

// Info implements backend.Sandbox.
func (s *Sandbox) Info() backend.SandboxInfo { return s.info }

// Close implements backend.Sandbox.
func (s *Sandbox) Close() error { return s.end() }

// Exec implements backend.Sandbox. The command is killed with its group when ctx
// ends.
func (s *Sandbox) Exec(ctx context.Context, req *backend.ExecRequest) (*backend.ExecResult, error) {
	if _, err := os.Stat(s.dir); err != nil {
		return nil, &backend.Error{Kind: backend.ErrGone, Path: s.info.ID}
	}
	argv := req.Argv
	if req.Shell != "" {
		argv = []string{"/bin/sh", "-c", req.Shell}
	}
	s.mu.Lock()
	_, again := s.outcomes[req.ID]
	if !again {
		s.outcomes[req.ID] = backend.ExecResult{ID: req.ID, Outcome: backend.OutcomeRunning}
	}
	s.mu.Unlock()
	if again {
		return nil, &backend.Error{Kind: backend.ErrExists, Path: req.ID}
	}
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir = s.dir
	stdout, stderr := &counter{w: req.Stdout}, &counter{w: req.Stderr}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = req.Stdin, stdout, stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	start := time.Now()
	err := cmd.Run()
	res := backend.ExecResult{ID: req.ID, Outcome: backend.OutcomeExit, Duration: time.Since(start), StdoutBytes: stdout.n, StderrBytes: stderr.n}
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		res.Outcome, res.ExitCode, res.Signal = backend.OutcomeCancelled, 137, 9
		err = &backend.Error{Kind: ctx.Err(), Op: "exec"}
	case errors.As(err, &exit):
		res.ExitCode, err = exit.ExitCode(), nil
	case err != nil:
		res.Outcome, res.ExitCode, res.StartError, err = backend.OutcomeStartFailed, 127, err.Error(), nil
	}
	s.mu.Lock()
	s.outcomes[req.ID] = res
	s.mu.Unlock()
	return &res, err
}

// counter counts what it passes on, to nobody if w is nil.
type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	if c.w == nil {
		return len(p), nil
	}
	return c.w.Write(p)
}

// Outcome implements backend.Sandbox.
func (s *Sandbox) Outcome(_ context.Context, req *backend.OutcomeRequest) (*backend.OutcomeReply, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	res, ok := s.outcomes[req.ID]
	if !ok {
		return nil, &backend.Error{Kind: backend.ErrNotFound, Path: req.ID}
	}
	return &backend.OutcomeReply{Result: res}, nil
}

func (s *Sandbox) path(p string) string {
	if filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(s.dir, p)
}

// Stat implements backend.Sandbox.
func (s *Sandbox) Stat(_ context.Context, req *backend.StatRequest) (*backend.FileInfo, error) {
	info, err := os.Stat(s.path(req.Path))
	if err != nil {
		return nil, fileError(req.Path, err)
	}
	return &backend.FileInfo{Path: req.Path, Type: backend.TypeRegular, Size: info.Size(), Mode: uint32(info.Mode().Perm()), ModTime: info.ModTime()}, nil
}

// ReadFile implements backend.Sandbox.
func (s *Sandbox) ReadFile(ctx context.Context, req *backend.ReadFileRequest) (*backend.File, error) {
	info, err := s.Stat(ctx, &backend.StatRequest{Path: req.Path})
	if err != nil {
		return nil, err
	}
	f, err := os.Open(s.path(req.Path))
	if err != nil {
		return nil, fileError(req.Path, err)
	}
	return &backend.File{Info: *info, ReadCloser: f}, nil
}

// WriteFile implements backend.Sandbox.
func (s *Sandbox) WriteFile(_ context.Context, req *backend.WriteFileRequest) (*backend.WriteFileReply, error) {
	data, err := io.ReadAll(req.Content)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(s.path(req.Path), data, 0o600); err != nil {
		return nil, fileError(req.Path, err)
	}
	return &backend.WriteFileReply{Size: int64(len(data)), SHA256: "0000000000000000000000000000000000000000000000000000000000000000"}, nil
}

func fileError(path string, err error) error {
	kind := backend.ErrPermission
	if errors.Is(err, fs.ErrNotExist) {
		kind = backend.ErrNotFound
	}
	return &backend.Error{Kind: kind, Path: path}
}
