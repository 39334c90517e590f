package backendtest

import (
	"strings"

	"github.com/deep-sandbox/deep/core/backend"
)

// What the image Opts.Trap declares.
var (
	trapEnv = map[string]string{
		"PATH": "/trap:/bin", "KEPT": "image", "OURS": "image", "ASKED": "image", "LANG": "image", "HOME": "/trap",
	}
	trapVolumes = []string{"/data", "/cache"}
)

// What its programs leave that must not run.
const (
	entrypointMark  = "/tmp/entrypoint-ran"
	healthcheckMark = "/tmp/healthcheck-ran"
)

// bare makes a sandbox of one program.
func (t *T) bare() backend.Sandbox {
	return t.newSandbox(func(s *backend.Spec) { s.Image = t.kit.opts.Bare })
}

// trap makes a sandbox of the image whose settings it must not take over.
func (t *T) trap(change func(*backend.Spec)) backend.Sandbox {
	return t.newSandbox(func(s *backend.Spec) {
		if s.Image = t.kit.opts.Trap; change != nil {
			change(s)
		}
	})
}

// fileSystem returns the type of what is mounted at a path of a sandbox, "" if
// nothing is.
func (t *T) fileSystem(sb backend.Sandbox, path string) string {
	r := t.execIn(t.ctx, sb, &backend.ExecRequest{Argv: []string{"cat", "/proc/mounts"}})
	t.wantExit("cat /proc/mounts", r, 0)
	kind := ""
	for line := range strings.Lines(r.stdout) {
		if f := strings.Fields(line); len(f) > 2 && f[1] == path {
			kind = f[2]
		}
	}
	return kind
}

// writeIn writes a file of a sandbox.
func (t *T) writeIn(sb backend.Sandbox, path, content string) error {
	_, err := sb.WriteFile(t.ctx, &backend.WriteFileRequest{Path: path, Content: strings.NewReader(content)})
	return err
}

// wantIn notes a problem unless the file of a sandbox holds want.
func (t *T) wantIn(sb backend.Sandbox, path, want string) {
	if got, err := readAll(t.ctx, sb, &backend.ReadFileRequest{Path: path}); err != nil || got != want {
		t.Errorf("%s holds %s, %v; want %s", path, short(got), err, short(want))
	}
}

// wantNoneIn notes a problem if there is such a file.
func (t *T) wantNoneIn(sb backend.Sandbox, path string) {
	_, err := sb.Stat(t.ctx, &backend.StatRequest{Path: path})
	t.wantKind("stat "+path, err, backend.ErrNotFound)
}

// variables returns those of a text of NAME=VALUE, each with end behind it.
func variables(text, end string) map[string]string {
	env := map[string]string{}
	for kv := range strings.SplitSeq(strings.TrimSuffix(text, end), end) {
		k, v, _ := strings.Cut(kv, "=")
		env[k] = v
	}
	return env
}
