package guest

import (
	"strings"

	"github.com/deep-sandbox/deep/core/backend"
)

const (
	maxPath = 4095
	maxName = 255

	hintLong = "a path has 4095 bytes at most; move what is so deep up, or name it from the workspace"
)

// abs returns path as an absolute one, lexically untouched: what ".." means is
// for the kernel to say.
func (s *Sandbox) abs(path string) (string, error) {
	if err := checkPath(path); err != nil {
		return "", err
	}
	if path[0] == '/' {
		return path, nil
	}
	joined := s.workspace + "/" + path
	if len(joined) > maxPath {
		return "", &backend.Error{Kind: backend.ErrInvalid, Path: path, Message: "path too long", Hint: hintLong}
	}
	return joined, nil
}

// absOrWorkspace is abs for requests where an empty path is the workspace.
func (s *Sandbox) absOrWorkspace(path string) (string, error) {
	if path == "" {
		return s.workspace, nil
	}
	return s.abs(path)
}

// checkPath refuses what no kernel call would take, before anything is done.
func checkPath(path string) error {
	invalid := func(message, hint string) error {
		return &backend.Error{Kind: backend.ErrInvalid, Path: path, Message: message, Hint: hint}
	}
	switch {
	case path == "":
		return invalid("empty path", "name a file or directory; \".\" is the workspace")
	case len(path) > maxPath:
		return invalid("path too long", hintLong)
	case strings.IndexByte(path, 0) >= 0:
		return invalid("a path cannot hold a NUL", "remove the NUL")
	}
	for rest := path; rest != ""; {
		name, after, _ := strings.Cut(rest, "/")
		if len(name) > maxName {
			return invalid("a name in the path is longer than 255 bytes", "choose a shorter name")
		}
		rest = after
	}
	return nil
}

// splitPath cuts an absolute path or the target of a link into the directory
// and the last name, as path.Split does, without trailing slashes. The name is
// "" for "/", and slash reports whether one had to follow a name.
func splitPath(path string) (dir, name string, slash bool) {
	trimmed := strings.TrimRight(path, "/")
	if trimmed == "" {
		return "/", "", true
	}
	slash = len(trimmed) < len(path)
	i := strings.LastIndexByte(trimmed, '/')
	if i < 0 {
		return ".", trimmed, slash
	}
	dir = trimmed[:i+1]
	return dir, trimmed[i+1:], slash
}
