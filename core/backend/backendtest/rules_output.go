package backendtest

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/deep-sandbox/deep/core/backend"
)

var outputRules = []Rule{
	{
		Name:     "output-by-offset",
		Sentence: "The output of execs is kept and readable from any byte offset, exactly.",
		Shell:    true,
		run: func(t *T) {
			sb := t.sandbox()
			const want = "0123\x00\xff\r\n89"
			id := t.start(sb, &backend.ExecRequest{Shell: `printf '0123\000\377\r\n89'`})
			t.ended(sb, id)
			for at := range len(want) + 1 {
				if got, from := t.kept(sb, &backend.ReadOutputRequest{ID: id, Offset: int64(at)}); got != want[at:] || from != int64(at) {
					t.Errorf("from %d: %q from %d, want %q", at, got, from, want[at:])
				}
			}
		},
	},
	{
		Name:     "output-of-exec",
		Sentence: "The output of a command in the foreground is kept too, each stream by itself, so that a truncated view can be continued.",
		Shell:    true,
		run: func(t *T) {
			sb, id := t.sandbox(), backend.NewID()
			t.wantOutput("exec", t.exec(&backend.ExecRequest{ID: id, Shell: "echo out; echo error >&2"}), "out\n")
			for stream, want := range map[backend.Stream]string{"": "out\n", backend.StreamStdout: "out\n", backend.StreamStderr: "error\n"} {
				if got, _ := t.kept(sb, &backend.ReadOutputRequest{ID: id, Stream: stream}); got != want {
					t.Errorf("stream %q: %q, want %q", stream, got, want)
				}
			}
			id = backend.NewID()
			t.must("exec", t.exec(&backend.ExecRequest{ID: id, Shell: "echo 1; echo 2 >&2; echo 3", Merge: true}).err)
			if got, _ := t.kept(sb, &backend.ReadOutputRequest{ID: id}); got != "1\n2\n3\n" {
				t.Errorf("merged: %q", got)
			}
			if got, _ := t.kept(sb, &backend.ReadOutputRequest{ID: id, Stream: backend.StreamStderr}); got != "" {
				t.Errorf("stderr of merged streams: %q", got)
			}
		},
	},
	{
		Name:     "output-while-running",
		Sentence: "Output can be read while the command runs: what there is, or with Follow until it ends.",
		Shell:    true,
		run: func(t *T) {
			sb := t.sandbox()
			id := t.start(sb, &backend.ExecRequest{Shell: "echo first; cat", KeepStdin: true})
			t.printed(sb, id, "first\n")
			if got, _ := t.kept(sb, &backend.ReadOutputRequest{ID: id}); got != "first\n" {
				t.Errorf("without Follow: %q", got)
			}
			o, err := sb.ReadOutput(t.ctx, &backend.ReadOutputRequest{ID: id, Offset: 3, Follow: true})
			t.must("read output", err)
			_, err = sb.WriteStdin(t.ctx, &backend.WriteStdinRequest{ID: id, Content: strings.NewReader("second"), Close: true})
			t.must("write stdin", err)
			data, err := io.ReadAll(o)
			t.must("follow", errors.Join(err, o.Close()))
			if string(data) != "st\nsecond" {
				t.Errorf("with Follow: %q", data)
			}
		},
	},
	{
		Name:     "output-follow-cancelled",
		Sentence: "Who follows output may stop: at the end of its context, which is no end of the output.",
		Shell:    true,
		run: func(t *T) {
			sb := t.sandbox()
			id := t.start(sb, &backend.ExecRequest{Argv: []string{"sleep", "600"}, Timeout: backend.Unlimited})
			ctx, cancel := context.WithTimeout(t.ctx, 100*time.Millisecond)
			defer cancel()
			o, err := sb.ReadOutput(ctx, &backend.ReadOutputRequest{ID: id, Follow: true})
			if err == nil {
				_, err = o.Read(make([]byte, 1))
				t.must("close", o.Close())
			}
			t.wantKind("follow", err, context.DeadlineExceeded)
		},
	},
	{
		Name:     "output-refused",
		Sentence: "An offset before the beginning or past the end, and a stream there is not, are ErrInvalid; an exec that never was ErrNotFound.",
		Shell:    true,
		run: func(t *T) {
			sb := t.sandbox()
			id := t.start(sb, &backend.ExecRequest{Argv: []string{"echo", "x"}})
			t.ended(sb, id)
			refuse := func(what string, kind error, req *backend.ReadOutputRequest) {
				o, err := sb.ReadOutput(t.ctx, req)
				if err == nil {
					t.must("close", o.Close())
				}
				t.wantKind(what, err, kind)
			}
			refuse("past the end", backend.ErrInvalid, &backend.ReadOutputRequest{ID: id, Offset: 3})
			refuse("past the end, following", backend.ErrInvalid, &backend.ReadOutputRequest{ID: id, Offset: 3, Follow: true})
			refuse("before the beginning", backend.ErrInvalid, &backend.ReadOutputRequest{ID: id, Offset: -1})
			refuse("an unknown stream", backend.ErrInvalid, &backend.ReadOutputRequest{ID: id, Stream: "stdlog"})
			refuse("an unknown exec", backend.ErrNotFound, &backend.ReadOutputRequest{ID: backend.NewID()})
		},
	},
	{
		Name:     "output-dropped",
		Sentence: "Output is kept within one budget: the oldest is dropped, and said so by the offset; the newest is exact.",
		Shell:    true,
		run: func(t *T) {
			sb := t.small()
			const size = smallKept * 2
			id := t.start(sb, &backend.ExecRequest{Argv: []string{"cat"}, KeepStdin: true})
			_, err := sb.WriteStdin(t.ctx, &backend.WriteStdinRequest{ID: id, Content: io.LimitReader(random(), size), Close: true})
			t.must("write stdin", err)
			if r := t.ended(sb, id); r.Outcome != backend.OutcomeExit || r.StdoutBytes != size {
				t.Errorf("%+v", r)
			}
			got, from := t.kept(sb, &backend.ReadOutputRequest{ID: id})
			if int64(len(got))+from != size || len(got) > smallKept || len(got) < smallKept/2 {
				t.Errorf("%d bytes from %d on are kept, of %d, with a budget of %d", len(got), from, size, smallKept)
			}
			all := make([]byte, size)
			_, err = io.ReadFull(random(), all)
			t.must("make the same again", err)
			if got != string(all[size-len(got):]) {
				t.Errorf("what is kept is not what was written")
			}
		},
	},
	{
		Name:     "output-budget-shared",
		Sentence: "The budget is one for all execs: the newest output drops that of an older exec, which says so.",
		Shell:    true,
		run: func(t *T) {
			sb := t.small()
			old := t.start(sb, &backend.ExecRequest{Argv: []string{"echo", "old"}})
			t.ended(sb, old)
			if got, _ := t.kept(sb, &backend.ReadOutputRequest{ID: old}); got != "old\n" {
				t.Errorf("before: %q", got)
			}
			t.flood(sb, smallKept*3/2)
			if got, from := t.kept(sb, &backend.ReadOutputRequest{ID: old}); got != "" || from != 4 {
				t.Errorf("afterwards %q from %d on, want nothing from 4 on", got, from)
			}
		},
	},
	{
		Name:     "output-dropped-meanwhile",
		Sentence: "Output that is dropped before it was read is ErrConflict to who was reading: nothing is left out unsaid.",
		Shell:    true,
		run: func(t *T) {
			sb := t.small()
			const size = smallKept * 3 / 4
			id := t.flood(sb, size)
			o, err := sb.ReadOutput(t.ctx, &backend.ReadOutputRequest{ID: id})
			t.must("read output", err)
			defer func() { t.must("close", o.Close()) }()
			first := make([]byte, 1)
			_, err = io.ReadFull(o, first)
			t.must("read the first byte", err)
			// Twice the budget: what waits in a transport is far below.
			t.flood(sb, 2*smallKept)
			n, err := io.Copy(io.Discard, o)
			switch {
			case err == nil && n+1 == size: // a transport had taken it all
			case err == nil:
				t.Errorf("the reader came to an end after %d bytes of %d", n+1, size)
			default:
				t.wantKind("read on", err, backend.ErrConflict)
			}
		},
	},
}

// flood runs a command that writes n bytes, and returns its id.
func (t *T) flood(sb backend.Sandbox, n int) string {
	id := t.start(sb, &backend.ExecRequest{Argv: []string{"head", "-c", strconv.Itoa(n), "/dev/zero"}})
	if r := t.ended(sb, id); r.Outcome != backend.OutcomeExit || r.StdoutBytes != int64(n) {
		t.Errorf("a flood of %d bytes: %+v", n, r)
	}
	return id
}

// random returns bytes without order and end, the same each time.
func random() io.Reader { return rand.NewChaCha8([32]byte{11}) }
