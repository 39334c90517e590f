package tools

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/deep-sandbox/deep/core/backend"
)

const (
	// maxTimeout, in seconds, is a day.
	maxTimeout = 24 * 60 * 60
	// headOutput and tailOutput of a command's output are shown, in bytes: errors
	// stand at one of its ends.
	headOutput = 10_000
	tailOutput = 20_000
)

var executeTool = tool{
	spec: Spec{
		Name:        "execute",
		Description: "Run a shell command in the workspace and return its output. Everything it started is ended at the timeout.",
		Parameters: json.RawMessage(`{"type":"object","properties":{
			"command":{"type":"string","description":"Command for /bin/sh."},
			"timeout":{"type":"integer","minimum":1,"description":"Seconds. Default: the sandbox's, 120 unless set otherwise."}
		},"required":["command"],"additionalProperties":false}`),
	},
	call: (*Set).execute,
}

func (s *Set) execute(ctx context.Context, raw json.RawMessage) (Answer, error) {
	const usage = "execute(command, timeout=120)"
	var args struct {
		Command string `json:"command"`
		Timeout *int64 `json:"timeout"`
	}
	if a, ok := decode(raw, &args, usage); !ok {
		return a, nil
	}
	if strings.TrimSpace(args.Command) == "" {
		return failed("command is required. Usage: %s", usage), nil
	}
	var timeout time.Duration // zero is the sandbox's own
	if t := args.Timeout; t != nil {
		if *t < 1 || *t > maxTimeout {
			return failed("timeout is %d; it must be from 1 to %d seconds.", *t, maxTimeout), nil
		}
		timeout = time.Duration(*t) * time.Second
	}
	sb, err := s.sandbox(ctx)
	if err != nil {
		return Answer{}, err
	}
	var out ends
	var w io.Writer = &out
	if s.opts.ExecuteOutput != nil {
		w = io.MultiWriter(&out, s.opts.ExecuteOutput)
	}
	// One writer for both streams keeps them in the order they came.
	res, err := sb.Exec(ctx, &backend.ExecRequest{
		Shell: args.Command, Timeout: timeout, Stdout: w, Stderr: w,
	})
	if err != nil {
		a, fatal := problem(err)
		a.Exec = res
		return a, fatal
	}
	text, truncated := out.text()
	return Answer{
		Text:      text + ending(res, timeout, text != ""),
		Failed:    res.Outcome != backend.OutcomeExit || res.ExitCode != 0,
		Exec:      res,
		Truncated: truncated,
	}, nil
}

// ending says how a command ended. Success says nothing, unless there was no
// output either.
func ending(res *backend.ExecResult, timeout time.Duration, output bool) string {
	switch res.Outcome {
	case backend.OutcomeExit:
		if res.ExitCode != 0 {
			return fmt.Sprintf("Command failed (exit code %d)\n", res.ExitCode)
		}
		if !output {
			return "Command succeeded without output.\n"
		}
		return ""
	case backend.OutcomeSignal:
		return fmt.Sprintf("Command failed (exit code %d): it was killed by signal %d\n", res.ExitCode, res.Signal)
	case backend.OutcomeTimeout:
		after := "at the default timeout"
		if timeout > 0 {
			after = "after " + plural(int64(timeout/time.Second), "second")
		}
		return fmt.Sprintf("Command failed (exit code 124): it timed out %s; all it had started was ended. Give it a longer timeout, or less to do.\n", after)
	case backend.OutcomeStartFailed:
		return fmt.Sprintf("Command failed (exit code %d): it could not be started: %s\n", res.ExitCode, res.StartError)
	default:
		return fmt.Sprintf("Command failed: %s\n", strings.ReplaceAll(string(res.Outcome), "_", " "))
	}
}

// ends is a writer that keeps the first and the last bytes of what is written.
type ends struct {
	head, tail []byte
	total      int64
}

func (e *ends) Write(p []byte) (int, error) {
	n := len(p)
	e.total += int64(n)
	if room := headOutput - len(e.head); room > 0 {
		k := min(room, len(p))
		e.head = append(e.head, p[:k]...)
		p = p[k:]
	}
	e.tail = append(e.tail, p...)
	// Halved only when twice too long, so that small writes stay cheap.
	if len(e.tail) > 2*tailOutput {
		e.tail = append(e.tail[:0], e.tail[len(e.tail)-tailOutput:]...)
	}
	return n, nil
}

// text returns the output, its end marked with a newline, and whether a part of
// it is missing, which it says in the place where it is missing.
func (e *ends) text() (string, bool) {
	head, tail := string(e.head), string(e.tail)
	cut := e.total > headOutput+tailOutput
	if cut {
		tail = tail[len(tail)-tailOutput:]
		// Begin and end with whole lines, unless there are none.
		if i := strings.LastIndexByte(head, '\n'); i >= 0 {
			head = head[:i+1]
		}
		if i := strings.IndexByte(tail, '\n'); i >= 0 && i < len(tail)-1 {
			tail = tail[i+1:]
		}
		missing := e.total - int64(len(head)+len(tail))
		head = strings.TrimSuffix(head, "\n") + fmt.Sprintf(
			"\n[%s of output are missing here. To read them, run the command again with `> /tmp/out.txt 2>&1` and use read_file on that]\n", plural(missing, "byte"))
	}
	s := strings.ToValidUTF8(head+tail, "\uFFFD")
	if s != "" && !strings.HasSuffix(s, "\n") {
		s += "\n"
	}
	return s, cut
}
