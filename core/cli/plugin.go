package cli

import "github.com/spf13/cobra"

func newPluginCommand(a *app) *cobra.Command {
	return group("plugin", "Look at the backends' plugins, and verify them",
		newPluginListCommand(a),
		newPluginDescribeCommand(a),
		newPluginVerifyCommand(a),
	)
}
