package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/deep-sandbox/deep/core/agent"
)

// An approver asks the person at the controlling terminal, never standard input:
// that may be anybody's file.
type approver struct {
	runner *runner
	open   func() (*tty, error)

	mu sync.Mutex
	// always are the tools not to be asked about any more in this process.
	always map[string]bool
}

func newApprover(r *runner) *approver {
	return &approver{runner: r, open: openTerminal, always: map[string]bool{}}
}

// errLater is the answer of somebody who does not want to decide now.
var errLater = errors.New("later")

// approve asks about each call. Without a terminal nothing is decided, and the run
// waits.
func (p *approver) approve(ctx context.Context, calls []agent.Call) ([]agent.Decision, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	tty, err := p.open()
	if err != nil {
		return nil, nil //nolint:nilerr // no terminal is no failure: it means that nobody can be asked
	}
	defer func() { _ = tty.file.Close() }()
	// A prompt that nobody waits for any more is left.
	defer context.AfterFunc(ctx, tty.wake)()

	var decisions []agent.Decision
	for _, call := range calls {
		d := agent.Decision{CallID: call.ID, Approve: true}
		if !p.always[call.Tool] {
			d, err = p.ask(tty, call)
		}
		switch {
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case errors.Is(err, errLater):
			return decisions, nil
		case err != nil:
			return nil, fmt.Errorf("cannot ask on the terminal: %w", err)
		}
		decisions = append(decisions, d)
	}
	return decisions, nil
}

const question = "Run it? [y]es, [n]o (n WHY tells the model), [a]lways in this run, [d]etails; Ctrl-D decides later: "

// ask shows one call in full and waits for a word on it.
func (p *approver) ask(tty *tty, call agent.Call) (agent.Decision, error) {
	paint := palette(wantsColour())
	raw := describeCall(call)
	if !slices.Contains(agent.DefaultAskTools(), call.Tool) {
		raw = call.Tool + " " + call.Arguments
	}
	what, notes := escapeAll(raw)
	// Each line has its margin, so that no text of the model's looks like ours.
	shown := fmt.Sprintf("\nThe model wants to use %s in the sandbox:\n\n%s\n\n", paint.bold(escapeLine(call.Tool)), indent(what, "  | "))
	if notes != "" {
		shown += fmt.Sprintf("Not to be seen otherwise, and shown as: %s.\n", paint.yellow(notes))
	}
	if n := strings.Count(what, "\n") + 1; n > 20 {
		shown += fmt.Sprintf("That was %d lines; the beginning may have moved out of sight.\n", n)
	}
	for {
		// What was typed before the question was shown is no answer to it.
		tty.discard()
		if _, err := io.WriteString(tty.file, shown+question); err != nil {
			return agent.Decision{}, err
		}
		line, err := tty.line()
		if err != nil {
			_, _ = io.WriteString(tty.file, "\n") // the question has no answer in its line
			return agent.Decision{}, err
		}
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch strings.ToLower(word) {
		case "y", "yes":
			return agent.Decision{CallID: call.ID, Approve: true}, nil
		case "a", "always":
			p.always[call.Tool] = true
			return agent.Decision{CallID: call.ID, Approve: true}, nil
		case "n", "no":
			return agent.Decision{CallID: call.ID, Reason: strings.ToValidUTF8(strings.TrimSpace(rest), "\uFFFD")}, nil
		case "d", "details":
			shown = p.details(call)
		default:
			shown = ""
		}
	}
}

// details are all that is known of a call.
func (p *approver) details(call agent.Call) string {
	spec := p.runner.settings.Spec
	workspace := "its own, fresh"
	if spec.Workspace.Source != "" {
		workspace = spec.Workspace.Source + " of this host"
	}
	var b strings.Builder
	for _, row := range [][2]string{
		{"call", call.ID}, {"tool", call.Tool}, {"arguments", call.Arguments},
		{"run", p.runner.run.ID}, {"backend", p.runner.backend.Name}, {"workspace", workspace},
		{"network", orDefault(string(spec.Network), "none")}, {"image", orDefault(spec.Image, "the default")},
	} {
		fmt.Fprintf(&b, "  %-10s %s\n", row[0], escapeLine(row[1]))
	}
	return "\n" + b.String() + "\n"
}

func orDefault(s, def string) string {
	if s == "" {
		return def
	}
	return s
}

// tty is the controlling terminal of this process.
type tty struct{ file *os.File }

func openTerminal() (*tty, error) {
	f, err := os.OpenFile("/dev/tty", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	return &tty{file: f}, nil
}

// wake makes a line that is waited for end at once.
func (t *tty) wake() { _ = t.file.SetReadDeadline(time.Now()) }

// discard forgets what was typed and not read.
func (t *tty) discard() {
	_ = control(t.file, func(fd int) error { return unix.IoctlSetInt(fd, unix.TCFLSH, unix.TCIFLUSH) })
}

// control runs fn on the descriptor without taking the file off the poller.
func control(f *os.File, fn func(fd int) error) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := raw.Control(func(fd uintptr) { failed = fn(int(fd)) }); err != nil {
		return err
	}
	return failed
}

// line reads one line; the end of input is errLater.
func (t *tty) line() (string, error) {
	var line []byte
	buf := make([]byte, 1024)
	for {
		n, err := t.file.Read(buf)
		line = append(line, buf[:n]...)
		if i := bytes.IndexByte(line, '\n'); i >= 0 {
			return string(line[:i]), nil
		}
		switch {
		case errors.Is(err, io.EOF):
			return "", errLater
		case err != nil:
			return "", err
		}
		if len(line) > 64<<10 {
			return "", errors.New("the line does not end")
		}
	}
}
