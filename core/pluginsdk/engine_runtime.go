package pluginsdk

import (
	"strings"

	"github.com/deep-sandbox/deep/core/backend"
)

// EngineNoRuntime is the error for an OCI runtime that the engine has not, or does
// not use though it was asked to. has are those it is known to have.
func EngineNoRuntime(engine, runtime string, has []string, remedy string) error {
	known := make([]string, 0, len(has))
	for _, name := range has {
		known = append(known, backend.Printable(name))
	}
	hint := remedy
	if len(known) > 0 {
		hint = "use one of " + strings.Join(known, ", ") + ", or " + remedy
	}
	return &backend.Error{Kind: backend.ErrInvalid, Path: "runtime",
		Message: engine + " does not run containers with " + backend.Printable(runtime), Hint: hint}
}
