package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/deep-sandbox/deep/core/agent"
	"github.com/deep-sandbox/deep/core/backend"
)

// resumeOptions are the flags of `deep run resume`.
type resumeOptions struct {
	limitFlags
	outputFlags
	decisions []agent.Decision
}

func newRunResumeCommand(a *app) *cobra.Command {
	var o resumeOptions
	c := &cobra.Command{
		Use:   "resume ID [--approve CALL | --deny CALL --reason WHY]…",
		Short: "Go on with a run that waits",
		Long: `Goes on with a run that waits for your word on calls, from any process, any number
of times. What you do not decide here is asked on your terminal; without one the
run waits on. A run that was killed, failed or reached a limit can be gone on with
too, as long as its workspace is there.`,
		Example: `  deep run resume 3fk2… --approve call_3_1
  deep run resume 3fk2… --approve call_3_1 --deny call_3_2 --reason 'not in that directory'`,
		Args:              args(1, 1, "the ID of a run"),
		ValidArgsFunction: completeRuns,
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.report(cmd.Context(), a, a.runResume(cmd.Context(), &o, args[0]))
		},
	}
	o.limitFlags.add(c)
	o.outputFlags.add(c)
	c.Flags().Var(decisionFlag{&o.decisions, "approve"}, "approve", "let this `CALL` run; may be repeated")
	c.Flags().Var(decisionFlag{&o.decisions, "deny"}, "deny", "refuse this `CALL`; may be repeated")
	c.Flags().Var(decisionFlag{&o.decisions, "reason"}, "reason", "tell the model `WHY` the call named just before was refused")
	return c
}

// decisionFlag collects decisions in the order of the command line: a reason
// belongs to the denial before it.
type decisionFlag struct {
	to   *[]agent.Decision
	what string
}

func (f decisionFlag) String() string { return "" }
func (f decisionFlag) Type() string   { return "CALL" }

func (f decisionFlag) Set(s string) error {
	if f.what != "reason" {
		*f.to = append(*f.to, agent.Decision{CallID: s, Approve: f.what == "approve"})
		return nil
	}
	if n := len(*f.to); n > 0 && !(*f.to)[n-1].Approve && (*f.to)[n-1].Reason == "" {
		(*f.to)[n-1].Reason = s
		return nil
	}
	return &usageError{what: "a reason belongs to a --deny before it"}
}

// runResume goes on with a run.
func (a *app) runResume(ctx context.Context, o *resumeOptions, id string) error {
	if err := o.check(); err != nil {
		return err
	}
	c, err := a.config()
	if err != nil {
		return err
	}
	begun, err := runOf(ctx, id)
	if err != nil {
		return err
	}
	id = begun.ID
	r, err := a.openRunner(ctx, c, begun.Backend)
	if err != nil {
		return err
	}
	defer r.close(ctx)
	state, err := r.claim(ctx, id)
	if err != nil {
		return err
	}
	if !r.kept(state.Status) && state.Status != agent.StatusCompleted {
		return &backend.Error{Kind: backend.ErrGone, Op: "resume", Path: id, Message: "the run ended (" + state.Reason + ") and its workspace was removed",
			Hint: "begin it anew with --keep or --workspace to be able to go on"}
	}
	if err := state.Decide(o.decisions); err != nil {
		return err
	}
	return r.play(ctx, &o.outputFlags, o.limits(c.Agent), func(ctx context.Context, g *agent.Agent) (*agent.Result, error) {
		return g.Resume(ctx, state)
	})
}
