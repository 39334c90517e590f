package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/deep-sandbox/deep/core/pluginsdk"
)

// What a sandbox sees of this host, read-only: programs and libraries, and of
// /etc only what those need to work.
var (
	systemDirs  = []string{"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/opt"}
	etcPatterns = []string{
		"alternatives", "ca-certificates", "ca-certificates.conf", "java-*", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime",
		"magic", "magic.mime", "mime.types", "perl", "pki", "python*", "ssl", "timezone",
	}
	etcNetwork = []string{"hosts", "resolv.conf"}
	devices    = []string{"null", "zero", "full", "random", "urandom", "tty"}
)

// staging is where the new root is built, over a directory every host has; it is
// seen in this mount namespace only.
const staging = "/tmp"

// shown is a tree of this host on its way to a place in the sandbox.
type shown struct {
	fd     int
	target string
	dir    bool
	attr   uint64
}

type link struct{ target, name string }

func makePrivate() error {
	return unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
}

// open takes hold of everything the sandbox shall see of this host. What is there
// when it is opened is what is shown, whatever takes its place later.
func (s *setup) open() error {
	const readOnly = unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV
	for _, dir := range systemDirs {
		if err := s.show(dir, dir, readOnly, true); err != nil {
			return err
		}
	}
	etc := etcPatterns
	if s.plan.Network {
		etc = append(etc, etcNetwork...)
	}
	for _, pattern := range etc {
		names, err := filepath.Glob("/etc/" + pattern)
		if err != nil {
			return err
		}
		for _, name := range names {
			resolved, err := filepath.EvalSymlinks(name)
			if err != nil {
				continue // a link to nothing shows nothing
			}
			if err := s.show(resolved, name, readOnly, true); err != nil {
				return err
			}
		}
	}
	for _, d := range devices {
		if err := s.show("/dev/"+d, "/dev/"+d, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NOEXEC, false); err != nil {
			return err
		}
	}
	if err := s.show(s.plan.Guest, pluginsdk.EngineGuestPath, readOnly, false); err != nil {
		return err
	}
	if err := s.show(s.plan.Workspace, s.plan.Record.WorkspacePath, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV, false); err != nil {
		return err
	}
	for _, m := range s.plan.Mounts {
		attr := uint64(unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV)
		if m.ReadOnly {
			attr |= unix.MOUNT_ATTR_RDONLY
		}
		if err := s.show(m.Source, m.Target, attr, false); err != nil {
			return err
		}
	}
	return nil
}

// show opens a tree. A link is made again rather than followed.
func (s *setup) show(source, target string, attr uint64, optional bool) error {
	info, err := os.Lstat(source)
	if errors.Is(err, fs.ErrNotExist) && optional {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode()&fs.ModeSymlink != 0 {
		to, err := os.Readlink(source)
		s.links = append(s.links, link{to, target})
		return err
	}
	fd, err := unix.OpenTree(unix.AT_FDCWD, source,
		unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE|unix.AT_SYMLINK_NOFOLLOW)
	if err != nil {
		return fmt.Errorf("%s: %w", source, err)
	}
	s.shown = append(s.shown, shown{fd, target, info.IsDir(), attr})
	return nil
}

// build makes the new root in staging.
func (s *setup) build() error {
	if err := mountTmpfs(staging, 4<<20, "0755"); err != nil {
		return err
	}
	for _, t := range s.plan.Tmpfs {
		if t.Target == pluginsdk.EngineGuestRun {
			continue // its socket is on this side
		}
		if err := os.MkdirAll(staging+t.Target, 0o755); err != nil {
			return err
		}
		if err := mountTmpfs(staging+t.Target, t.Size, t.Mode); err != nil {
			return err
		}
	}
	for _, t := range s.shown {
		if err := t.place(); err != nil {
			return fmt.Errorf("%s: %w", t.target, err)
		}
	}
	for _, l := range append(s.links,
		link{"/proc/self/fd", "/dev/fd"}, link{"/proc/self/fd/0", "/dev/stdin"}, link{"/proc/self/fd/1", "/dev/stdout"},
		link{"/proc/self/fd/2", "/dev/stderr"}, link{"/proc/self/mounts", "/etc/mtab"}) {
		if err := os.MkdirAll(filepath.Dir(staging+l.name), 0o755); err != nil {
			return err
		}
		if err := os.Symlink(l.target, staging+l.name); err != nil {
			return err
		}
	}
	for name, text := range s.etc() {
		if err := os.WriteFile(staging+"/etc/"+name, []byte(text), 0o644); err != nil {
			return err
		}
	}
	return os.MkdirAll(staging+"/proc", 0o555)
}

// etc is the part of /etc that is the sandbox's own.
func (s *setup) etc() map[string]string {
	user := fmt.Sprintf("user:x:%d:", sandboxID)
	files := map[string]string{
		"passwd":        "root:x:0:0:root:/:/bin/sh\n" + user + fmt.Sprintf("%d:user:%s:/bin/sh\n", sandboxID, pluginsdk.EngineHome) + "nobody:x:65534:65534:nobody:/:/bin/false\n",
		"group":         "root:x:0:\n" + user + "\nnogroup:x:65534:\n",
		"nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
		"hostname":      "sandbox\n",
	}
	if !s.plan.Network {
		files["hosts"] = "127.0.0.1 localhost sandbox\n::1 localhost\n"
	}
	return files
}

// place puts a tree where it is seen.
func (t shown) place() error {
	path := staging + t.target
	if t.dir {
		if err := os.MkdirAll(path, 0o755); err != nil {
			return err
		}
	} else {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			return err
		}
	}
	if err := unix.MountSetattr(t.fd, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &unix.MountAttr{Attr_set: t.attr}); err != nil {
		return err
	}
	if err := unix.MoveMount(t.fd, "", unix.AT_FDCWD, path, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return err
	}
	return unix.Close(t.fd)
}

func mountTmpfs(target string, size int64, mode string) error {
	err := unix.Mount("tmpfs", target, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, fmt.Sprintf("size=%d,mode=%s", size, mode))
	if err != nil {
		return fmt.Errorf("tmpfs on %s: %w", strings.TrimPrefix(target, staging), err)
	}
	return nil
}

// proc shows the processes of the new PID namespace.
func (s *setup) proc() error {
	return unix.Mount("proc", staging+"/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
}

// pivot makes the new root the root and lets go of the old one.
func (s *setup) pivot() error {
	if err := unix.Chdir(staging); err != nil {
		return err
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return err
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return err
	}
	return unix.Chdir("/")
}

// cover makes read-only, or hides, what of /proc is not about processes.
func (s *setup) cover() error {
	for _, path := range []string{"/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus", "/proc/fs"} {
		err := unix.Mount(path, path, "", unix.MS_BIND|unix.MS_REC, "")
		if errors.Is(err, unix.ENOENT) {
			continue
		}
		if err == nil {
			err = unix.MountSetattr(unix.AT_FDCWD, path, unix.AT_RECURSIVE, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY})
		}
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	for _, path := range []string{"/proc/kcore", "/proc/keys", "/proc/key-users", "/proc/timer_list", "/proc/sched_debug", "/proc/kmsg"} {
		if err := unix.Mount("/dev/null", path, "", unix.MS_BIND, ""); err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return nil
}

// seal makes the root itself read-only; what is mounted on it is as it is.
func (s *setup) seal() error {
	return unix.MountSetattr(unix.AT_FDCWD, "/", 0,
		&unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV})
}
