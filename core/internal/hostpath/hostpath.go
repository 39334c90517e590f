// Package hostpath knows the places of a host that no sandbox is shown.
package hostpath

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/deep-sandbox/deep/core/backend"
)

// Hint is the remedy for a path that is refused.
const Hint = "use a directory made for it"

// A Place is refused with all below and above.
type Place struct {
	// Path, "" for none.
	Path string
	// Why it is not shown: "it is the kernel's".
	Why string
}

var places = []Place{
	{"/etc", "it configures this host"},
	{"/proc", "it is the kernel's"},
	{"/sys", "it is the kernel's"},
	{"/dev", "it holds this host's devices"},
	{"/run", "it holds this host's sockets"},
	{"/boot", "it starts this host"},
	{"/var/lib/docker", "it is Docker's"},
	{"/var/lib/containerd", "it is containerd's"},
	{"/var/lib/containers", "it is Podman's"},
}

// Refused says in one line that path is not to be shown, and why; "" if it may.
// Links are followed as far as path exists. further are places beside those that
// every host has.
func Refused(path string, further ...Place) string {
	path = resolve(path)
	if why := refused(path, further); why != "" {
		return backend.Printable(path) + " is not shown in a sandbox: " + why
	}
	return ""
}

func refused(path string, further []Place) string {
	if path == "/" {
		return "it is all of this host"
	}
	for _, list := range [][]Place{places, further} {
		for _, p := range list {
			if p.Path == "" {
				continue
			}
			if place := resolve(p.Path); within(path, place) || within(place, path) {
				return p.Why
			}
		}
	}
	// What lies in the home directory is what most people work on.
	if home, err := os.UserHomeDir(); err == nil && within(resolve(home), path) {
		return "your home directory, with its keys, is there"
	}
	return ""
}

// resolve follows the links of path; of one that is not there, or cannot be
// reached, those of what it would be in.
func resolve(path string) string {
	resolved, err := filepath.EvalSymlinks(path)
	if err == nil {
		return resolved
	}
	path = filepath.Clean(path)
	dir := filepath.Dir(path)
	if dir == path {
		return path
	}
	return filepath.Join(resolve(dir), filepath.Base(path))
}

// within reports whether path is dir or lies below it.
func within(path, dir string) bool {
	return path == dir || dir == "/" || strings.HasPrefix(path, dir+"/")
}
