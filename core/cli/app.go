package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/config"
	"github.com/deep-sandbox/deep/core/host"
	"github.com/deep-sandbox/deep/core/tools"
)

// closeTime is what a plugin gets to remove its sandboxes in, however the command
// ended. What is then left ends with its lease.
const closeTime = 30 * time.Second

// An app is what all commands share.
type app struct {
	Streams
	// console is Streams.Err for what deep itself says.
	console *console
	// configPath is the file that --config names.
	configPath string
	// verbose shows what plugins log.
	verbose bool
}

// config reads the configuration, once a command.
func (a *app) config() (*config.Config, error) {
	found, err := host.List()
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(found))
	for _, f := range found {
		names = append(names, f.Name)
	}
	c, err := config.Load(config.Options{Path: a.configPath, Installed: names, Tools: tools.Names()})
	read := a.configPath
	if err == nil {
		read = c.Path
	}
	if path := config.Ignored(read); path != "" {
		a.console.say("%s in this directory is not read, it may be a stranger's: --config %[1]s reads it", path)
	}
	return c, err
}

// launch starts the plugin of a backend. Whoever calls it calls leave too.
func (a *app) launch(ctx context.Context, b *config.Backend) (*host.Plugin, error) {
	o := b.Launch()
	o.Logger = slog.New(newLogHandler(a.console, a.verbose))
	p, err := host.Launch(ctx, o)
	if err != nil {
		return nil, b.ExplainOptions(err)
	}
	return p, nil
}

// leave stops a plugin, and with it the ephemeral sandboxes made through it, also
// when the command was interrupted.
func (a *app) leave(ctx context.Context, p *host.Plugin) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTime)
	defer cancel()
	if err := p.Close(ctx); err != nil {
		explain(a.console, fmt.Errorf("something may be left behind: %w", err))
	}
}

// create makes a sandbox and shows how far it is.
func (a *app) create(ctx context.Context, b backend.Backend, req *backend.CreateRequest) (backend.Sandbox, error) {
	progress := newProgress(a.console)
	req.Progress = progress.report
	sb, err := b.Create(ctx, req)
	progress.done(err)
	return sb, err
}

// printJSON writes one value for programs, indented for the eye.
func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
