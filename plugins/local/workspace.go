package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/pluginsdk"
)

// workspace is what a sandbox finds at its workspace's path.
type workspace struct {
	// source on this host.
	source string
	// private: it goes with the sandbox.
	private bool
	// fresh: it was made just now.
	fresh bool
	ids   idMap
}

// workspaceDir is where a workspace of ours is. A hash, since names may differ in
// what a file system does not tell apart.
func (b *localBackend) workspaceDir(kind, name string) string {
	sum := sha256.Sum256([]byte(kind + "\x00" + name))
	return filepath.Join(b.workspaces, hex.EncodeToString(sum[:16]))
}

// prepare finds or makes the workspace of a sandbox, and settles its ids, which
// depend on whose it is.
func (b *localBackend) prepare(id string, w backend.Workspace) (*workspace, error) {
	if w.Source != "" {
		binds := b.binds()
		source, uid, gid, err := binds.Workspace(w.Source)
		if err != nil {
			return nil, err
		}
		ids, err := newIDMap(id, &unix.Stat_t{Uid: uid, Gid: gid})
		return &workspace{source: source, ids: ids}, err
	}
	kind, name := "private", id
	if w.Name != "" {
		kind, name = "named", w.Name
	}
	made := &workspace{source: b.workspaceDir(kind, name), private: w.Name == ""}
	err := os.Mkdir(made.source, 0o700)
	switch {
	case err == nil:
		made.fresh = true
	case errors.Is(err, fs.ErrExist) && !made.private:
	default:
		return nil, failure(err, made.source)
	}
	var st unix.Stat_t
	if err := unix.Lstat(made.source, &st); err != nil {
		return nil, failure(err, made.source)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return nil, &backend.Error{Kind: backend.ErrPermission, Path: made.source, Message: "something else is in the workspace's place",
			Hint: "look at it, and remove it"}
	}
	owner := &st
	if made.fresh {
		owner = nil
	}
	if made.ids, err = newIDMap(id, owner); err == nil && made.fresh && made.ids.Mode == mapRoot {
		err = os.Lchown(made.source, int(made.ids.UID), int(made.ids.GID))
	}
	if err != nil && made.fresh {
		err = errors.Join(err, os.Remove(made.source))
	}
	return made, failure(err, made.source)
}

// removeWorkspace removes a kept one.
func (b *localBackend) removeWorkspace(name string) error {
	dir := b.workspaceDir("named", name)
	var st unix.Stat_t
	if err := unix.Lstat(dir, &st); err != nil {
		if errors.Is(err, unix.ENOENT) {
			return nil
		}
		return failure(err, dir)
	}
	ids, err := newIDMap(name, &st)
	if err != nil {
		return err
	}
	return failure(removeTree(dir, ids), dir)
}

func (b *localBackend) binds() pluginsdk.EngineBinds {
	return pluginsdk.EngineBinds{StateDir: b.env.StateDir}
}
