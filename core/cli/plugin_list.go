package cli

import (
	"cmp"
	"context"
	"slices"
	"sync"

	"github.com/spf13/cobra"

	"github.com/deep-sandbox/deep/core/config"
	"github.com/deep-sandbox/deep/core/host"
)

// pluginEntry is one plugin in a list.
type pluginEntry struct {
	Name    string   `json:"name"`
	Path    string   `json:"path"`
	Version string   `json:"version,omitempty"`
	Summary string   `json:"summary,omitempty"`
	Default bool     `json:"default"`
	Error   *failure `json:"error,omitempty"`
}

func newPluginListCommand(a *app) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "list", Short: "List the plugins there are", Args: args(0, 0, ""),
		Long: `Lists the plugins found, the first of each name: those in the directories of
DEEP_PLUGIN_PATH, in plugins/ beside deep, in the user's data directory; and those
that the configuration names. Each is started to say what it is.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.pluginList(cmd.Context(), asJSON) },
	}
	jsonFlag(c, &asJSON, "print them as a JSON array")
	return c
}

func (a *app) pluginList(ctx context.Context, asJSON bool) error {
	c, err := a.config()
	if err != nil {
		return err
	}
	entries, err := a.plugins(ctx, c)
	if err != nil {
		return err
	}
	if asJSON {
		return printJSON(a.Out, entries)
	}
	if len(entries) == 0 {
		a.console.say("there is no plugin in %v", host.SearchPath())
		return nil
	}
	t := table{{"NAME", "VERSION", "PATH", "SUMMARY"}}
	for _, e := range entries {
		name, summary := e.Name, e.Summary
		if e.Default {
			name += " (default)"
		}
		if e.Error != nil {
			summary = "cannot be used: " + e.Error.Message
		}
		t = append(t, []string{name, cmp.Or(e.Version, "?"), e.Path, summary})
	}
	return t.print(a.Out)
}

// plugins describes every backend that is installed or configured.
func (a *app) plugins(ctx context.Context, c *config.Config) ([]pluginEntry, error) {
	found, err := host.List()
	if err != nil {
		return nil, err
	}
	entries := make([]pluginEntry, 0, len(found))
	for _, name := range c.Backends() {
		b, err := c.Backend(name)
		if err != nil {
			return nil, err
		}
		path := b.Plugin
		if i := slices.IndexFunc(found, func(f host.Found) bool { return f.Name == name }); path == "" && i >= 0 {
			path = found[i].Path
		}
		entries = append(entries, pluginEntry{Name: name, Path: path, Default: name == c.DefaultBackend})
	}
	var wg sync.WaitGroup
	for i := range entries {
		e := &entries[i]
		b, err := c.Backend(e.Name)
		if err != nil {
			return nil, err
		}
		wg.Go(func() {
			desc, err := host.Describe(ctx, b.Launch())
			if err != nil {
				e.Error = newFailure(err)
				return
			}
			e.Version, e.Summary = desc.Version, desc.Summary
		})
	}
	wg.Wait()
	return entries, ctx.Err()
}
