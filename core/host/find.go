package host

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/internal/handshake"
)

// Found is the program of a backend.
type Found struct {
	// Name of the backend.
	Name string
	// Path of its program.
	Path string
}

// pluginsDir is beside the program.
const pluginsDir = "plugins"

// SearchPath returns the directories plugins are looked for in, first one first:
// those of DEEP_PLUGIN_PATH, plugins/ beside this program, and deep/plugins in
// the user's data directory. Never the working directory, which may be a
// stranger's checkout, and never PATH.
func SearchPath() []string {
	var dirs []string
	for _, dir := range filepath.SplitList(os.Getenv("DEEP_PLUGIN_PATH")) {
		if filepath.IsAbs(dir) { // a relative one is the working directory again
			dirs = append(dirs, filepath.Clean(dir))
		}
	}
	if self, err := executable(); err == nil {
		dirs = append(dirs, filepath.Join(filepath.Dir(self), pluginsDir))
	}
	if data, err := userDir("XDG_DATA_HOME", ".local/share"); err == nil {
		dirs = append(dirs, filepath.Join(data, "deep", "plugins"))
	}
	return dirs
}

// Find returns the path of the program of backend name. ErrNotFound names the
// backends there are and the directories searched. What has the right name is
// returned whatever it is: Launch says what is wrong with it, rather than that
// there is nothing.
func Find(name string) (string, error) {
	dirs := SearchPath()
	if validName(name) {
		for _, dir := range dirs {
			path := filepath.Join(dir, handshake.BinaryPrefix+name)
			if _, err := os.Lstat(path); err == nil {
				return path, nil
			} else if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) {
				return "", &backend.Error{Kind: backend.ErrUnavailable, Op: "find plugin", Path: path, Err: err}
			}
		}
	}
	return "", missing(name, dirs)
}

func missing(name string, dirs []string) error {
	hint := "there is no plugin at all"
	if found, err := List(); err == nil && len(found) > 0 {
		names := make([]string, 0, len(found))
		for _, f := range found {
			names = append(names, f.Name)
		}
		hint = "there are " + strings.Join(names, ", ")
		if len(names) == 1 {
			hint = "there is " + names[0]
		}
	}
	shown := make([]string, 0, len(dirs))
	for _, dir := range dirs {
		shown = append(shown, backend.Printable(dir))
	}
	return &StartError{Reason: ReasonMissing, Err: &backend.Error{
		Kind: backend.ErrNotFound, Op: "find plugin", Path: handshake.BinaryPrefix + name,
		Message: "no such plugin in " + strings.Join(shown, ", "),
		Hint:    hint + "; DEEP_PLUGIN_PATH names further directories",
	}}
}

// List returns the plugins there are, sorted by name. Of several with one name
// it is the one that Find returns. Directories that cannot be read hold none.
func List() ([]Found, error) {
	seen := map[string]bool{}
	var found []Found
	for _, dir := range SearchPath() {
		entries, err := os.ReadDir(dir)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
			continue
		}
		if err != nil {
			return nil, &backend.Error{Kind: backend.ErrUnavailable, Op: "list plugins", Path: dir, Err: err}
		}
		for _, e := range entries {
			name, ok := strings.CutPrefix(e.Name(), handshake.BinaryPrefix)
			if ok && validName(name) && !seen[name] {
				seen[name] = true
				found = append(found, Found{Name: name, Path: filepath.Join(dir, e.Name())})
			}
		}
	}
	slices.SortFunc(found, func(a, b Found) int { return strings.Compare(a.Name, b.Name) })
	return found, nil
}

// validName reports whether name may stand in `backend "NAME"`.
func validName(name string) bool {
	for i, c := range name {
		letter := c >= 'a' && c <= 'z'
		if !letter && (i == 0 || c != '-' && (c < '0' || c > '9')) {
			return false
		}
	}
	return name != ""
}
