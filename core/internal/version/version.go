// Package version knows which build this is.
package version

// Version is set by the linker (see Makefile): a tag, or a commit.
var Version = "unknown"
