// Package pluginsdk is what the main function of a backend plugin calls.
//
// The usual backend is guest-backed: its author writes a [Provisioner], which
// makes an isolated place, puts the guest's program in, starts it as PID 1 and
// connects a byte stream to it. The package does the rest, from files and
// commands to leases and clean-up after a host that was killed:
//
//	func main() {
//		config := &Config{}
//		pluginsdk.Serve(pluginsdk.Plugin{
//			Name:    "acme",
//			Version: "1.0.0",
//			Summary: "virtual machines of Acme",
//			Config:  config,
//			NewProvisioner: func(ctx context.Context, env pluginsdk.Env) (pluginsdk.Provisioner, error) {
//				return newAcme(ctx, config, env)
//			},
//		})
//	}
//
// A backend with a file and process API of its own implements [backend.Backend]
// instead and sets NewBackend.
//
// # The process
//
// deep starts a plugin with a pipe on standard input that never carries a byte:
// its end means that the host is gone, however it went, and the plugin destroys
// the ephemeral sandboxes of that host and exits within two seconds. Standard
// error carries log lines (hclog's JSON, what Env.Log writes). Standard output
// belongs to go-plugin until the handshake is done; a line printed before it
// makes the plugin fail to start.
//
// Run by hand, `deep-backend-NAME describe` prints the plugin's description as
// JSON; anything else says that deep starts it, and exits with 1.
package pluginsdk
