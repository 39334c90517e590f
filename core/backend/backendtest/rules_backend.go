package backendtest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/deep-sandbox/deep/core/backend"
)

var backendRules = []Rule{
	{
		Name:     "describe",
		Sentence: "Describe tells name, summary and capabilities; capabilities are known ones, sorted, none twice.",
		run: func(t *T) {
			d, err := t.kit.b.Describe(t.ctx)
			t.must("describe", err)
			if d.Name == "" || d.Version == "" || d.Summary == "" || strings.Contains(d.Summary, "\n") {
				t.Errorf("name %q, version %q, summary %q", d.Name, d.Version, d.Summary)
			}
			if !slices.IsSorted(d.Capabilities) || len(slices.Compact(slices.Clone(d.Capabilities))) != len(d.Capabilities) {
				t.Errorf("capabilities %q", d.Capabilities)
			}
		},
	},
	{
		Name:     "check",
		Sentence: "Check tells the engine, its address and the layers of isolation; each has a name of the contract's, or one that begins with x-; one that is missing says why.",
		run: func(t *T) {
			r, err := t.kit.b.Check(t.ctx)
			t.must("check", err)
			if r.Engine == "" || len(r.Layers) == 0 {
				t.Errorf("engine %q, layers %v", r.Engine, r.Layers)
			}
			for _, l := range r.Layers {
				if !backend.ValidLayer(l.Name) {
					t.Errorf("%q is none of backend.LayerNames, and does not begin with x-", l.Name)
				}
				if l.State == backend.LayerMissing && l.Detail == "" {
					t.Errorf("a layer that says too little: %+v", l)
				}
			}
		},
	},
	{
		Name:     "configure-twice",
		Sentence: "A second Configure is ErrExists.",
		run: func(t *T) {
			if err := t.kit.b.Configure(t.ctx, &backend.ConfigureRequest{}); err != nil {
				t.wantKind("configure", err, backend.ErrExists)
			}
			t.wantKind("configure again", t.kit.b.Configure(t.ctx, &backend.ConfigureRequest{}), backend.ErrExists)
		},
	},
	{
		Name:     "backend-cancelled-before",
		Sentence: "A call whose context has ended fails with the context's error.",
		run: func(t *T) {
			ctx, cancel := context.WithCancel(t.ctx)
			cancel()
			id := backend.NewID()
			_, err := t.createWith(ctx, id, nil, nil)
			t.wantKind("create", err, context.Canceled)
			_, err = t.kit.b.Open(ctx, &backend.OpenRequest{ID: id})
			t.wantKind("open", err, context.Canceled)
			_, err = t.kit.b.Inspect(ctx, &backend.InspectRequest{ID: id})
			t.wantKind("inspect", err, context.Canceled)
		},
	},
}

// listed reports whether List tells of a sandbox.
func (t *T) listed(id string) bool {
	r, err := t.kit.b.List(t.ctx, &backend.ListRequest{})
	t.must("list", err)
	return slices.ContainsFunc(r.Sandboxes, func(i backend.SandboxInfo) bool { return i.ID == id })
}

// wantNothing notes a problem if anything of a sandbox is left.
func (t *T) wantNothing(id string) {
	_, err := t.kit.b.Inspect(t.ctx, &backend.InspectRequest{ID: id})
	t.wantKind("inspect", err, backend.ErrNotFound)
	_, err = t.kit.b.Open(t.ctx, &backend.OpenRequest{ID: id})
	t.wantKind("open", err, backend.ErrGone)
	if t.listed(id) {
		t.Errorf("it is listed")
	}
}

// refuseCreate notes a problem unless a sandbox so specified is ErrInvalid.
func (t *T) refuseCreate(what string, change func(*backend.Spec)) {
	id := backend.NewID()
	_, err := t.create(id, change)
	t.wantKind(what, err, backend.ErrInvalid)
	t.wantNothing(id)
}

var lifecycleRules = []Rule{
	{
		Name:     "create-info",
		Sentence: "Info tells what was settled when the sandbox was made.",
		run: func(t *T) {
			id := backend.NewID()
			sb, err := t.create(id, func(s *backend.Spec) { s.Ephemeral = true })
			t.must("create", err)
			d, err := t.kit.b.Describe(t.ctx)
			t.must("describe", err)
			i := sb.Info()
			switch {
			case i.ID != id:
				t.Errorf("id %q, want %q", i.ID, id)
			case i.Backend == "" || d.Name == "":
				t.Errorf("backend %q", i.Backend)
			case i.State != backend.StateRunning:
				t.Errorf("state %q", i.State)
			case !i.Ephemeral:
				t.Errorf("not ephemeral")
			case i.Workspace != backend.DefaultWorkspace && t.kit.opts.Spec.Workspace.Path == "":
				t.Errorf("workspace %q", i.Workspace)
			case time.Since(i.Created).Abs() > time.Hour:
				t.Errorf("created %v", i.Created)
			case i.User == "":
				t.Errorf("no user")
			}
		},
	},
	{
		Name:     "create-progress",
		Sentence: "Create reports progress, one call at a time and none after it returned; the last phase is ready.",
		run: func(t *T) {
			var mu sync.Mutex
			var phases []backend.Phase
			returned := false
			_, err := t.createWith(t.ctx, backend.NewID(), nil, func(p backend.Progress) {
				if !mu.TryLock() {
					t.Errorf("two reports at once")
					return
				}
				defer mu.Unlock()
				if returned {
					t.Errorf("progress %q after Create returned", p.Phase)
				}
				phases = append(phases, p.Phase)
			})
			mu.Lock()
			defer mu.Unlock()
			returned = true
			t.must("create", err)
			if len(phases) == 0 || phases[len(phases)-1] != backend.PhaseReady {
				t.Errorf("phases %q", phases)
			}
		},
	},
	{
		Name:     "create-invalid-id",
		Sentence: "An id that ValidID refuses is ErrInvalid.",
		run: func(t *T) {
			for _, id := range []string{"", "a/b", "../x", "a b", ".x", "a\n", strings.Repeat("x", 65), "ü"} {
				_, err := t.create(id, nil)
				t.wantKind("create "+short(id), err, backend.ErrInvalid)
			}
		},
	},
	{
		Name:     "create-invalid-spec",
		Sentence: "A specification that means nothing is ErrInvalid, and nothing is made.",
		run: func(t *T) {
			t.refuseCreate("memory of 1 byte", func(s *backend.Spec) { s.Memory = 1 })
			t.refuseCreate("one process", func(s *backend.Spec) { s.PIDs = 1 })
			t.refuseCreate("negative processors", func(s *backend.Spec) { s.CPUs = -1 })
			t.refuseCreate("negative timeout", func(s *backend.Spec) { s.Timeout = -1 })
			t.refuseCreate("unknown network", func(s *backend.Spec) { s.Network = "half" })
			t.refuseCreate("a variable without a name", func(s *backend.Spec) { s.Env = map[string]string{"": "x"} })
			t.refuseCreate("a variable with =", func(s *backend.Spec) { s.Env = map[string]string{"A=B": "x"} })
			t.refuseCreate("a relative workspace", func(s *backend.Spec) { s.Workspace.Path = "work" })
			t.refuseCreate("a workspace named ..", func(s *backend.Spec) { s.Workspace.Name = ".." })
		},
	},
	{
		Name:     "create-twice",
		Sentence: "A second create with an id answers ErrExists, and what has the id is left alone.",
		run: func(t *T) {
			sb := t.newSandbox(nil)
			_, err := sb.WriteFile(t.ctx, &backend.WriteFileRequest{Path: "mine", Content: strings.NewReader("x")})
			t.must("write", err)
			_, err = t.create(sb.Info().ID, nil)
			t.wantKind("create again", err, backend.ErrExists)
			if got, err := readAll(t.ctx, sb, &backend.ReadFileRequest{Path: "mine"}); err != nil || got != "x" {
				t.Errorf("the first sandbox: %q, %v", got, err)
			}
		},
	},
	{
		Name:     "create-concurrently",
		Sentence: "First use is concurrent-safe: 50 creates of one id make one sandbox, the others are ErrExists.",
		run: func(t *T) {
			id := backend.NewID()
			var wg sync.WaitGroup
			errs := make([]error, 50)
			for i := range errs {
				wg.Go(func() { _, errs[i] = t.create(id, nil) })
			}
			wg.Wait()
			made := 0
			for _, err := range errs {
				if err == nil {
					made++
				} else {
					t.wantKind("create", err, backend.ErrExists)
				}
			}
			if made != 1 {
				t.Errorf("%d of %d creates made a sandbox", made, len(errs))
			}
			if sb, err := t.kit.b.Open(t.ctx, &backend.OpenRequest{ID: id}); err != nil {
				t.Errorf("open: %v", err)
			} else if _, err := sb.Stat(t.ctx, &backend.StatRequest{Path: "."}); err != nil {
				t.Errorf("stat: %v", err)
			}
		},
	},
	{
		Name:     "create-cancelled",
		Sentence: "Create is all or nothing: when its context ends it returns that error, and nothing stays.",
		run: func(t *T) {
			id := backend.NewID()
			ctx, cancel := context.WithCancel(t.ctx)
			defer cancel()
			_, err := t.createWith(ctx, id, nil, func(backend.Progress) { cancel() })
			if err == nil {
				return // it was done before it could be told
			}
			t.wantKind("create", err, context.Canceled)
			t.wantNothing(id)
			_, err = t.create(id, nil)
			t.must("create the same again", err)
		},
	},
	{
		Name:     "inspect-and-list",
		Sentence: "Inspect and List tell of a sandbox that runs.",
		run: func(t *T) {
			sb := t.newSandbox(nil)
			id := sb.Info().ID
			info, err := t.kit.b.Inspect(t.ctx, &backend.InspectRequest{ID: id})
			t.must("inspect", err)
			if info.ID != id || info.State != backend.StateRunning || info.Ephemeral {
				t.Errorf("%+v", info)
			}
			if !t.listed(id) {
				t.Errorf("it is not listed")
			}
		},
	},
	{
		Name:     "missing-sandbox",
		Sentence: "A sandbox that never was: Inspect is ErrNotFound, Open ErrGone, Destroy no error.",
		run: func(t *T) {
			id := backend.NewID()
			t.wantNothing(id)
			t.must("destroy", t.kit.b.Destroy(t.ctx, &backend.DestroyRequest{ID: id}))
		},
	},
	{
		Name:     "open",
		Sentence: "Open connects to the same sandbox; closing that handle does not end it.",
		run: func(t *T) {
			sb := t.newSandbox(func(s *backend.Spec) { s.Ephemeral = true })
			_, err := sb.WriteFile(t.ctx, &backend.WriteFileRequest{Path: "f", Content: strings.NewReader("x")})
			t.must("write", err)
			other, err := t.kit.b.Open(t.ctx, &backend.OpenRequest{ID: sb.Info().ID})
			t.must("open", err)
			if got, err := readAll(t.ctx, other, &backend.ReadFileRequest{Path: "f"}); err != nil || got != "x" {
				t.Errorf("%q, %v", got, err)
			}
			t.must("close the opened handle", other.Close())
			t.must("close it again", other.Close())
			_, err = sb.Stat(t.ctx, &backend.StatRequest{Path: "f"})
			t.must("stat through the first handle", err)
		},
	},
	{
		Name:     "destroy",
		Sentence: "Destroy removes everything and is idempotent; afterwards every method is ErrGone.",
		run: func(t *T) {
			sb := t.newSandbox(nil)
			id := sb.Info().ID
			t.must("destroy", t.kit.b.Destroy(t.ctx, &backend.DestroyRequest{ID: id}))
			t.must("destroy again", t.kit.b.Destroy(t.ctx, &backend.DestroyRequest{ID: id}))
			t.wantNothing(id)
			t.wantGone(sb)
		},
	},
	{
		Name:     "close-ephemeral",
		Sentence: "Close destroys an ephemeral sandbox that was created through the handle, and is idempotent.",
		run: func(t *T) {
			sb := t.newSandbox(func(s *backend.Spec) { s.Ephemeral = true })
			t.must("close", sb.Close())
			t.must("close again", sb.Close())
			t.wantNothing(sb.Info().ID)
		},
	},
	{
		Name:     "close-lasting",
		Sentence: "Close lets go of a sandbox that is not ephemeral, which stays.",
		run: func(t *T) {
			sb := t.newSandbox(nil)
			t.must("close", sb.Close())
			again, err := t.kit.b.Open(t.ctx, &backend.OpenRequest{ID: sb.Info().ID})
			t.must("open", err)
			_, err = again.Stat(t.ctx, &backend.StatRequest{Path: "."})
			t.must("stat", err)
		},
	},
	{
		Name:     "stop",
		Sentence: "Stop ends what runs; a stopped sandbox is ErrGone to Open; stopping it again is no error.",
		run: func(t *T) {
			sb := t.newSandbox(nil)
			id := sb.Info().ID
			t.must("stop", t.kit.b.Stop(t.ctx, &backend.StopRequest{ID: id}))
			t.must("stop again", t.kit.b.Stop(t.ctx, &backend.StopRequest{ID: id}))
			_, err := t.kit.b.Open(t.ctx, &backend.OpenRequest{ID: id})
			t.wantKind("open", err, backend.ErrGone)
			info, err := t.kit.b.Inspect(t.ctx, &backend.InspectRequest{ID: id})
			t.must("inspect", err)
			if info.State != backend.StateStopped {
				t.Errorf("state %q", info.State)
			}
		},
	},
	{
		Name:     "sandboxes-apart",
		Sentence: "Two sandboxes do not see each other's files.",
		run: func(t *T) {
			a, b := t.newSandbox(nil), t.newSandbox(nil)
			for _, dir := range []string{"", "/tmp/"} {
				_, err := a.WriteFile(t.ctx, &backend.WriteFileRequest{Path: dir + "only-in-a", Content: strings.NewReader("x")})
				t.must("write", err)
				_, err = b.Stat(t.ctx, &backend.StatRequest{Path: dir + "only-in-a"})
				t.wantKind("stat in the other", err, backend.ErrNotFound)
			}
		},
	},
	{
		Name:     "workspace-kept",
		Sentence: "A named workspace outlives its sandbox when Destroy is asked to keep it.",
		Needs:    backend.CapKeepWorkspace,
		run: func(t *T) {
			name := backend.NewID()
			named := func(s *backend.Spec) { s.Workspace.Name = name }
			sb := t.newSandbox(named)
			_, err := sb.WriteFile(t.ctx, &backend.WriteFileRequest{Path: "kept", Content: strings.NewReader("x")})
			t.must("write", err)
			t.wantKind("remove it in use", t.kit.b.RemoveWorkspace(t.ctx, &backend.RemoveWorkspaceRequest{Name: name}), backend.ErrConflict)
			t.must("destroy", t.kit.b.Destroy(t.ctx, &backend.DestroyRequest{ID: sb.Info().ID, KeepWorkspace: true}))
			sb = t.newSandbox(named)
			if got, err := readAll(t.ctx, sb, &backend.ReadFileRequest{Path: "kept"}); err != nil || got != "x" {
				t.Errorf("in the next sandbox: %q, %v", got, err)
			}
			t.must("destroy", t.kit.b.Destroy(t.ctx, &backend.DestroyRequest{ID: sb.Info().ID, KeepWorkspace: true}))
			t.must("remove", t.kit.b.RemoveWorkspace(t.ctx, &backend.RemoveWorkspaceRequest{Name: name}))
			t.must("remove again", t.kit.b.RemoveWorkspace(t.ctx, &backend.RemoveWorkspaceRequest{Name: name}))
			_, err = t.newSandbox(named).Stat(t.ctx, &backend.StatRequest{Path: "kept"})
			t.wantKind("stat after it was removed", err, backend.ErrNotFound)
		},
	},
	{
		Name:     "workspace-removed",
		Sentence: "Destroy removes a named workspace too, unless asked otherwise.",
		Needs:    backend.CapKeepWorkspace,
		run: func(t *T) {
			name := backend.NewID()
			named := func(s *backend.Spec) { s.Workspace.Name = name }
			sb := t.newSandbox(named)
			_, err := sb.WriteFile(t.ctx, &backend.WriteFileRequest{Path: "f", Content: strings.NewReader("x")})
			t.must("write", err)
			t.must("destroy", t.kit.b.Destroy(t.ctx, &backend.DestroyRequest{ID: sb.Info().ID}))
			_, err = t.newSandbox(named).Stat(t.ctx, &backend.StatRequest{Path: "f"})
			t.wantKind("stat", err, backend.ErrNotFound)
		},
	},
	{
		Name:     "spec-env",
		Sentence: "The specification's environment is that of every command; the request's wins over it.",
		Shell:    true,
		run: func(t *T) {
			sb := t.newSandbox(func(s *backend.Spec) { s.Env = map[string]string{"A": "spec", "B": "sp ec\n'\"$A"} })
			r := t.execIn(t.ctx, sb, &backend.ExecRequest{Shell: `printf '%s|%s' "$A" "$B"`, Env: map[string]string{"A": "request"}})
			t.wantOutput("printf", r, "request|sp ec\n'\"$A")
		},
	},
	{
		Name:     "spec-timeout",
		Sentence: "A command that names no timeout gets the sandbox's; one that names the constant for none outlives it.",
		Shell:    true,
		run: func(t *T) {
			sb := t.newSandbox(func(s *backend.Spec) { s.Timeout = 300 * time.Millisecond })
			r := t.execIn(t.ctx, sb, &backend.ExecRequest{Argv: []string{"sleep", "60"}, Grace: new(time.Duration)})
			t.must("exec", r.err)
			if r.Outcome != backend.OutcomeTimeout {
				t.Errorf("outcome %q", r.Outcome)
			}
			t.wantExit("without one", t.execIn(t.ctx, sb, &backend.ExecRequest{Argv: []string{"sleep", "0.5"}, Timeout: backend.Unlimited}), 0)
		},
	},
	{
		Name:     "spec-workspace-path",
		Sentence: "The workspace is where the specification says.",
		run: func(t *T) {
			sb := t.newSandbox(func(s *backend.Spec) { s.Workspace.Path = "/srv/place" })
			_, err := sb.WriteFile(t.ctx, &backend.WriteFileRequest{Path: "f"})
			t.must("write", err)
			_, err = sb.Stat(t.ctx, &backend.StatRequest{Path: "/srv/place/f"})
			t.must("stat", err)
			if sb.Info().Workspace != "/srv/place" {
				t.Errorf("workspace %q", sb.Info().Workspace)
			}
		},
	},
}

// wantGone notes a problem unless every method says that the sandbox is gone.
func (t *T) wantGone(sb backend.Sandbox) {
	calls := map[string]func() error{
		"exec":       func() error { _, err := sb.Exec(t.ctx, &backend.ExecRequest{Argv: []string{"true"}}); return err },
		"outcome":    func() error { _, err := sb.Outcome(t.ctx, &backend.OutcomeRequest{ID: "x"}); return err },
		"stat":       func() error { _, err := sb.Stat(t.ctx, &backend.StatRequest{Path: "."}); return err },
		"read file":  func() error { _, err := readAll(t.ctx, sb, &backend.ReadFileRequest{Path: "f"}); return err },
		"write file": func() error { _, err := sb.WriteFile(t.ctx, &backend.WriteFileRequest{Path: "f"}); return err },
		"edit": func() error {
			_, err := sb.Edit(t.ctx, &backend.EditRequest{Path: "f", Old: []byte("a"), New: []byte("b")})
			return err
		},
		"list":   func() error { _, err := sb.List(t.ctx, &backend.ListDirRequest{}); return err },
		"glob":   func() error { _, err := sb.Glob(t.ctx, &backend.GlobRequest{Pattern: "*"}); return err },
		"grep":   func() error { _, err := sb.Grep(t.ctx, &backend.GrepRequest{Pattern: "x"}); return err },
		"mkdir":  func() error { return sb.Mkdir(t.ctx, &backend.MkdirRequest{Path: "d"}) },
		"remove": func() error { return sb.Remove(t.ctx, &backend.RemoveRequest{Path: "f"}) },
		"rename": func() error { return sb.Rename(t.ctx, &backend.RenameRequest{From: "f", To: "g"}) },
	}
	for name, call := range calls {
		if err := call(); !errors.Is(err, backend.ErrGone) {
			t.Errorf("%s: %v, want %q", name, err, backend.ErrGone)
		}
	}
}
