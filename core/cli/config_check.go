package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/deep-sandbox/deep/core/config"
)

// checkResult is what `deep config check --json` prints.
type checkResult struct {
	// File is empty where there is none: that is no mistake.
	File     string            `json:"file"`
	Backends []string          `json:"backends"`
	Mistakes []mistakeInConfig `json:"mistakes"`
	// Errors are what kept the rest from being checked.
	Errors []*failure `json:"errors"`
}

func newConfigCheckCommand(a *app) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "check", Short: "Check the configuration, the plugins' parts too", Args: args(0, 0, ""),
		Long: `Reads the configuration and reports every mistake with its place. Each plugin that
has a block is started to check its own part, and to tell what its sandboxes can
have; engines are not asked, deep doctor
does that. The exit code is 1 if there is a mistake.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.configCheck(cmd.Context(), asJSON) },
	}
	jsonFlag(c, &asJSON, "print the result as a JSON object")
	return c
}

func (a *app) configCheck(ctx context.Context, asJSON bool) error {
	result := checkResult{File: a.configPath, Backends: []string{}, Mistakes: []mistakeInConfig{}, Errors: []*failure{}}
	var errs []error
	c, err := a.config()
	if err != nil {
		errs = []error{err}
	} else {
		result.File, result.Backends = c.Path, checked(c)
		errs = a.checkBackends(ctx, c, result.Backends)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	for _, e := range errs {
		if !asJSON {
			explain(a.console, e)
			continue
		}
		var mistakes *config.Error
		if errors.As(e, &mistakes) {
			result.Mistakes = append(result.Mistakes, mistakesInJSON(mistakes)...)
		} else {
			result.Errors = append(result.Errors, newFailure(e))
		}
	}
	switch {
	case asJSON:
		err = printJSON(a.Out, result)
	case len(errs) > 0:
		err = nil
	case c.Path == "":
		_, err = fmt.Fprintf(a.Out, "There is no configuration: every key has its default (plugins checked: %s).\n", strings.Join(result.Backends, ", "))
	default:
		_, err = fmt.Fprintf(a.Out, "%s is right (plugins checked: %s).\n", escapeLine(c.Path), strings.Join(result.Backends, ", "))
	}
	if err == nil && len(errs) > 0 {
		return &exitError{code: exitFailed}
	}
	return err
}

// checked are the backends to check: those with a block, and the default one.
func checked(c *config.Config) []string {
	names := append(c.Configured(), c.DefaultBackend)
	slices.Sort(names)
	return slices.Compact(names)
}

// checkBackends starts the plugins with their options, and returns what is wrong:
// the mistakes in the file as one error, and others.
func (a *app) checkBackends(ctx context.Context, c *config.Config, names []string) []error {
	var errs []error
	for _, name := range names {
		b, err := c.Backend(name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		p, err := a.launch(ctx, b)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		desc, err := p.Describe(ctx)
		if err == nil {
			err = b.CheckSandbox(desc.Capabilities)
		}
		if err != nil {
			errs = append(errs, err)
		}
		a.leave(ctx, p)
	}
	return config.Merge(errs)
}
