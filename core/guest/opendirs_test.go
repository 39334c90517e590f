package guest

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// TestOpenDirs: a file system in memory is opened to everybody, anything else left
// alone.
func TestOpenDirs(t *testing.T) {
	var fs unix.Statfs_t
	if err := unix.Statfs("/dev/shm", &fs); err != nil || fs.Type != unix.TMPFS_MAGIC {
		t.Skipf("needs a tmpfs at /dev/shm: %v", err)
	}
	dir, err := os.MkdirTemp("/dev/shm", "deep-test-")
	if err != nil {
		t.Skipf("needs a writable /dev/shm: %v", err)
	}
	t.Cleanup(func() { _ = os.Remove(dir) })
	if err := openDirs("\n/proc\n" + dir + "\n"); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(dir)
	if err != nil || info.Mode() != os.ModeDir|os.ModeSticky|0o777 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if err := openDirs(dir + "/none"); err == nil {
		t.Error("no error for what is not there")
	}
}
