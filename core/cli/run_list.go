package cli

import (
	"context"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/deep-sandbox/deep/core/agent"
	"github.com/deep-sandbox/deep/core/internal/store"
)

// runEntry is one run in a list.
type runEntry struct {
	ID      string    `json:"id"`
	Status  string    `json:"status"`
	Created time.Time `json:"created"`
	Updated time.Time `json:"updated"`
	Backend string    `json:"backend"`
	Model   string    `json:"model"`
	Task    string    `json:"task"`
}

func newRunListCommand(a *app) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "list", Short: "List the runs that are kept, newest first", Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.runList(cmd.Context(), asJSON) },
	}
	jsonFlag(c, &asJSON, "print them as a JSON array")
	return c
}

func (a *app) runList(ctx context.Context, asJSON bool) error {
	s, _, err := openStore(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	runs, err := s.Runs(ctx)
	if err != nil {
		return err
	}
	entries := make([]runEntry, 0, len(runs))
	for _, run := range runs {
		entries = append(entries, newRunEntry(run))
	}
	if asJSON {
		return printJSON(a.Out, entries)
	}
	if len(entries) == 0 {
		a.console.say("no run is kept")
		return nil
	}
	t := table{{"ID", "STATUS", "BEGUN", "BACKEND", "TASK"}}
	for _, e := range entries {
		t = append(t, []string{e.ID, e.Status, e.Created.Local().Format("2006-01-02 15:04"), e.Backend, clip(firstLine(e.Task), 60)})
	}
	if err := t.print(a.Out); err != nil {
		return err
	}
	if slices.ContainsFunc(entries, func(e runEntry) bool { return e.Status == statusKilled }) {
		a.console.say("a killed run keeps its workspace: deep run resume ID goes on with it, deep run remove ID removes it")
	}
	return nil
}

// statusKilled is what is shown of a run whose process is no more.
const statusKilled = "killed"

func newRunEntry(run *store.Run) runEntry {
	e := runEntry{ID: run.ID, Status: run.Status, Created: run.Created, Updated: run.Updated, Backend: run.Backend, Model: run.Model, Task: run.Task}
	if run.Status == string(agent.StatusRunning) && (run.Owner == "" || ownerDied(run.Owner)) {
		e.Status = statusKilled
	}
	return e
}
