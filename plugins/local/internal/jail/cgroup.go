package jail

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/deep-sandbox/deep/core/control"
)

// Cgroup is one to make for a sandbox.
type Cgroup struct {
	Dir string `json:"dir"`
	// Files to write, in this order.
	Files []CgroupFile `json:"files"`
}

// CgroupFile is a limit.
type CgroupFile struct {
	Name  string `json:"name"`
	Value string `json:"value"`
	// Optional: not every kernel has it.
	Optional bool `json:"optional,omitempty"`
}

// make makes the cgroup and sets its limits.
func (c Cgroup) make() error {
	if err := os.Mkdir(c.Dir, 0o755); err != nil {
		return err
	}
	for _, f := range c.Files {
		if opened(f.Name) {
			continue
		}
		err := os.WriteFile(filepath.Join(c.Dir, f.Name), []byte(f.Value), 0)
		if err != nil && (!f.Optional || !errors.Is(err, fs.ErrNotExist)) {
			return err
		}
	}
	return nil
}

// opened reports whether a test wants to be without a limit.
func opened(file string) bool {
	for prefix, defence := range map[string]string{"memory.": control.MemoryLimit, "pids.": control.PIDsLimit, "cpu.": control.CPULimit} {
		if strings.HasPrefix(file, prefix) && control.Opened(defence) {
			return true
		}
	}
	return false
}

// join puts a process into the cgroup.
func (c Cgroup) join(pid int) error {
	return os.WriteFile(filepath.Join(c.Dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0)
}

// leaveTime is how long the kernel may take to let go of processes that were
// killed.
const leaveTime = 10 * time.Second

// removeCgroups removes cgroups, and kills what is still in them: of a sandbox
// whose keeper was killed before it could. Directories are those of a record of
// ours, each made for one sandbox.
func removeCgroups(dirs []string) error {
	var failure error
	for _, dir := range dirs {
		for deadline := time.Now().Add(leaveTime); ; time.Sleep(time.Millisecond) {
			err := unix.Rmdir(dir)
			if err == nil || errors.Is(err, unix.ENOENT) {
				break
			}
			if !errors.Is(err, unix.EBUSY) || time.Now().After(deadline) {
				failure = errors.Join(failure, fmt.Errorf("remove %s: %w", dir, err))
				break
			}
			killAll(dir)
		}
	}
	return failure
}

// killAll kills what is in a cgroup now. What cannot be killed keeps the cgroup,
// and that is told.
func killAll(dir string) {
	data, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	if err != nil {
		return
	}
	for pid := range strings.FieldsSeq(string(data)) {
		n, err := strconv.Atoi(pid)
		if err != nil || n <= 0 {
			continue // of another PID namespace
		}
		if p, err := processOf(n); err == nil && inCgroup(dir, n) {
			_ = p.Signal(unix.SIGKILL)
		}
	}
}

// inCgroup reports whether process pid is in dir: the id may have gone to another
// since it was read there.
func inCgroup(dir string, pid int) bool {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cgroup")
	return err == nil && strings.Contains(string(data), "/"+filepath.Base(dir)+"\n")
}
