package plugintest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/pluginsdk"
)

// Files in an engine's directory that change what it does.
const (
	// HoldFile makes Provision wait, half done, until the file is removed.
	HoldFile = "hold"
	// DeafFile makes the guests of new sandboxes never answer.
	DeafFile = "deaf"
	// DownFile makes every call fail as if the engine could not be reached.
	DownFile = "down"
	// FoundFile holds what guests find in force beside what was configured, as JSON
	// of guestv1.Findings.
	FoundFile = "found"
)

// Engine is a Provisioner whose sandboxes are directories and processes.
type Engine struct{ dir string }

var _ pluginsdk.Provisioner = (*Engine)(nil)

// NewEngine returns the engine in dir.
func NewEngine(dir string) *Engine { return &Engine{dir: dir} }

func (e *Engine) path(id string, name ...string) string {
	return filepath.Join(append([]string{e.dir, "sb-" + id}, name...)...)
}

func (e *Engine) has(name string) bool {
	_, err := os.Stat(filepath.Join(e.dir, name))
	return err == nil
}

func (e *Engine) up() error {
	if e.has(DownFile) {
		return &backend.Error{Kind: backend.ErrUnavailable, Path: e.dir, Message: "the engine does not answer", Hint: "start it"}
	}
	return nil
}

// Check implements pluginsdk.Provisioner.
func (e *Engine) Check(context.Context) (*backend.CheckReport, error) {
	return &backend.CheckReport{Engine: "directory", Endpoint: e.dir}, e.up()
}

// Provision implements pluginsdk.Provisioner.
func (e *Engine) Provision(ctx context.Context, req *pluginsdk.ProvisionRequest) (*pluginsdk.Provisioned, error) {
	if err := e.up(); err != nil {
		return nil, err
	}
	dir := e.path(req.ID)
	if err := os.Mkdir(dir, 0o700); errors.Is(err, fs.ErrExist) {
		return nil, &backend.Error{Kind: backend.ErrExists, Path: req.ID}
	} else if err != nil {
		return nil, err
	}
	req.Progress(backend.Progress{Phase: backend.PhaseStart, Message: "start"})
	made, err := e.provision(ctx, req)
	if err != nil {
		return nil, errors.Join(err, e.remove(req.ID))
	}
	return made, nil
}

func (e *Engine) provision(ctx context.Context, req *pluginsdk.ProvisionRequest) (*pluginsdk.Provisioned, error) {
	for e.has(HoldFile) {
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return nil, &backend.Error{Kind: ctx.Err()}
		}
	}
	labels, err := json.Marshal(req.Labels)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(e.path(req.ID, "labels.json"), labels, 0o600); err != nil {
		return nil, err
	}
	if err := os.Mkdir(e.path(req.ID, "workspace"), 0o700); err != nil {
		return nil, err
	}
	log, err := os.Create(e.path(req.ID, "guest.log"))
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{guestKey + "=" + e.path(req.ID), "GORACE=atexit_sleep_ms=0", "PATH=" + os.Getenv("PATH")}
	if e.has(DeafFile) {
		cmd = exec.Command("sleep", "1000")
	}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() { _ = cmd.Wait() }()
	if err := os.WriteFile(e.path(req.ID, "pid"), []byte(strconv.Itoa(cmd.Process.Pid)), 0o600); err != nil {
		return nil, err
	}
	info, err := e.Inspect(ctx, &backend.InspectRequest{ID: req.ID})
	if err != nil {
		return nil, err
	}
	return &pluginsdk.Provisioned{Info: *info, UID: uint32(os.Getuid()), GID: uint32(os.Getgid()), NewWorkspace: true}, nil
}

// Connect implements pluginsdk.Provisioner.
func (e *Engine) Connect(ctx context.Context, id string) (io.ReadWriteCloser, error) {
	if err := e.up(); err != nil {
		return nil, err
	}
	if !Alive(e.pid(id)) {
		return nil, &backend.Error{Kind: backend.ErrGone, Path: id}
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", e.path(id, "guest.sock"))
	if err != nil {
		return nil, &backend.Error{Kind: backend.ErrUnavailable, Path: id, Err: err}
	}
	return conn, nil
}

// Inspect implements pluginsdk.Provisioner.
func (e *Engine) Inspect(_ context.Context, req *backend.InspectRequest) (*backend.SandboxInfo, error) {
	if err := e.up(); err != nil {
		return nil, err
	}
	data, err := os.ReadFile(e.path(req.ID, "labels.json"))
	if err != nil {
		return nil, &backend.Error{Kind: backend.ErrNotFound, Path: req.ID}
	}
	var labels map[string]string
	if err := json.Unmarshal(data, &labels); err != nil {
		return nil, err
	}
	info := pluginsdk.InfoFromLabels(labels)
	info.State = backend.StateStopped
	if pid := e.pid(req.ID); Alive(pid) {
		info.State = backend.StateRunning
		info.EngineID = fmt.Sprint(pid)
	}
	return &info, nil
}

// List implements pluginsdk.Provisioner.
func (e *Engine) List(ctx context.Context, _ *backend.ListRequest) (*backend.ListSandboxesReply, error) {
	dirs, err := filepath.Glob(e.path("*"))
	if err != nil {
		return nil, err
	}
	reply := &backend.ListSandboxesReply{}
	for _, dir := range dirs {
		info, err := e.Inspect(ctx, &backend.InspectRequest{ID: filepath.Base(dir)[len("sb-"):]})
		if errors.Is(err, backend.ErrNotFound) {
			continue // being made, or being removed
		}
		if err != nil {
			return nil, err
		}
		reply.Sandboxes = append(reply.Sandboxes, *info)
	}
	return reply, nil
}

// Stop implements pluginsdk.Provisioner.
func (e *Engine) Stop(_ context.Context, req *backend.StopRequest) error {
	if err := e.up(); err != nil {
		return err
	}
	e.kill(req.ID)
	return nil
}

// Destroy implements pluginsdk.Provisioner.
func (e *Engine) Destroy(_ context.Context, req *backend.DestroyRequest) error {
	if err := e.up(); err != nil {
		return err
	}
	return e.remove(req.ID)
}

func (e *Engine) remove(id string) error {
	e.kill(id)
	return os.RemoveAll(e.path(id))
}

// RemoveWorkspace implements pluginsdk.Provisioner.
func (e *Engine) RemoveWorkspace(context.Context, *backend.RemoveWorkspaceRequest) error { return nil }

// Close implements pluginsdk.Provisioner.
func (e *Engine) Close() error { return nil }

// pid of a sandbox's guest, 0 if there is none.
func (e *Engine) pid(id string) int {
	data, err := os.ReadFile(e.path(id, "pid"))
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(string(bytes.TrimSpace(data)))
	if err != nil {
		return 0
	}
	return pid
}

// kill ends a sandbox's guest and what it started, which a PID 1 would take with
// it.
func (e *Engine) kill(id string) {
	pid := e.pid(id)
	if pid == 0 {
		return
	}
	started := childrenOf(pid)
	_ = syscall.Kill(pid, syscall.SIGKILL)
	for _, child := range started {
		_ = syscall.Kill(-child, syscall.SIGKILL) // each leads a group
	}
	for Alive(pid) {
		time.Sleep(time.Millisecond)
	}
}

// Kill ends the guest of a sandbox as a crash would.
func Kill(dir, id string) { NewEngine(dir).kill(id) }

func childrenOf(pid int) []int {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	var children []int
	for _, task := range tasks {
		data, _ := os.ReadFile(task)
		for _, field := range bytes.Fields(data) {
			if child, err := strconv.Atoi(string(field)); err == nil {
				children = append(children, child)
			}
		}
	}
	return children
}

// Alive reports whether pid is a process, and not one that only waits to be
// reaped.
func Alive(pid int) bool {
	if pid == 0 {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	i := bytes.LastIndex(stat, []byte(") "))
	return i >= 0 && stat[i+2] != 'Z' && stat[i+2] != 'X'
}

// Sandboxes returns the ids of the sandboxes there are in an engine's directory,
// running or not, half made ones too.
func Sandboxes(dir string) []string {
	dirs, _ := filepath.Glob(filepath.Join(dir, "sb-*"))
	ids := []string{}
	for _, d := range dirs {
		ids = append(ids, filepath.Base(d)[len("sb-"):])
	}
	return ids
}

// GuestPID returns the process id of a sandbox's guest, 0 if there is none.
func GuestPID(dir, id string) int { return NewEngine(dir).pid(id) }
