package cli

import "github.com/spf13/cobra"

func newConfigCommand(a *app) *cobra.Command {
	return group("config", "Look at the configuration", newConfigCheckCommand(a))
}
