package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/deep-sandbox/deep/plugins/local/internal/jail"
)

// staleAge is how old a directory on its way in or out must be to have been left:
// one that is worked on changes all the time.
const staleAge = time.Minute

// reconcile removes what was left behind when this host went down, or somebody
// killed a keeper.
func (b *localBackend) reconcile() {
	dirs, err := b.all()
	if err != nil {
		b.env.Log.Warn("cannot look for what was left behind", "error", err)
	}
	for _, dir := range dirs {
		if b.life.Err() != nil {
			return
		}
		if _, err := b.info(dir); err != nil {
			b.env.Log.Warn("cannot remove what was left behind", "error", err)
		}
	}
	for _, dir := range dirs {
		b.awaitKeeper(dir)
	}
	for _, parent := range []string{b.sandboxes, b.workspaces} {
		b.sweep(parent)
	}
}

// awaitKeeper looks again at a sandbox whose guest is dead and whose keeper is not
// quite: it cleans up, or was killed and has not let go of its lock yet.
func (b *localBackend) awaitKeeper(dir string) {
	for end := time.Now().Add(staleAge); time.Now().Before(end); {
		rec, err := jail.ReadRecord(dir)
		if err != nil || !rec.Ready || rec.Guest.Alive() {
			return
		}
		if _, err := b.info(dir); err != nil {
			b.env.Log.Warn("cannot remove what was left behind", "error", err)
			return
		}
		if stopped, err := jail.Stopped(dir); err != nil || stopped {
			return
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-b.life.Done():
			return
		}
	}
}

// sweep removes directories that were on their way in or out.
func (b *localBackend) sweep(parent string) {
	entries, err := os.ReadDir(parent)
	if err != nil {
		b.env.Log.Warn("cannot look for what was left behind", "error", err)
	}
	for _, e := range entries {
		dir := filepath.Join(parent, e.Name())
		fresh := strings.HasPrefix(e.Name(), jail.PrefixNew)
		if !fresh && !strings.HasPrefix(e.Name(), jail.PrefixDead) || b.life.Err() != nil {
			continue
		}
		info, err := e.Info()
		if err != nil || time.Since(info.ModTime()) < staleAge {
			continue
		}
		if held, err := jail.Held(dir); err != nil || fresh && held {
			continue
		}
		if err := jail.RemoveTree(dir); err != nil {
			b.env.Log.Warn("cannot remove what was left behind", "error", err)
		}
	}
}

// clean removes the sandbox in dir unless somebody lives who will.
func (b *localBackend) clean(dir string) error {
	lock, err := jail.Lock(dir)
	switch {
	case errors.Is(err, jail.ErrHeld), errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	}
	defer func() { _ = lock.Close() }()
	return jail.Remove(dir, lock)
}
