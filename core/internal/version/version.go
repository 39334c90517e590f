// Package version knows which build this is.
package version

// Version is set by the linker (see Makefile): a tag, or a commit.
var Version = "unknown"

// Plugins is set by the linker: NAME=SHA256 of each plugin that was built with this
// program, separated by commas.
var Plugins string
