package host

import (
	"path/filepath"
	"strings"

	"github.com/deep-sandbox/deep/core/internal/handshake"
	"github.com/deep-sandbox/deep/core/internal/version"
)

// bundled returns the sum of the plugin that was built with this program and lies
// beside it, "" if path is none of these.
func bundled(name, path string) string {
	self, err := executable()
	if err != nil || path != filepath.Join(filepath.Dir(self), pluginsDir, handshake.BinaryPrefix+name) {
		return ""
	}
	return bundledSum(name)
}

// bundledSum returns what the linker recorded; "" if there is nothing, as in a
// program of somebody else's.
func bundledSum(name string) string {
	for entry := range strings.SplitSeq(version.Plugins, ",") {
		if sum, ok := strings.CutPrefix(entry, name+"="); ok {
			return sum
		}
	}
	return ""
}
