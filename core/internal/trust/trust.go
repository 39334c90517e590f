// Package trust tells whether somebody else can change a file that this program
// is about to obey or to run.
package trust

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
)

// Writer says who beside this user, root and the users also can write a file, ""
// if nobody.
func Writer(info fs.FileInfo, also ...uint32) string {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return "nobody knows who"
	}
	trusted := append([]uint32{0, uint32(os.Geteuid())}, also...)
	switch {
	case !slices.Contains(trusted, st.Uid):
		return fmt.Sprintf("another user (uid %d)", st.Uid)
	case info.Mode().Perm()&0o002 != 0:
		return "everybody"
	case info.Mode().Perm()&0o020 != 0:
		return "its group"
	}
	return ""
}

// Directory returns the first of the directories of path that somebody else can
// write, and who: the one it is in, and for a symbolic link the one of its target
// too. In a sticky directory, as /tmp is, others cannot replace what is not theirs.
func Directory(path string, also ...uint32) (dir, who string, err error) {
	target, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", "", err
	}
	for _, dir := range []string{filepath.Dir(path), filepath.Dir(target)} {
		info, err := os.Stat(dir)
		if err != nil {
			return "", "", err
		}
		if info.Mode()&fs.ModeSticky != 0 {
			continue
		}
		if who := Writer(info, also...); who != "" {
			return dir, who, nil
		}
	}
	return "", "", nil
}

// Owner returns the user whose this program is: who can change it, can change what
// it runs as well.
func Owner() []uint32 {
	self, err := os.Executable()
	if err != nil {
		return nil
	}
	info, err := os.Stat(self)
	if err != nil {
		return nil
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return []uint32{st.Uid}
	}
	return nil
}
