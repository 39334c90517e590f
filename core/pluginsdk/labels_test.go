package pluginsdk

import (
	"testing"
	"unicode/utf8"

	"github.com/deep-sandbox/deep/core/backend"
)

// TestLabelsTellWorkspace: where the workspace is can be told of a sandbox that
// has no guest to ask, and its path is bytes though labels are text.
func TestLabelsTellWorkspace(t *testing.T) {
	t.Parallel()
	b := &guestBacked{}
	for _, path := range []string{"/workspace", "/with space/100%25+?#", "/a\xff\n"} {
		labels := b.labels("x", backend.Spec{Workspace: backend.Workspace{Path: path}})
		for key, value := range labels {
			if !utf8.ValidString(value) {
				t.Errorf("%s is %q", key, value)
			}
		}
		if got := InfoFromLabels(labels).Workspace; got != path {
			t.Errorf("%q, want %q", got, path)
		}
	}
	if got := InfoFromLabels(map[string]string{labelMount: "%"}).Workspace; got != "" {
		t.Errorf("%q of a damaged label", got)
	}
}
