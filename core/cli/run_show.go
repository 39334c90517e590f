package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/deep-sandbox/deep/core/agent"
)

// runDetails is what `deep run show --json` prints.
type runDetails struct {
	runEntry
	Workspace string       `json:"workspace,omitempty"`
	Pending   []agent.Call `json:"pending"`
	State     *agent.State `json:"state"`
}

func newRunShowCommand(a *app) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "show ID", Short: "Show a run's transcript, and what it waits for", Args: args(1, 1, "the ID of a run"), ValidArgsFunction: completeRuns,
		RunE: func(cmd *cobra.Command, args []string) error { return a.runShow(cmd.Context(), args[0], asJSON) },
	}
	jsonFlag(c, &asJSON, "print it as a JSON object")
	return c
}

func (a *app) runShow(ctx context.Context, id string, asJSON bool) error {
	run, err := runOf(ctx, id)
	if err != nil {
		return err
	}
	state := &agent.State{}
	if len(run.State) > 0 {
		if err := json.Unmarshal(run.State, state); err != nil {
			return damaged(run.ID, err)
		}
	}
	d := runDetails{runEntry: newRunEntry(run), Workspace: run.Workspace, Pending: append([]agent.Call{}, state.Pending()...), State: state}
	if asJSON {
		return printJSON(a.Out, d)
	}
	_, err = fmt.Fprint(a.Out, d.text(palette(colourful(a.Out))))
	return err
}

func (d *runDetails) text(paint palette) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s, begun %s on %s with %s\n", paint.bold(d.ID), d.Status, d.Created.Local().Format("2006-01-02 15:04:05"), escapeLine(d.Backend), escapeLine(d.Model))
	if d.State.Reason != "" {
		fmt.Fprintf(&b, "%s\n", escape(d.State.Reason))
	}
	for _, m := range d.State.Messages {
		if m.Role == agent.RoleSystem {
			continue
		}
		title := string(m.Role)
		if m.ToolCallID != "" {
			title += " " + m.ToolCallID
		}
		fmt.Fprintf(&b, "\n%s\n", paint.dim("-- "+escapeLine(title)))
		if m.Content != "" {
			fmt.Fprintf(&b, "%s\n", strings.TrimRight(escape(m.Content), "\n"))
		}
		for _, c := range m.ToolCalls {
			fmt.Fprintf(&b, "%s %s\n", paint.dim("["+escapeLine(c.ID)+"]"), escape(describeCall(agent.Call{ID: c.ID, Tool: c.Name, Arguments: c.Arguments})))
		}
	}
	if len(d.Pending) > 0 {
		fmt.Fprintf(&b, "\nIt waits for your word on:\n")
		for _, call := range d.Pending {
			fmt.Fprintf(&b, "%s\n   deep run resume %s --approve %s\n", indent(escape(describeCall(call)), "      "), d.ID, shellQuote(call.ID))
		}
	}
	return b.String()
}
