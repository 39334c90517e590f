package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/test/require"
)

const trapImage = require.Trap

// scale returns how much of something there is to be, or how long, in an ordinary
// run and in a long one.
func (t *trial) scale(ordinary, long int) int {
	if t.long {
		return long
	}
	return ordinary
}

// raceTime is how long a race is run; with the defence open until it is won, or a
// good while.
func (t *trial) raceTime() time.Duration {
	if t.open {
		return 30 * time.Second
	}
	return time.Duration(t.scale(2, 60)) * time.Second
}

// exchange exchanges two paths of this host without a pause until the trial ends or
// stop is called, which tells how often.
func (t *trial) exchange(one, two string) (stop func() int) {
	ctx, cancel := context.WithCancel(t.ctx)
	done := make(chan int, 1)
	go func() {
		n := 0
		for ; ctx.Err() == nil; n++ {
			_ = unix.Renameat2(unix.AT_FDCWD, one, unix.AT_FDCWD, two, unix.RENAME_EXCHANGE)
			if n%16 == 0 {
				time.Sleep(50 * time.Microsecond) // there are others on this machine
			}
		}
		done <- n
	}()
	return func() int { cancel(); return <-done }
}

// racing runs an attacker in a sandbox beside a race.
func (t *trial) racing(sb backend.Sandbox, attacker string, args []string, race func()) {
	req := t.request(attacker, args...)
	req.Timeout = backend.Unlimited
	ctx, cancel := context.WithCancel(t.ctx)
	ended := beside(func() error { _, err := sb.Exec(ctx, req); return err })
	defer stopped(cancel, ended)
	for end := time.Now().Add(t.raceTime()); time.Now().Before(end) && !t.gotten() && t.ctx.Err() == nil; {
		race()
	}
}

// raceRemove removes trees of which a directory is now and then a link to one that
// must stay.
func (t *trial) raceRemove() {
	sb := t.sandbox(nil)
	t.must(t.write(sb, "/tmp/keep/precious", "precious"))
	t.racing(sb, "flip", []string{"/tmp/tree", "/tmp/keep"}, func() {
		_ = sb.Remove(t.ctx, &backend.RemoveRequest{Path: "/tmp/tree", Recursive: true})
		if _, err := sb.Stat(t.ctx, &backend.StatRequest{Path: "/tmp/keep/precious"}); errors.Is(err, backend.ErrNotFound) {
			t.gets("a file removed through a link")
		}
	})
}

// raceWrite writes, reads and edits a file in a directory that is now and then a
// link to one of this host.
func (t *trial) raceWrite() {
	c := t.canary()
	sb := t.sandbox(nil)
	t.must(t.write(sb, "/workspace/dir/canary", "harmless"))
	t.inside(sb, "link", filepath.Dir(c.path), "/workspace/link")
	t.racing(sb, "exchange", []string{"/workspace/dir", "/workspace/link"}, func() {
		text, _ := t.read(sb, "/workspace/dir/canary", 0)
		_ = t.write(sb, "/workspace/dir/canary", "harmless")
		_, _ = sb.Edit(t.ctx, &backend.EditRequest{Path: "/workspace/dir/canary", Old: []byte("harm"), New: []byte("harm"), All: true})
		t.unharmed(c, text)
	})
}

// raceBind binds a directory as a workspace which another exchanges for a link to
// root's, as one can who may write to what it lies in.
func (t *trial) raceBind() {
	parent, victim := t.dir(), t.dir()
	if !t.open {
		// Root's, which no workspace may be: it is refused when it is looked at.
		t.must(os.Chown(victim, 0, 0))
	}
	t.must(os.WriteFile(filepath.Join(victim, "secret"), []byte(t.tag), 0o644))
	source, link := filepath.Join(parent, "workspace"), filepath.Join(parent, "link")
	t.must(errors.Join(os.Mkdir(source, 0o755), os.Chown(source, backend.DefaultUID, backend.DefaultUID), os.Symlink(victim, link)))
	stop := func() int { return 0 }
	if t.open {
		// As if the exchange had come in time.
		t.must(unix.Renameat2(unix.AT_FDCWD, source, unix.AT_FDCWD, link, unix.RENAME_EXCHANGE))
	} else {
		stop = t.exchange(source, link)
	}
	defer stop()
	made := 0
	for end := time.Now().Add(2 * t.raceTime()); time.Now().Before(end) && !t.gotten() && t.ctx.Err() == nil; {
		id := backend.NewID()
		spec := t.arm.spec()
		spec.Workspace.Source = source
		sb, err := t.arm.plugin.Create(t.ctx, &backend.CreateRequest{ID: id, Spec: spec})
		if err != nil {
			continue // it may say so
		}
		made++
		_, statErr := sb.Stat(t.ctx, &backend.StatRequest{Path: "/workspace/secret"})
		t.must(t.arm.destroy(t.ctx, id))
		if statErr == nil {
			t.gets("another's directory, as the workspace of sandbox %d", made)
		}
	}
}

// raceDestroy removes kept workspaces in which somebody exchanges directories for
// links to what must stay.
func (t *trial) raceDestroy() {
	victim := t.dir()
	precious := filepath.Join(victim, "precious")
	t.must(os.WriteFile(precious, []byte(t.tag), 0o644))
	name := "race-" + backend.NewID()
	for end := time.Now().Add(t.raceTime()); time.Now().Before(end) && !t.gotten() && t.ctx.Err() == nil; {
		id := backend.NewID()
		spec := t.arm.spec()
		spec.Workspace.Name = name
		sb, err := t.arm.plugin.Create(t.ctx, &backend.CreateRequest{ID: id, Spec: spec})
		t.must(err)
		dir := sb.Info().WorkspaceSource
		if dir == "" {
			info, err := t.arm.plugin.Inspect(t.ctx, &backend.InspectRequest{ID: id})
			t.must(err)
			dir = info.WorkspaceSource
		}
		if !strings.HasPrefix(dir, t.target.dir) {
			t.fail("the workspace is in %q", dir)
		}
		t.must(t.arm.plugin.Destroy(t.ctx, &backend.DestroyRequest{ID: id, KeepWorkspace: true}))
		// So few that each is exchanged again within the time it takes to remove it.
		const pairs = 4
		// By descriptor, since it is renamed before it is removed.
		fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY, 0)
		t.must(err)
		for i := range pairs {
			t.must(unix.Mkdirat(fd, fmt.Sprintf("d%d", i), 0o755))
			t.must(unix.Mkdirat(fd, fmt.Sprintf("d%d/full", i), 0o755))
			t.must(unix.Symlinkat(victim, fd, fmt.Sprintf("l%d", i)))
		}
		ctx, cancel := context.WithCancel(t.ctx)
		ended := beside(func() error {
			for i := 0; ctx.Err() == nil; i = (i + 1) % pairs {
				_ = unix.Renameat2(fd, fmt.Sprintf("d%d", i), fd, fmt.Sprintf("l%d", i), unix.RENAME_EXCHANGE)
			}
			return nil
		})
		err = t.arm.plugin.RemoveWorkspace(t.ctx, &backend.RemoveWorkspaceRequest{Name: name})
		stopped(cancel, ended)
		_ = unix.Close(fd)
		// Whoever moves things about may keep them from being removed. That is said,
		// and what is left found again later; here by us.
		if err != nil {
			t.must(removeAll(filepath.Dir(dir)))
		}
		if _, err := os.Lstat(precious); err != nil {
			t.gets("a file removed through a link: %v", err)
		}
	}
}

// workspaceLink puts a link to somebody else's directory where a kept workspace is.
func (t *trial) workspaceLink() {
	victim := t.dir()
	precious := filepath.Join(victim, "precious")
	t.must(os.WriteFile(precious, []byte(t.tag), 0o644))
	name := "link-" + backend.NewID()
	named := func(s *backend.Spec) { s.Workspace.Name = name }
	sb := t.sandbox(named)
	info, err := t.arm.plugin.Inspect(t.ctx, &backend.InspectRequest{ID: sb.Info().ID})
	t.must(err)
	t.must(t.arm.plugin.Destroy(t.ctx, &backend.DestroyRequest{ID: sb.Info().ID, KeepWorkspace: true}))
	t.must(os.RemoveAll(info.WorkspaceSource))
	t.must(os.Symlink(victim, info.WorkspaceSource))
	if sb, err := t.create(named); err == nil {
		t.gets("a sandbox over the link")
		_ = sb
	}
	_ = t.arm.plugin.RemoveWorkspace(t.ctx, &backend.RemoveWorkspaceRequest{Name: name})
	// The link was the attacker's, who takes it away.
	t.must(removeLinks(filepath.Dir(info.WorkspaceSource)))
	if _, err := os.Lstat(precious); err != nil {
		t.gets("a file removed through a link: %v", err)
	}
}

// removeAll removes what is in a directory.
func removeAll(dir string) error {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
	}
	return err
}

// removeLinks removes the links in a directory.
func removeLinks(dir string) error {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if e.Type() == os.ModeSymlink {
			err = errors.Join(err, os.Remove(filepath.Join(dir, e.Name())))
		}
	}
	return err
}
