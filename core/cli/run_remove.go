package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/config"
	"github.com/deep-sandbox/deep/core/internal/store"
)

func newRunRemoveCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "remove ID…", Short: "Remove runs that are kept, with their private workspaces",
		Args: args(1, 1000, "the ID of a run"), ValidArgsFunction: completeRuns,
		RunE: func(cmd *cobra.Command, ids []string) error { return a.runRemove(cmd.Context(), ids) },
	}
}

func (a *app) runRemove(ctx context.Context, ids []string) error {
	c, err := a.config()
	if err != nil {
		return err
	}
	s, owner, err := openStore(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	failed := false
	for _, id := range ids {
		run, err := findRun(ctx, s, id)
		if err == nil {
			err = a.removeOne(ctx, c, s, owner, run.ID)
		}
		if err != nil {
			explain(a.console, err)
			failed = true
			continue
		}
		if _, err := fmt.Fprintln(a.Out, run.ID); err != nil {
			return err
		}
	}
	if failed {
		return &exitError{code: exitFailed}
	}
	return nil
}

// removeOne removes a run: first its workspace, so that what fails half way can be
// tried again.
func (a *app) removeOne(ctx context.Context, c *config.Config, s *store.Store, owner, id string) error {
	run, err := s.Claim(ctx, id, owner, ownerDied)
	if err != nil {
		return err
	}
	if run.Workspace != "" {
		err = a.removeWorkspace(ctx, c, run)
	}
	if err != nil {
		return errors.Join(err, s.Release(context.WithoutCancel(ctx), id, owner))
	}
	return s.DeleteRun(ctx, id, owner)
}

func (a *app) removeWorkspace(ctx context.Context, c *config.Config, run *store.Run) error {
	b, err := c.Backend(run.Backend)
	if err != nil {
		return err
	}
	p, err := a.launch(ctx, b)
	if err != nil {
		return err
	}
	defer a.leave(ctx, p)
	return p.RemoveWorkspace(ctx, &backend.RemoveWorkspaceRequest{Name: run.Workspace})
}
