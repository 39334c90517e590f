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

// maxTimeout, in seconds, is a day.
const maxTimeout = 24 * 60 * 60

var executeTool = tool{
	spec: Spec{
		Name:        "execute",
		Description: "Run a shell command in the workspace and return its output. Everything it started is ended at the timeout. What shall go on running, such as a server, is for execute_background.",
		Parameters: json.RawMessage(`{"type":"object","properties":{
			"command":{"type":"string","description":"Command for /bin/sh."},
			"timeout":{"type":"integer","minimum":1,"description":"Seconds. Default: the sandbox's, 120 unless set otherwise."}
		},"required":["command"],"additionalProperties":false}`),
	},
	call: (*Set).execute,
}

func (s *Set) execute(ctx context.Context, raw json.RawMessage) (Answer, error) {
	const usage = "execute(command, timeout=120)"
	args, a, ok := commandArgs(raw, usage)
	if !ok {
		return a, nil
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
	var res *backend.ExecResult
	id, err := s.named(func(id string) error {
		// One writer for both streams keeps them in the order they came.
		res, err = sb.Exec(ctx, &backend.ExecRequest{
			ID: id, Shell: args.command, Timeout: args.timeout, Stdout: w, Stderr: w,
		})
		return err
	})
	if err != nil {
		a, fatal := problem(err)
		a.Exec = res
		return a, fatal
	}
	text, truncated := out.text(s.howToRead(id))
	if truncated {
		s.readUpTo(id, out.total) // both ends of it
	}
	after := "at the default timeout"
	if args.timeout > 0 {
		after = "after " + plural(int64(args.timeout/time.Second), "second")
	}
	end := s.ending(ctx, sb, res, after)
	if text == "" && end == "" {
		end = "Command succeeded without output.\n"
	}
	return Answer{
		Text:      text + end,
		Failed:    res.Outcome != backend.OutcomeExit || res.ExitCode != 0,
		Exec:      res,
		Truncated: truncated,
	}, nil
}

// howToRead says how the model gets at output that is not shown.
func (s *Set) howToRead(id string) func(offset int64) string {
	return func(offset int64) string {
		if !s.offers("read_output") {
			return "To read them, run the command again with `> /tmp/out.txt 2>&1` and use read_file on that"
		}
		return fmt.Sprintf("To read them, use read_output with id=%s and offset=%d", id, offset)
	}
}

// command is what the tools that run one are asked for.
type command struct {
	command string
	timeout time.Duration // zero if not given
}

func commandArgs(raw json.RawMessage, usage string) (c command, a Answer, ok bool) {
	var args struct {
		Command string `json:"command"`
		Timeout *int64 `json:"timeout"`
	}
	if a, ok := decode(raw, &args, usage); !ok {
		return c, a, false
	}
	c.command = args.Command
	if strings.TrimSpace(c.command) == "" {
		return c, failed("command is required. Usage: %s", usage), false
	}
	if t := args.Timeout; t != nil {
		if *t < 1 || *t > maxTimeout {
			return c, failed("timeout is %d; it must be from 1 to %d seconds.", *t, maxTimeout), false
		}
		c.timeout = time.Duration(*t) * time.Second
	}
	return c, a, true
}
