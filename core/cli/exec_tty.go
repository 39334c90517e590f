package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"time"

	"golang.org/x/sys/unix"

	"github.com/deep-sandbox/deep/core/backend"
)

// resizeRetry is the time between tries to tell a command its size that is still
// on its way to be started.
const resizeRetry = 50 * time.Millisecond

// onTerminal gives the command the user's terminal: its size, and with input what
// is typed, each key of it, so that Ctrl-C is the command's.
type onTerminal struct {
	app     *app
	in, out *os.File
	keys    *keyReader // nil without input
}

// terminalFor returns the user's terminal for a command, and an error that says
// what to do if there is none.
func (a *app) terminalFor(o *execOptions) (*onTerminal, error) {
	if o.json {
		return nil, &usageError{"there are both --tty and --json", "use one of them"}
	}
	t := &onTerminal{app: a}
	var ok bool
	if t.out, ok = terminalFile(a.Out); !ok {
		return nil, &usageError{"--tty: standard output is no terminal", "leave out --tty to write to a file or a pipe"}
	}
	if !o.stdin {
		return t, nil
	}
	if t.in, ok = terminalFile(a.In); !ok {
		return nil, &usageError{"--tty: standard input is no terminal", "leave out --tty to pass on a file or a pipe, or --stdin to pass on nothing"}
	}
	return t, nil
}

// size of the terminal; one that does not know it is as they once were.
func (t *onTerminal) size() backend.WindowSize {
	ws, err := unix.IoctlGetWinsize(int(t.out.Fd()), unix.TIOCGWINSZ)
	if err != nil || ws.Row == 0 || ws.Col == 0 {
		return backend.WindowSize{Rows: 24, Cols: 80}
	}
	return backend.WindowSize{Rows: ws.Row, Cols: ws.Col}
}

// exec runs the command. However it ends, the terminal is as it was.
func (t *onTerminal) exec(ctx context.Context, sb backend.Sandbox, req *backend.ExecRequest) (*backend.ExecResult, error) {
	size := t.size()
	req.TTY = &size
	// It says what the terminal understands. Nothing else of the user's goes in.
	if _, given := req.Env["TERM"]; !given && os.Getenv("TERM") != "" {
		req.Env["TERM"] = os.Getenv("TERM")
	}
	changed := make(chan os.Signal, 1)
	signal.Notify(changed, unix.SIGWINCH, unix.SIGCONT)
	defer signal.Stop(changed)
	if t.in != nil {
		if err := t.takeKeys(); err != nil {
			return nil, err
		}
		defer t.leave()
		// Whoever interrupts deep from elsewhere gets their terminal back at once, and
		// reads how the rest goes.
		defer context.AfterFunc(ctx, t.leave)()
		req.Stdin = t.keys
	}
	watching, stop := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		t.follow(watching, sb, req.ID, changed, size)
	}()
	defer func() {
		stop()
		<-ended
	}()
	return sb.Exec(ctx, req)
}

// takeKeys makes the terminal pass on each key.
func (t *onTerminal) takeKeys() error {
	keys, err := newKeyReader(t.in)
	if err != nil {
		return err
	}
	if err := rawTerminal.enter(t.in); err != nil {
		keys.close()
		return fmt.Errorf("--tty: %w", err)
	}
	t.keys = keys
	t.app.console.raw(true)
	return nil
}

// leave gives the terminal back, any number of times.
func (t *onTerminal) leave() {
	t.keys.close()
	rawTerminal.leave()
	t.app.console.raw(false)
}

// follow tells the command the size of the terminal whenever it has another, until
// ctx ends.
func (t *onTerminal) follow(ctx context.Context, sb backend.Sandbox, id string, changed <-chan os.Signal, told backend.WindowSize) {
	var again <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case sig := <-changed:
			if sig == unix.SIGCONT && t.in != nil && ctx.Err() == nil {
				rawTerminal.again() // a shell has made it its own while deep was stopped
			}
		case <-again:
		}
		again = nil
		size := t.size()
		if size == told {
			continue
		}
		err := sb.Resize(ctx, &backend.ResizeRequest{ID: id, Size: size})
		switch {
		case err == nil:
			told = size
		case errors.Is(err, backend.ErrNotFound): // it is not started yet
			again = time.After(resizeRetry)
		case errors.Is(err, backend.ErrConflict), ctx.Err() != nil: // it has ended
		default:
			t.app.console.say("the command does not know the size of the terminal: %s", escapeLine(err.Error()))
		}
	}
}
