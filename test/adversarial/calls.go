package main

import (
	"io/fs"
	"os"
	"path/filepath"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/control"
)

// profile is the defence of most of these.
const profile = "deep's seccomp profile"

// denied calls that reach the kernel where nothing denies them.
var denied = []struct{ name, what string }{
	{"mount", "mounts a file system"},
	{"umount", "takes a mount away"},
	{"open-tree", "takes hold of mounts"},
	{"mount-setattr", "makes mounts writable"},
	{"fsconfig", "configures a file system to be mounted"},
	{"unshare", "leaves namespaces"},
	{"setns", "enters namespaces"},
	{"clone3", "makes processes with arguments that no filter sees"},
	{"keyctl", "reaches the kernel's keyrings"},
	{"add-key", "adds a key"},
	{"request-key", "asks for a key"},
	{"userfaultfd", "halts the kernel at a page fault"},
	{"io-uring-setup", "makes a ring of calls that no filter sees"},
	{"io-uring-enter", "submits calls to a ring"},
	{"io-uring-register", "registers files with a ring"},
	{"open-by-handle-at", "opens a file by its number"},
	{"bpf", "loads a program into the kernel"},
	{"perf-event-open", "measures other processes"},
	{"prlimit", "asks for the limits of PID 1"},
	{"settimeofday", "sets the clock"},
	{"kcmp", "compares the kernel's objects"},
}

// sockets of these families reach around the network a sandbox has.
var families = []struct{ name, what string }{
	{"af-vsock", "makes a socket to the hypervisor"},
	{"af-alg", "makes a socket to the kernel's cryptography"},
	{"af-key", "makes a socket to IPsec's keys"},
	{"af-can", "makes a socket to a vehicle's bus"},
	{"af-bluetooth", "makes a socket to Bluetooth"},
	{"af-tipc", "makes a socket to a cluster's protocol"},
	{"netlink-sockdiag", "lists sockets by netlink"},
	{"netlink-audit", "reaches auditing by netlink"},
	{"netlink-generic", "reaches drivers by netlink"},
	{"netlink-uevent", "hears of devices by netlink"},
	{"netlink-netfilter", "reaches the packet filter by netlink"},
}

// setIDs are the calls that can set a setuid or setgid bit.
var setIDs = []string{
	"chmod", "fchmod", "fchmodat", "fchmodat2", "creat", "open", "openat", "openat2", "tmpfile", "mknod", "mknodat", "mkdir", "mkdirat",
}

func callAttacks() []attack {
	var list []attack
	for _, d := range denied {
		list = append(list, attack{
			name: d.name, what: d.what, defence: profile, control: opening(control.Seccomp),
			run: func(t *trial) { t.inside(t.shared(), "call", d.name) },
		})
	}
	for _, f := range families {
		list = append(list, attack{
			name: f.name, what: f.what, defence: profile, control: opening(control.Seccomp),
			run: func(t *trial) { t.inside(t.shared(), "socket", f.name) },
		})
	}
	for _, call := range setIDs {
		a := attack{
			name: "setid-" + call, what: "sets setuid and setgid bits by " + call, defence: profile, control: opening(control.Seccomp),
			run: func(t *trial) { t.setID(call) },
		}
		if call == "mkdir" || call == "mkdirat" {
			a.control = uncontrolled("the kernel itself ignores these bits when it makes a directory")
		}
		list = append(list, a)
	}
	return append(list,
		attack{
			name: "clone-newuser", what: "makes a user namespace", defence: profile, control: opening(control.Seccomp),
			run: func(t *trial) { t.inside(t.shared(), "clone-newuser") },
		},
		attack{
			name: "mount-in-userns", what: "mounts a file system in a user namespace of its own", defence: profile, control: opening(control.Seccomp, control.Landlock),
			run: func(t *trial) { t.inside(t.sandbox(nil), "mount-in-userns") },
		},
		attack{
			name: "mount-as-root", what: "mounts a file system over the workspace", defence: "commands have neither root's id nor a capability; " + profile,
			control: opening(control.Seccomp, control.Capabilities, control.UserSplit, control.Landlock),
			run:     func(t *trial) { t.inside(t.sandbox(nil), "mount-tmpfs") },
		},
		attack{
			name: "int80", what: "makes a 32-bit call by int 0x80", defence: profile + ", for the calls of one architecture", control: opening(control.Seccomp),
			run: func(t *trial) { t.inside(t.sandbox(nil), "int80") },
		},
		attack{
			name: "x32", what: "makes a call of the x32 kind", defence: profile, control: uncontrolled("hardly a kernel has these calls"),
			run: func(t *trial) { t.inside(t.shared(), "x32") },
		},
		attack{
			name: "prlimit-pid1", what: "reads the limits of PID 1, and could set them", defence: "the guest is another user; " + profile,
			control: opening(control.Seccomp, control.UserSplit),
			run:     func(t *trial) { t.inside(t.shared(), "prlimit-pid1") },
		},
		attack{
			name: "af-packet", what: "makes a socket that sees all packets", defence: "commands have no capability; " + profile,
			control: opening(control.Seccomp, control.Capabilities, control.UserSplit, control.Landlock),
			run:     func(t *trial) { t.inside(t.sandbox(nil), "socket", "af-packet") },
		},
		attack{
			name: "af-xdp", what: "makes a socket that bypasses the network stack", defence: "commands have no capability; " + profile,
			control: opening(control.Seccomp, control.Capabilities, control.UserSplit, control.Landlock),
			run:     func(t *trial) { t.inside(t.sandbox(nil), "socket", "af-xdp") },
		},
		attack{
			name: "raw-ip", what: "makes a socket for forged packets", defence: "commands have no capability",
			control: opening(control.Seccomp, control.Capabilities, control.UserSplit, control.Landlock),
			run:     func(t *trial) { t.inside(t.sandbox(nil), "socket", "raw-ip") },
		},
		attack{
			name: "setuid-program", what: "runs a program of root's that is setuid", defence: "no_new_privs; on podman and local mounts without setuid too",
			control: controlArm{opened: []string{control.NoNewPrivileges, control.SetuidMounts}, noneOn: map[string]string{
				"local": "root of the host, who owns the program, is nobody inside",
			}},
			run: func(t *trial) { t.setuidProgram() },
		},
	)
}

// setID lets the attacker make files, and looks at them on the host.
func (t *trial) setID(call string) {
	sb := t.shared()
	dir := filepath.Join(t.arm.workspace, t.tag)
	t.must(sb.Mkdir(t.ctx, &backend.MkdirRequest{Path: t.tag}))
	t.inside(sb, "setid", call, "/workspace/"+t.tag)
	t.setIDs(dir)
}

// setIDs looks for setuid and setgid bits in a directory of this host.
func (t *trial) setIDs(dir string) {
	t.must(filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Mode()&(fs.ModeSetuid|fs.ModeSetgid) != 0 {
			t.gets("%s with mode %v", d.Name(), info.Mode())
		}
		return err
	}))
}

// setuidProgram lets the attacker run one that the host has put into its
// workspace.
func (t *trial) setuidProgram() {
	dir := t.dir()
	program := filepath.Join(dir, "setuid")
	t.must(os.WriteFile(program, t.target.attacker, 0o755))
	t.must(os.Chmod(program, 0o755|fs.ModeSetuid))
	sb := t.sandbox(func(s *backend.Spec) { s.Workspace.Source = dir })
	t.inside(sb, "exec", "/workspace/setuid", "euid")
}
