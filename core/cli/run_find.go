package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/internal/store"
)

// runOf returns a run that is kept, by its id or the beginning of it.
func runOf(ctx context.Context, id string) (*store.Run, error) {
	s, _, err := openStore(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = s.Close() }()
	return findRun(ctx, s, id)
}

// findRun is runOf in a store that is open. A beginning that several have is
// ErrConflict.
func findRun(ctx context.Context, s *store.Store, id string) (*store.Run, error) {
	run, err := s.Run(ctx, id)
	if !errors.Is(err, backend.ErrNotFound) || id == "" {
		return run, err
	}
	all, listErr := s.Runs(ctx)
	if listErr != nil {
		return nil, listErr
	}
	var begins []string
	for _, r := range all {
		if strings.HasPrefix(r.ID, id) {
			begins = append(begins, r.ID)
		}
	}
	switch len(begins) {
	case 0:
		return nil, err
	case 1:
		return s.Run(ctx, begins[0])
	}
	return nil, &backend.Error{Kind: backend.ErrConflict, Op: "run", Path: id, Message: fmt.Sprintf("%d runs begin so", len(begins)),
		Hint: "write more of it: " + strings.Join(begins[:min(len(begins), 4)], ", ")}
}

// completeRuns completes the id of a run, with its task beside it.
func completeRuns(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	s, _, err := openStore(cmd.Context())
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	defer func() { _ = s.Close() }()
	runs, err := s.Runs(cmd.Context())
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var ids []cobra.Completion
	for _, r := range runs {
		ids = append(ids, cobra.CompletionWithDesc(r.ID, newRunEntry(r).Status+": "+clip(escapeLine(firstLine(r.Task)), 40)))
	}
	return ids, cobra.ShellCompDirectiveNoFileComp
}
