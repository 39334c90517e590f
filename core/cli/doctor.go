package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/config"
	"github.com/deep-sandbox/deep/core/host"
	"github.com/deep-sandbox/deep/core/internal/llm"
)

// checkTime bounds the look at one backend: an engine that hangs is a finding.
const checkTime = 30 * time.Second

// doctorReport is what `deep doctor --json` prints.
type doctorReport struct {
	Deep     versionInfo `json:"deep"`
	Kernel   string      `json:"kernel"`
	Config   string      `json:"config"`
	Backends []diagnosis `json:"backends"`
	Model    modelReport `json:"model"`
	// Usable reports that the default backend can make sandboxes.
	Usable bool     `json:"usable"`
	Error  *failure `json:"error,omitempty"`
}

// diagnosis is what was found of one backend.
type diagnosis struct {
	Name     string        `json:"name"`
	Default  bool          `json:"default"`
	Usable   bool          `json:"usable"`
	Version  string        `json:"version,omitempty"`
	Engine   string        `json:"engine,omitempty"`
	Endpoint string        `json:"endpoint,omitempty"`
	Layers   []layerReport `json:"layers"`
	Error    *failure      `json:"error,omitempty"`
}

type layerReport struct {
	Name   string `json:"name"`
	State  string `json:"state"`
	Detail string `json:"detail,omitempty"`
	Remedy string `json:"remedy,omitempty"`
}

type modelReport struct {
	Name    string `json:"name"`
	BaseURL string `json:"base_url"`
	// Key reports that there is one; never which.
	Key bool `json:"key"`
}

func newDoctorCommand(a *app) *cobra.Command {
	var (
		asJSON bool
		probe  sandboxFlags
	)
	c := &cobra.Command{
		Use: "doctor", Short: "Show which backends work here, and what isolates them", Args: args(0, 0, ""),
		Long: `Looks at every backend: its engine, its version, each layer of isolation, what is
missing and how to get it. Nothing is changed, no sandbox is made and no model is
asked. The exit code is 1 if the default backend cannot be used.

With --probe BACKEND it makes a sandbox there instead, shows what a command finds
in force inside, and removes it. The exit code is 1 if there can be no such sandbox,
a layer that was configured and is not in force included.`,
		Example: `  deep doctor
  deep doctor --probe docker --image alpine`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case cmd.Flags().Changed("probe"):
				return a.doctorProbe(cmd.Context(), &probe, asJSON)
			case probe.image != "":
				return &usageError{"there is --image and no --probe", "name a backend, as in deep doctor --probe docker --image alpine"}
			}
			return a.doctor(cmd.Context(), asJSON)
		},
	}
	jsonFlag(c, &asJSON, "print the findings as a JSON object")
	c.Flags().StringVar(&probe.backend, "probe", "", "make a sandbox with this `BACKEND` and show what is in force inside")
	c.Flags().StringVar(&probe.image, "image", "", "make that from this `IMAGE`")
	_ = c.RegisterFlagCompletionFunc("probe", a.completeBackends)
	return c
}

func (a *app) doctor(ctx context.Context, asJSON bool) error {
	r := doctorReport{Deep: thisVersion(), Kernel: kernel(), Backends: []diagnosis{}}
	c, err := a.config()
	if err != nil {
		// Nothing else can be told: what the file means is not known.
		if asJSON {
			r.Error = newFailure(err)
			return errors.Join(err, printJSON(a.Out, r))
		}
		return err
	}
	r.Config = c.Path
	r.Model = modelReport{Name: c.Model.Name, BaseURL: cmp.Or(c.Model.BaseURL, llm.DefaultBaseURL), Key: c.Model.APIKey != ""}
	r.Backends = a.diagnose(ctx, c)
	if err := ctx.Err(); err != nil {
		return err
	}
	r.Usable = slices.ContainsFunc(r.Backends, func(d diagnosis) bool { return d.Default && d.Usable })
	if asJSON {
		err = printJSON(a.Out, r)
	} else {
		_, err = fmt.Fprint(a.Out, r.text(palette(colourful(a.Out))))
	}
	if err == nil && !r.Usable {
		return &exitError{code: exitFailed}
	}
	return err
}

// diagnose looks at all backends at once; engines that hang do not add up.
func (a *app) diagnose(ctx context.Context, c *config.Config) []diagnosis {
	names := c.Backends()
	if !slices.Contains(names, c.DefaultBackend) {
		names = append(names, c.DefaultBackend)
	}
	found := make([]diagnosis, len(names))
	var wg sync.WaitGroup
	for i, name := range names {
		wg.Go(func() {
			found[i] = a.diagnoseOne(ctx, c, name)
			found[i].Default = name == c.DefaultBackend
		})
	}
	wg.Wait()
	return found
}

func (a *app) diagnoseOne(ctx context.Context, c *config.Config, name string) diagnosis {
	d := diagnosis{Name: name, Layers: []layerReport{}}
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	fail := func(err error) diagnosis {
		d.Error = newFailure(err)
		return d
	}
	b, err := c.Backend(name)
	if err != nil {
		return fail(err)
	}
	p, err := a.launch(ctx, b)
	if err != nil {
		return fail(err)
	}
	defer a.leave(ctx, p)
	if desc, err := p.Describe(ctx); err == nil {
		d.Version = desc.Version
	}
	report, err := p.Check(ctx)
	if err != nil {
		return fail(err)
	}
	d.Engine, d.Endpoint, d.Usable = report.Engine, report.Endpoint, true
	for _, l := range report.Layers {
		d.Layers = append(d.Layers, layerReport{Name: l.Name, State: string(l.State), Detail: l.Detail, Remedy: l.Remedy})
		// A layer that is missing is an error of Create, unless the operator can do
		// without.
		if l.State == backend.LayerMissing && !slices.Contains(b.Sandbox.AcceptDegraded, l.Name) {
			d.Usable = false
		}
	}
	return d
}

func (r *doctorReport) text(paint palette) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s, %s/%s, %s\n", paint.bold("deep"), r.Deep.Version, r.Deep.OS, r.Deep.Arch, escapeLine(r.Kernel))
	fmt.Fprintf(&b, "configuration  %s\n", cmp.Or(escapeLine(r.Config), "none, all defaults"))
	key := "no key; set OPENAI_API_KEY, or use --model replay:FILE"
	if r.Model.Key {
		key = "with a key"
	}
	fmt.Fprintf(&b, "model          %s at %s, %s\n", escapeLine(r.Model.Name), escapeLine(r.Model.BaseURL), key)
	if len(r.Backends) == 0 {
		fmt.Fprintf(&b, "\nThere is no backend. Plugins are looked for in:\n")
		for _, dir := range host.SearchPath() {
			fmt.Fprintf(&b, "  %s\n", escapeLine(dir))
		}
	}
	for _, d := range r.Backends {
		b.WriteString("\n" + d.text(paint))
	}
	return b.String()
}

func (d *diagnosis) text(paint palette) string {
	var b strings.Builder
	title := paint.bold(escapeLine(d.Name))
	if d.Default {
		title += " (default)"
	}
	state := paint.green("usable")
	if !d.Usable {
		state = paint.red("not usable")
	}
	fmt.Fprintf(&b, "%s  %s\n", title, state)
	if d.Engine != "" {
		fmt.Fprintf(&b, "  %s", escapeLine(d.Engine))
		if d.Endpoint != "" {
			fmt.Fprintf(&b, " at %s", escapeLine(d.Endpoint))
		}
		b.WriteByte('\n')
	}
	if d.Error != nil {
		fmt.Fprintf(&b, "  %s\n", escapeLine(d.Error.Message))
		if d.Error.Hint != "" {
			fmt.Fprintf(&b, "      %s\n", escapeLine(d.Error.Hint))
		}
		for _, line := range d.Error.More {
			fmt.Fprintf(&b, "  | %s\n", escapeLine(line))
		}
		for _, m := range d.Error.Mistakes {
			fmt.Fprintf(&b, "  %s:%d,%d: %s\n", escapeLine(m.File), m.Line, m.Column, escapeLine(m.What))
		}
	}
	width := 0
	for _, l := range d.Layers {
		width = max(width, len(l.Name))
	}
	marks := map[backend.LayerState]string{
		backend.LayerPresent: paint.green("yes     "), backend.LayerDegraded: paint.yellow("degraded"),
		backend.LayerMissing: paint.red("missing "), backend.LayerPlanned: paint.dim("planned "),
	}
	for _, l := range d.Layers {
		mark := cmp.Or(marks[backend.LayerState(l.State)], escapeLine(l.State))
		fmt.Fprintf(&b, "  %s  %-*s  %s\n", mark, width, escapeLine(l.Name), escapeLine(l.Detail))
		if l.Remedy != "" {
			fmt.Fprintf(&b, "            %s  %s\n", strings.Repeat(" ", width), paint.dim("→ "+escapeLine(l.Remedy)))
		}
	}
	return b.String()
}

// kernel is the kernel's name and release.
func kernel() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return runtime.GOOS
	}
	return unix.ByteSliceToString(u.Sysname[:]) + " " + unix.ByteSliceToString(u.Release[:])
}
