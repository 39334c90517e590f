package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/config"
	"github.com/deep-sandbox/deep/core/host"
	"github.com/deep-sandbox/deep/core/internal/llm"
	"github.com/deep-sandbox/deep/core/internal/replay"
)

// Exit codes. Those of `deep exec` are the command's, but for these; a command
// ended by signal n is 128+n.
const (
	exitOK = 0
	// exitFailed: it could not be done, or something is wrong.
	exitFailed = 1
	// exitUsage: the command line makes no sense.
	exitUsage = 2
	// exitWaiting: the run waits for approvals.
	exitWaiting = 3
	// exitTimeout: `deep exec` ended its command at the timeout.
	exitTimeout = 124
	// exitExec: `deep exec` failed, not its command.
	exitExec = 125
)

// exitError is an error with an exit code of its own. Without Err nothing is
// printed: all has been said.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// usageError is a command line that makes no sense.
type usageError struct{ what, hint string }

func (e *usageError) Error() string {
	if e.hint == "" {
		return e.what
	}
	return e.what + " — " + e.hint
}

// Interrupted is the cause of a context that a signal ended.
type Interrupted struct{ Signal syscall.Signal }

func (e Interrupted) Error() string { return "interrupted by " + e.Signal.String() }

// ExitCode is what a shell calls the end by that signal.
func (e Interrupted) ExitCode() int { return 128 + int(e.Signal) }

// exitCode returns the exit code for what a command returned. otherwise is that
// of a failure that has none of its own.
func exitCode(ctx context.Context, err error, otherwise int) int {
	var (
		exit  *exitError
		usage *usageError
		sig   Interrupted
	)
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &exit):
		return exit.code
	case errors.As(context.Cause(ctx), &sig):
		return sig.ExitCode()
	case errors.Is(err, syscall.EPIPE):
		return 128 + int(syscall.SIGPIPE)
	case errors.As(err, &usage) && otherwise == exitFailed:
		return exitUsage
	}
	return otherwise
}

// silent reports whether an error says nothing that the user does not know: it was
// said, they pressed Ctrl-C, or closed what we write to.
func silent(ctx context.Context, err error) bool {
	var exit *exitError
	if errors.As(err, &exit) {
		return exit.err == nil
	}
	if errors.As(context.Cause(ctx), new(Interrupted)) && (errors.Is(err, context.Canceled) || errors.As(err, new(Interrupted))) {
		return true
	}
	return errors.Is(err, syscall.EPIPE)
}

// explain prints an error: what is wrong on one line, what to do about it on the
// next.
func explain(w io.Writer, err error) {
	var mistakes *config.Error
	if errors.As(err, &mistakes) {
		fmt.Fprintln(w, escape(mistakes.Error()))
		fmt.Fprintf(w, "deep: %s in the configuration\n", count(len(mistakes.Mistakes), "mistake"))
		return
	}
	what, hint, more := apart(err)
	fmt.Fprintf(w, "deep: %s\n", escapeLine(what))
	if hint != "" {
		fmt.Fprintf(w, "      %s\n", escapeLine(hint))
	}
	for _, line := range more {
		fmt.Fprintf(w, "  | %s\n", escape(line))
	}
	var kept *keptError
	if errors.As(err, &kept) {
		fmt.Fprintf(w, "deep: the run is kept: deep run show %s\n", kept.id)
	}
}

// apart takes an error apart: what is wrong, the remedy, and further lines, such
// as the last ones of a plugin.
func apart(err error) (what, hint string, more []string) {
	what = err.Error()
	var (
		crash *backend.CrashError
		start *host.StartError
		model *llm.Error
		usage *usageError
		file  *config.FileError
		left  *replay.MismatchError
	)
	switch {
	case errors.As(err, &crash):
		more, hint = crash.Stderr, backend.HintOf(err)
	case errors.As(err, &start):
		more, hint = start.Output, start.Err.Hint
	case errors.As(err, &model):
		hint = model.Remedy
	case errors.As(err, &usage):
		hint = usage.hint
	case errors.As(err, &file):
		hint = file.Hint
	case errors.As(err, &left):
		more = strings.Split(strings.TrimRight(left.Diff(), "\n"), "\n")
	default:
		hint = backend.HintOf(err)
	}
	if len(more) > 0 {
		// They stand at the end of the text, after a line of introduction.
		if head, _, found := strings.Cut(what, "its last lines:\n"); found {
			what = strings.TrimRight(head, "; \n")
		}
	}
	if hint != "" {
		for _, join := range []string{" — ", "; ", "\n"} {
			if head, tail, found := strings.Cut(what, join+hint); found {
				what = head + tail
				break
			}
		}
	}
	lines := strings.Split(strings.TrimRight(what, "\n"), "\n")
	return lines[0], hint, append(lines[1:], more...)
}

// count is "1 mistake", "2 mistakes".
func count(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}

// failure is an error in JSON.
type failure struct {
	Kind     string            `json:"kind"`
	Message  string            `json:"message"`
	Hint     string            `json:"hint,omitempty"`
	More     []string          `json:"more,omitempty"`
	Mistakes []mistakeInConfig `json:"mistakes,omitempty"`
}

func newFailure(err error) *failure {
	f := &failure{Kind: "failed"}
	if kind := backend.KindOf(err); kind != nil {
		f.Kind = kind.Error()
	}
	var mistakes *config.Error
	if errors.As(err, &mistakes) {
		f.Message = count(len(mistakes.Mistakes), "mistake") + " in the configuration"
		f.Mistakes = mistakesInJSON(mistakes)
		return f
	}
	f.Message, f.Hint, f.More = apart(err)
	return f
}
