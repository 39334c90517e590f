// Package plugintest holds small plugins that are real in every respect but
// isolation, for the tests of the SDK and the host: their "engine" is a directory
// with one subdirectory a sandbox, and the guest of a sandbox is a process that
// listens on a socket in it. The directory is the tests' oracle.
package plugintest

import (
	"os"
	"testing"
)

// Dir returns a directory for an engine, with a path short enough for sockets in
// it.
func Dir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "pt-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}
