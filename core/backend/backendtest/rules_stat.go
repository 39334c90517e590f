package backendtest

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"time"

	"github.com/deep-sandbox/deep/core/backend"
)

func hexSum(s string) string {
	h := sha256.Sum256([]byte(s))
	return hex.EncodeToString(h[:])
}

// badPaths are what every file operation refuses.
var badPaths = map[string]string{
	"an empty path":        "",
	"a NUL":                "a\x00b",
	"a name of 256 bytes":  strings.Repeat("x", 256),
	"a path of 4096 bytes": strings.Repeat("x/", 2048),
}

func (t *T) statErr(path string, follow bool) error {
	_, err := t.sandbox().Stat(t.ctx, &backend.StatRequest{Path: path, Follow: follow})
	return err
}

var statRules = []Rule{
	{
		Name:     "stat-file",
		Sentence: "Stat tells type, size, mode and time, and the path as asked for.",
		run: func(t *T) {
			t.write("f", "12345")
			i := t.stat("f")
			if i.Path != t.path("f") || i.Type != backend.TypeRegular || i.Size != 5 || i.Mode != 0o644 || i.Target != "" || i.SHA256 != "" {
				t.Errorf("%+v", i)
			}
			if age := time.Since(i.ModTime); age.Abs() > time.Hour {
				t.Errorf("modified %v ago", age)
			}
		},
	},
	{
		Name:     "stat-directory",
		Sentence: "A directory is one, of size 0.",
		run: func(t *T) {
			t.dir()
			if i := t.stat("."); i.Type != backend.TypeDirectory || i.Size != 0 || i.Mode&0o777 != 0o755 {
				t.Errorf("%+v", i)
			}
		},
	},
	{
		Name:     "stat-symlink",
		Sentence: "Stat does not follow a last symbolic link unless asked to, and tells its target as it is.",
		Shell:    true,
		run: func(t *T) {
			t.write("f", "12345")
			t.sh("ln -s f link; ln -s no/where dangling")
			if i := t.stat("link"); i.Type != backend.TypeSymlink || i.Target != "f" || i.Size != 0 {
				t.Errorf("link: %+v", i)
			}
			if i := t.stat("dangling"); i.Type != backend.TypeSymlink || i.Target != "no/where" {
				t.Errorf("dangling: %+v", i)
			}
			i, err := t.sandbox().Stat(t.ctx, &backend.StatRequest{Path: t.path("link"), Follow: true})
			t.must("follow", err)
			if i.Type != backend.TypeRegular || i.Size != 5 {
				t.Errorf("followed: %+v", i)
			}
			t.wantKind("follow a dangling one", t.statErr(t.path("dangling"), true), backend.ErrNotFound)
		},
	},
	{
		Name:     "stat-special",
		Sentence: "A FIFO and a device are told as such, without blocking.",
		Shell:    true,
		run: func(t *T) {
			t.sh("mkfifo pipe")
			if i := t.stat("pipe"); i.Type != backend.TypeFIFO || i.Size != 0 {
				t.Errorf("%+v", i)
			}
			i, err := t.sandbox().Stat(t.ctx, &backend.StatRequest{Path: "/dev/null"})
			t.must("stat /dev/null", err)
			if i.Type != backend.TypeDevice {
				t.Errorf("%+v", i)
			}
		},
	},
	{
		Name:     "stat-sha256",
		Sentence: "The sum is that of the content; of what is no regular file it is ErrInvalid.",
		run: func(t *T) {
			t.write("f", "content")
			i, err := t.sandbox().Stat(t.ctx, &backend.StatRequest{Path: t.path("f"), SHA256: true})
			t.must("stat", err)
			if i.SHA256 != hexSum("content") {
				t.Errorf("sum %q", i.SHA256)
			}
			_, err = t.sandbox().Stat(t.ctx, &backend.StatRequest{Path: t.dir(), SHA256: true})
			t.wantKind("of a directory", err, backend.ErrInvalid)
		},
	},
	{
		Name:     "stat-missing",
		Sentence: "What is not there is ErrNotFound naming the path; below a file it is ErrNotDirectory.",
		run: func(t *T) {
			err := t.statErr(t.path("missing"), false)
			t.wantKind("missing", err, backend.ErrNotFound)
			if e := (*backend.Error)(nil); errors.As(err, &e) && e.Path != t.path("missing") {
				t.Errorf("the error names %q", e.Path)
			}
			t.write("f", "x")
			t.wantKind("below a file", t.statErr(t.path("f/x"), false), backend.ErrNotDirectory)
			t.wantKind("a file with a slash", t.statErr(t.path("f/"), false), backend.ErrNotDirectory)
		},
	},
	{
		Name:     "stat-paths",
		Sentence: "A path is absolute or relative to the workspace, and .. resolves as the kernel would.",
		Shell:    true,
		run: func(t *T) {
			t.write("a/b/f", "x")
			t.sh("ln -s a/b link")
			ws := t.sandbox().Info().Workspace
			for _, p := range []string{t.path("a/b/f"), ws + "/" + t.path("a/b/f"), t.path("a/../a/./b//f"), t.path("link/f"), t.path("link/../b/f"), "/../.." + ws + "/" + t.path("a/b/f")} {
				t.must(p, t.statErr(p, false))
			}
			t.wantKind("link/../a", t.statErr(t.path("link/../a"), false), backend.ErrNotFound)
		},
	},
	{
		Name:     "stat-invalid-path",
		Sentence: "An empty or over-long path, and one with a NUL, is ErrInvalid.",
		run: func(t *T) {
			for what, p := range badPaths {
				t.wantKind(what, t.statErr(p, false), backend.ErrInvalid)
			}
		},
	},
}
