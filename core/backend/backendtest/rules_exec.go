package backendtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/deep-sandbox/deep/core/backend"
)

// noise returns n bytes without order, the same each time.
func noise(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{7})
	_, _ = r.Read(b) // never fails
	return b
}

// noted is a writer that tells when two use it at once.
type noted struct {
	bytes.Buffer
	busy    atomic.Bool
	overlap atomic.Bool
}

func (n *noted) Write(p []byte) (int, error) {
	if n.busy.Swap(true) {
		n.overlap.Store(true)
		return len(p), nil
	}
	defer n.busy.Store(false)
	return n.Buffer.Write(p)
}

// onWrite calls itself with what is written.
type onWrite func(p []byte) error

func (f onWrite) Write(p []byte) (int, error) {
	if err := f(p); err != nil {
		return 0, err
	}
	return len(p), nil
}

var execRules = []Rule{
	{
		Name:     "exec-exit-codes",
		Sentence: "The exit code is the program's own.",
		Shell:    true,
		run: func(t *T) {
			t.wantExit("true", t.exec(&backend.ExecRequest{Argv: []string{"true"}}), 0)
			t.wantExit("false", t.exec(&backend.ExecRequest{Argv: []string{"false"}}), 1)
			for _, code := range []int{0, 2, 42, 124, 126, 127, 137, 255} {
				script := "exit " + strconv.Itoa(code)
				t.wantExit(script, t.exec(&backend.ExecRequest{Shell: script}), code)
			}
		},
	},
	{
		Name:     "exec-signal",
		Sentence: "Death by signal n is exit code 128+n and not a timeout.",
		Shell:    true,
		run: func(t *T) {
			sb := t.sandbox()
			var wg sync.WaitGroup
			// All that end a shell: not SIGCHLD, SIGCONT, SIGURG and SIGWINCH, those
			// that stop it, SIGQUIT, which that of busybox ignores, and the two that a C
			// library keeps for itself.
			for _, sig := range []int{1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 24, 25, 26, 27, 29, 30, 31, 34, 64} {
				wg.Go(func() {
					r := t.execIn(t.ctx, sb, &backend.ExecRequest{Shell: fmt.Sprintf("kill -%d $$", sig), Timeout: time.Hour})
					if r.err != nil || r.Outcome != backend.OutcomeSignal || r.Signal != sig || r.ExitCode != 128+sig {
						t.Errorf("signal %d: %+v, %v", sig, r.ExecResult, r.err)
					}
				})
			}
			wg.Wait()
		},
	},
	{
		Name:     "exec-missing-program",
		Sentence: "A missing program is exit code 127, with a reason, and no error.",
		run: func(t *T) {
			for _, name := range []string{"no-such-program-here", "/no/such/program", "./no-such-program"} {
				r := t.exec(&backend.ExecRequest{Argv: []string{name}})
				t.must(name, r.err)
				if r.Outcome != backend.OutcomeStartFailed || r.ExitCode != 127 || r.StartError == "" {
					t.Errorf("%s: outcome %q, exit code %d, start error %q", name, r.Outcome, r.ExitCode, r.StartError)
				}
			}
		},
	},
	{
		Name:     "exec-not-executable",
		Sentence: "A program that is not executable is exit code 126, with a reason, and no error.",
		run: func(t *T) {
			t.write("data.txt", "no program")
			for _, name := range []string{"./data.txt", "/tmp"} {
				r := t.exec(&backend.ExecRequest{Argv: []string{name}, Dir: t.dir()})
				t.must(name, r.err)
				if r.Outcome != backend.OutcomeStartFailed || r.ExitCode != 126 || r.StartError == "" {
					t.Errorf("%s: outcome %q, exit code %d, start error %q", name, r.Outcome, r.ExitCode, r.StartError)
				}
			}
		},
	},
	{
		Name:     "exec-script",
		Sentence: "A script written with an executable mode runs.",
		Shell:    true,
		run: func(t *T) {
			_, err := t.sandbox().WriteFile(t.ctx, &backend.WriteFileRequest{
				Path: t.path("run.sh"), Mode: 0o755, Content: strings.NewReader("#!/bin/sh\necho ran\n"),
			})
			t.must("write", err)
			t.wantOutput("run.sh", t.exec(&backend.ExecRequest{Argv: []string{"./run.sh"}, Dir: t.dir()}), "ran\n")
		},
	},
	{
		Name:     "exec-streams-apart",
		Sentence: "Stdout and stderr come separately, and are counted so.",
		Shell:    true,
		run: func(t *T) {
			r := t.exec(&backend.ExecRequest{Shell: "echo out; echo error >&2; echo more"})
			t.wantOutput("stdout", r, "out\nmore\n")
			if r.stderr != "error\n" {
				t.Errorf("stderr %q", r.stderr)
			}
			if r.StdoutBytes != 9 || r.StderrBytes != 6 {
				t.Errorf("%d bytes of stdout and %d of stderr, want 9 and 6", r.StdoutBytes, r.StderrBytes)
			}
		},
	},
	{
		Name:     "exec-one-writer-order",
		Sentence: "One writer for both streams gets them in the order they were written, all as stdout.",
		Shell:    true,
		run: func(t *T) {
			w := &noted{}
			r := t.exec(&backend.ExecRequest{Shell: "echo 1; echo 2 >&2; echo 3; echo 4 >&2", Stdout: w, Stderr: w})
			t.must("exec", r.err)
			if got := w.String(); got != "1\n2\n3\n4\n" || r.StdoutBytes != 8 || r.StderrBytes != 0 {
				t.Errorf("%q, %d bytes of stdout and %d of stderr", got, r.StdoutBytes, r.StderrBytes)
			}
		},
	},
	{
		Name:     "exec-one-writer",
		Sentence: "One writer for both streams is written to from one goroutine at a time.",
		Shell:    true,
		run: func(t *T) {
			w := &noted{}
			r := t.exec(&backend.ExecRequest{Shell: "yes a | head -c 300000; yes b | head -c 300000 >&2", Stdout: w, Stderr: w})
			t.must("exec", r.err)
			if w.overlap.Load() || w.Len() != 600_000 {
				t.Errorf("overlap %v, %d bytes of 600000", w.overlap.Load(), w.Len())
			}
		},
	},
	{
		Name:     "exec-output-exact",
		Sentence: "Output is byte-exact, invalid UTF-8 and NUL too.",
		Shell:    true,
		run: func(t *T) {
			t.wantOutput("printf", t.exec(&backend.ExecRequest{Shell: `printf '\357\273\277a\000\377\376\303(\r\n\033[31m'`}), "\xef\xbb\xbfa\x00\xff\xfe\xc3(\r\n\x1b[31m")
		},
	},
	{
		Name:     "exec-output-large",
		Sentence: "Much output comes whole, and is counted.",
		Shell:    true,
		run: func(t *T) {
			var n int64
			r := t.exec(&backend.ExecRequest{Shell: "head -c 8000000 /dev/zero", Stdout: onWrite(func(p []byte) error { n += int64(len(p)); return nil })})
			t.wantExit("head", r, 0)
			if n != 8_000_000 || r.StdoutBytes != n {
				t.Errorf("%d bytes came, %d counted, want 8000000", n, r.StdoutBytes)
			}
		},
	},
	{
		Name:     "exec-flood",
		Sentence: "A flood of output comes whole, byte for byte, through a sandbox with less memory than that.",
		Shell:    true,
		run: func(t *T) {
			const size = smallMemory + smallMemory/4
			sb := t.small()
			var n int64
			zero := true
			r := t.execIn(t.ctx, sb, &backend.ExecRequest{Argv: []string{"head", "-c", strconv.Itoa(size), "/dev/zero"}, Stdout: onWrite(func(p []byte) error {
				n += int64(len(p))
				zero = zero && len(bytes.TrimLeft(p, "\x00")) == 0
				return nil
			})})
			t.wantExit("head", r, 0)
			if n != size || r.StdoutBytes != size || !zero {
				t.Errorf("%d bytes came, %d counted, want %d; none but zeros: %v", n, r.StdoutBytes, size, zero)
			}
		},
	},
	{
		Name:     "exec-slow-reader",
		Sentence: "A slow reader slows the command: what it writes is not piled up in its stead.",
		Shell:    true,
		run: func(t *T) {
			const size = smallMemory / 2
			sb := t.small()
			release := make(chan struct{})
			var n int64
			wait := t.running(t.ctx, sb, &backend.ExecRequest{
				Shell: "head -c " + strconv.Itoa(size) + " /dev/zero; echo x > " + t.rule.Name, Timeout: backend.Unlimited,
				Stdout: onWrite(func(p []byte) error { <-release; n += int64(len(p)); return nil }),
			})
			// Others are not slowed: they write twice as much in the meantime.
			for range 2 {
				other, err := sb.Exec(t.ctx, &backend.ExecRequest{Argv: []string{"head", "-c", strconv.Itoa(size), "/dev/zero"}})
				if err != nil || other.StdoutBytes != size {
					t.Errorf("a command beside it: %+v, %v", other, err)
				}
			}
			if _, err := sb.Stat(t.ctx, &backend.StatRequest{Path: t.rule.Name}); !errors.Is(err, backend.ErrNotFound) {
				t.Errorf("the command has ended, though nobody read what it wrote: %v", err)
			}
			close(release)
			t.wantExit("head", wait(), 0)
			if n != size {
				t.Errorf("%d bytes came of %d", n, size)
			}
		},
	},
	{
		Name:     "exec-output-as-produced",
		Sentence: "Output comes as it is produced, not at the end.",
		Shell:    true,
		run: func(t *T) {
			ctx, cancel := context.WithCancel(t.ctx)
			defer cancel()
			r := t.execIn(ctx, t.sandbox(), &backend.ExecRequest{
				Shell: "echo first; sleep 8", Timeout: backend.Unlimited, Grace: new(time.Duration),
				Stdout: onWrite(func([]byte) error { cancel(); return nil }),
			})
			if r.ExecResult == nil || r.Outcome != backend.OutcomeCancelled {
				t.Errorf("no output before the end: %+v, %v", r.ExecResult, r.err)
			}
		},
	},
	{
		Name:     "exec-output-discarded",
		Sentence: "Output without a writer is discarded and counted.",
		Shell:    true,
		run: func(t *T) {
			res, err := t.sandbox().Exec(t.ctx, &backend.ExecRequest{Shell: "echo gone; echo gone >&2"})
			t.must("exec", err)
			if res.ExitCode != 0 || res.StdoutBytes != 5 || res.StderrBytes != 5 {
				t.Errorf("%+v", res)
			}
		},
	},
	{
		Name:     "exec-argv-exact",
		Sentence: "Arguments are bytes and reach the program unchanged.",
		Shell:    true,
		run: func(t *T) {
			for _, arg := range []string{"", "a b", "new\nline", "cr\r\nlf", "\xef\xbb\xbfbom", `"quote'`, "$HOME *", "-n", "\xff\xfe", "ünï", `back\slash`} {
				t.wantOutput(short(arg), t.exec(&backend.ExecRequest{Argv: []string{"printf", "%s", arg}}), arg)
			}
		},
	},
	{
		Name:     "exec-argv-long",
		Sentence: "Arguments of 1 MiB in all, in pieces, reach the program; what the kernel does not take is a start that failed.",
		Shell:    true,
		run: func(t *T) {
			argv := []string{"printf", strings.Repeat("%s", 10)}
			for i := range 10 {
				argv = append(argv, strings.Repeat(string(rune('a'+i)), 105_000))
			}
			t.wantOutput("1 MiB", t.exec(&backend.ExecRequest{Argv: argv}), strings.Join(argv[2:], ""))
			// The kernel takes 128 KiB of one.
			r := t.exec(&backend.ExecRequest{Argv: []string{"true", strings.Repeat("x", 200_000)}})
			t.must("one too long", r.err)
			if r.Outcome != backend.OutcomeStartFailed || r.ExitCode != 126 || !strings.Contains(r.StartError, "E2BIG") {
				t.Errorf("one too long: outcome %q, exit code %d, start error %q", r.Outcome, r.ExitCode, short(r.StartError))
			}
		},
	},
	{
		Name:     "exec-shell",
		Sentence: "A shell string is run by /bin/sh -c; argv is run as it is.",
		Shell:    true,
		run: func(t *T) {
			const script = `W=word; echo "$W" | cat && (exit 3) || echo "$?"`
			t.wantOutput("shell", t.exec(&backend.ExecRequest{Shell: script}), "word\n3\n")
			t.wantOutput("argv", t.exec(&backend.ExecRequest{Argv: []string{"echo", script}}), script+"\n")
		},
	},
	{
		Name:     "exec-core-limit",
		Sentence: "A program that crashes leaves no core file: their size is limited to 0.",
		Shell:    true,
		run: func(t *T) {
			t.wantOutput("ulimit", t.exec(&backend.ExecRequest{Shell: "ulimit -c"}), "0\n")
			r := t.exec(&backend.ExecRequest{Shell: "echo x > f; kill -SEGV $$", Dir: t.dir()})
			t.must("exec", r.err)
			if names := t.names(""); len(names) != 1 {
				t.Errorf("it left %q", names)
			}
		},
	},
	{
		Name:     "exec-env",
		Sentence: "Env adds to the sandbox's environment; values are bytes.",
		Shell:    true,
		run: func(t *T) {
			r := t.exec(&backend.ExecRequest{
				Shell: `printf '%s|%s|%s' "$ONE" "$TWO" "$THREE"`,
				Env:   map[string]string{"ONE": "a b\n'\"", "TWO": "", "THREE": "\xff=x"},
			})
			t.wantOutput("printf", r, "a b\n'\"||\xff=x")
			r = t.exec(&backend.ExecRequest{Shell: `[ -d "$HOME" ] && printf '%s' "$PATH"`})
			t.wantExit("HOME is a directory", r, 0)
			if r.stdout == "" {
				t.Errorf("no PATH")
			}
		},
	},
	{
		Name:     "exec-env-of-host",
		Sentence: "Nothing of the host's environment is visible inside.",
		Shell:    true,
		run: func(t *T) {
			const name, value = "DEEP_CONTRACT_CANARY", "of-the-host"
			t.must("setenv", os.Setenv(name, value))
			defer func() { t.must("unsetenv", os.Unsetenv(name)) }()
			sb := t.newSandbox(nil)
			r := t.execIn(t.ctx, sb, &backend.ExecRequest{Argv: []string{"env"}})
			t.must("env", r.err)
			for line := range strings.SplitSeq(r.stdout, "\n") {
				if strings.Contains(line, value) || strings.HasPrefix(line, "DEEP_") {
					t.Errorf("the environment holds %q", line)
				}
			}
		},
	},
	{
		Name:     "exec-dir",
		Sentence: "A command runs in the workspace, or in Dir, relative to the workspace or absolute.",
		Shell:    true,
		run: func(t *T) {
			ws := t.sandbox().Info().Workspace
			t.wantOutput("no dir", t.exec(&backend.ExecRequest{Argv: []string{"pwd"}}), ws+"\n")
			dir := t.dir()
			t.wantOutput("relative", t.exec(&backend.ExecRequest{Argv: []string{"pwd"}, Dir: dir}), ws+"/"+dir+"\n")
			t.wantOutput("absolute", t.exec(&backend.ExecRequest{Argv: []string{"pwd"}, Dir: "/tmp"}), "/tmp\n")
		},
	},
	{
		Name:     "exec-dir-missing",
		Sentence: "A missing Dir is ErrNotFound naming it; one that is no directory ErrNotDirectory.",
		run: func(t *T) {
			r := t.exec(&backend.ExecRequest{Argv: []string{"true"}, Dir: t.path("missing")})
			t.wantKind("missing", r.err, backend.ErrNotFound)
			if e := (*backend.Error)(nil); errors.As(r.err, &e) && !strings.Contains(e.Path, "missing") {
				t.Errorf("the error names %q", e.Path)
			}
			t.write("file", "x")
			t.wantKind("a file", t.exec(&backend.ExecRequest{Argv: []string{"true"}, Dir: t.path("file")}).err, backend.ErrNotDirectory)
		},
	},
	{
		Name:     "exec-stdin-empty",
		Sentence: "Stdin is at its end unless the caller streams it.",
		Shell:    true,
		run: func(t *T) {
			r := t.exec(&backend.ExecRequest{Argv: []string{"cat"}})
			t.wantExit("cat", r, 0)
			t.wantOutput("cat", r, "")
			t.wantOutput("an empty reader", t.exec(&backend.ExecRequest{Argv: []string{"cat"}, Stdin: strings.NewReader("")}), "")
		},
	},
	{
		Name:     "exec-stdin-exact",
		Sentence: "Stdin is binary-exact, 50 MiB and more, and so is output.",
		Shell:    true,
		run: func(t *T) {
			const size = 50<<20 + 17
			got := &compared{want: random()}
			r := t.exec(&backend.ExecRequest{Argv: []string{"cat"}, Stdin: io.LimitReader(random(), size), Stdout: got})
			t.wantExit("cat", r, 0)
			if got.n != size || got.differs || r.StdoutBytes != size {
				t.Errorf("%d bytes came back of %d and %d were counted; others than were sent: %v", got.n, size, r.StdoutBytes, got.differs)
			}
		},
	},
	{
		Name:     "exec-stdin-half-close",
		Sentence: "The end of stdin does not end the output.",
		Shell:    true,
		run: func(t *T) {
			r := t.exec(&backend.ExecRequest{Shell: "cat; echo after", Stdin: strings.NewReader("before ")})
			t.wantOutput("cat", r, "before after\n")
		},
	},
	{
		Name:     "exec-stdin-unread",
		Sentence: "A command that reads no stdin ends as it would; Exec does not wait for a Read that hangs.",
		Shell:    true,
		run: func(t *T) {
			t.wantExit("more than it reads", t.exec(&backend.ExecRequest{Argv: []string{"true"}, Stdin: bytes.NewReader(noise(1 << 20))}), 0)
			r, w := io.Pipe()
			defer w.CloseWithError(io.EOF)
			t.wantExit("a read that hangs", t.exec(&backend.ExecRequest{Argv: []string{"true"}, Stdin: r}), 0)
		},
	},
	{
		Name:     "exec-stdin-fails",
		Sentence: "An error of the stdin reader cancels the command and is returned.",
		Shell:    true,
		run: func(t *T) {
			broken := errors.New("reader broke")
			r := t.exec(&backend.ExecRequest{
				Shell: "cat; sleep 600", Timeout: backend.Unlimited, Grace: new(time.Duration),
				Stdin: io.MultiReader(strings.NewReader("x"), failing{broken}),
			})
			if !errors.Is(r.err, broken) || r.ExecResult == nil || r.Outcome != backend.OutcomeCancelled {
				t.Errorf("%+v, %v", r.ExecResult, r.err)
			}
		},
	},
	{
		Name:     "exec-writer-fails",
		Sentence: "An error of an output writer cancels the command and is returned.",
		Shell:    true,
		run: func(t *T) {
			broken := errors.New("writer broke")
			r := t.exec(&backend.ExecRequest{
				Argv: []string{"yes"}, Timeout: backend.Unlimited, Grace: new(time.Duration),
				Stdout: onWrite(func([]byte) error { return broken }),
			})
			if !errors.Is(r.err, broken) || r.ExecResult == nil || r.Outcome != backend.OutcomeCancelled {
				t.Errorf("%+v, %v", r.ExecResult, r.err)
			}
		},
	},
	{
		Name:     "exec-invalid",
		Sentence: "A request that means nothing is ErrInvalid.",
		run: func(t *T) {
			hour := 2 * time.Hour
			for what, req := range map[string]*backend.ExecRequest{
				"neither argv nor shell":    {},
				"argv and shell":            {Argv: []string{"true"}, Shell: "true"},
				"an empty program":          {Argv: []string{""}},
				"a NUL in an argument":      {Argv: []string{"true", "a\x00b"}},
				"a NUL in a script":         {Shell: "true\x00"},
				"a variable without name":   {Argv: []string{"true"}, Env: map[string]string{"": "x"}},
				"a variable with =":         {Argv: []string{"true"}, Env: map[string]string{"A=B": "x"}},
				"a NUL in a variable":       {Argv: []string{"true"}, Env: map[string]string{"A": "\x00"}},
				"a negative timeout":        {Argv: []string{"true"}, Timeout: -1},
				"a negative grace":          {Argv: []string{"true"}, Grace: new(-time.Second)},
				"a grace above an hour":     {Argv: []string{"true"}, Grace: &hour},
				"a negative output limit":   {Argv: []string{"true"}, OutputLimit: -1},
				"an id with a slash":        {Argv: []string{"true"}, ID: "a/b"},
				"a directory with a NUL":    {Argv: []string{"true"}, Dir: "a\x00b"},
				"a directory's name of 300": {Argv: []string{"true"}, Dir: strings.Repeat("x", 300)},
			} {
				t.wantKind(what, t.exec(req).err, backend.ErrInvalid)
			}
		},
	},
	{
		Name:     "exec-keep-stdin",
		Sentence: "What a command in the foreground reads is its caller's Stdin: KeepStdin is ErrInvalid with a hint, and nothing runs.",
		run: func(t *T) {
			for what, change := range map[string]func(*backend.ExecRequest){
				"alone": func(*backend.ExecRequest) {}, "beside Stdin": func(r *backend.ExecRequest) { r.Stdin = strings.NewReader("x") },
			} {
				req := &backend.ExecRequest{ID: backend.NewID(), Argv: []string{"true"}, KeepStdin: true}
				change(req)
				r := t.exec(req)
				t.wantKind(what, r.err, backend.ErrInvalid)
				if r.err != nil && backend.HintOf(r.err) == "" {
					t.Errorf("%s: no hint: %v", what, r.err)
				}
				_, err := t.sandbox().Outcome(t.ctx, &backend.OutcomeRequest{ID: req.ID})
				t.wantKind(what+", its outcome", err, backend.ErrNotFound)
			}
		},
	},
	{
		Name:     "exec-id-twice",
		Sentence: "A second start with the same id is refused with ErrExists: no command runs twice.",
		Shell:    true,
		run: func(t *T) {
			req := func() *backend.ExecRequest {
				return &backend.ExecRequest{ID: "twice-" + t.sandbox().Info().ID[:10], Shell: "echo line >> ran", Dir: t.dir()}
			}
			t.wantExit("first", t.exec(req()), 0)
			t.wantKind("second", t.exec(req()).err, backend.ErrExists)
			t.wantContent("ran", "line\n")
		},
	},
	{
		Name:     "exec-id-given",
		Sentence: "The result carries the caller's id, or a fresh one.",
		Shell:    true,
		run: func(t *T) {
			id := backend.NewID()
			if r := t.exec(&backend.ExecRequest{ID: id, Argv: []string{"true"}}); r.err != nil || r.ID != id {
				t.Errorf("%+v, %v", r.ExecResult, r.err)
			}
			a, b := t.exec(&backend.ExecRequest{Argv: []string{"true"}}), t.exec(&backend.ExecRequest{Argv: []string{"true"}})
			if a.err != nil || b.err != nil || !backend.ValidID(a.ID) || a.ID == b.ID {
				t.Errorf("%v, %v; ids %v, %v", a.err, b.err, a.ExecResult, b.ExecResult)
			}
		},
	},
	{
		Name:     "exec-result-measures",
		Sentence: "A result tells duration, user and system CPU time, and peak memory.",
		Shell:    true,
		run: func(t *T) {
			r := t.exec(&backend.ExecRequest{Argv: []string{"sleep", "0.2"}})
			t.wantExit("sleep", r, 0)
			if r.Duration < 150*time.Millisecond || r.Duration > time.Minute {
				t.Errorf("duration %v", r.Duration)
			}
			r = t.exec(&backend.ExecRequest{Shell: "head -c 50000000 /dev/zero | wc -c"})
			t.wantOutput("count", r, "50000000\n")
			// It copies 50 MB twice: at least a tick of 1/1000 s.
			if cpu := r.UserTime + r.SystemTime; cpu < time.Millisecond || cpu > time.Minute {
				t.Errorf("CPU time %v in user mode and %v in the kernel", r.UserTime, r.SystemTime)
			}
			if r.MaxRSS < 100<<10 || r.MaxRSS > 1<<30 {
				t.Errorf("largest resident size %d", r.MaxRSS)
			}
		},
	},
	{
		Name:     "exec-many-at-once",
		Sentence: "200 commands at once in one sandbox work, each with its own streams.",
		Shell:    true,
		run: func(t *T) {
			sb := t.sandbox()
			var wg sync.WaitGroup
			for i := range 200 {
				wg.Go(func() {
					word := fmt.Sprintf("word-%d", i)
					r := t.execIn(t.ctx, sb, &backend.ExecRequest{Shell: `cat; echo "$W"; echo "$W" >&2`, Env: map[string]string{"W": word}, Stdin: strings.NewReader(word + " ")})
					if r.err != nil || r.stdout != word+" "+word+"\n" || r.stderr != word+"\n" {
						t.Errorf("%s: stdout %q, stderr %q, %v", word, r.stdout, r.stderr, r.err)
					}
				})
			}
			wg.Wait()
		},
	},
	{
		Name:     "outcome",
		Sentence: "Outcome tells what became of an exec, also through another handle.",
		Shell:    true,
		run: func(t *T) {
			id := backend.NewID()
			r := t.exec(&backend.ExecRequest{ID: id, Shell: "echo hello; exit 9"})
			t.wantExit("exec", r, 9)
			other, err := t.kit.b.Open(t.ctx, &backend.OpenRequest{ID: t.sandbox().Info().ID})
			t.must("open", err)
			defer func() { t.must("close", other.Close()) }()
			o, err := other.Outcome(t.ctx, &backend.OutcomeRequest{ID: id})
			t.must("outcome", err)
			if got := o.Result; got.ID != id || got.Outcome != backend.OutcomeExit || got.ExitCode != 9 || got.StdoutBytes != 6 {
				t.Errorf("%+v", got)
			}
		},
	},
	{
		Name:     "outcome-unknown-id",
		Sentence: "Outcome of an id that was never started is ErrNotFound, of one that is none ErrInvalid.",
		run: func(t *T) {
			_, err := t.sandbox().Outcome(t.ctx, &backend.OutcomeRequest{ID: backend.NewID()})
			t.wantKind("never started", err, backend.ErrNotFound)
			_, err = t.sandbox().Outcome(t.ctx, &backend.OutcomeRequest{ID: "a/b"})
			t.wantKind("no id", err, backend.ErrInvalid)
		},
	},
	{
		Name:     "outcome-so-far",
		Sentence: "Outcome of an exec that runs tells what it has written so far to each stream, and for how long it has run.",
		Shell:    true,
		run: func(t *T) {
			sb := t.sandbox()
			id := t.start(sb, &backend.ExecRequest{Shell: "printf 12345; printf 123 >&2; cat; exit 3", KeepStdin: true, Timeout: backend.Unlimited})
			soFar := func() *backend.ExecResult {
				o, err := sb.Outcome(t.ctx, &backend.OutcomeRequest{ID: id})
				t.must("outcome", err)
				return &o.Result
			}
			wantBytes := func(stdout, stderr int64) (last *backend.ExecResult) {
				t.eventually(fmt.Sprintf("%d bytes of output, %d of errors", stdout, stderr), func() bool {
					last = soFar()
					return last.StdoutBytes == stdout && last.StderrBytes == stderr
				})
				if last.ID != id || last.Outcome != backend.OutcomeRunning || last.Duration <= 0 {
					t.Errorf("%+v", last)
				}
				return last
			}
			before := wantBytes(5, 3)
			typed := func(req *backend.WriteStdinRequest) {
				_, err := sb.WriteStdin(t.ctx, req)
				t.must("write stdin", err)
			}
			typed(&backend.WriteStdinRequest{ID: id, Content: strings.NewReader("1234567")})
			if now := wantBytes(12, 3); now.Duration <= before.Duration {
				t.Errorf("it has run for %v, and before for %v", now.Duration, before.Duration)
			}
			typed(&backend.WriteStdinRequest{ID: id, Close: true})
			if end := t.ended(sb, id); end.ExitCode != 3 || end.StdoutBytes != 12 || end.StderrBytes != 3 || end.Duration < before.Duration {
				t.Errorf("afterwards: %+v", end)
			}
		},
	},
	{
		Name:     "outcome-running",
		Sentence: "Outcome of an exec that runs says so.",
		Shell:    true,
		run: func(t *T) {
			ctx, cancel := context.WithCancel(t.ctx)
			sb, id, done := t.sandbox(), backend.NewID(), make(chan struct{})
			go func() {
				defer close(done)
				_, _ = sb.Exec(ctx, &backend.ExecRequest{ID: id, Argv: []string{"sleep", "600"}, Grace: new(time.Duration), Timeout: backend.Unlimited})
			}()
			t.eventually("outcome running", func() bool {
				o, err := sb.Outcome(t.ctx, &backend.OutcomeRequest{ID: id})
				return err == nil && o.Result.Outcome == backend.OutcomeRunning
			})
			cancel()
			<-done
			o, err := sb.Outcome(t.ctx, &backend.OutcomeRequest{ID: id})
			t.must("outcome", err)
			if o.Result.Outcome != backend.OutcomeCancelled {
				t.Errorf("afterwards: %q", o.Result.Outcome)
			}
		},
	},
}

// failing is a reader that fails.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// compared is a writer that compares what is written with what should be.
type compared struct {
	want    io.Reader
	n       int64
	differs bool
}

func (c *compared) Write(p []byte) (int, error) {
	want := make([]byte, len(p))
	if _, err := io.ReadFull(c.want, want); err != nil || !bytes.Equal(p, want) {
		c.differs = true
	}
	c.n += int64(len(p))
	return len(p), nil
}
