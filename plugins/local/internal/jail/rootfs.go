package jail

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/deep-sandbox/deep/core/control"
)

// staging is where the new root is built: over a directory every host has, and
// seen in this mount namespace only.
const staging = "/tmp"

// Sizes of what holds hardly more than names, in bytes.
const (
	rootSize = 4 << 20
	devSize  = 1 << 20
)

// readOnly is how programs of this host are shown: no setuid, no devices.
const readOnly = unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV

// What a sandbox sees of this host: the programs and libraries of its system,
// and devices that hold nothing. Not /opt, where people keep more than programs;
// a mount shows it to who wants that.
var (
	systemDirs = []string{"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"}
	devices    = []string{"null", "zero", "full", "random", "urandom", "tty"}
)

// shown is a tree of this host on its way to its place in the sandbox.
type shown struct {
	fd     int
	target string
	dir    bool
}

type link struct{ to, name string }

func makePrivate() error {
	return unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
}

// openSystem takes hold of what every sandbox sees of this host.
func (s *setup) openSystem() error {
	for _, dir := range systemDirs {
		if err := s.show(dir, dir, readOnly); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := s.openEtc(); err != nil {
		return err
	}
	for _, d := range devices {
		if err := s.show("/dev/"+d, "/dev/"+d, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NOEXEC); err != nil {
			return err
		}
	}
	return s.show(s.Guest, s.GuestPath, readOnly)
}

// show opens a tree of this host. A link is made again rather than followed.
func (s *setup) show(source, target string, attr uint64) error {
	info, err := os.Lstat(source)
	if err != nil {
		return err
	}
	if info.Mode()&fs.ModeSymlink != 0 && target != s.GuestPath {
		to, err := os.Readlink(source)
		s.links = append(s.links, link{to, target})
		return err
	}
	fd, err := openTree(unix.AT_FDCWD, source, attr)
	if err != nil {
		return fmt.Errorf("%s: %w", source, err)
	}
	s.shown = append(s.shown, shown{fd, target, info.IsDir()})
	return nil
}

// openTree returns a detached copy of the mounts at a path.
func openTree(at int, path string, attr uint64) (int, error) {
	flags := uint(unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC | unix.AT_RECURSIVE)
	if path == "" {
		flags |= unix.AT_EMPTY_PATH
	}
	fd, err := unix.OpenTree(at, path, flags)
	if err != nil {
		return -1, err
	}
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &unix.MountAttr{Attr_set: attr}); err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// openBinds takes hold of what this sandbox sees: of what was looked at, and not
// of what may be in its place by now.
func (s *setup) openBinds() error {
	for _, b := range s.Binds {
		fd, err := unix.Openat2(unix.AT_FDCWD, b.Source, &unix.OpenHow{
			Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
		})
		if err != nil {
			return fmt.Errorf("%s: %w", b.Source, err)
		}
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			return fmt.Errorf("%s: %w", b.Source, err)
		}
		if st.Dev != b.Dev || st.Ino != b.Ino {
			return fmt.Errorf("%s has been replaced meanwhile: %w", b.Source, unix.ESTALE)
		}
		attr := uint64(unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV)
		if b.ReadOnly {
			attr |= unix.MOUNT_ATTR_RDONLY
		}
		tree, err := openTree(fd, "", attr)
		_ = unix.Close(fd)
		if err != nil {
			return fmt.Errorf("%s: %w", b.Source, err)
		}
		s.binds = append(s.binds, shown{tree, b.Target, st.Mode&unix.S_IFMT == unix.S_IFDIR})
	}
	// What lies in another comes after it.
	slices.SortStableFunc(s.binds, func(x, y shown) int { return cmp.Compare(x.target, y.target) })
	return nil
}

// build makes the new root in staging.
func (s *setup) build() error {
	if err := mountTmpfs(staging, rootSize, "0755", true); err != nil {
		return err
	}
	tmpfs := append([]Tmpfs{{Target: "/dev", Size: devSize, Mode: "0755"}}, s.Tmpfs...)
	for _, t := range tmpfs {
		if err := os.MkdirAll(staging+t.Target, 0o755); err != nil {
			return err
		}
		if err := mountTmpfs(staging+t.Target, t.Size, t.Mode, t.Exec); err != nil {
			return err
		}
	}
	for _, t := range s.shown {
		if err := t.place(staging, -1); err != nil {
			return err
		}
	}
	if err := s.terminals(); err != nil {
		return err
	}
	links := append(s.links,
		link{"/proc/self/fd", "/dev/fd"}, link{"fd/0", "/dev/stdin"}, link{"fd/1", "/dev/stdout"}, link{"fd/2", "/dev/stderr"},
		link{"pts/ptmx", "/dev/ptmx"}, link{"/tmp", "/var/tmp"}, link{"/proc/self/mounts", "/etc/mtab"})
	for _, l := range links {
		if err := os.MkdirAll(filepath.Dir(staging+l.name), 0o755); err != nil {
			return err
		}
		if err := os.Symlink(l.to, staging+l.name); err != nil {
			return err
		}
	}
	for name, text := range s.etc() {
		if err := os.WriteFile(staging+"/etc/"+name, []byte(text), 0o644); err != nil {
			return err
		}
	}
	return errors.Join(os.Mkdir(staging+"/proc", 0o555), os.MkdirAll(staging+s.cgroupView(), 0o755))
}

// terminals mounts an instance of devpts of the sandbox's own.
func (s *setup) terminals() error {
	if err := os.Mkdir(staging+"/dev/pts", 0o755); err != nil {
		return err
	}
	return unix.Mount("devpts", staging+"/dev/pts", "devpts", unix.MS_NOSUID|unix.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0600")
}

// placeBinds puts the workspace and the further mounts where they are seen. This
// process is in the sandbox already: should the content of one be in the way of
// another, with links in it, those lead nowhere else.
func (s *setup) placeBinds() error {
	for _, b := range s.binds {
		owner := -1
		if strings.HasPrefix(b.target, s.Workspace+"/") {
			owner = UserID // what is made there is found there afterwards
		}
		if err := b.place("", owner); err != nil {
			return err
		}
	}
	return nil
}

// place puts a tree at its target below root. Directories that are missing there
// are made, for owner if that is an id.
func (t shown) place(root string, owner int) error {
	path := root + t.target
	dir := path
	if !t.dir {
		dir = filepath.Dir(path)
	}
	if err := mkdirs(dir, owner); err != nil {
		return err
	}
	if !t.dir {
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|unix.O_NONBLOCK, 0o644)
		if err != nil {
			return err
		}
		if err := errors.Join(give(path, owner), f.Close()); err != nil {
			return err
		}
	}
	if err := unix.MoveMount(t.fd, "", unix.AT_FDCWD, path, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("%s: %w", t.target, err)
	}
	return unix.Close(t.fd)
}

func mkdirs(dir string, owner int) error {
	if info, err := os.Stat(dir); err == nil && info.IsDir() {
		return nil
	}
	if err := mkdirs(filepath.Dir(dir), owner); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	return give(dir, owner)
}

func give(path string, owner int) error {
	if owner < 0 {
		return nil
	}
	return os.Lchown(path, owner, owner)
}

func mountTmpfs(target string, size int64, mode string, exec bool) error {
	flags := uintptr(unix.MS_NOSUID | unix.MS_NODEV)
	if !exec {
		flags |= unix.MS_NOEXEC
	}
	if err := unix.Mount("tmpfs", target, "tmpfs", flags, fmt.Sprintf("size=%d,mode=%s", size, mode)); err != nil {
		return fmt.Errorf("tmpfs at %s: %w", strings.TrimPrefix(target, staging), err)
	}
	return nil
}

// mountProc shows the processes of the new PID namespace.
func (s *setup) mountProc() error {
	return unix.Mount("proc", staging+"/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
}

// pivot makes the new root the root and lets go of the old one.
func pivot() error {
	if err := unix.Chdir(staging); err != nil {
		return err
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return err
	}
	// Both are at the same place now; the old one is on top.
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return err
	}
	return unix.Chdir("/")
}

// What of /proc is not about processes: settings, and what tells of this host.
var (
	procReadOnly = []string{"/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus", "/proc/fs"}
	procHidden   = []string{
		"/proc/kcore", "/proc/keys", "/proc/key-users", "/proc/kmsg", "/proc/latency_stats", "/proc/sched_debug", "/proc/timer_list",
	}
)

// cover makes read-only, or hides, what of /proc is not about processes. The
// kernel's own permissions protect most of it too, since nobody in here is root
// outside.
func cover() error {
	for _, path := range procReadOnly {
		fd, err := openTree(unix.AT_FDCWD, path, readOnly|unix.MOUNT_ATTR_NOEXEC)
		if errors.Is(err, unix.ENOENT) {
			continue
		}
		if err == nil {
			err = unix.MoveMount(fd, "", unix.AT_FDCWD, path, unix.MOVE_MOUNT_F_EMPTY_PATH)
			_ = unix.Close(fd)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	for _, path := range procHidden {
		if err := unix.Mount("/dev/null", path, "", unix.MS_BIND, ""); err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return nil
}

// seal makes the root itself, and /dev, read-only; what else is mounted there is
// as it is.
func seal() error {
	if control.Opened(control.RootFileSystem) {
		return nil
	}
	for path, attr := range map[string]uint64{"/": readOnly, "/dev": readOnly | unix.MOUNT_ATTR_NOEXEC} {
		if err := unix.MountSetattr(unix.AT_FDCWD, path, 0, &unix.MountAttr{Attr_set: attr}); err != nil {
			return err
		}
	}
	return nil
}
