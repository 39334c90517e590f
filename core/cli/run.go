package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/deep-sandbox/deep/core/agent"
	"github.com/deep-sandbox/deep/core/config"
	"github.com/deep-sandbox/deep/core/tools"
)

// runOptions are the flags of `deep run`.
type runOptions struct {
	sandboxFlags
	limitFlags
	outputFlags
	model, baseURL string
	keep           bool
	approve        []string
}

// limitFlags bound a run; zero means what is configured, and cannot be given.
type limitFlags struct {
	turns, toolCalls int
	tokens           int64
}

func (f *limitFlags) add(c *cobra.Command) {
	c.Flags().IntVar(&f.turns, "max-turns", 0, "end the run after `N` answers of the model")
	c.Flags().IntVar(&f.toolCalls, "max-tool-calls", 0, "end the run after `N` calls of tools")
	c.Flags().Int64Var(&f.tokens, "max-tokens", 0, "end the run once it has used `N` tokens, in and out")
}

// limits returns the configured ones with what the flags say over them.
func (f *limitFlags) limits(c config.Agent) agent.Limits {
	l := agent.Limits{Turns: c.MaxTurns, ToolCalls: c.MaxToolCalls, Tokens: c.MaxTokens, Repeats: c.MaxRepeats}
	l.Turns, l.ToolCalls, l.Tokens = cmp.Or(f.turns, l.Turns), cmp.Or(f.toolCalls, l.ToolCalls), cmp.Or(f.tokens, l.Tokens)
	return l
}

// outputFlags say what is printed of a run.
type outputFlags struct{ json, quiet bool }

func (f *outputFlags) add(c *cobra.Command) {
	jsonFlag(c, &f.json, "print what happens as JSON, one event a line")
	c.Flags().BoolVarP(&f.quiet, "quiet", "q", false, "print the model's last word and nothing else")
}

func (f *outputFlags) check() error {
	if f.json && f.quiet {
		return &usageError{"there are both --json and --quiet", "use one of them"}
	}
	return nil
}

func newRunCommand(a *app) *cobra.Command {
	var o runOptions
	c := &cobra.Command{
		Use:   "run [flags] TASK",
		Short: "Have a model do a task with tools that act in a sandbox",
		Long: `Runs a task: the model plans, writes files, runs commands, all inside a sandbox that
is gone at the end, and says what came out.

The tools execute and execute_background ask before they run a command, on your
terminal. Without one the run ends waiting, with exit code 3, and says how to go
on: transcript and workspace are kept until then. Other exit codes: 1 it failed or
reached a limit, 130 Ctrl-C.`,
		Example: `  deep run 'Write a Fibonacci program and run it'
  deep run --backend docker --workspace . 'Make the tests pass'
  deep run --approve execute --json 'Count the lines of code' | jq .type
  deep run --model replay:recording.json 'Print the first 10 Fibonacci numbers'`,
		Args: oneTask,
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.report(cmd.Context(), a, a.run(cmd.Context(), &o, args[0]))
		},
	}
	o.sandboxFlags.add(a, c)
	o.limitFlags.add(c)
	o.outputFlags.add(c)
	c.Flags().StringVarP(&o.model, "model", "m", "", "ask this `MODEL`, or replay:FILE for a recorded one")
	c.Flags().StringVar(&o.baseURL, "base-url", "", "ask at this `URL`, in front of /chat/completions")
	c.Flags().BoolVar(&o.keep, "keep", false, "keep the run's private workspace at the end")
	c.Flags().StringSliceVar(&o.approve, "approve", nil, "do not ask about these `TOOLS`, as in execute,execute_background")
	_ = c.RegisterFlagCompletionFunc("approve", cobra.FixedCompletions(tools.Names(), cobra.ShellCompDirectiveNoFileComp))
	c.AddCommand(
		newRunResumeCommand(a),
		newRunListCommand(a),
		newRunShowCommand(a),
		newRunRemoveCommand(a),
	)
	return c
}

// oneTask wants exactly one argument, so that a task without quotes, or a
// misspelt command, is not taken for a task to pay for.
func oneTask(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return &usageError{"deep run wants a TASK", "as in deep run 'Write a Fibonacci program and run it'"}
	}
	if hint := config.Suggest(args[0], verbs(cmd)); cmd.ArgsLenAtDash() < 0 && strings.HasPrefix(hint, "did you mean") {
		return &usageError{"deep run has no command " + escapeLine(args[0]), hint + " A task of one word is given behind --, as in deep run -- " + escapeLine(args[0])}
	}
	if len(args) > 1 {
		return &usageError{"deep run takes one TASK", "put it in quotes"}
	}
	if strings.TrimSpace(args[0]) == "" {
		return &usageError{"the TASK is empty", "as in deep run 'Write a Fibonacci program and run it'"}
	}
	return nil
}

// report adds an error to the events, so that programs find it among them.
func (f *outputFlags) report(ctx context.Context, a *app, err error) error {
	if !f.json || err == nil || silent(ctx, err) {
		return err
	}
	line, jsonErr := json.Marshal(struct {
		Type  string   `json:"type"`
		Error *failure `json:"error"`
	}{"error", newFailure(err)})
	if jsonErr == nil {
		_, jsonErr = fmt.Fprintf(a.Out, "%s\n", line)
	}
	return errors.Join(err, jsonErr)
}

// run begins a run and sees it to its end.
func (a *app) run(ctx context.Context, o *runOptions, task string) error {
	for _, tool := range o.approve {
		if !slices.Contains(tools.Names(), tool) {
			return &usageError{"--approve: there is no tool " + escapeLine(tool), config.Suggest(tool, tools.Names())}
		}
	}
	if err := o.check(); err != nil {
		return err
	}
	c, err := a.config()
	if err != nil {
		return err
	}
	r, err := a.openRunner(ctx, c, o.backend)
	if err != nil {
		return err
	}
	defer r.close(ctx)
	if err := r.specify(ctx, o); err != nil {
		return err
	}
	return r.play(ctx, &o.outputFlags, o.limits(c.Agent), func(ctx context.Context, g *agent.Agent) (*agent.Result, error) {
		if err := r.record(ctx, task); err != nil {
			return nil, err
		}
		return g.Run(ctx, task)
	})
}

// keptError is how a run failed that can be looked at.
type keptError struct {
	error
	id string
}

func (e *keptError) Unwrap() error { return e.error }

// verdict returns the exit code and the last word of deep for how a run ended.
func (r *runner) verdict(res *agent.Result, err error) error {
	switch {
	case err != nil:
		return &keptError{err, r.run.ID}
	case res.Status == agent.StatusCompleted:
		return nil
	case res.Status == agent.StatusWaiting:
		r.sayHowToGoOn(res.Pending)
		return &exitError{code: exitWaiting}
	}
	hint := "the transcript is kept: deep run show " + r.run.ID
	if r.kept(res.Status) {
		hint = fmt.Sprintf("to go on, deep run resume %s, with a higher limit", r.run.ID)
	}
	return &exitError{code: exitFailed, err: &usageError{"the run ended: " + res.Reason, hint}}
}

// sayHowToGoOn prints the commands that decide on the calls a run waits for.
func (r *runner) sayHowToGoOn(pending []agent.Call) {
	resume := "deep run resume " + r.run.ID
	rest := ""
	if r.app.configPath != "" {
		rest = " --config " + shellQuote(r.app.configPath)
	}
	all := resume
	var b strings.Builder
	fmt.Fprintf(&b, "deep: the run waits for your word on %s:\n", count(len(pending), "call"))
	for _, call := range pending {
		fmt.Fprintf(&b, "\n  %s\n%s\n", escapeLine(call.ID), indent(escape(describeCall(call)), "    "))
		all += " --approve " + shellQuote(call.ID)
	}
	fmt.Fprintf(&b, "\nTo go on, approve or deny:\n  %s%s\n", all, rest)
	for _, call := range pending {
		fmt.Fprintf(&b, "  %s --deny %s --reason '…'%s\n", resume, shellQuote(call.ID), rest)
	}
	_, _ = fmt.Fprint(r.app.console, b.String())
}
