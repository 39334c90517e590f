package main

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// This program attacks from inside: each attack prints what it got, a line each,
// and nothing if it got nothing.

const attackArg = "attack"

var attacks = map[string]func(args []string) []string{
	"files":    attackFiles,
	"writes":   attackWrites,
	"rights":   attackRights,
	"mounts":   attackMounts,
	"network":  attackNetwork,
	"process1": attackProcess1,
	"memory":   attackMemory,
	"dig":      attackDig,
}

func attack(name string, args []string) int {
	for _, got := range attacks[name](args) {
		fmt.Println(got)
	}
	return 0
}

// attackFiles looks for what is not to be seen.
func attackFiles(args []string) (got []string) {
	for _, path := range args {
		if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
			got = append(got, fmt.Sprintf("%s: %v", path, err))
		}
	}
	return got
}

// attackWrites writes where nothing is to be written.
func attackWrites(args []string) (got []string) {
	for _, path := range args {
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o600)
		if err == nil {
			_ = f.Close()
			got = append(got, path)
		}
	}
	return got
}

// attackRights uses rights that nobody gave.
func attackRights([]string) (got []string) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return []string{err.Error()}
	}
	for line := range strings.Lines(string(status)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ":\t")
		switch key {
		case "CapInh", "CapPrm", "CapEff", "CapAmb":
			if strings.Trim(value, "0") != "" {
				got = append(got, line)
			}
		case "NoNewPrivs":
			if value != "1" {
				got = append(got, line)
			}
		}
	}
	tries := map[string]func() error{
		"setuid 0":    func() error { return syscall.Setuid(0) },
		"setgid 0":    func() error { return syscall.Setgid(0) },
		"setgroups":   func() error { return syscall.Setgroups([]int{0}) },
		"sethostname": func() error { return syscall.Sethostname([]byte("owned")) },
		"mount": func() error {
			return syscall.Mount("tmpfs", "/tmp", "tmpfs", 0, "")
		},
		"mknod":        func() error { return syscall.Mknod("/tmp/disk", syscall.S_IFBLK|0o666, 8<<8) },
		"remount root": func() error { return syscall.Mount("", "/", "", syscall.MS_REMOUNT|syscall.MS_BIND, "") },
		"chroot":       func() error { return syscall.Chroot("/tmp") },
		"higher limit": func() error {
			return syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 4097, Max: 4097})
		},
	}
	for name, try := range tries {
		if try() == nil {
			got = append(got, name)
		}
	}
	return got
}

// attackMounts looks for mounts that let a file be more than a file.
func attackMounts([]string) (got []string) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return []string{err.Error()}
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		target, options := fields[4], ","+fields[5]+","
		device := strings.HasPrefix(target, "/dev/") || strings.HasPrefix(target, "/proc/")
		if !strings.Contains(options, ",nosuid,") || !device && !strings.Contains(options, ",nodev,") {
			got = append(got, lines.Text())
		}
	}
	return got
}

// attackNetwork tries to reach a listener of the host's: a port, and the name of
// an abstract socket.
func attackNetwork(args []string) (got []string) {
	for _, a := range []struct{ network, address string }{{"tcp", "127.0.0.1:" + args[0]}, {"unix", "@" + args[1]}} {
		if conn, err := net.DialTimeout(a.network, a.address, 2*time.Second); err == nil {
			_ = conn.Close()
			got = append(got, a.network+" "+a.address)
		}
	}
	interfaces, err := net.Interfaces()
	if err != nil {
		return append(got, err.Error())
	}
	for _, i := range interfaces {
		// A kernel with tunnels built in shows their templates, which are down.
		if i.Name != "lo" && i.Flags&net.FlagUp != 0 {
			got = append(got, "interface "+i.Name)
		}
	}
	// Loopback works.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return append(got, err.Error())
	}
	defer l.Close()
	conn, err := net.DialTimeout("tcp", l.Addr().String(), 10*time.Second)
	if err != nil {
		return append(got, err.Error())
	}
	_ = conn.Close()
	return got
}

// attackProcess1 reads and signals process 1, and looks for processes of others.
func attackProcess1([]string) (got []string) {
	for _, file := range []string{"environ", "mem", "maps", "root", "cwd", "fd"} {
		if f, err := os.Open("/proc/1/" + file); err == nil {
			if _, err := f.Read(make([]byte, 1)); err == nil || f.Name() != "/proc/1/mem" {
				got = append(got, "/proc/1/"+file)
			}
			_ = f.Close()
		}
	}
	if syscall.PtraceAttach(1) == nil {
		got = append(got, "ptrace")
	}
	for _, sig := range []syscall.Signal{syscall.SIGSTOP, syscall.SIGSEGV, syscall.SIGQUIT, syscall.SIGKILL} {
		_ = syscall.Kill(1, sig)
	}
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil || len(processes) > 10 {
		got = append(got, fmt.Sprint(processes, err))
	}
	return got
}

// attackMemory takes all memory.
func attackMemory([]string) []string {
	var all [][]byte
	for range 64 {
		b := make([]byte, 16<<20)
		for i := 0; i < len(b); i += 4096 {
			b[i] = 1
		}
		all = append(all, b)
	}
	return []string{fmt.Sprint(len(all) * 16)}
}

// attackDig makes a tree whose deepest path is longer than the kernel takes one
// to be.
func attackDig([]string) []string {
	for range 3000 {
		if err := errors.Join(os.Mkdir("d", 0o700), os.Chdir("d")); err != nil {
			return []string{err.Error()}
		}
	}
	return nil
}
