package tools

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/deep-sandbox/deep/core/backend"
)

var executeBackgroundTool = tool{
	spec: Spec{
		Name: "execute_background",
		Description: "Start a shell command in the workspace and go on at once, for what shall go on running, such as a server, or takes long. " +
			"It has no input. It answers with an id for read_output and kill. Without a timeout the command runs until it ends, is killed, or the sandbox ends.",
		Parameters: json.RawMessage(`{"type":"object","properties":{
			"command":{"type":"string","description":"Command for /bin/sh. Do not put & behind it."},
			"timeout":{"type":"integer","minimum":1,"description":"Seconds after which everything it started is ended. Default: none."}
		},"required":["command"],"additionalProperties":false}`),
	},
	call: (*Set).executeBackground,
}

var killTool = tool{
	spec: Spec{
		Name:        "kill",
		Description: "End a command of execute_background and everything it started.",
		Parameters: json.RawMessage(`{"type":"object","properties":{
			"id":{"type":"string","description":"What execute_background answered with."}
		},"required":["id"],"additionalProperties":false}`),
	},
	call: (*Set).kill,
}

// executeBackground has no limit unless one is given: a server that ends in the
// middle of the work is no server. It ends with the sandbox at the latest.
func (s *Set) executeBackground(ctx context.Context, raw json.RawMessage) (Answer, error) {
	const usage = "execute_background(command, timeout=none)"
	args, a, ok := commandArgs(raw, usage)
	if !ok {
		return a, nil
	}
	sb, err := s.sandbox(ctx)
	if err != nil {
		return Answer{}, err
	}
	id, err := s.named(func(id string) error {
		_, err := sb.Start(ctx, &backend.ExecRequest{
			ID: id, Shell: args.command, Timeout: cmp.Or(args.timeout, backend.Unlimited), Merge: true,
		})
		return err
	})
	if err != nil {
		return problem(err)
	}
	reply, err := sb.Outcome(ctx, &backend.OutcomeRequest{ID: id})
	if err != nil {
		return problem(err)
	}
	if res := &reply.Result; res.Outcome == backend.OutcomeStartFailed {
		return Answer{Text: s.ending(ctx, sb, res, ""), Failed: true, Exec: res}, nil
	}
	return Answer{
		Text: fmt.Sprintf("Started %s. Use read_output with id=%[1]s to see what it prints and how it ends, and kill to end it.\n", id),
		Exec: &reply.Result,
	}, nil
}

func (s *Set) kill(ctx context.Context, raw json.RawMessage) (Answer, error) {
	const usage = "kill(id)"
	var args struct {
		ID string `json:"id"`
	}
	if a, ok := decode(raw, &args, usage); !ok {
		return a, nil
	}
	if args.ID == "" {
		return failed("id is required. Usage: %s", usage), nil
	}
	sb, err := s.sandbox(ctx)
	if err != nil {
		return Answer{}, err
	}
	reply, err := sb.Kill(ctx, &backend.KillRequest{ID: args.ID})
	if errors.Is(err, backend.ErrNotFound) {
		return noCommand(args.ID), nil
	}
	if err != nil {
		return problem(err)
	}
	res := &reply.Result
	if res.Outcome == backend.OutcomeCancelled {
		return Answer{Text: fmt.Sprintf("%s was ended, with all it had started.\n", args.ID), Exec: res}, nil
	}
	return Answer{Text: fmt.Sprintf("%s had ended before; what it had left running was ended.\n%s", args.ID, s.verdict(ctx, sb, res)), Exec: res}, nil
}

// verdict says how a command of the background ended.
func (s *Set) verdict(ctx context.Context, sb backend.Sandbox, res *backend.ExecResult) string {
	return cmp.Or(s.ending(ctx, sb, res, "at its timeout"), "Command succeeded.\n")
}
