package pluginsdk

import (
	"os"
	"path"
	"slices"
	"strings"
	"syscall"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/control"
)

// The engine*.go files hold what backends on a container engine have in common,
// so that a container of Docker and one of Podman are the same sandbox, and the
// next engine gets it for nothing.

// Where the guest is in a container.
const (
	// EngineGuestDir holds the guest's program and EngineGuestRun.
	EngineGuestDir = "/.deep"
	// EngineGuestPath is the guest's program, read-only.
	EngineGuestPath = EngineGuestDir + "/deep-guest"
	// EngineGuestRun is a small private tmpfs for the guest's socket.
	EngineGuestRun = EngineGuestDir + "/run"

	engineGuestSocket = EngineGuestRun + "/guest.sock"
)

// EngineServe is what a container runs as PID 1.
func EngineServe() []string {
	return []string{EngineGuestPath, "serve", "--socket", engineGuestSocket}
}

// EngineConnect is what an exec runs to reach the guest.
func EngineConnect() []string {
	return []string{EngineGuestPath, "connect", "--socket", engineGuestSocket}
}

// EngineUser is whom the guest runs as; not the user commands run as.
const EngineUser = "0:0"

// EngineCaps are the capabilities of the guest: to become the sandbox user and
// to kill what that user runs. Commands have none.
func EngineCaps() []string {
	caps := []string{"SETUID", "SETGID", "KILL"}
	if control.Opened(control.Capabilities) {
		caps = append(caps, "SYS_ADMIN", "NET_RAW", "MKNOD", "DAC_OVERRIDE", "DAC_READ_SEARCH")
	}
	return caps
}

// LabelImage is the image a container was made from, as the caller named it: it
// is made by the image's id, since what a tag means can change in between.
const LabelImage = "deep.image"

// EngineContainer is the name of the container of sandbox id. It derives from
// the id, so that the engine itself refuses a second one.
func EngineContainer(id string) string { return "deep-" + id }

// EngineWorkspace is the name of the volume of a kept workspace.
func EngineWorkspace(name string) string { return "deep-ws-" + name }

// EngineInfo is InfoFromLabels, with the volume of a kept workspace.
func EngineInfo(labels map[string]string) backend.SandboxInfo {
	info := InfoFromLabels(labels)
	if name := labels[LabelWorkspace]; name != "" {
		info.WorkspaceSource = "volume " + EngineWorkspace(name)
	}
	return info
}

// EngineArch returns the architecture of an image, in the words of OCI, as
// GuestProgram has it, or "" for one there is no guest for.
func EngineArch(os, arch string) string {
	if os != "" && os != "linux" {
		return ""
	}
	switch arch {
	case "amd64", "x86_64":
		return "amd64"
	case "arm64", "aarch64":
		return "arm64"
	}
	return ""
}

// EngineThisHost reports whether an engine that answers on a local socket, and
// calls its host name, is really on this host: the socket may be forwarded, or
// this process be in a container that the socket was put into.
func EngineThisHost(name string) bool {
	own, err := os.Hostname()
	return err == nil && own == name
}

// EngineLimit is an rlimit of everything in a container.
type EngineLimit struct {
	Name  string
	Value int64
}

// EngineLimits returns the rlimits of a container. All are explicit: what an
// engine gives by default can exceed its own hard limit, and then nothing
// starts. local says that the engine runs on this host, most likely under this
// process' hard limits.
//
// RLIMIT_NPROC counts a user's processes across all containers, so it is far
// above what one sandbox may have: the pids limit is what bounds that.
func EngineLimits(local bool) []EngineLimit {
	limits := []EngineLimit{
		{"nofile", maxOpenFiles},
		{"nproc", 16384},
		{"fsize", maxFileSize},
		{"core", 0},
	}
	if control.Opened(control.ResourceLimits) {
		limits[0].Value, limits[2].Value = 16<<10, 4<<40
	}
	if !local {
		return limits
	}
	const rlimitNproc = 6 // not in package syscall
	for i, resource := range []int{syscall.RLIMIT_NOFILE, rlimitNproc, syscall.RLIMIT_FSIZE} {
		var own syscall.Rlimit
		// A hard limit of RLIM_INFINITY is above everything, as it should be.
		if err := syscall.Getrlimit(resource, &own); err == nil && own.Max < uint64(limits[i].Value) {
			limits[i].Value = int64(own.Max)
		}
	}
	return limits
}

// EngineEnv is the environment of the guest, over the image's: where the user's home
// is, and which of its file systems, one a line, everybody may write to.
func EngineEnv(tmpfs []EngineTmpfs) map[string]string {
	var open []string
	for _, t := range tmpfs {
		if t.Mode == engineOpen {
			open = append(open, t.Target)
		}
	}
	env := map[string]string{"DEEP_HOME": EngineHome, "DEEP_OPEN": strings.Join(open, "\n")}
	if control.Built {
		env[control.Env] = os.Getenv(control.Env)
	}
	return env
}

// EngineHome is the home directory of the sandbox user, a tmpfs.
const EngineHome = "/home/deep"

// engineOpen is the mode of a directory in which everybody may make files.
const engineOpen = "1777"

// EngineTmpfs is a file system in memory.
type EngineTmpfs struct {
	Target string
	// Size in bytes; Mode in octal digits. Where the sandbox user writes the mode
	// is 1777, as not every engine can make the user its owner.
	Size int64
	Mode string
	Exec bool
}

// EngineMounts returns the tmpfs of a container and the size of its /dev/shm.
// volumes are those the image declares: an engine would make volumes on disk of
// them, without bound.
//
// What is in them counts as memory, and beyond the limit every later command is
// killed. Together with the guest's spool of 64 MiB they take at most half: of
// 1 GiB 1/4 for /tmp, 1/8 for the home directory, 1/64 each for /run and shm,
// 1/32 for all volumes of the image.
func EngineMounts(spec backend.Spec, volumes []string) (tmpfs []EngineTmpfs, shm int64, err error) {
	tmpfs = []EngineTmpfs{
		{Target: "/tmp", Size: min(backend.DefaultTmpSize, spec.Memory/4), Mode: engineOpen, Exec: true},
		{Target: "/run", Size: spec.Memory / 64, Mode: "0755"},
		{Target: EngineGuestRun, Size: 1 << 20, Mode: "0700"},
		{Target: EngineHome, Size: spec.Memory / 8, Mode: engineOpen, Exec: true},
	}
	taken := []string{spec.Workspace.Path}
	for _, m := range spec.Mounts {
		taken = append(taken, m.Target)
	}
	for _, t := range tmpfs {
		taken = append(taken, t.Target)
	}
	var extra []string
	for _, v := range volumes {
		v = path.Clean("/" + v)
		for _, own := range []string{"/proc", "/sys", "/dev", EngineGuestDir} {
			if v == "/" || v == own || strings.HasPrefix(v, own+"/") {
				return nil, 0, &backend.Error{Kind: backend.ErrInvalid, Path: spec.Image,
					Message: "the image declares a volume at " + backend.Printable(v) + ", which is not to be covered", Hint: "use another image"}
			}
		}
		if !slices.Contains(taken, v) && !slices.Contains(extra, v) {
			extra = append(extra, v)
		}
	}
	slices.Sort(extra)
	for _, v := range extra {
		tmpfs = append(tmpfs, EngineTmpfs{Target: v, Size: spec.Memory / 32 / int64(len(extra)), Mode: engineOpen, Exec: true})
	}
	return tmpfs, spec.Memory / 64, nil
}

// EngineSandboxUser returns whom commands run as when no directory of the host
// decides: who called, unless that is root.
func EngineSandboxUser() (uid, gid uint32) {
	if u, g := os.Getuid(), os.Getgid(); u > 0 {
		return uint32(u), uint32(g)
	}
	return backend.DefaultUID, backend.DefaultUID
}
