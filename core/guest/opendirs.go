package guest

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// openMode is that of a directory in which everybody may make files.
const openMode = 0o1777

// openDirs gives file systems in memory, by the paths in a text of one a line, the
// mode the engine was asked for: runc (1.1) gives one the mode of the directory of
// the image that it covers, as a rule 0755 and root's, and the user could write
// nothing. What is there instead of such a file system is left alone.
func openDirs(lines string) error {
	for path := range strings.SplitSeq(lines, "\n") {
		if path == "" {
			continue
		}
		var fs unix.Statfs_t
		if err := unix.Statfs(path, &fs); err != nil {
			return fmt.Errorf("look at %s: %w", path, err)
		}
		if fs.Type != unix.TMPFS_MAGIC {
			continue
		}
		if err := unix.Chmod(path, openMode); err != nil {
			return fmt.Errorf("open %s to the user: %w", path, err)
		}
	}
	return nil
}
