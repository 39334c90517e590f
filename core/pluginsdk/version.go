package pluginsdk

import "github.com/deep-sandbox/deep/core/internal/version"

// Version returns which build of deep this SDK is of: what the backends that
// come with deep give as theirs.
func Version() string { return version.Version }
