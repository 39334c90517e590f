package backendtest

import (
	"maps"
	"slices"

	"github.com/deep-sandbox/deep/core/backend"
)

var procRules = []Rule{
	{
		Name:     "path-into-guest",
		Sentence: "No file operation gets at what serves it: its process and its descriptors in /proc are refused, and so are the links there that lead anywhere else.",
		run: func(t *T) {
			t.write("kept", "kept")
			kept := t.sandbox().Info().Workspace + "/" + t.path("kept")
			paths := []string{"/dev/fd/0", "/dev/fd/1", "/dev/stdin"}
			for _, process := range []string{"/proc/1", "/proc/self", "/proc/thread-self", "/proc/self/../1", "/proc/sys/../1/task/1"} {
				for _, name := range []string{
					"/", "/exe", "/fd", "/fd/0", "/fdinfo", "/ns", "/environ", "/mem", "/maps", "/task", "/comm",
					"/cwd" + kept, "/root" + kept, "/root" + t.sandbox().Info().Workspace, "/root/../" + kept,
				} {
					paths = append(paths, process+name)
				}
			}
			for _, path := range paths {
				info, err := t.sandbox().Stat(t.ctx, &backend.StatRequest{Path: path})
				if err == nil && path != "/dev/stdin" { // a link of text
					t.Errorf("stat %s: no error, and it leads to %q", path, info.Target)
				}
				errs := t.everyOperation(t.ctx, path)
				for _, op := range slices.Sorted(maps.Keys(errs)) {
					if errs[op] == nil {
						t.Errorf("%s %s: no error", op, path)
					}
				}
			}
			t.wantContent("kept", "kept")
		},
	},
}
