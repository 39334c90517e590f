package cli

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/backend/backendtest"
	"github.com/deep-sandbox/deep/core/config"
	"github.com/deep-sandbox/deep/core/host"
	"github.com/deep-sandbox/deep/core/internal/handshake"
)

// firstTime bounds the first sandbox, the pull of its image included: a backend
// that makes none cannot be verified.
const firstTime = 10 * time.Minute

// verifyOptions are the flags of `deep plugin verify`.
type verifyOptions struct {
	rules             []string
	image, bare, trap string
	timeout           string
	noShell, json     bool
	list              bool
}

func newPluginVerifyCommand(a *app) *cobra.Command {
	var o verifyOptions
	c := &cobra.Command{
		Use: "verify NAME|PATH | --list", Short: "Hold a plugin to the rules that every backend keeps",
		Long: `Tries every rule of the contract on a backend: one of that NAME, or the program at
a PATH, which is called deep-backend-NAME. Its options, image, pull policy and
accepted degradations are those of backend NAME in the configuration, if it has any.

Sandboxes are made and destroyed meanwhile, and nothing else of this host is
changed. A rule that is broken is printed with the sentence of the contract it
stands for and what was seen. A rule is skipped only for want of a capability that
the backend does not declare, of a shell, or of an image made for it. A plugin that hangs or crashes breaks
the rule, and the next one is tried. The exit code is 1 if a rule is broken.`,
		Example: `  deep plugin verify docker
  deep plugin verify ./deep-backend-mine --rule 'exec-*' --rule 'kill-*'
  deep plugin verify podman --image alpine --json > findings.json
  deep plugin verify --list`,
		Args: func(cmd *cobra.Command, given []string) error {
			if o.list {
				return args(0, 0, "")(cmd, given)
			}
			return args(1, 1, "the NAME of a backend or the PATH of a plugin")(cmd, given)
		},
		ValidArgsFunction: func(cmd *cobra.Command, given []string, word string) ([]string, cobra.ShellCompDirective) {
			names, _ := a.completeBackends(cmd, given, word)
			return names, cobra.ShellCompDirectiveDefault
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			rules, err := o.selected()
			switch {
			case err != nil:
				return o.told(a, err)
			case o.list:
				return listRules(a.Out, rules, o.json)
			}
			return a.pluginVerify(cmd.Context(), args[0], rules, &o)
		},
	}
	c.Flags().StringArrayVar(&o.rules, "rule", nil, "try the rules whose names match this `GLOB`; may be repeated")
	c.Flags().StringVar(&o.image, "image", "", "make the sandboxes from this `IMAGE`")
	c.Flags().StringVar(&o.bare, "bare-image", "", "try the rules on an image without a shell with this `IMAGE`, as docs/conformance.md has it")
	c.Flags().StringVar(&o.trap, "trap-image", "", "try the rules on the settings of an image with this `IMAGE`, as docs/conformance.md has it")
	c.Flags().StringVar(&o.timeout, "timeout", "", "a rule that takes longer than this `DURATION` is broken, 2m if not given")
	c.Flags().BoolVar(&o.noShell, "no-shell", false, "the image has no /bin/sh: leave out the rules that need one")
	c.Flags().BoolVar(&o.list, "list", false, "print the rules, each with the sentence of the contract it stands for, and try none")
	jsonFlag(c, &o.json, "print what came of each rule as a JSON array")
	_ = c.RegisterFlagCompletionFunc("rule", completeRules)
	return c
}

// completeRules completes the name of a rule.
func completeRules(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	var names []string
	for _, r := range backendtest.Rules() {
		names = append(names, r.Name)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// selected returns the rules that the flags ask for.
func (o *verifyOptions) selected() ([]backendtest.Rule, error) {
	rules, err := backendtest.Select(o.rules)
	if e := (*backend.Error)(nil); errors.As(err, &e) {
		return nil, &usageError{"--rule " + backend.Printable(e.Path) + ": " + e.Message, e.Hint + "; `deep plugin verify --list` prints them"}
	}
	return rules, err
}

// told returns err, which kept the rules from being tried, and says it in JSON if
// that was asked for.
func (o *verifyOptions) told(a *app, err error) error {
	if o.json {
		return errors.Join(err, printJSON(a.Out, map[string]*failure{"error": newFailure(err)}))
	}
	return err
}

func (a *app) pluginVerify(ctx context.Context, target string, rules []backendtest.Rule, o *verifyOptions) error {
	opts := backendtest.Opts{Shell: !o.noShell, Only: o.rules, Bare: o.bare, Trap: o.trap}
	if o.timeout != "" {
		var err error
		if opts.Timeout, err = config.ParseDuration(o.timeout); err != nil {
			return o.told(a, &usageError{"--timeout " + err.Error(), "write it as in --timeout 90s"})
		}
	}
	b, launch, err := a.verified(target)
	if err != nil {
		return o.told(a, err)
	}
	launch.Logger = slog.New(newLogHandler(a.console, a.verbose))
	p, err := host.Launch(ctx, launch)
	if err != nil {
		return o.told(a, b.ExplainOptions(err))
	}
	defer a.leave(ctx, p)

	spec := backend.Spec{Image: b.Sandbox.Image, Pull: b.Sandbox.Pull, AcceptDegraded: b.Sandbox.AcceptDegraded}
	if err := o.refuseImages(ctx, p); err != nil {
		return o.told(a, err)
	}
	if o.image != "" {
		spec.Image = o.image
	}
	if err := a.firstSandbox(ctx, b, p, spec, o); err != nil {
		return o.told(a, err)
	}
	v := newVerification(a, rules, o.json)
	opts.Spec = spec
	opts.Another = func(ctx context.Context) (backend.Backend, error) {
		another, err := host.Launch(ctx, launch)
		if err != nil {
			return nil, err
		}
		return another, nil
	}
	err = backendtest.Check(ctx, p, opts, v.report)
	if ended := v.end(); err == nil {
		return ended
	}
	return err
}

// refuseImages refuses the flags that name an image where there are none.
func (o *verifyOptions) refuseImages(ctx context.Context, p backend.Backend) error {
	var flag string
	switch {
	case o.image != "":
		flag = "--image"
	case o.bare != "":
		flag = "--bare-image"
	case o.trap != "":
		flag = "--trap-image"
	default:
		return nil
	}
	desc, err := p.Describe(ctx)
	if err != nil {
		return err
	}
	if !slices.Contains(desc.Capabilities, backend.CapImages) {
		return &usageError{flag + ": the backend " + desc.Name + " has no images", "leave it out"}
	}
	return nil
}

// verified finds what to verify: a backend, and how to start its plugin.
func (a *app) verified(target string) (*config.Backend, host.Options, error) {
	c, err := a.config()
	if err != nil {
		return nil, host.Options{}, err
	}
	if !strings.ContainsRune(target, filepath.Separator) {
		b, err := c.Backend(target)
		if err != nil {
			return nil, host.Options{}, err
		}
		return b, b.Launch(), nil
	}
	name, ok := strings.CutPrefix(filepath.Base(target), handshake.BinaryPrefix)
	if !ok || name == "" {
		switch at, err := os.Stat(target); {
		case errors.Is(err, fs.ErrNotExist):
			return nil, host.Options{}, &usageError{escapeLine(target) + " does not exist",
				"name a backend, or the path of a plugin's program, which is called " + handshake.BinaryPrefix + "NAME"}
		case err == nil && at.IsDir():
			return nil, host.Options{}, &usageError{escapeLine(target) + " is a directory",
				"name the program in it, which is called " + handshake.BinaryPrefix + "NAME"}
		}
		return nil, host.Options{}, &usageError{escapeLine(target) + " is not called " + handshake.BinaryPrefix + "NAME",
			"a plugin's program carries the name of its backend: rename it, or link to it"}
	}
	b, err := c.Backend(name)
	if errors.Is(err, backend.ErrNotFound) {
		return &config.Backend{Name: name}, host.Options{Name: name, Path: target}, nil
	}
	if err != nil {
		return nil, host.Options{}, err
	}
	o := b.Launch()
	o.Path, o.SHA256 = target, "" // the sum is that of the installed one
	return b, o, nil
}

// firstSandbox makes one sandbox and removes it: the image is pulled before the
// rules, with what there is to see of it, and where none can be made the reason is
// told once.
func (a *app) firstSandbox(ctx context.Context, b *config.Backend, p backend.Backend, spec backend.Spec, o *verifyOptions) error {
	ctx, cancel := context.WithTimeout(ctx, firstTime)
	defer cancel()
	spec.Ephemeral = true
	sb, err := a.create(ctx, p, &backend.CreateRequest{ID: backend.NewID(), Spec: spec})
	if err != nil {
		if o.image != "" {
			return b.ExplainSandbox(err, "image")
		}
		return b.ExplainSandbox(err)
	}
	return sb.Close()
}
