package cli

import "github.com/spf13/cobra"

func newRunCommand(a *app) *cobra.Command {
	return &cobra.Command{Use: "run TASK", Hidden: true}
}
