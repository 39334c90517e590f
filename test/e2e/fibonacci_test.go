package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

const (
	task      = "Create a Python program that prints the first 10 Fibonacci numbers, save it to /workspace/fibonacci.py, run it and show the output."
	fibonacci = "0, 1, 1, 2, 3, 5, 8, 13, 21, 34"
)

func recording(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("../../examples/replay", name))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// runArgs are the arguments of `deep run` for the task on a backend.
func runArgs(t *testing.T, name string, more ...string) []string {
	args := append([]string{"run", "--backend", name, "--model", "replay:" + recording(t, "fibonacci.json")}, image(name)...)
	return append(append(args, more...), task)
}

// A terminal is a real pseudo-terminal with deep in it.
type terminal struct {
	t    *testing.T
	keys *os.File
	mu   sync.Mutex
	seen bytes.Buffer
	wait func() int
	pid  int
	// before and after are its modes around deep.
	before, after unix.Termios
}

// open starts deep in a terminal of its own.
func (u *user) open(args ...string) *terminal {
	u.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	cmd := u.command(ctx, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	cmd.Env = append(cmd.Env, "TERM=xterm-256color")
	tty, inside, err := pty.Open()
	if err == nil {
		err = pty.Setsize(tty, &pty.Winsize{Rows: 40, Cols: 120})
	}
	if err != nil {
		cancel()
		u.t.Fatal(err)
	}
	before := modes(u.t, tty)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = inside, inside, inside
	err = cmd.Start()
	_ = inside.Close()
	if err != nil {
		cancel()
		_ = tty.Close()
		u.t.Fatal(err)
	}
	term := &terminal{t: u.t, keys: tty, pid: cmd.Process.Pid, before: before}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 4096)
		for {
			n, err := tty.Read(buf)
			term.mu.Lock()
			term.seen.Write(buf[:n])
			term.mu.Unlock()
			if err != nil {
				return // the last process let go of the terminal
			}
		}
	}()
	var once sync.Once
	code := -1
	term.wait = func() int {
		once.Do(func() {
			_ = cmd.Wait()
			code = cmd.ProcessState.ExitCode()
			term.after = modes(u.t, tty)
			select {
			case <-done:
			case <-time.After(10 * time.Second):
				u.t.Error("something still holds the terminal after deep ended")
			}
			_ = tty.Close()
			cancel()
		})
		return code
	}
	u.t.Cleanup(func() {
		cancel()
		term.wait()
	})
	return term
}

// modes are how a terminal treats what is typed and shown.
func modes(t *testing.T, tty *os.File) unix.Termios {
	t.Helper()
	m, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
	if err != nil {
		t.Error(err)
		return unix.Termios{}
	}
	return *m
}

// restored fails unless deep, which has ended, left the terminal as it was.
func (term *terminal) restored() {
	term.t.Helper()
	if term.after != term.before {
		term.t.Errorf("the terminal was left with the modes %+v, it had %+v", term.after, term.before)
	}
}

var escapes = regexp.MustCompile("\x1b\\[[0-9;?]*[a-zA-Z]|\r")

// screen returns what was shown, without colours and carriage returns.
func (term *terminal) screen() string {
	term.mu.Lock()
	defer term.mu.Unlock()
	return escapes.ReplaceAllString(term.seen.String(), "")
}

// see waits until a text is shown.
func (term *terminal) see(text string) {
	term.t.Helper()
	for deadline := time.Now().Add(time.Minute); !strings.Contains(term.screen(), text); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			term.t.Fatalf("never saw %q; the screen:\n%s", text, term.screen())
		}
	}
}

func (term *terminal) press(keys string) {
	term.t.Helper()
	if _, err := term.keys.Write([]byte(keys)); err != nil {
		term.t.Fatal(err)
	}
}

// TestApprovedInTerminal is the seed's task, its command approved by a person.
func TestApprovedInTerminal(t *testing.T) {
	on(t, func(t *testing.T, name string) {
		u := newUser(t)
		term := u.open(runArgs(t, name)...)
		term.see("python3 /workspace/fibonacci.py")
		term.see("Run it?")
		if strings.Contains(term.screen(), fibonacci) {
			t.Fatalf("it ran before it was approved:\n%s", term.screen())
		}
		term.press("y\r")
		term.see(fibonacci)
		if code := term.wait(); code != 0 {
			t.Errorf("exit code %d, want 0; the screen:\n%s", code, term.screen())
		}
	})
}

// TestDeniedInTerminal: no means no, and the model hears of it.
func TestDeniedInTerminal(t *testing.T) {
	name := "local"
	on(t, func(t *testing.T, other string) {
		if other != name {
			return // the terminal is the same in front of every backend
		}
		u := newUser(t)
		term := u.open(runArgs(t, name)...)
		term.see("Run it?")
		term.press("n\r")
		// The recording wants the numbers in the result; a denial is a mismatch, said
		// with a difference.
		if code := term.wait(); code == 0 || code == 3 {
			t.Errorf("exit code %d after a denial the recording does not know; the screen:\n%s", code, term.screen())
		}
		if strings.Contains(term.screen(), "\n"+fibonacci) {
			t.Errorf("it ran though it was denied:\n%s", term.screen())
		}
	})
}

// TestApprovedByResume: without a terminal the run waits, and another process
// goes on with it.
func TestApprovedByResume(t *testing.T) {
	on(t, func(t *testing.T, name string) {
		u := newUser(t)
		stdout, stderr, code := u.deep(runArgs(t, name)...)
		if code != 3 {
			t.Fatalf("exit code %d, want 3 (waiting)\n%s%s", code, stdout, stderr)
		}
		if strings.Contains(stdout, fibonacci) {
			t.Fatalf("it ran without approval:\n%s", stdout)
		}
		// The program prints the command to go on with; a user pastes it.
		hint := regexp.MustCompile(`deep run resume (\S+) --approve (\S+)`).FindStringSubmatch(stdout + stderr)
		if hint == nil {
			t.Fatalf("no command to go on with:\n%s%s", stdout, stderr)
		}
		if left := u.tagged(); len(left) > 0 {
			t.Errorf("processes while waiting: %v", left)
		}
		// A wrong id changes nothing.
		if _, stderr, code := u.deep("run", "resume", hint[1], "--approve", "nosuchcall"); code == 0 || !strings.Contains(stderr, hint[2]) {
			t.Errorf("approving an unknown call: exit code %d, want an error that names the pending one:\n%s", code, stderr)
		}
		stdout, stderr, code = u.deep("run", "resume", hint[1], "--approve", hint[2])
		if code != 0 || !strings.Contains(stdout, fibonacci) {
			t.Fatalf("resume: exit code %d, want 0 and the numbers\n%s%s", code, stdout, stderr)
		}
		// Resumed again, it says that it is over.
		if _, _, code := u.deep("run", "resume", hint[1]); code == 0 || code == 3 {
			t.Errorf("resuming a finished run: exit code %d", code)
		}
	})
}

// TestRunEvents: --json prints one event a line, and nothing else.
func TestRunEvents(t *testing.T) {
	on(t, func(t *testing.T, name string) {
		u := newUser(t)
		stdout, stderr, code := u.deep(runArgs(t, name, "--json", "--approve", "execute")...)
		if code != 0 {
			t.Fatalf("exit code %d\n%s%s", code, stdout, stderr)
		}
		n := 0
		for line := range strings.Lines(stdout) {
			var event map[string]any
			if err := json.Unmarshal([]byte(line), &event); err != nil {
				t.Fatalf("line %d is no JSON object: %v\n%s", n+1, err, line)
			}
			n++
		}
		if n < 5 || !strings.Contains(stdout, fibonacci) {
			t.Errorf("%d events, want the whole run:\n%s", n, stdout)
		}
	})
}

// TestInterruptAtPrompt: Ctrl-C once ends the run cleanly, and its sandbox.
func TestInterruptAtPrompt(t *testing.T) {
	on(t, func(t *testing.T, name string) {
		u := newUser(t)
		term := u.open(runArgs(t, name)...)
		term.see("Run it?")
		plugin := childNamed(t, term.pid, "deep-backend-"+name)
		term.press("\x03")
		if code := term.wait(); code != 130 {
			t.Errorf("exit code %d, want 130; the screen:\n%s", code, term.screen())
		}
		if syscall.Kill(plugin, 0) == nil {
			t.Errorf("deep ended and left its plugin, process %d", plugin)
		}
	})
}
