package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/deep-sandbox/deep/core/backend"
)

// A canary is a file of this host that no attack may read or change.
type canary struct {
	path, content string
	before        string
}

// canary makes one in a directory of its own, that belongs to whom commands run as.
func (t *trial) canary() *canary {
	c := &canary{path: filepath.Join(t.dir(), "canary"), content: "canary of " + t.tag}
	t.must(os.WriteFile(c.path, []byte(c.content), 0o644))
	t.must(os.Chown(c.path, backend.DefaultUID, backend.DefaultUID))
	c.before = state(c.path)
	return c
}

// state is all that must not change of a file.
func state(path string) string {
	info, err := os.Lstat(path)
	if err != nil {
		return err.Error()
	}
	st := info.Sys().(*syscall.Stat_t)
	content, err := os.ReadFile(path)
	return fmt.Sprintf("%v %d:%d %v %x %v", info.Mode(), st.Uid, st.Gid, info.ModTime().UnixNano(), sha256.Sum256(content), err)
}

// unharmed notes what became of a canary, and whether an attack has read it.
func (t *trial) unharmed(c *canary, seen ...string) {
	if now := state(c.path); now != c.before {
		t.gets("the canary was %s and is %s", c.before, now)
	}
	for _, s := range seen {
		if strings.Contains(s, c.content) {
			t.gets("the canary's content")
		}
	}
}

// shown is a control: the directory of the first canary is mounted where it is on
// this host.
var shown = controlArm{spec: func(t *trial, s *backend.Spec) {
	s.Mounts = append(s.Mounts, backend.Mount{Source: t.dirs[0], Target: t.dirs[0]})
}}

// reach tries to read, change, replace and remove what a path in the sandbox leads
// to, through the guest and by commands.
func (t *trial) reach(sb backend.Sandbox, path string) (seen []string) {
	text, _ := t.read(sb, path, 0)
	_, out := t.inside(sb, "cat", path)
	seen = append(seen, text, out)
	if archive, err := sb.GetArchive(t.ctx, &backend.GetArchiveRequest{Path: path}); err == nil {
		b, _ := io.ReadAll(archive)
		_ = archive.Close()
		seen = append(seen, string(b))
	}
	if r, err := sb.Grep(t.ctx, &backend.GrepRequest{Pattern: t.tag, Literal: true, Path: path}); err == nil {
		for _, m := range r.Matches {
			seen = append(seen, m.Text)
		}
	}
	_, _ = sb.Edit(t.ctx, &backend.EditRequest{Path: path, Old: []byte("canary"), New: []byte("edited")})
	_ = t.write(sb, path, "written by the guest")
	t.inside(sb, "overwrite", path)
	return seen
}

// stopped waits for what runs beside an attack to end.
func stopped(cancel context.CancelFunc, done <-chan error) {
	cancel()
	<-done //nolint:errcheck // it was told to end
}
