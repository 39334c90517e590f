package cli

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/config"
)

// execOptions are the flags of `deep exec`.
type execOptions struct {
	sandboxFlags
	shell, timeout, dir string
	env                 []string
	stdin, tty, json    bool
}

func newExecCommand(a *app) *cobra.Command {
	var o execOptions
	c := &cobra.Command{
		Use:   "exec [flags] -- ARGV…",
		Short: "Run one command in a sandbox of its own",
		Long: `Runs one command in a fresh sandbox, which is gone at the end.

Standard output and error are the command's, byte by byte. So is the exit code,
128+N after signal N, 127 where there is no such program and 126 where it cannot
be executed; 124 says that it timed out, 125 that deep failed.

With --tty the command has a terminal of the size of yours, and with --stdin too
each key you type, Ctrl-C among them. Your TERM is set inside, unless --env says
otherwise.`,
		Example: `  deep exec -- python3 -c 'print(6*7)'
  deep exec --backend docker --image alpine -- uname -a
  deep exec --shell 'id; ls -la' --timeout 10s
  tar c src | deep exec -i -- sha256sum
  deep exec -it -- sh`,
		Annotations: map[string]string{failsWith125: "true"},
		RunE: func(cmd *cobra.Command, argv []string) error {
			return a.exec(cmd.Context(), &o, argv)
		},
	}
	// What follows the program is the program's, also if it begins with a dash.
	c.Flags().SetInterspersed(false)
	o.sandboxFlags.add(a, c)
	c.Flags().StringVar(&o.shell, "shell", "", "run `CMD` with /bin/sh in place of ARGV")
	c.Flags().StringVar(&o.timeout, "timeout", "", "end the command after this `DURATION`, as in 90s; none for no limit")
	c.Flags().StringArrayVarP(&o.env, "env", "e", nil, "add `K=V` to the environment, or your own K; may be repeated")
	c.Flags().StringVar(&o.dir, "dir", "", "run in this `DIR` inside, the workspace if not given")
	c.Flags().BoolVarP(&o.stdin, "stdin", "i", false, "pass standard input on")
	c.Flags().BoolVarP(&o.tty, "tty", "t", false, "give it a terminal, yours; with -i for typing")
	jsonFlag(c, &o.json, "print the result as one JSON object, the output in it")
	return c
}

// request makes what the contract takes of the flags.
func (o *execOptions) request(argv []string) (*backend.ExecRequest, error) {
	req := &backend.ExecRequest{ID: backend.NewID(), Argv: argv, Shell: o.shell, Dir: o.dir}
	switch {
	case o.shell != "" && len(argv) > 0:
		return nil, &usageError{"there are both --shell and a program", "use one of them"}
	case o.shell == "" && len(argv) == 0:
		return nil, &usageError{"there is nothing to run", "name a program, as in deep exec -- ls -la, or use --shell"}
	}
	switch o.timeout {
	case "":
	case "none":
		req.Timeout = backend.Unlimited
	default:
		t, err := config.ParseDuration(o.timeout)
		if err != nil {
			return nil, &usageError{"--timeout " + err.Error(), "write it as in --timeout 90s, or none"}
		}
		req.Timeout = t
	}
	var err error
	req.Env, err = environment(o.env)
	return req, err
}

// exec runs one command and returns its exit code as an error.
func (a *app) exec(ctx context.Context, o *execOptions, argv []string) error {
	exec := backend.Sandbox.Exec
	if o.tty {
		t, err := a.terminalFor(o)
		if err != nil {
			return err
		}
		exec = func(sb backend.Sandbox, ctx context.Context, req *backend.ExecRequest) (*backend.ExecResult, error) {
			return t.exec(ctx, sb, req)
		}
	}
	if o.json {
		return a.execJSON(ctx, o, argv)
	}
	return a.inSandbox(ctx, o, argv, func(sb backend.Sandbox, req *backend.ExecRequest) error {
		if degraded := sb.Info().Degraded; len(degraded) > 0 {
			a.console.say("degraded: %s", escapeLine(strings.Join(degraded, "; ")))
		}
		req.Stdout, req.Stderr = a.Out, a.Err
		res, err := exec(sb, ctx, req)
		if err != nil {
			return err
		}
		return a.execEnded(ctx, sb, res, req.Timeout)
	})
}

// inSandbox makes the sandbox, calls run and removes the sandbox again.
func (a *app) inSandbox(ctx context.Context, o *execOptions, argv []string, run func(backend.Sandbox, *backend.ExecRequest) error) error {
	req, err := o.request(argv)
	if err != nil {
		return err
	}
	c, err := a.config()
	if err != nil {
		return err
	}
	b, err := c.Backend(o.backend)
	if err != nil {
		return err
	}
	p, err := a.launch(ctx, b)
	if err != nil {
		return err
	}
	defer a.leave(ctx, p)

	desc, err := p.Describe(ctx)
	if err != nil {
		return err
	}
	spec, overridden, err := o.spec(b, desc.Capabilities)
	if err != nil {
		return err
	}
	spec.Ephemeral = true
	sb, err := a.create(ctx, p, &backend.CreateRequest{ID: backend.NewID(), Spec: spec})
	if err != nil {
		return b.ExplainSandbox(err, overridden...)
	}
	if o.stdin {
		req.Stdin = a.In
	}
	req.Timeout = cmp.Or(req.Timeout, spec.Timeout, backend.DefaultTimeout)
	return run(sb, req)
}

// execEnded turns the end of a command into deep's own, and says what the command
// could not say itself. timeout is the one it ran under.
func (a *app) execEnded(ctx context.Context, sb backend.Sandbox, res *backend.ExecResult, timeout time.Duration) error {
	switch res.Outcome {
	case backend.OutcomeExit, backend.OutcomeSignal:
		if res.OOMPossible {
			a.console.say("killed by signal %d; it may have run out of memory%s", res.Signal, memoryLimit(ctx, sb))
		}
	case backend.OutcomeOOM:
		a.console.say("ran out of memory%s", memoryLimit(ctx, sb))
	case backend.OutcomeStartFailed:
		a.console.say("%s", escapeLine(res.StartError))
	case backend.OutcomeTimeout:
		a.console.say("timed out after %s, ended after %s with everything it had started", timeout, round(res.Duration))
	case backend.OutcomeLost:
		return &backend.Error{Kind: backend.ErrGone, Message: "the sandbox ended while the command ran"}
	default:
		return &backend.Error{Kind: backend.ErrUnavailable, Message: "nobody can tell how the command ended: " + escapeLine(string(res.Outcome))}
	}
	if code := execCode(res); code != 0 {
		return &exitError{code: code}
	}
	return nil
}

// memoryLimit is " (limit 1024 MiB)", "" where it is not known: that the memory
// did not suffice is true all the same.
func memoryLimit(ctx context.Context, sb backend.Sandbox) string {
	stats, err := sb.Stats(ctx, &backend.StatsRequest{})
	if err != nil || stats.MemoryLimit <= 0 {
		return ""
	}
	return fmt.Sprintf(" (limit %d MiB)", stats.MemoryLimit>>20)
}

// execCode is the exit code for a result. Code 124 of a timeout is ours: the
// typed outcome is the truth.
func execCode(res *backend.ExecResult) int {
	switch res.Outcome {
	case backend.OutcomeExit, backend.OutcomeSignal, backend.OutcomeStartFailed, backend.OutcomeOOM:
		return res.ExitCode
	case backend.OutcomeTimeout:
		return exitTimeout
	}
	return exitExec
}

// round shortens a duration to what people read.
func round(d time.Duration) time.Duration {
	if d < time.Second {
		return d.Round(time.Millisecond)
	}
	return d.Round(10 * time.Millisecond)
}
