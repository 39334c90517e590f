package guest

import (
	"fmt"
	"io"

	"github.com/deep-sandbox/deep/core/internal/version"
)

const usage = `deep-guest is the program inside a sandbox of deep.

  deep-guest serve (--socket PATH | --listen-fd N)
        serve the sandbox this is process 1 of
  deep-guest connect --socket PATH
        carry bytes between stdin and stdout and the socket
  deep-guest version
`

// Main is the program: args are those after its name. It returns the exit code.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	command := ""
	if len(args) > 0 {
		command, args = args[0], args[1:]
	}
	switch command {
	case "serve":
		return serve(args, stderr)
	case "connect":
		return connect(args, stdin, stdout, stderr)
	case "version":
		if _, err := fmt.Fprintln(stdout, version.Version); err != nil {
			return 1
		}
		return 0
	}
	_, _ = io.WriteString(stderr, usage)
	return 2
}
