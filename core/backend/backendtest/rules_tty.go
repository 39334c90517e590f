package backendtest

import (
	"io"
	"strings"
	"syscall"
	"time"

	"github.com/deep-sandbox/deep/core/backend"
)

func size(rows, cols uint16) *backend.WindowSize { return &backend.WindowSize{Rows: rows, Cols: cols} }

var ttyRules = []Rule{
	{
		Name:     "tty-is-one",
		Sentence: "With a TTY, stdin, stdout and stderr of the command are a terminal of the size asked for; without, none is.",
		Shell:    true, Needs: backend.CapTTY,
		run: func(t *T) {
			const script = "test -t 0 && echo in; test -t 1 && echo out; test -t 2 && echo err; stty size 2>/dev/null"
			t.wantOutput("with", t.exec(&backend.ExecRequest{Shell: script, TTY: size(33, 111)}), "in\r\nout\r\nerr\r\n33 111\r\n")
			t.wantOutput("without", t.exec(&backend.ExecRequest{Shell: script}), "")
		},
	},
	{
		Name:     "tty-controls",
		Sentence: "The TTY is the command's controlling terminal: /dev/tty is it.",
		Shell:    true, Needs: backend.CapTTY,
		run: func(t *T) {
			t.wantOutput("write to /dev/tty", t.exec(&backend.ExecRequest{Shell: "echo there > /dev/tty", TTY: size(24, 80)}), "there\r\n")
		},
	},
	{
		Name:     "tty-merged",
		Sentence: "On a terminal everything counts as stdout, in the order it was written.",
		Shell:    true, Needs: backend.CapTTY,
		run: func(t *T) {
			r := t.exec(&backend.ExecRequest{Shell: "echo 1; echo 2 >&2; echo 3", TTY: size(24, 80)})
			t.wantExit("exec", r, 0)
			t.wantOutput("exec", r, "1\r\n2\r\n3\r\n")
			if r.stderr != "" || r.StderrBytes != 0 || r.StdoutBytes != 9 {
				t.Errorf("stderr %q, %d bytes of stdout and %d of stderr", r.stderr, r.StdoutBytes, r.StderrBytes)
			}
		},
	},
	{
		Name:     "tty-output-whole",
		Sentence: "Output to a terminal comes whole, the last of it too, byte for byte where the terminal is set to raw.",
		Shell:    true, Needs: backend.CapTTY,
		run: func(t *T) {
			var n int
			r := t.exec(&backend.ExecRequest{Shell: "stty raw -echo; head -c 1000000 /dev/zero; printf 'a\\nb\\000\\377'", TTY: size(24, 80), Stdout: onWrite(func(p []byte) error { n += len(p); return nil })})
			t.wantExit("head", r, 0)
			if n != 1_000_005 {
				t.Errorf("%d bytes came of 1000005", n)
			}
			for range 20 {
				t.wantOutput("a short command", t.exec(&backend.ExecRequest{Argv: []string{"echo", "last"}, TTY: size(24, 80)}), "last\r\n")
			}
		},
	},
	{
		Name:     "tty-echo",
		Sentence: "A terminal echoes what is typed and gives the command lines; the end of stdin is a ^D, as typed.",
		Shell:    true, Needs: backend.CapTTY,
		run: func(t *T) {
			r := t.exec(&backend.ExecRequest{Argv: []string{"cat"}, TTY: size(24, 80), Stdin: strings.NewReader("typed\n")})
			t.wantExit("cat", r, 0)
			t.wantOutput("cat", r, "typed\r\ntyped\r\n")
			r = t.exec(&backend.ExecRequest{Argv: []string{"cat"}, TTY: size(24, 80)})
			t.wantExit("cat of no stdin", r, 0)
			t.wantOutput("cat of no stdin", r, "")
		},
	},
	{
		Name:     "tty-interrupt",
		Sentence: "A ^C that is typed interrupts the command, and not its caller.",
		Shell:    true, Needs: backend.CapTTY,
		run: func(t *T) {
			in, typed := io.Pipe()
			defer typed.CloseWithError(io.EOF)
			var out collector
			wait := t.running(t.ctx, t.sandbox(), &backend.ExecRequest{
				Shell: "echo up; exec sleep 600", TTY: size(24, 80), Stdin: in, Stdout: &out, Timeout: backend.Unlimited,
			})
			t.eventually("it is up", func() bool { return out.holds("up") })
			_, err := typed.Write([]byte{interrupt})
			t.must("type", err)
			r := wait()
			t.must("exec", r.err)
			if r.Outcome != backend.OutcomeSignal || r.Signal != int(syscall.SIGINT) || r.ExitCode != 130 {
				t.Errorf("%+v", r.ExecResult)
			}
		},
	},
	{
		Name:     "tty-resize",
		Sentence: "Resize changes the size of a terminal, and the command is told by a SIGWINCH.",
		Shell:    true, Needs: backend.CapTTY,
		run: func(t *T) {
			sb, id := t.sandbox(), backend.NewID()
			t.start(sb, &backend.ExecRequest{
				ID: id, Shell: "trap 'stty size' WINCH; echo up; while :; do sleep 0.05; done", TTY: size(24, 80), KeepStdin: true, Timeout: backend.Unlimited,
			})
			t.printed(sb, id, "up\r\n")
			t.must("resize", sb.Resize(t.ctx, &backend.ResizeRequest{ID: id, Size: *size(50, 132)}))
			t.printed(sb, id, "50 132\r\n")
		},
	},
	{
		Name:     "tty-resize-refused",
		Sentence: "Resizing what has no terminal, or has ended, is ErrConflict; to no size ErrInvalid; what never was ErrNotFound.",
		Shell:    true, Needs: backend.CapTTY,
		run: func(t *T) {
			sb := t.sandbox()
			resize := func(id string, s *backend.WindowSize) error {
				return sb.Resize(t.ctx, &backend.ResizeRequest{ID: id, Size: *s})
			}
			plain := t.start(sb, &backend.ExecRequest{Argv: []string{"sleep", "600"}, Timeout: backend.Unlimited})
			t.wantKind("no terminal", resize(plain, size(24, 80)), backend.ErrConflict)
			over := t.start(sb, &backend.ExecRequest{Argv: []string{"true"}, TTY: size(24, 80)})
			t.ended(sb, over)
			t.wantKind("ended", resize(over, size(24, 80)), backend.ErrConflict)
			live := t.start(sb, &backend.ExecRequest{Argv: []string{"sleep", "600"}, TTY: size(24, 80), KeepStdin: true, Timeout: backend.Unlimited})
			t.wantKind("no rows", resize(live, size(0, 80)), backend.ErrInvalid)
			t.wantKind("no columns", resize(live, size(24, 0)), backend.ErrInvalid)
			t.wantKind("never was", resize(backend.NewID(), size(24, 80)), backend.ErrNotFound)
			t.wantKind("a terminal without rows", t.exec(&backend.ExecRequest{Argv: []string{"true"}, TTY: size(0, 80)}).err, backend.ErrInvalid)
		},
	},
	{
		Name:     "tty-background",
		Sentence: "A background command may have a terminal: it is typed to by WriteStdin.",
		Shell:    true, Needs: backend.CapTTY,
		run: func(t *T) {
			sb := t.sandbox()
			id := t.start(sb, &backend.ExecRequest{Argv: []string{"cat"}, TTY: size(24, 80), KeepStdin: true, Timeout: backend.Unlimited})
			_, err := sb.WriteStdin(t.ctx, &backend.WriteStdinRequest{ID: id, Content: strings.NewReader("one\n")})
			t.must("type", err)
			t.printed(sb, id, "one\r\none\r\n")
			_, err = sb.WriteStdin(t.ctx, &backend.WriteStdinRequest{ID: id, Content: strings.NewReader("two\n"), Close: true})
			t.must("type and end", err)
			if r := t.ended(sb, id); r.Outcome != backend.OutcomeExit || r.ExitCode != 0 {
				t.Errorf("%+v", r)
			}
			if got, _ := t.kept(sb, &backend.ReadOutputRequest{ID: id}); !strings.HasSuffix(got, "two\r\ntwo\r\n") {
				t.Errorf("output %q", got)
			}
		},
	},
	{
		Name:     "tty-background-child",
		Sentence: "A finished command returns at once, though a background child holds its terminal.",
		Shell:    true, Needs: backend.CapTTY,
		run: func(t *T) {
			started := time.Now()
			r := t.exec(&backend.ExecRequest{Shell: "(trap '' HUP; sleep 600) & echo done", TTY: size(24, 80), Timeout: backend.Unlimited})
			t.wantExit("exec", r, 0)
			t.wantOutput("exec", r, "done\r\n")
			if took := time.Since(started); took > time.Minute {
				t.Errorf("it took %v", took)
			}
		},
	},
	{
		Name:     "tty-timeout",
		Sentence: "A command on a terminal is ended at its timeout like any other, with what it started.",
		Shell:    true, Needs: backend.CapTTY,
		run: func(t *T) {
			n := t.neighbour()
			t.timedOut(backend.ExecRequest{Shell: hostile, Dir: t.dir(), TTY: size(24, 80), Grace: new(100 * time.Millisecond)}, func(ran) bool { return t.allLive() })
			n.wantDead()
		},
	},
}
