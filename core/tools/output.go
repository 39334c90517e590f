package tools

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/deep-sandbox/deep/core/backend"
)

const (
	// sinceLast, as an offset, is where the last read ended.
	sinceLast = -1
	// maxWait, in seconds, keeps a call from looking like one that hangs.
	maxWait = 60
	// pageOutput is shown of output that is asked for by its offset, in bytes.
	pageOutput = headOutput + tailOutput
	// readTries of output that is dropped as fast as it is read.
	readTries = 3
)

var readOutputTool = tool{
	spec: Spec{
		Name: "read_output",
		Description: "Read what a command printed, and learn whether it runs or how it ended. Without an offset it is what is new since the last time. " +
			"With one, output that was cut can be read in parts, also that of execute.",
		Parameters: json.RawMessage(`{"type":"object","properties":{
			"id":{"type":"string","description":"What execute_background answered with, or execute named where it cut."},
			"offset":{"type":"integer","minimum":-1,"description":"Bytes to skip, counted from the beginning of the output. Default: -1, what is new."},
			"wait":{"type":"integer","minimum":0,"maximum":60,"description":"Seconds to wait at most for the command to end, before reading. Default: 0."}
		},"required":["id"],"additionalProperties":false}`),
	},
	call: (*Set).readOutput,
}

func (s *Set) readOutput(ctx context.Context, raw json.RawMessage) (Answer, error) {
	const usage = "read_output(id, offset=-1, wait=0)"
	args := struct {
		ID     string `json:"id"`
		Offset int64  `json:"offset"`
		Wait   int64  `json:"wait"`
	}{Offset: sinceLast}
	if a, ok := decode(raw, &args, usage); !ok {
		return a, nil
	}
	switch {
	case args.ID == "":
		return failed("id is required. Usage: %s", usage), nil
	case args.Offset < sinceLast:
		return failed("offset is %d; it must be 0 or more, or -1 for what is new.", args.Offset), nil
	case args.Wait < 0 || args.Wait > maxWait:
		return failed("wait is %d; it must be from 0 to %d seconds.", args.Wait, maxWait), nil
	}
	sb, err := s.sandbox(ctx)
	if err != nil {
		return Answer{}, err
	}
	for range readTries {
		// How it ended is asked first: then what it printed until then is there.
		res, err := outcome(ctx, sb, args.ID, time.Duration(args.Wait)*time.Second)
		if errors.Is(err, backend.ErrNotFound) {
			return noCommand(args.ID), nil
		}
		if err != nil {
			return problem(err)
		}
		read := s.readNew
		if args.Offset >= 0 {
			read = s.readPage
		}
		answer, err := read(ctx, sb, res, args.Offset)
		if err == nil {
			answer.Exec = res
			return answer, nil
		}
		if !errors.Is(err, backend.ErrConflict) {
			return problem(err)
		}
	}
	return failed("%s prints faster than can be read, and only the newest is kept. Start it again with its output in a file, or end it with kill.", args.ID), nil
}

// outcome tells what became of a command, after wait if it has not ended before.
func outcome(ctx context.Context, sb backend.Sandbox, id string, wait time.Duration) (*backend.ExecResult, error) {
	if wait > 0 {
		waiting, cancel := context.WithTimeout(ctx, wait)
		defer cancel()
		reply, err := sb.Outcome(waiting, &backend.OutcomeRequest{ID: id, Wait: true})
		if err == nil {
			return &reply.Result, nil
		}
		if waiting.Err() == nil || ctx.Err() != nil {
			return nil, err
		}
	}
	reply, err := sb.Outcome(ctx, &backend.OutcomeRequest{ID: id})
	if err != nil {
		return nil, err
	}
	return &reply.Result, nil
}

// readNew shows both ends of what the model has not read. ErrConflict says that it
// was dropped meanwhile.
func (s *Set) readNew(ctx context.Context, sb backend.Sandbox, res *backend.ExecResult, _ int64) (Answer, error) {
	from := s.unread(res.ID)
	e, err := newest(ctx, sb, res, from)
	if err != nil {
		return Answer{}, err
	}
	if res.Outcome == backend.OutcomeRunning {
		e.holdBack()
	}
	text, cut := e.text(s.howToRead(res.ID))
	s.readUpTo(res.ID, e.base+e.total)
	if text == "" && from == 0 {
		text = "No output.\n"
	} else if text == "" {
		text = "No new output; offset=0 reads from the beginning.\n"
	}
	return Answer{Text: dropped(from, e.base) + text + s.standing(ctx, sb, res), Truncated: cut}, nil
}

// newest reads output from an offset on. Of a flood it leaves out the middle, of
// which nothing is shown.
func newest(ctx context.Context, sb backend.Sandbox, res *backend.ExecResult, from int64) (*ends, error) {
	const (
		flood = 1 << 20
		// last is more than what is shown of the end: what is counted as written may
		// be on its way still.
		last = 256 << 10
	)
	out, err := sb.ReadOutput(ctx, &backend.ReadOutputRequest{ID: res.ID, Offset: from})
	if err != nil {
		return nil, err
	}
	defer func() { _ = out.Close() }() // what was read was checked as it was read
	e := &ends{base: out.Offset}
	if res.StdoutBytes-e.base <= flood {
		_, err := io.Copy(e, out)
		return e, err
	}
	if _, err := io.CopyN(e, out, headOutput); err != nil {
		return nil, err
	}
	middle := res.StdoutBytes - last
	end, err := sb.ReadOutput(ctx, &backend.ReadOutputRequest{ID: res.ID, Offset: middle})
	if err != nil {
		return nil, err
	}
	defer func() { _ = end.Close() }()
	e.total = middle - e.base
	if _, err := io.Copy(e, end); err != nil {
		return nil, err
	}
	if end.Offset != middle || len(e.tail) < tailOutput {
		return nil, &backend.Error{Kind: backend.ErrConflict, Op: "read output", Path: res.ID, Message: "it was dropped before it was read"}
	}
	return e, nil
}

// readPage shows output from an offset on, as much as a page holds.
func (s *Set) readPage(ctx context.Context, sb backend.Sandbox, res *backend.ExecResult, offset int64) (Answer, error) {
	out, err := sb.ReadOutput(ctx, &backend.ReadOutputRequest{ID: res.ID, Offset: offset})
	if err != nil {
		return Answer{}, err
	}
	defer func() { _ = out.Close() }() // what was read was checked as it was read
	page, err := io.ReadAll(io.LimitReader(out, pageOutput+1))
	if err != nil {
		return Answer{}, err
	}
	more := len(page) > pageOutput
	if more {
		page = page[:pageOutput]
		// End with a whole line, unless there is none.
		if i := bytes.LastIndexByte(page, '\n'); i >= 0 {
			page = page[:i+1]
		}
	}
	if more || res.Outcome == backend.OutcomeRunning {
		page = page[:len(page)-unfinished(page)]
	}
	next := out.Offset + int64(len(page))
	s.readUpTo(res.ID, next)
	text := dropped(offset, out.Offset) + shown(string(page))
	if more {
		return Answer{Text: text + fmt.Sprintf("[more follows; go on with offset=%d]\n", next), Truncated: true}, nil
	}
	return Answer{Text: text + s.standing(ctx, sb, res)}, nil
}

// dropped says that output is not there any more.
func dropped(asked, first int64) string {
	if first <= asked {
		return ""
	}
	return fmt.Sprintf("[%s from offset %d on were dropped: only the newest output is kept]\n", plural(first-asked, "byte"), asked)
}

// standing says whether a command runs, or how it ended.
func (s *Set) standing(ctx context.Context, sb backend.Sandbox, res *backend.ExecResult) string {
	if res.Outcome != backend.OutcomeRunning {
		return s.verdict(ctx, sb, res)
	}
	if res.Duration == 0 {
		return res.ID + " is running.\n"
	}
	// Also so that two answers differ: it is no circle to look again.
	return fmt.Sprintf("%s is running, for %.1f s.\n", res.ID, res.Duration.Seconds())
}
