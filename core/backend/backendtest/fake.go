package backendtest

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/deep-sandbox/deep/core/backend"
)

// fakeName is what Fake calls itself.
const fakeName = "fake"

// Fake is a backend in memory. Its sandboxes have files and run the commands of
// [Fake.Commands], among them a small shell. It isolates nothing and is for
// tests: of what is written against the contract, and of the rules.
type Fake struct {
	mu         sync.Mutex
	configured bool
	shut       bool
	made       map[string]*machine
	making     map[string]bool
	workspaces map[string]*node
	images     map[string]*fakeImage // nil if it makes sandboxes from none
}

// NewFake returns a backend without sandboxes. Configure is not needed.
func NewFake() *Fake {
	return &Fake{made: map[string]*machine{}, making: map[string]bool{}, workspaces: map[string]*node{}}
}

func fault(kind error, op, path, format string, args ...any) *backend.Error {
	return &backend.Error{Kind: kind, Backend: fakeName, Op: op, Path: path, Message: fmt.Sprintf(format, args...), Hint: hints[kind]}
}

// hints say what to do about what the caller can mend.
var hints = map[error]string{
	backend.ErrNotFound:    "look at what is there",
	backend.ErrInvalid:     "look at what may be asked for",
	backend.ErrConflict:    "look at what is there now",
	backend.ErrPermission:  "look at the mode, or write below the workspace",
	backend.ErrNoSpace:     "remove files",
	backend.ErrUnavailable: "use what is there already",
}

// begin refuses what comes after the context's end or Shutdown.
func (f *Fake) begin(ctx context.Context, op string) error {
	if ctx.Err() != nil {
		return fault(ctx.Err(), op, "", "")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.shut {
		return fault(backend.ErrUnavailable, op, "", "the backend was shut down")
	}
	return nil
}

// Describe implements backend.Backend.
func (f *Fake) Describe(context.Context) (*backend.Description, error) {
	d := &backend.Description{
		Name: fakeName, Version: "test", Summary: "Sandboxes in memory, for tests; nothing is isolated.",
		Capabilities: []backend.Capability{backend.CapDial, backend.CapKeepWorkspace, backend.CapProcesses, backend.CapTTY},
	}
	if f.images != nil {
		d.Capabilities = slices.Insert(d.Capabilities, 1, backend.CapImages)
	}
	return d, nil
}

// Configure implements backend.Backend.
func (f *Fake) Configure(ctx context.Context, req *backend.ConfigureRequest) error {
	if err := f.begin(ctx, "configure"); err != nil {
		return err
	}
	if c := string(req.Config); c != "" && c != "{}" {
		return fault(backend.ErrInvalid, "configure", "", "this backend has no options")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.configured {
		return fault(backend.ErrExists, "configure", "", "configured before")
	}
	f.configured = true
	return nil
}

// Check implements backend.Backend.
func (f *Fake) Check(ctx context.Context) (*backend.CheckReport, error) {
	if err := f.begin(ctx, "check"); err != nil {
		return nil, err
	}
	return &backend.CheckReport{
		Engine: "memory", Endpoint: "memory:",
		Layers: []backend.Layer{{Name: "x-isolation", State: backend.LayerMissing, Detail: "commands run in this process"}},
	}, nil
}

// Create implements backend.Backend.
func (f *Fake) Create(ctx context.Context, req *backend.CreateRequest) (backend.Sandbox, error) {
	const op = "create"
	if err := f.begin(ctx, op); err != nil {
		return nil, err
	}
	spec, err := settle(req)
	if err != nil {
		return nil, err
	}
	img, err := f.image(op, spec)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	if f.made[req.ID] != nil || f.making[req.ID] {
		f.mu.Unlock()
		return nil, fault(backend.ErrExists, op, req.ID, "")
	}
	f.making[req.ID] = true
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.making, req.ID)
	}()

	for _, p := range []backend.Phase{backend.PhaseResolve, backend.PhaseStart, backend.PhaseReady} {
		if req.Progress != nil {
			req.Progress(backend.Progress{Phase: p, Message: "in memory"})
		}
		if ctx.Err() != nil {
			return nil, fault(ctx.Err(), op, req.ID, "")
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var workspace *node
	if name := spec.Workspace.Name; name != "" {
		if workspace = f.workspaces[name]; workspace == nil {
			workspace = newDir(0o755)
			f.workspaces[name] = workspace
		}
	}
	m := newMachine(req.ID, spec, img, workspace)
	f.made[req.ID] = m
	m.expire()
	return &fakeSandbox{machine: m, backend: f, connected: context.Background(), created: true}, nil
}

// settle checks a specification and fills in its defaults.
func settle(req *backend.CreateRequest) (backend.Spec, error) {
	const op = "create"
	s := req.Spec
	if !backend.ValidID(req.ID) {
		return s, fault(backend.ErrInvalid, op, req.ID, "not a valid id")
	}
	if s.Workspace.Path == "" {
		s.Workspace.Path = backend.DefaultWorkspace
	}
	if s.Timeout == 0 {
		s.Timeout = backend.DefaultTimeout
	}
	switch {
	case s.Workspace.Path[0] != '/' || s.Workspace.Path == "/":
		return s, fault(backend.ErrInvalid, op, s.Workspace.Path, "the workspace must be an absolute path and not the root")
	case s.Workspace.Name != "" && !backend.ValidID(s.Workspace.Name):
		return s, fault(backend.ErrInvalid, op, s.Workspace.Name, "not a valid name of a workspace")
	case s.Workspace.Source != "" || len(s.Mounts) > 0:
		return s, fault(backend.ErrUnsupported, op, s.Workspace.Source, "nothing of the host can be shown in memory")
	case s.Network != "" && s.Network != backend.NetworkNone && s.Network != backend.NetworkFull:
		return s, fault(backend.ErrInvalid, op, "network", "no such network mode: %q", s.Network)
	case s.Network == backend.NetworkFull:
		return s, fault(backend.ErrUnsupported, op, "network", "there is no network in memory")
	case s.Memory < 0 || (s.Memory > 0 && s.Memory < 16<<20):
		return s, fault(backend.ErrInvalid, op, "memory", "at least 16 MiB")
	case s.PIDs < 0 || (s.PIDs > 0 && s.PIDs < 96):
		return s, fault(backend.ErrInvalid, op, "pids", "at least 96")
	case s.CPUs < 0:
		return s, fault(backend.ErrInvalid, op, "cpus", "must not be negative")
	case s.Timeout < 0 || s.Lease < 0 || s.IdleTimeout < 0 || s.MaxLifetime < 0:
		return s, fault(backend.ErrInvalid, op, "timeout", "must not be negative")
	}
	for k, v := range s.Env {
		if !validEnv(k, v) {
			return s, fault(backend.ErrInvalid, op, k, "not the name of a variable")
		}
	}
	return s, nil
}

// Open implements backend.Backend.
func (f *Fake) Open(ctx context.Context, req *backend.OpenRequest) (backend.Sandbox, error) {
	const op = "open"
	if err := f.begin(ctx, op); err != nil {
		return nil, err
	}
	m := f.find(req.ID)
	if m == nil || m.over() {
		return nil, fault(backend.ErrGone, op, req.ID, "")
	}
	return &fakeSandbox{machine: m, backend: f, connected: context.Background()}, nil
}

func (f *Fake) find(id string) *machine {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.made[id]
}

// Inspect implements backend.Backend.
func (f *Fake) Inspect(ctx context.Context, req *backend.InspectRequest) (*backend.SandboxInfo, error) {
	const op = "inspect"
	if err := f.begin(ctx, op); err != nil {
		return nil, err
	}
	m := f.find(req.ID)
	if m == nil {
		return nil, fault(backend.ErrNotFound, op, req.ID, "no such sandbox")
	}
	info := m.information()
	return &info, nil
}

// List implements backend.Backend.
func (f *Fake) List(ctx context.Context, _ *backend.ListRequest) (*backend.ListSandboxesReply, error) {
	if err := f.begin(ctx, "list"); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	r := &backend.ListSandboxesReply{}
	for _, m := range f.made {
		r.Sandboxes = append(r.Sandboxes, m.information())
	}
	slices.SortFunc(r.Sandboxes, func(a, b backend.SandboxInfo) int { return a.Created.Compare(b.Created) })
	return r, nil
}

// Stop implements backend.Backend.
func (f *Fake) Stop(ctx context.Context, req *backend.StopRequest) error {
	const op = "stop"
	if err := f.begin(ctx, op); err != nil {
		return err
	}
	m := f.find(req.ID)
	if m == nil {
		return fault(backend.ErrNotFound, op, req.ID, "no such sandbox")
	}
	m.end()
	return nil
}

// Destroy implements backend.Backend.
func (f *Fake) Destroy(ctx context.Context, req *backend.DestroyRequest) error {
	if err := f.begin(ctx, "destroy"); err != nil {
		return err
	}
	f.destroy(req)
	return nil
}

func (f *Fake) destroy(req *backend.DestroyRequest) {
	f.mu.Lock()
	m := f.made[req.ID]
	if m != nil {
		delete(f.made, req.ID)
		if name := m.spec.Workspace.Name; name != "" && !req.KeepWorkspace && f.user(name) == "" {
			delete(f.workspaces, name)
		}
	}
	f.mu.Unlock()
	if m != nil {
		m.end()
	}
}

// user returns the id of a sandbox that uses a workspace. f.mu is held.
func (f *Fake) user(workspace string) string {
	for id, m := range f.made {
		if m.spec.Workspace.Name == workspace {
			return id
		}
	}
	return ""
}

// RemoveWorkspace implements backend.Backend.
func (f *Fake) RemoveWorkspace(ctx context.Context, req *backend.RemoveWorkspaceRequest) error {
	const op = "remove workspace"
	if err := f.begin(ctx, op); err != nil {
		return err
	}
	if !backend.ValidID(req.Name) {
		return fault(backend.ErrInvalid, op, req.Name, "not a valid name of a workspace")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if id := f.user(req.Name); id != "" {
		return fault(backend.ErrConflict, op, req.Name, "in use by sandbox %s", id)
	}
	delete(f.workspaces, req.Name)
	return nil
}

// Shutdown implements backend.Backend.
func (f *Fake) Shutdown(context.Context) error {
	f.mu.Lock()
	f.shut = true
	var ephemeral []string
	for id, m := range f.made {
		if m.spec.Ephemeral {
			ephemeral = append(ephemeral, id)
		}
	}
	f.mu.Unlock()
	for _, id := range ephemeral {
		f.destroy(&backend.DestroyRequest{ID: id, KeepWorkspace: true})
	}
	return nil
}

// machine is one sandbox.
type machine struct {
	id      string
	spec    backend.Spec
	image   *fakeImage
	created time.Time
	alive   context.Context // ends with the sandbox
	end     context.CancelFunc
	files   *tree

	spool *spool
	activity

	mu        sync.Mutex
	execs     map[string]*execution
	order     []string // of execs, oldest first
	processes map[int]*process
	lastPID   int
	ports     map[int]*listener
	oomKills  int64
}

func newMachine(id string, spec backend.Spec, img *fakeImage, workspace *node) *machine {
	m := &machine{
		id: id, spec: spec, image: img, created: time.Now(), files: newTree(spec.Workspace.Path, workspace, cmp.Or(spec.Memory, backend.DefaultMemory)/8),
		execs: map[string]*execution{}, processes: map[int]*process{}, lastPID: 1, ports: map[int]*listener{},
	}
	img.furnish(m.files)
	m.spool = &spool{limit: min(backend.KeptOutput, m.memory()/8)}
	m.alive, m.end = context.WithCancel(context.Background())
	context.AfterFunc(m.alive, m.killAll)
	return m
}

// killAll kills everything that runs, what execs left behind too.
func (m *machine) killAll() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range m.processes {
		p.deliver(int(syscall.SIGKILL))
	}
}

func (m *machine) over() bool { return m.alive.Err() != nil }

func (m *machine) information() backend.SandboxInfo {
	state := backend.StateRunning
	if m.over() {
		state = backend.StateStopped
	}
	return backend.SandboxInfo{
		ID: m.id, Backend: fakeName, State: state, Created: m.created, Ephemeral: m.spec.Ephemeral,
		Workspace: m.spec.Workspace.Path, User: fmt.Sprintf("%d:%d", backend.DefaultUID, backend.DefaultUID),
	}
}

// isolation says what the programs of a fake find: nothing is in force.
func (m *machine) isolation() *backend.Isolation {
	return &backend.Isolation{
		Runtime: "memory", UID: backend.DefaultUID, GID: backend.DefaultUID, Network: backend.NetworkNone, RootFileSystem: backend.RootWritable,
		Memory: m.memory(), PIDs: cmp.Or(m.spec.PIDs, backend.DefaultPIDs), CPUs: cmp.Or(m.spec.CPUs, backend.DefaultCPUs),
		OpenFiles: backend.NoLimit, FileSize: backend.NoLimit, Disk: backend.DiskNone,
	}
}

// fakeSandbox is a handle on a machine.
type fakeSandbox struct {
	backend.Unsupported
	*machine
	backend   *Fake
	connected context.Context // ends with the connection
	created   bool
}

// begin refuses what comes after the end of the context or the sandbox.
func (s *fakeSandbox) begin(ctx context.Context, op string) error {
	switch {
	case ctx.Err() != nil:
		return fault(ctx.Err(), op, "", "")
	case s.over():
		return fault(backend.ErrGone, op, s.id, "")
	}
	return nil
}

// Info implements backend.Sandbox.
func (s *fakeSandbox) Info() backend.SandboxInfo {
	info := s.information()
	info.Isolation = s.isolation()
	return info
}

// Close implements backend.Sandbox.
func (s *fakeSandbox) Close() error {
	if s.created && s.spec.Ephemeral {
		s.backend.destroy(&backend.DestroyRequest{ID: s.id, KeepWorkspace: true})
	}
	return nil
}

var (
	_ backend.Backend = (*Fake)(nil)
	_ backend.Sandbox = (*fakeSandbox)(nil)
)
