package cli

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/host"
)

// pluginDescription is what `deep plugin describe --json` prints.
type pluginDescription struct {
	Name         string         `json:"name"`
	Version      string         `json:"version"`
	Summary      string         `json:"summary"`
	Capabilities []string       `json:"capabilities"`
	Options      []pluginOption `json:"options"`
}

type pluginOption struct {
	Name        string `json:"name"`
	Type        string `json:"type"`
	Required    bool   `json:"required"`
	Default     string `json:"default,omitempty"`
	Description string `json:"description"`
	Sensitive   bool   `json:"sensitive"`
}

func newPluginDescribeCommand(a *app) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "describe NAME", Short: "Describe a plugin and the options it takes",
		Args:              args(1, 1, "the NAME of a backend"),
		ValidArgsFunction: a.completeBackends,
		RunE:              func(cmd *cobra.Command, args []string) error { return a.pluginDescribe(cmd.Context(), args[0], asJSON) },
	}
	jsonFlag(c, &asJSON, "print it as a JSON object")
	return c
}

func (a *app) pluginDescribe(ctx context.Context, name string, asJSON bool) error {
	c, err := a.config()
	if err != nil {
		return err
	}
	b, err := c.Backend(name)
	if err != nil {
		return err
	}
	desc, err := host.Describe(ctx, b.Launch())
	if err != nil {
		return err
	}
	if asJSON {
		return printJSON(a.Out, describe(desc))
	}
	return printDescription(a, describe(desc))
}

func describe(desc *backend.Description) pluginDescription {
	d := pluginDescription{Name: desc.Name, Version: desc.Version, Summary: desc.Summary, Capabilities: []string{}, Options: []pluginOption{}}
	for _, c := range desc.Capabilities {
		d.Capabilities = append(d.Capabilities, string(c))
	}
	for _, o := range desc.Schema {
		d.Options = append(d.Options, pluginOption{
			Name: o.Name, Type: string(o.Type), Required: o.Required, Default: o.Default, Description: o.Description, Sensitive: o.Sensitive,
		})
	}
	return d
}

func printDescription(a *app, d pluginDescription) error {
	paint := palette(colourful(a.Out))
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s\n%s\n\n", paint.bold(escapeLine(d.Name)), escapeLine(d.Version), escapeLine(d.Summary))
	fmt.Fprintf(&b, "Can do: %s\n\n", cmp.Or(escapeLine(strings.Join(d.Capabilities, ", ")), "nothing but the contract"))
	if len(d.Options) == 0 {
		b.WriteString("It takes no options.\n")
	} else {
		fmt.Fprintf(&b, "Options, in backend %q { config { … } }:\n", d.Name)
	}
	for _, o := range d.Options {
		kind := o.Type
		switch {
		case o.Required:
			kind += ", required"
		case o.Default != "":
			kind += ", default " + o.Default
		}
		if o.Sensitive {
			kind += ", never printed"
		}
		fmt.Fprintf(&b, "\n  %s  %s\n", paint.bold(escapeLine(o.Name)), paint.dim("("+escapeLine(kind)+")"))
		for _, line := range wrap(escapeLine(o.Description), 74) {
			fmt.Fprintf(&b, "      %s\n", line)
		}
	}
	_, err := fmt.Fprint(a.Out, b.String())
	return err
}

// wrap breaks text into lines of at most width characters, where it has spaces.
func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && len(line)+1+len(word) > width {
			lines = append(lines, line)
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(lines, line)
}
