package cli

import "github.com/spf13/cobra"

func newPluginCommand(a *app) *cobra.Command {
	return group("plugin", "Look at the backends' plugins",
		newPluginListCommand(a),
		newPluginDescribeCommand(a),
	)
}
