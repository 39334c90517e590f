package guest

import (
	"maps"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/deep-sandbox/deep/core/backend"
)

// defaultPath is used where neither the image nor anybody else sets PATH.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// baseEnv is the environment of every command: what the guest itself was given
// (an image's ENV), under the defaults, under what Setup says. Variables that
// begin with DEEP_ are between deep and the guest.
func baseEnv(own []string, setup [][]byte, home string) (map[string]string, error) {
	env := map[string]string{}
	for _, kv := range own {
		k, v, ok := strings.Cut(kv, "=")
		if ok && k != "" && !strings.HasPrefix(k, "DEEP_") {
			env[k] = v
		}
	}
	if env["PATH"] == "" {
		env["PATH"] = defaultPath
	}
	env["HOME"], env["LANG"] = home, "C.UTF-8"
	delete(env, "TERM") // it depends on the command
	for _, kv := range setup {
		k, v, ok := strings.Cut(string(kv), "=")
		if !ok {
			return nil, &backend.Error{Kind: backend.ErrInvalid, Message: "environment without a value", Path: k, Hint: "write NAME=VALUE"}
		}
		if err := checkVariable(k, v); err != nil {
			return nil, err
		}
		env[k] = v
	}
	return env, nil
}

func checkVariable(key, value string) error {
	if key == "" || strings.ContainsAny(key, "=\x00") || strings.IndexByte(value, 0) >= 0 {
		return &backend.Error{Kind: backend.ErrInvalid, Path: key,
			Message: "a variable's name must not be empty nor hold '=' or NUL, and its value no NUL", Hint: "rename or leave out the variable"}
	}
	return nil
}

// withEnv returns base and extra, which wins, in the form execve takes, sorted;
// with TERM where neither has it.
func withEnv(base map[string]string, term string, extra map[string]string) (env []string, path string) {
	all := map[string]string{"TERM": term}
	maps.Copy(all, base)
	maps.Copy(all, extra)
	env = make([]string, 0, len(all))
	for _, k := range slices.Sorted(maps.Keys(all)) {
		env = append(env, k+"="+all[k])
	}
	return env, all["PATH"]
}

// home is where commands keep what belongs to their user: what the backend made
// for it (DEEP_HOME), else the HOME the guest was given, else /tmp, whichever
// the user can write to, and the workspace in the last resort.
func (s *Sandbox) home() string {
	for _, dir := range []string{os.Getenv("DEEP_HOME"), os.Getenv("HOME"), "/tmp"} {
		if dir == "" || dir[0] != '/' {
			continue
		}
		if s.files.doAnyway(func() error { return unix.Faccessat2(unix.AT_FDCWD, dir, unix.W_OK|unix.X_OK, unix.AT_EACCESS) }) == nil {
			return dir
		}
	}
	return s.workspace
}
