package cli

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/deep-sandbox/deep/core/internal/version"
)

// versionInfo is what `deep version --json` prints.
type versionInfo struct {
	Version string `json:"version"`
	Go      string `json:"go"`
	OS      string `json:"os"`
	Arch    string `json:"arch"`
}

func newVersionCommand(a *app) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "version", Short: "Print the version", Args: args(0, 0, ""),
		RunE: func(*cobra.Command, []string) error {
			v := thisVersion()
			if asJSON {
				return printJSON(a.Out, v)
			}
			_, err := fmt.Fprintf(a.Out, "deep %s (%s, %s/%s)\n", v.Version, v.Go, v.OS, v.Arch)
			return err
		},
	}
	jsonFlag(c, &asJSON, "print it as JSON")
	return c
}

func thisVersion() versionInfo {
	return versionInfo{Version: version.Version, Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH}
}
