package e2e

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// lease is short so that its end can be waited for; what is promised is the lease
// and 5 s. The deadline is longer by what a loaded machine takes.
const (
	leaseConfig = `
backend "docker" {
  sandbox { lease = "2s" }
}
backend "podman" {
  sandbox { lease = "2s" }
}
backend "local" {
  sandbox { lease = "2s" }
}
`
	leaseDeadline = 45 * time.Second
)

// A running is a `deep exec` whose command has said that it runs.
type running struct {
	cmd *exec.Cmd
	// plugin is the process id of its backend's plugin.
	plugin int
}

// start runs a hostile command: one that ignores SIGTERM, with a child that left
// its session.
func (u *user) start(name string) *running {
	u.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	args := append([]string{"exec", "--backend", name, "--env", "TAG=" + u.tag}, image(name)...)
	args = append(args, "--timeout", "170s", "--shell", `trap '' TERM; setsid sleep 170 & echo started; sleep 170; sleep 170`)
	cmd := u.command(ctx, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		u.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		u.t.Fatal(err)
	}
	var once sync.Once
	u.t.Cleanup(func() {
		once.Do(func() {
			cancel()
			_ = cmd.Wait()
		})
	})
	line := make([]byte, len("started\n"))
	if _, err := io.ReadFull(stdout, line); err != nil || string(line) != "started\n" {
		cancel()
		_ = cmd.Wait()
		u.t.Fatalf("the command said %q: %v\n%s", line, err, stderr.String())
	}
	if len(u.tagged()) == 0 {
		u.t.Fatal("no process has the tag: the test would see nothing")
	}
	return &running{cmd: cmd, plugin: childNamed(u.t, cmd.Process.Pid, "deep-backend-"+name)}
}

// childNamed returns the child of pid that runs program.
func childNamed(t *testing.T, pid int, program string) int {
	t.Helper()
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, p := range stats {
		data, err := os.ReadFile(p)
		if err != nil {
			continue
		}
		after := data[bytes.LastIndexByte(data, ')')+1:]
		fields := strings.Fields(string(after))
		cmdline, _ := os.ReadFile(filepath.Join(filepath.Dir(p), "cmdline"))
		if len(fields) > 1 && fields[1] == strconv.Itoa(pid) && strings.Contains(string(cmdline), program) {
			child, _ := strconv.Atoi(filepath.Base(filepath.Dir(p)))
			return child
		}
	}
	t.Fatalf("process %d has no child %s", pid, program)
	return 0
}

func (u *user) gone(within time.Duration) {
	u.t.Helper()
	for deadline := time.Now().Add(within); len(u.tagged()) > 0; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			u.t.Fatalf("still there after %v: %v", within, u.tagged())
		}
	}
}

// TestKilled: SIGKILL of deep alone; its plugin sees it go and cleans up.
func TestKilled(t *testing.T) {
	on(t, func(t *testing.T, name string) {
		u := newUser(t)
		r := u.start(name)
		if err := syscall.Kill(r.cmd.Process.Pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		u.gone(30 * time.Second)
		eventually(t, 30*time.Second, "the plugin ends", func() bool { return syscall.Kill(r.plugin, 0) != nil })
	})
}

// TestKilledWithPlugin: SIGKILL of both at once; the guest's lease is all there
// is. The leak check after the suite looks for what they made.
func TestKilledWithPlugin(t *testing.T) {
	on(t, func(t *testing.T, name string) {
		u := newUser(t)
		u.configure(leaseConfig)
		r := u.start(name)
		// The plugin first: it must not see deep go.
		if err := syscall.Kill(r.plugin, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(r.cmd.Process.Pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(r.plugin, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		u.gone(leaseDeadline)
	})
}

// TestInterruptedOnce: SIGINT ends the command and the sandbox, exit code 130.
func TestInterruptedOnce(t *testing.T) {
	on(t, func(t *testing.T, name string) {
		u := newUser(t)
		r := u.start(name)
		if err := syscall.Kill(r.cmd.Process.Pid, syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		_ = r.cmd.Wait()
		if code := r.cmd.ProcessState.ExitCode(); code != 130 {
			t.Errorf("exit code %d, want 130", code)
		}
		if left := u.tagged(); len(left) > 0 {
			t.Errorf("deep ended and left %v", left)
		}
	})
}

// TestInterruptedTwice: the second SIGINT ends deep at once, its plugin cleans up.
func TestInterruptedTwice(t *testing.T) {
	on(t, func(t *testing.T, name string) {
		u := newUser(t)
		r := u.start(name)
		for range 2 {
			_ = syscall.Kill(r.cmd.Process.Pid, syscall.SIGINT)
			time.Sleep(100 * time.Millisecond) // two signals, not one merged by the kernel
		}
		_ = r.cmd.Wait()
		if r.cmd.ProcessState.ExitCode() == 0 {
			t.Error("exit code 0 after an interrupt")
		}
		u.gone(30 * time.Second)
	})
}
