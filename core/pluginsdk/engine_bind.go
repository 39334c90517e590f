package pluginsdk

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/control"
	"github.com/deep-sandbox/deep/core/internal/hostpath"
)

// EngineBinds says which directories of this host may be shown in a sandbox.
type EngineBinds struct {
	// Data of the engine, refused with all below and above.
	Data []string
	// StateDir is deep's own.
	StateDir string
}

// Workspace resolves Spec.Workspace.Source and returns its owner, as whom
// commands run. One that belongs to root is refused: the sandbox user could not
// write there, and is never root.
func (b EngineBinds) Workspace(source string) (resolved string, uid, gid uint32, err error) {
	resolved, info, err := b.resolve("workspace", source)
	if err != nil {
		return "", 0, 0, err
	}
	if !info.IsDir() {
		return "", 0, 0, bindError(backend.ErrNotDirectory, "workspace", resolved+" is not a directory", "name a directory")
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return "", 0, 0, bindError(backend.ErrUnsupported, "workspace", "this system does not tell whose "+resolved+" is", "")
	}
	if owner.Uid == 0 {
		return "", 0, 0, bindError(backend.ErrPermission, "workspace", backend.Printable(resolved)+" belongs to root, and commands never run as root",
			"give it to a user, as in `chown -R 1000:1000 "+strconv.Quote(resolved)+"`, or use another directory")
	}
	uid, gid = owner.Uid, owner.Gid
	if gid == 0 {
		gid = uid
	}
	return resolved, uid, gid, nil
}

// Mount resolves the source of a further mount: a directory or a regular file.
func (b EngineBinds) Mount(m backend.Mount) (resolved string, err error) {
	resolved, _, err = b.resolve("volume "+strconv.Quote(m.Target), m.Source)
	return resolved, err
}

func (b EngineBinds) resolve(field, source string) (string, fs.FileInfo, error) {
	resolved, err := filepath.EvalSymlinks(source)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", nil, bindError(backend.ErrNotFound, field, backend.Printable(source)+" does not exist", "make it first")
	case errors.Is(err, fs.ErrPermission):
		return "", nil, bindError(backend.ErrPermission, field, backend.Printable(source)+" cannot be reached by this user", "")
	case err != nil:
		return "", nil, &backend.Error{Kind: backend.ErrInvalid, Path: field, Message: "cannot follow " + backend.Printable(source), Err: err}
	}
	further := []hostpath.Place{{Path: b.StateDir, Why: "it is deep's own"}}
	for _, data := range b.Data {
		further = append(further, hostpath.Place{Path: data, Why: "the engine's data is there"})
	}
	if what := hostpath.Refused(resolved, further...); what != "" && !control.Opened(control.HostPlaces) {
		return "", nil, bindError(backend.ErrPermission, field, what, hostpath.Hint)
	}
	info, err := os.Lstat(resolved)
	if err != nil {
		return "", nil, &backend.Error{Kind: backend.ErrNotFound, Path: field, Err: err}
	}
	if !info.IsDir() && !info.Mode().IsRegular() {
		return "", nil, bindError(backend.ErrInvalid, field, backend.Printable(resolved)+" is neither a directory nor a regular file", "")
	}
	return resolved, info, nil
}

func bindError(kind error, field, message, hint string) error {
	return &backend.Error{Kind: kind, Path: field, Message: message, Hint: hint}
}

// EngineBindable refuses a directory of this host where the engine does not see
// it (local), or sees other owners (mapped). field is where it was asked for.
func EngineBindable(field, address string, local, mapped bool) error {
	e := &backend.Error{Kind: backend.ErrUnsupported, Path: field, Hint: "leave it out: the sandbox gets a workspace of its own"}
	switch {
	case !local:
		e.Message = "the engine at " + backend.Printable(address) + " does not see the directories of this host"
	case mapped:
		e.Message = "the engine maps users, and a directory of this host would belong to nobody in the sandbox"
	default:
		return nil
	}
	return e
}
