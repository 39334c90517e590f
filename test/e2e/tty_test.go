package e2e

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
)

// onTerminal are the arguments of a `deep exec -it`, without its command.
func (u *user) onTerminal(name string) []string {
	return append([]string{"exec", "-it", "--backend", name, "--env", "TAG=" + u.tag}, image(name)...)
}

// shell opens `deep exec -it` with a shell in it, and returns when it answers.
func (u *user) shell(name string) *terminal {
	u.t.Helper()
	term := u.open(append(u.onTerminal(name), "--", "sh")...)
	// What is typed is echoed, and must not be taken for an answer.
	term.press("echo up$((1+1))\r")
	term.see("up2")
	return term
}

// seeOnce presses keys again and again until a text is shown.
func (term *terminal) seeOnce(keys, text string) {
	term.t.Helper()
	for deadline := time.Now().Add(time.Minute); !strings.Contains(term.screen(), text); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(deadline) {
			term.t.Fatalf("never saw %q after %q; the screen:\n%s", text, keys, term.screen())
		}
		term.press(keys)
	}
}

// TestExecTerminal: a shell inside has the user's terminal: its size, also when it
// changes, its type, and Ctrl-C.
func TestExecTerminal(t *testing.T) {
	on(t, func(t *testing.T, name string) {
		u := newUser(t)
		term := u.shell(name)
		term.press("stty size; echo type=$TERM.\r")
		term.see("40 120\n")
		term.see("type=xterm-256color.")
		if err := pty.Setsize(term.keys, &pty.Winsize{Rows: 31, Cols: 97}); err != nil {
			t.Fatal(err)
		}
		term.seeOnce("stty size\r", "31 97\n")

		term.press("sh -c 'echo sleeps$((1+1)); exec sleep 1000'\r")
		term.see("sleeps2")
		term.press("\x03")
		term.press("echo code=$?.\r")
		term.see("code=130.")

		term.press("exit 7\r")
		if code := term.wait(); code != 7 {
			t.Errorf("exit code %d, want 7; the screen:\n%s", code, term.screen())
		}
		term.restored()
		if left := u.tagged(); len(left) > 0 {
			t.Errorf("deep ended and left %v", left)
		}
	})
}

// TestExecTerminalEnds: however deep ends, the terminal is the user's again.
func TestExecTerminalEnds(t *testing.T) {
	on(t, func(t *testing.T, name string) {
		for _, c := range []struct {
			name  string
			begin func(u *user) *terminal
			end   func(term *terminal)
			code  int
		}{
			{"SIGTERM", func(u *user) *terminal { return u.shell(name) }, func(term *terminal) { _ = syscall.Kill(term.pid, syscall.SIGTERM) }, 143},
			{"the end of input", func(u *user) *terminal { return u.shell(name) }, func(term *terminal) { term.press("\x04") }, 0},
			{"a timeout", func(u *user) *terminal {
				return u.open(append(u.onTerminal(name), "--timeout", "1s", "--", "sleep", "1000")...)
			}, func(*terminal) {}, 124},
		} {
			t.Run(c.name, func(t *testing.T) {
				u := newUser(t)
				term := c.begin(u)
				c.end(term)
				if code := term.wait(); code != c.code {
					t.Errorf("exit code %d, want %d; the screen:\n%s", code, c.code, term.screen())
				}
				term.restored()
				if left := u.tagged(); len(left) > 0 {
					t.Errorf("deep ended and left %v", left)
				}
			})
		}
	})
}

// TestExecTerminalKilledAtOnce: the second signal ends deep without its cleaning,
// but for the terminal.
func TestExecTerminalKilledAtOnce(t *testing.T) {
	on(t, func(t *testing.T, name string) {
		u := newUser(t)
		term := u.shell(name)
		for range 2 {
			_ = syscall.Kill(term.pid, syscall.SIGTERM)
			time.Sleep(100 * time.Millisecond) // two signals, not one merged by the kernel
		}
		if code := term.wait(); code != 143 {
			t.Errorf("exit code %d, want 143; the screen:\n%s", code, term.screen())
		}
		term.restored()
		u.gone(30 * time.Second)
	})
}

// TestExecTerminalWithoutInput: nobody types into it, so that Ctrl-C is deep's.
func TestExecTerminalWithoutInput(t *testing.T) {
	on(t, func(t *testing.T, name string) {
		u := newUser(t)
		args := append([]string{"exec", "-t", "--backend", name, "--env", "TAG=" + u.tag}, image(name)...)
		term := u.open(append(args, "--shell", "test -t 1 && stty size <&1; echo sleeps$((1+1)); sleep 1000")...)
		term.see("40 120\n")
		term.see("sleeps2")
		term.press("\x03")
		if code := term.wait(); code != 130 {
			t.Errorf("exit code %d, want 130; the screen:\n%s", code, term.screen())
		}
		term.restored()
		if left := u.tagged(); len(left) > 0 {
			t.Errorf("deep ended and left %v", left)
		}
	})
}
