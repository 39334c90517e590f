package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/deep-sandbox/deep/core/agent"
	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/config"
	"github.com/deep-sandbox/deep/core/host"
	"github.com/deep-sandbox/deep/core/internal/procid"
	"github.com/deep-sandbox/deep/core/internal/store"
)

// A runner sees one run through, from its beginning or from where it waits.
type runner struct {
	app     *app
	config  *config.Config
	backend *config.Backend
	plugin  *host.Plugin
	store   *store.Store
	// owner is this process, in words.
	owner string

	run      *store.Run
	settings runSettings
	// overridden are the keys of the sandbox that the command line has set.
	overridden []string

	mu      sync.Mutex
	sandbox backend.Sandbox
	// used reports that the private workspace may be there. A run whose tools need
	// no sandbox has none, and its end asks no engine.
	used bool
}

// runSettings are kept with a run, so that another process goes on with the same.
// No secret is among them: keys and the sandbox's environment come from the
// configuration each time.
type runSettings struct {
	Spec     backend.Spec `json:"spec"`
	BaseURL  string       `json:"base_url,omitempty"`
	Keep     bool         `json:"keep,omitempty"`
	Approved []string     `json:"approved,omitempty"`
}

// openRunner starts the backend's plugin and opens the store of runs. The plugin
// is started before a model is asked: a mistake in the configuration should cost
// nothing. The sandbox is made when a tool first needs it.
func (a *app) openRunner(ctx context.Context, c *config.Config, name string) (*runner, error) {
	b, err := c.Backend(name)
	if err != nil {
		return nil, err
	}
	r := &runner{app: a, config: c, backend: b}
	if r.store, r.owner, err = openStore(ctx); err != nil {
		return nil, err
	}
	if r.plugin, err = a.launch(ctx, b); err != nil {
		r.closeStore()
		return nil, err
	}
	return r, nil
}

// openStore opens the user's store of runs; owner names this process in it.
func openStore(ctx context.Context) (s *store.Store, owner string, err error) {
	self, err := procid.Self()
	if err != nil {
		return nil, "", err
	}
	path, err := store.DefaultPath()
	if err != nil {
		return nil, "", err
	}
	s, err = store.Open(ctx, path)
	return s, self.String(), err
}

// ownerDied reports whether the process that worked on a run is no more.
func ownerDied(owner string) bool { return procid.Dead(backend.ParseOwner(owner)) }

// close lets go of the run, the plugin and the store.
func (r *runner) close(ctx context.Context) {
	r.app.leave(ctx, r.plugin)
	if r.run != nil {
		if err := r.store.Release(context.WithoutCancel(ctx), r.run.ID, r.owner); err != nil {
			explain(r.app.console, err)
		}
	}
	r.closeStore()
}

func (r *runner) closeStore() {
	if err := r.store.Close(); err != nil {
		explain(r.app.console, err)
	}
}

// specify settles what a new run is to be: its model, its sandbox, what is
// approved ahead.
func (r *runner) specify(ctx context.Context, o *runOptions) error {
	desc, err := r.plugin.Describe(ctx)
	if err != nil {
		return err
	}
	spec, overridden, err := o.spec(r.backend, desc.Capabilities)
	if err != nil {
		return err
	}
	r.overridden = overridden
	r.run = &store.Run{ID: backend.NewID(), Backend: r.backend.Name, Model: r.config.Model.Name, Owner: r.owner}
	if o.model != "" {
		r.run.Model = o.model
	}
	if r.run.Model, err = absoluteReplay(r.run.Model); err != nil {
		return err
	}
	if spec.Workspace.Source == "" {
		if !slices.Contains(desc.Capabilities, backend.CapKeepWorkspace) {
			return &usageError{"the backend " + r.backend.Name + " cannot keep a workspace for a run that waits", "name a directory with --workspace"}
		}
		spec.Workspace.Name = r.run.ID
		r.run.Workspace = r.run.ID
	}
	spec.Ephemeral = true
	r.settings = runSettings{Spec: spec, BaseURL: o.baseURL, Keep: o.keep, Approved: o.approve}
	return nil
}

// record puts a new run into the store.
func (r *runner) record(ctx context.Context, task string) error {
	kept := r.settings
	kept.Spec.Env = nil
	settings, err := json.Marshal(kept)
	if err != nil {
		return err
	}
	r.run.Task, r.run.Status, r.run.Settings = task, string(agent.StatusRunning), settings
	return r.store.CreateRun(ctx, r.run)
}

// claim takes over a run that is kept.
func (r *runner) claim(ctx context.Context, id string) (*agent.State, error) {
	run, err := r.store.Claim(ctx, id, r.owner, ownerDied)
	if err != nil {
		return nil, err
	}
	r.run, r.used = run, true
	if err := json.Unmarshal(run.Settings, &r.settings); err != nil {
		return nil, damaged(id, err)
	}
	r.settings.Spec.Env = r.backend.Sandbox.Env
	if len(run.State) == 0 {
		return nil, &backend.Error{Kind: backend.ErrConflict, Op: "resume", Path: id, Message: "deep ended before the run began", Hint: "begin a new one"}
	}
	state := &agent.State{}
	if err := json.Unmarshal(run.State, state); err != nil {
		return nil, damaged(id, err)
	}
	return state, nil
}

func damaged(id string, err error) error {
	return &backend.Error{Kind: backend.ErrInvalid, Op: "read run", Path: id, Message: "what is kept of it is damaged", Err: err, Hint: "remove it: deep run remove " + id}
}

// kept reports whether the workspace stays when a run ends so: it does where it
// is the user's, where they asked for it, and while the run waits.
func (r *runner) kept(status agent.Status) bool {
	return r.run.Workspace == "" || r.settings.Keep || status == agent.StatusWaiting || status == agent.StatusRunning
}

// play runs the agent and cleans up behind it. start begins the run, or goes on
// with it.
func (r *runner) play(ctx context.Context, out *outputFlags, limits agent.Limits, start func(context.Context, *agent.Agent) (*agent.Result, error)) error {
	model, recording, err := r.model()
	if err != nil {
		return err
	}
	if recording != nil {
		defer func() { _ = recording.Close() }()
	}
	// No model is paid for where there is no engine. A recording costs nothing, and
	// may need no sandbox.
	if recording == nil {
		if _, err := r.plugin.Check(ctx); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	view := newRunView(r, out, cancel)
	g, err := agent.New(agent.Config{
		Model:         model,
		Instructions:  instructions(r.config.Agent.Instructions, r.settings.Spec),
		Sandbox:       r.makeSandbox,
		DenyTools:     r.config.Agent.DenyTools,
		AskTools:      append(agent.DefaultAskTools(), r.config.Agent.AskTools...),
		ApprovedTools: r.settings.Approved,
		Approve:       newApprover(r).approve,
		Limits:        limits,
		Events:        view.event,
		Save:          r.save,
		ExecuteOutput: view.output(),
	})
	if err != nil {
		return err
	}
	view.begin()
	res, err := start(ctx, g)
	if recording != nil {
		if left := recording.Err(); left != nil && err != nil {
			err = left
		}
	}
	if view.err != nil {
		err = view.err // whoever read us is gone: that is why it ended
	}
	if res == nil {
		return err // it did not begin
	}
	cleanErr := r.clean(ctx, res.Status)
	if cleanErr != nil {
		explain(r.app.console, cleanErr)
	}
	r.sayWhatIsKept(res.Status)
	if err = r.verdict(res, err); err == nil && cleanErr != nil {
		err = &exitError{code: exitFailed}
	}
	return err
}

// instructions are those the model always gets, and what is configured.
func instructions(more string, spec backend.Spec) string {
	text := agent.DefaultInstructions
	if dir := spec.Workspace.Path; dir != "" && dir != backend.DefaultWorkspace {
		text = strings.ReplaceAll(text, backend.DefaultWorkspace, dir)
	}
	if more != "" {
		text += "\n\n" + more
	}
	return text
}

// save keeps the state of the run.
func (r *runner) save(ctx context.Context, state *agent.State) error {
	data, err := json.Marshal(state)
	if err != nil {
		return err
	}
	return r.store.SaveRun(ctx, r.run.ID, r.owner, string(state.Status), data)
}

// makeSandbox makes the sandbox of the run.
func (r *runner) makeSandbox(ctx context.Context) (backend.Sandbox, error) {
	sb, err := r.app.create(ctx, r.plugin, &backend.CreateRequest{ID: backend.NewID(), Spec: r.settings.Spec})
	// A Create that failed leaves nothing, unless nobody was left to see to that.
	if err == nil || errors.As(err, new(*backend.CrashError)) {
		r.mu.Lock()
		r.used = true
		r.mu.Unlock()
	}
	if err != nil {
		return nil, r.backend.ExplainSandbox(err, r.overridden...)
	}
	if degraded := sb.Info().Degraded; len(degraded) > 0 {
		r.app.console.say("degraded: %s", escapeLine(strings.Join(degraded, "; ")))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sandbox = sb
	return sb, nil
}

// sayWhatIsKept tells where a workspace is that --keep left, and how to be rid of
// it.
func (r *runner) sayWhatIsKept(status agent.Status) {
	r.mu.Lock()
	sb := r.sandbox
	r.mu.Unlock()
	if sb == nil || !r.settings.Keep || r.run.Workspace == "" || status == agent.StatusWaiting {
		return
	}
	r.app.console.say("the workspace is kept: %s", escapeLine(cmp.Or(sb.Info().WorkspaceSource, r.run.Workspace)))
	_, _ = fmt.Fprintf(r.app.console, "      deep run remove %s removes it\n", r.run.ID)
}

// clean removes the sandbox, and the workspace unless it stays.
func (r *runner) clean(ctx context.Context, status agent.Status) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTime)
	defer cancel()
	r.mu.Lock()
	sb, used := r.sandbox, r.used
	r.mu.Unlock()
	var err error
	if sb != nil {
		err = sb.Close()
	}
	if err == nil && used && !r.kept(status) {
		err = r.plugin.RemoveWorkspace(ctx, &backend.RemoveWorkspaceRequest{Name: r.run.Workspace})
	}
	if err != nil {
		return fmt.Errorf("something may be left behind: %w", err)
	}
	return nil
}
