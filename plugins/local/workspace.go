package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/pluginsdk"
	"github.com/deep-sandbox/deep/plugins/local/internal/jail"
)

// kept is where the workspace of that name is.
func (b *localBackend) kept(name string) string { return filepath.Join(b.workspaces, hashed(name)) }

// keptWorkspace finds or makes the workspace of that name, and settles whose it
// is. Call while exclusive.
func (b *localBackend) keptWorkspace(id, name string) (bind jail.Bind, ids jail.IDMap, made bool, err error) {
	dir := b.kept(name)
	var st unix.Stat_t
	switch err := unix.Lstat(dir, &st); {
	case errors.Is(err, unix.ENOENT):
		bind, ids, err := b.newWorkspace(id, dir)
		return bind, ids, err == nil, err
	case err != nil:
		return bind, ids, false, err
	case st.Mode&unix.S_IFMT != unix.S_IFDIR:
		return bind, ids, false, &backend.Error{Kind: backend.ErrConflict, Path: name, Message: "something else is at the workspace's place, " + dir,
			Hint: "look at it, and remove it"}
	}
	ids, _, err = b.ids.choose(id, &owner{st.Uid, st.Gid})
	return jail.Bind{Source: dir, Dev: st.Dev, Ino: st.Ino}, ids, false, err
}

// newWorkspace makes the directory of a workspace, and gives it to whom commands
// run as.
func (b *localBackend) newWorkspace(id, dir string) (bind jail.Bind, ids jail.IDMap, err error) {
	ids, _, err = b.ids.choose(id, nil)
	if err != nil {
		return bind, ids, err
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return bind, ids, err
	}
	var st unix.Stat_t
	err = unix.Lstat(dir, &st)
	if err == nil && ids.Mode == jail.MapRoot {
		err = os.Lchown(dir, int(ids.UID), int(ids.GID))
	}
	if err == nil {
		err = os.Chmod(dir, 0o755) // the umask may be tight
	}
	if err != nil {
		return bind, ids, errors.Join(err, os.Remove(dir))
	}
	return jail.Bind{Source: dir, Dev: st.Dev, Ino: st.Ino}, ids, nil
}

// boundWorkspace resolves a directory of this host, and settles whose it is.
func (b *localBackend) boundWorkspace(id string, w backend.Workspace) (jail.Bind, jail.IDMap, error) {
	source, _, _, err := b.binds().Workspace(w.Source)
	if err != nil {
		return jail.Bind{}, jail.IDMap{}, err
	}
	bind, st, err := look("workspace", source)
	if err != nil {
		return bind, jail.IDMap{}, err
	}
	if st.Uid == 0 || st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return bind, jail.IDMap{}, replaced("workspace", source)
	}
	ids, _, err := b.ids.choose(id, &owner{st.Uid, st.Gid})
	return bind, ids, err
}

// mount resolves the source of a further mount.
func (b *localBackend) mount(m backend.Mount) (jail.Bind, error) {
	source, err := b.binds().Mount(m)
	if err != nil {
		return jail.Bind{}, err
	}
	field := "volume " + strconv.Quote(m.Target)
	bind, st, err := look(field, source)
	if err != nil {
		return bind, err
	}
	if kind := st.Mode & unix.S_IFMT; kind != unix.S_IFDIR && kind != unix.S_IFREG {
		return bind, replaced(field, source)
	}
	bind.Target, bind.ReadOnly = m.Target, m.ReadOnly
	return bind, nil
}

func (b *localBackend) binds() pluginsdk.EngineBinds {
	return pluginsdk.EngineBinds{StateDir: b.env.StateDir}
}

// look notes what is at a path that was resolved. It is this that will be shown,
// or nothing, whatever takes its place meanwhile.
func look(field, source string) (jail.Bind, unix.Stat_t, error) {
	var st unix.Stat_t
	fd, err := unix.Openat2(unix.AT_FDCWD, source, &unix.OpenHow{
		Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	})
	if errors.Is(err, unix.ELOOP) {
		return jail.Bind{}, st, replaced(field, source)
	}
	if err != nil {
		return jail.Bind{}, st, failure(&fs.PathError{Op: "open", Path: source, Err: err}, field)
	}
	defer func() { _ = unix.Close(fd) }()
	if err := unix.Fstat(fd, &st); err != nil {
		return jail.Bind{}, st, failure(&fs.PathError{Op: "stat", Path: source, Err: err}, field)
	}
	return jail.Bind{Source: source, Dev: st.Dev, Ino: st.Ino}, st, nil
}

func replaced(field, source string) error {
	return &backend.Error{Kind: backend.ErrConflict, Path: field, Message: backend.Printable(source) + " changed while it was looked at",
		Hint: "see who replaces it, and try again"}
}

// RemoveWorkspace implements pluginsdk.Provisioner.
func (b *localBackend) RemoveWorkspace(ctx context.Context, req *backend.RemoveWorkspaceRequest) error {
	var dead string
	err := b.exclusive(ctx, func() error {
		dirs, err := b.all()
		if err != nil {
			return err
		}
		for _, dir := range dirs {
			if info, err := b.info(dir); err == nil && info == nil {
				continue // it just went
			}
			rec, err := jail.ReadRecord(dir)
			switch {
			case errors.Is(err, fs.ErrNotExist):
			case err != nil:
				return err // it may be the one that uses it
			case rec.WorkspaceName == req.Name:
				return &backend.Error{Kind: backend.ErrConflict, Path: req.Name, Message: "sandbox " + rec.ID + " uses this workspace",
					Hint: "destroy that sandbox first"}
			}
		}
		dead, err = jail.Retire(b.kept(req.Name))
		return err
	})
	if err == nil && dead != "" {
		err = jail.RemoveTree(dead)
	}
	return failure(err, req.Name)
}

// exclusive runs f while no other plugin with this state directory does so: a
// kept workspace must not go while a sandbox with it comes.
func (b *localBackend) exclusive(ctx context.Context, f func() error) error {
	lock, err := os.OpenFile(filepath.Join(b.env.StateDir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = lock.Close() }()
	for wait := time.Millisecond; ; wait = min(2*wait, 20*time.Millisecond) {
		err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return f()
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
