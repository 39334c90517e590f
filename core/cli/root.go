package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/deep-sandbox/deep/core/config"
)

// Main runs the command line and returns the exit code. When ctx ends, the command
// ends cleanly, its sandboxes removed; the context's cause may be Interrupted.
func Main(ctx context.Context, args []string, streams Streams) int {
	a := &app{Streams: streams, console: newConsole(streams.Err)}
	root := newRootCommand(a)
	root.SetArgs(args)
	ended := make(chan struct{})
	go a.reassure(ctx, ended)
	cmd, err := root.ExecuteContextC(ctx)
	close(ended)
	otherwise := exitFailed
	if cmd.Annotations[failsWith125] != "" {
		otherwise = exitExec
	}
	if err != nil && !silent(ctx, err) {
		explain(a.console, err)
	}
	return exitCode(ctx, err, otherwise)
}

// patience is how long an interrupted command says nothing: most end sooner.
const patience = 500 * time.Millisecond

// reassure tells that an interrupted command is on its way out: who hears nothing
// presses Ctrl-C again, and leaves the cleaning up to others.
func (a *app) reassure(ctx context.Context, ended <-chan struct{}) {
	select {
	case <-ctx.Done():
	case <-ended:
		return
	}
	select {
	case <-time.After(patience):
		a.console.say("interrupted; removing what was made (once more leaves that to the plugin)")
	case <-ended:
	}
}

// failsWith125 annotates commands whose exit code is that of something else.
const failsWith125 = "fails-with-125"

func newRootCommand(a *app) *cobra.Command {
	root := group("deep", "Run an agent whose tools act inside a sandbox",
		newRunCommand(a),
		newExecCommand(a),
		newPluginCommand(a),
		newConfigCommand(a),
		newDoctorCommand(a),
		newVersionCommand(a),
	)
	root.SilenceErrors, root.SilenceUsage = true, true
	root.SetIn(a.In)
	root.SetOut(a.Out)
	root.SetErr(a.Err)
	root.PersistentFlags().StringVar(&a.configPath, "config", "", "read this configuration `FILE` and no other")
	root.PersistentFlags().BoolVarP(&a.verbose, "verbose", "v", false, "show what plugins log")
	root.SetFlagErrorFunc(flagError)
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error { return checkFlags(cmd) }
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		if c.Name() == "completion" {
			regroup(c)
		}
	}
	return root
}

// group is a command that only holds others.
func group(use, short string, commands ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short}
	c.AddCommand(commands...)
	regroup(c)
	return c
}

// regroup makes a command that holds others answer a name it does not know.
func regroup(c *cobra.Command) {
	c.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		return &usageError{fmt.Sprintf("%s has no command %s", cmd.CommandPath(), escapeLine(args[0])), config.Suggest(args[0], verbs(cmd))}
	}
	c.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
}

// verbs returns the names of the commands that a command holds.
func verbs(cmd *cobra.Command) []string {
	var names []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	return names
}

// checkFlags refuses a flag that was given and says nothing: an empty variable of a
// script's must not become the default.
func checkFlags(cmd *cobra.Command) (err error) {
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if err != nil {
			return
		}
		switch value := f.Value.String(); {
		case f.Value.Type() == "string" && strings.TrimSpace(value) == "":
			err = &usageError{"--" + f.Name + " is empty", "give it a value, or leave it out"}
		case strings.HasPrefix(f.Value.Type(), "int") && (value == "0" || strings.HasPrefix(value, "-")):
			err = &usageError{"--" + f.Name + " is " + value, "give a number above 0, or leave it out"}
		}
	})
	return err
}

// flagError names the flag that may have been meant.
func flagError(cmd *cobra.Command, err error) error {
	e := &usageError{what: err.Error(), hint: cmd.CommandPath() + " --help lists the flags"}
	var unknown *pflag.NotExistError
	if errors.As(err, &unknown) && len(unknown.GetSpecifiedName()) > 1 {
		var names []string
		add := func(f *pflag.Flag) { names = append(names, "--"+f.Name) }
		cmd.Flags().VisitAll(add)
		cmd.InheritedFlags().VisitAll(add)
		if hint := config.Suggest("--"+unknown.GetSpecifiedName(), names); strings.HasPrefix(hint, "did you mean") {
			e.hint = hint
		}
	}
	return e
}

// args makes cobra's complaints about the number of arguments ours: what is
// missing, by its name.
func args(min, max int, names string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, given []string) error {
		switch {
		case len(given) < min:
			return &usageError{fmt.Sprintf("%s wants %s", cmd.CommandPath(), names), cmd.CommandPath() + " --help tells more"}
		case len(given) > max:
			return &usageError{fmt.Sprintf("%s does not take %s", cmd.CommandPath(), escapeLine(strings.Join(given[max:], " "))), cmd.CommandPath() + " --help tells more"}
		}
		return nil
	}
}

// jsonFlag adds the flag that asks for output for programs.
func jsonFlag(c *cobra.Command, v *bool, what string) {
	c.Flags().BoolVar(v, "json", false, what)
}

// completeBackends completes the name of a backend.
func (a *app) completeBackends(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	quiet := *a
	quiet.console = newConsole(io.Discard)
	c, err := quiet.config()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return slices.Clone(c.Backends()), cobra.ShellCompDirectiveNoFileComp
}
