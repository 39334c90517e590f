package pluginsdk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/internal/handshake"
	"github.com/deep-sandbox/deep/core/internal/wire"
)

// Serve runs the plugin until its host is done with it, or gone. It is all that
// main does, and returns only to end the program; on a mistake in p, or when a
// person runs the program, it exits with 1 after saying why.
func Serve(p Plugin) {
	f, err := newFront(p)
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s%s is built wrong: %v\n", handshake.BinaryPrefix, p.Name, err)
		os.Exit(1)
	}
	switch {
	case len(os.Args) == 2 && os.Args[1] == "describe":
		if err := printDescription(os.Stdout, f.description()); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	case os.Getenv(handshake.CookieKey) != handshake.CookieValue:
		fmt.Fprintf(os.Stderr, "This is the backend %q of deep, %s.\ndeep starts it by itself: run `deep exec --backend %s -- COMMAND`, or `%s%s describe` to see its options.\n",
			p.Name, p.Summary, p.Name, handshake.BinaryPrefix, p.Name)
		os.Exit(1)
	}
	// Before go-plugin turns os.Stderr into a stream over the connection, which
	// would take the log down with it.
	f.log = hclog.New(&hclog.LoggerOptions{Name: p.Name, Level: hclog.Debug, Output: os.Stderr, JSONFormat: true})

	if err := harden(handshake.BinaryPrefix + p.Name); err != nil {
		f.log.Error("cannot harden this process", "error", err)
		os.Exit(1)
	}
	lifeline, err := takeLifeline()
	if err != nil {
		f.log.Error("cannot watch the host", "error", err)
		os.Exit(1)
	}
	go lifeline.watch(f)

	goplugin.Serve(&goplugin.ServeConfig{
		HandshakeConfig: goplugin.HandshakeConfig{
			MagicCookieKey:   handshake.CookieKey,
			MagicCookieValue: handshake.CookieValue,
		},
		VersionedPlugins: map[int]goplugin.PluginSet{
			handshake.ProtocolVersion: {handshake.PluginKey: &served{front: f}},
		},
		Logger: hclog.New(&hclog.LoggerOptions{Name: "go-plugin", Level: hclog.Warn, Output: os.Stderr, JSONFormat: true}),
		GRPCServer: func(opts []grpc.ServerOption) *grpc.Server {
			return grpc.NewServer(append(opts, wire.ServerOptions()...)...)
		},
	})
	// The host told go-plugin to stop. One that did not call Shutdown before
	// wants nothing left all the same.
	f.abandon()
}

// served is the plugin as go-plugin wants it.
type served struct {
	goplugin.NetRPCUnsupportedPlugin
	front *front
}

var _ goplugin.GRPCPlugin = (*served)(nil)

// GRPCClient is not for a plugin to call.
func (s *served) GRPCClient(context.Context, *goplugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, errors.New("a plugin is no host")
}

// GRPCServer registers both services.
func (s *served) GRPCServer(_ *goplugin.GRPCBroker, server *grpc.Server) error {
	wire.RegisterBackend(server, s.front)
	s.front.registerSandbox(server)
	return nil
}

// printDescription writes d as JSON for people and scripts.
func printDescription(w io.Writer, d *backend.Description) error {
	type attribute struct {
		Name        string                `json:"name"`
		Type        backend.AttributeType `json:"type"`
		Required    bool                  `json:"required"`
		Default     string                `json:"default,omitempty"`
		Description string                `json:"description"`
		Sensitive   bool                  `json:"sensitive,omitempty"`
	}
	out := struct {
		Name         string               `json:"name"`
		Version      string               `json:"version"`
		Summary      string               `json:"summary"`
		Protocol     int                  `json:"protocol"`
		Schema       []attribute          `json:"schema"`
		Capabilities []backend.Capability `json:"capabilities"`
	}{d.Name, d.Version, d.Summary, handshake.ProtocolVersion, []attribute{}, append([]backend.Capability{}, d.Capabilities...)}
	for _, a := range d.Schema {
		out.Schema = append(out.Schema, attribute(a))
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(out)
}
