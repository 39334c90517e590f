package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// refused are configurations that must not be taken.
var refused = []struct{ name, what, text string }{
	{"config-privileged", "asks for a privileged container", inBlock("docker", "sandbox", `privileged = true`)},
	{"config-capabilities", "asks for capabilities", inBlock("docker", "sandbox", `cap_add = ["SYS_ADMIN"]`)},
	{"config-seccomp", "asks for no seccomp profile", inBlock("docker", "sandbox", `seccomp = "unconfined"`)},
	{"config-user", "asks for root inside", inBlock("docker", "sandbox", `user = "root"`)},
	{"config-devices", "asks for devices", inBlock("docker", "sandbox", `devices = ["/dev/sda"]`)},
	{"config-host-network", "asks for the host's network", inBlock("docker", "sandbox", `network = "host"`)},
	{"config-isolation", "asks local for no isolation", inBlock("local", "config", `isolation = "none"`)},
	{"config-control", "asks for a defence to be open", inBlock("docker", "config", `control = "seccomp"`)},
	{"config-approve", "approves ahead in a file", `approve = ["execute"]`},
	{"config-degraded", "accepts the lack of a layer that there is not", inBlock("docker", "sandbox", `accept_degraded = ["everything"]`)},
	{"config-memory-negative", "sets a negative limit of memory", inBlock("docker", "sandbox", `memory = "-1GiB"`)},
	{"config-memory-small", "sets a limit of memory in which nothing runs", inBlock("docker", "sandbox", `memory = "1KiB"`)},
	{"config-memory-absurd", "sets a limit of memory beyond what a number holds", inBlock("docker", "sandbox", `memory = "99999999999TiB"`)},
	{"config-pids-negative", "sets a negative limit of processes", inBlock("docker", "sandbox", `pids = -1`)},
	{"config-pids-small", "leaves the guest no processes", inBlock("docker", "sandbox", `pids = 1`)},
	{"config-cpus-negative", "sets a negative limit of processors", inBlock("docker", "sandbox", `cpus = -2`)},
	{"config-timeout-negative", "sets a negative timeout", inBlock("docker", "sandbox", `timeout = "-1s"`)},
	{"config-lease-short", "sets a lease that ends at once", inBlock("docker", "sandbox", `lease = "1ns"`)},
	{"config-function", "calls a function", `default_backend = file("/etc/shadow")`},
}

// inBlock is a configuration with one line in a block of a backend.
func inBlock(backend, block, line string) string {
	return fmt.Sprintf("backend %q {\n  %s {\n    %s\n  }\n}", backend, block, line)
}

// accepted is one that is taken.
var accepted = inBlock("docker", "sandbox", `memory = "512MiB"`)

func configAttacks() []attack {
	var list []attack
	for _, r := range refused {
		list = append(list, attack{name: r.name, what: r.what, defence: "what is not known, or means nothing, is refused", control: controlArm{inside: "a key and a value that are known"},
			run: func(t *trial) {
				text := r.text
				if t.open {
					text = accepted
				}
				if out, ok := t.check(text, 0o600, "config", "check", "--config", "FILE"); ok {
					t.gets("a configuration: %.100q", out)
				}
			}})
	}
	list = append(list,
		attack{name: "config-writable", what: "a configuration that everybody may write to", defence: "it is refused", control: controlArm{inside: "a mode that is not"},
			run: func(t *trial) {
				mode := os.FileMode(0o666)
				if t.open {
					mode = 0o600
				}
				if _, ok := t.check(accepted, mode, "config", "check", "--config", "FILE"); ok {
					t.gets("a configuration")
				}
			}},
		attack{name: "config-in-workspace", what: "a configuration in the working directory, a stranger's checkout", defence: "it is not looked for there", control: controlArm{inside: "--config"},
			run: func(t *trial) {
				args := []string{"config", "check"}
				if t.open {
					args = append(args, "--config", "FILE")
				}
				if out, _ := t.check(`default_backend = "from-the-checkout"`, 0o600, args...); strings.Contains(out, "from-the-checkout") {
					t.gets("its content: %.100q", out)
				}
			}})
	for i := range list {
		list[i].host = true
	}
	return list
}

// check runs deep in a directory with a configuration, and reports whether that
// went well. FILE stands for the configuration's path.
func (t *trial) check(text string, mode os.FileMode, args ...string) (out string, ok bool) {
	home, work := t.dir(), t.dir()
	file := filepath.Join(work, "config.hcl")
	for _, dir := range []string{home, work} {
		t.must(os.Chown(dir, 0, 0))
	}
	t.must(os.WriteFile(file, []byte(text+"\n"), 0o600))
	t.must(os.Chmod(file, mode))
	for i, a := range args {
		if a == "FILE" {
			args[i] = file
		}
	}
	cmd := exec.CommandContext(t.ctx, filepath.Join(t.target.bin, "deep"), args...)
	cmd.Dir, cmd.Env = work, []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "TMPDIR=" + os.TempDir()}
	b, err := cmd.CombinedOutput()
	return string(b), err == nil
}
