package jail

import (
	"errors"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// cgroupView is where the sandbox sees its own cgroups, read-only: beside its
// guest, since there is no /sys.
func (s *setup) cgroupView() string { return filepath.Join(filepath.Dir(s.GuestPath), "cgroup") }

const viewFlags = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC

// joined returns the hierarchies in which this process is in a cgroup of the
// sandbox: by their controllers, "" for version 2. It has to be asked before that
// cgroup is the top of what it sees.
func (s *setup) joined() ([]string, error) {
	if len(s.Cgroups) == 0 {
		return nil, nil
	}
	b, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil, err
	}
	var found []string
	for line := range strings.Lines(string(b)) {
		// "4:cpu,cpuacct:/path", and "0::/path" for version 2.
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(f) == 3 && path.Base(f[2]) == filepath.Base(s.Cgroups[0].Dir) {
			found = append(found, f[1])
		}
	}
	return found, nil
}

// showCgroups mounts what the sandbox may know of its cgroups: how much it uses,
// and whether the kernel ended something for want of memory. A kernel that refuses
// takes numbers away and nothing else, and the guest tells which it cannot see.
func (s *setup) showCgroups(joined []string) error {
	if len(joined) == 0 {
		return nil
	}
	view := s.cgroupView()
	if err := unix.Mount("tmpfs", view, "tmpfs", viewFlags, "size=64k,mode=0755"); err != nil {
		return err
	}
	for _, controllers := range joined {
		kind, name := "cgroup", controllers
		if controllers == "" {
			kind, name = "cgroup2", "unified"
		}
		target := filepath.Join(view, name)
		if err := os.Mkdir(target, 0o755); err != nil {
			return err
		}
		if err := refused(mountReadOnly(kind, target, controllers)); err != nil {
			return err
		}
	}
	return unix.MountSetattr(unix.AT_FDCWD, view, 0, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY})
}

// mountReadOnly mounts a hierarchy. It is the mount that is read-only, since the
// hierarchy is the machine's too.
func mountReadOnly(kind, target, controllers string) error {
	if err := unix.Mount(kind, target, kind, viewFlags, controllers); err != nil {
		return err
	}
	return unix.MountSetattr(unix.AT_FDCWD, target, 0, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY})
}

// refused drops the error of a kernel, or a policy, that does not allow a mount.
func refused(err error) error {
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) || errors.Is(err, unix.EBUSY) {
		return nil
	}
	return err
}
