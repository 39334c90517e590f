package guest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/deep-sandbox/deep/core/backend"
)

// execCases hold for both domains.
func execCases(t *testing.T) {
	f := newFixture(t)
	for _, c := range []struct {
		name string
		run  func(f *fixture)
	}{
		{"Basics", caseBasics},
		{"Environment", caseEnvironment},
		{"Directory", caseDirectory},
		{"Lookup", caseLookup},
		{"Status", caseStatus},
		{"Refused", caseRefused},
		{"Privileges", casePrivileges},
		{"Descriptors", caseDescriptors},
		{"Bytes", caseBytes},
		{"Stdin", caseStdin},
		{"StdinUnread", caseStdinUnread},
		{"StdinBroken", caseStdinBroken},
		{"BackgroundChild", caseBackgroundChild},
		{"Streaming", caseStreaming},
		{"OutputLimit", caseOutputLimit},
		{"WriterFails", caseWriterFails},
		{"WriterBlocks", caseWriterBlocks},
		{"TermIsHeard", caseTermIsHeard},
		{"Registry", caseRegistry},
		{"Parallel", caseParallel},
		{"Zombies", caseZombies},
	} {
		t.Run(c.name, func(t *testing.T) {
			inner := *f
			inner.t = t
			c.run(&inner)
		})
	}
}

func TestGroupExec(t *testing.T) { inNamespaces(t, modeGroup, execCases) }
func TestPIDNSExec(t *testing.T) { inNamespaces(t, modePIDNS, execCases) }

func caseBasics(f *fixture) {
	res, out, errs := f.run(&backend.ExecRequest{Argv: []string{"sh", "-c", "echo out; echo err >&2; exit 7"}})
	if out != "out\n" || errs != "err\n" || res.ExitCode != 7 || res.Outcome != backend.OutcomeExit || res.Signal != 0 {
		f.t.Fatalf("%+v %q %q", res, out, errs)
	}
	if res.StdoutBytes != 4 || res.StderrBytes != 4 || res.Duration <= 0 || res.MaxRSS <= 0 || !backend.ValidID(res.ID) {
		f.t.Fatalf("%+v", res)
	}
	if got := f.sh("pwd"); got != f.dir+"\n" {
		f.t.Fatalf("runs in %q", got)
	}
	if got := f.sh("cat"); got != "" {
		f.t.Fatalf("stdin holds %q", got)
	}
	busy, _, _ := f.run(&backend.ExecRequest{Shell: "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done"})
	if busy.UserTime <= 0 {
		f.t.Fatalf("a busy loop took %v of processor", busy.UserTime)
	}
}

func caseEnvironment(f *fixture) {
	_, out, _ := f.run(&backend.ExecRequest{
		Argv: []string{"env"},
		Env:  map[string]string{"GIVEN": "a\nb=\xff", "TERM": "mine", "EMPTY": ""},
	})
	for _, want := range []string{"GIVEN=a\nb=\xff\n", "TERM=mine\n", "EMPTY=\n", "LANG=C.UTF-8\n", "FROM_SETUP=yes\n", "PATH=", "HOME="} {
		if !strings.Contains("\n"+out, "\n"+want) {
			f.t.Errorf("no %q in\n%s", want, out)
		}
	}
	if strings.Contains(out, "DEEP_") {
		f.t.Errorf("the guest's own variables are in\n%s", out)
	}
	if out := f.sh(`cd "$HOME" && touch probe && rm probe`); out != "" {
		f.t.Error(out)
	}
}

func caseDirectory(f *fixture) {
	f.put("sub/file", "")
	for dir, want := range map[string]string{"": f.dir, "sub": f.path("sub"), "sub/..": f.dir, "/": "/", f.path("sub"): f.path("sub")} {
		if _, out, _ := f.run(&backend.ExecRequest{Shell: "pwd -P", Dir: dir}); out != want+"\n" {
			f.t.Errorf("in %q: %q", dir, out)
		}
	}
	_, err := f.Exec(f.t.Context(), &backend.ExecRequest{ID: "nodir", Argv: []string{"true"}, Dir: "none/here"})
	if e := wantKind(f.t, err, backend.ErrNotFound); e.Path != "none/here" {
		f.t.Errorf("the error names %q", e.Path)
	}
	// Nothing was run, so the id is free.
	if _, err := f.Outcome(f.t.Context(), &backend.OutcomeRequest{ID: "nodir"}); !errors.Is(err, backend.ErrNotFound) {
		f.t.Errorf("outcome: %v", err)
	}
	_, err = f.Exec(f.t.Context(), &backend.ExecRequest{Argv: []string{"true"}, Dir: "sub/file"})
	wantKind(f.t, err, backend.ErrNotDirectory)
	check(f.t, os.MkdirAll(f.path("locked"), 0o700))
	check(f.t, os.Chmod(f.path("locked"), 0))
	_, err = f.Exec(f.t.Context(), &backend.ExecRequest{Argv: []string{"true"}, Dir: "locked"})
	wantKind(f.t, err, backend.ErrPermission)
}

func caseLookup(f *fixture) {
	f.put("bin/tool", "#!/bin/sh\necho tool\n")
	f.put("bin/plain", "echo plain\n")
	f.put("bin/orphan", "#!/no/such/interpreter\n")
	f.put("bin/text", "no program\n")
	for _, name := range []string{"tool", "orphan", "text"} {
		check(f.t, os.Chmod(f.path("bin/"+name), 0o755))
	}
	check(f.t, os.MkdirAll(f.path("bin/dir"), 0o755))
	for _, c := range []struct {
		argv0, path string
		code        int
		errno       string
	}{
		{"./bin/tool", "", 0, ""},
		{f.path("bin/tool"), "", 0, ""},
		{"tool", f.path("bin"), 0, ""},
		{"tool", "/nowhere:" + f.path("bin") + ":/bin", 0, ""},
		{"tool", "bin", 0, ""}, // relative to the command's directory
		{"tool", "/bin", 127, "ENOENT"},
		{"no-such-program", "", 127, "ENOENT"},
		{"./none", "", 127, "ENOENT"},
		{"./bin/plain", "", 126, "EACCES"},
		{"plain", f.path("bin"), 126, "EACCES"},
		{"./bin/dir", "", 126, "EACCES"},
		{"./bin/text", "", 126, "ENOEXEC"},
		{"./bin/orphan", "", 127, "ENOENT"},
		{"./bin/tool/x", "", 126, "ENOTDIR"},
		{strings.Repeat("x", 300), "", 126, "ENAMETOOLONG"},
	} {
		req := &backend.ExecRequest{Argv: []string{c.argv0}}
		if c.path != "" {
			req.Env = map[string]string{"PATH": c.path}
		}
		res, out, _ := f.run(req)
		switch {
		case res.ExitCode != c.code || !strings.HasPrefix(res.StartError, c.errno) || (c.errno == "") != (res.StartError == ""):
			f.t.Errorf("%q: %+v", c.argv0, res)
		case c.code == 0 && out != "tool\n":
			f.t.Errorf("%q printed %q", c.argv0, out)
		case c.code != 0 && res.Outcome != backend.OutcomeStartFailed:
			f.t.Errorf("%q: outcome %s", c.argv0, res.Outcome)
		}
	}
	// Of a script it is the interpreter that is missing, or what ends its name.
	f.put("bin/windows", "#! /bin/sh\r\nexit\n")
	f.put("bin/odd", "#!\t/no/\x1b[1m"+strings.Repeat("x", 200)+" -e\n")
	f.put("bin/unread", "#!/no/such/interpreter\n")
	for name, mode := range map[string]os.FileMode{"windows": 0o755, "odd": 0o755, "unread": 0o111} {
		check(f.t, os.Chmod(f.path("bin/"+name), mode))
	}
	for argv0, want := range map[string]string{
		"./bin/orphan": "(/no/such/interpreter)", f.path("bin/orphan"): "(/no/such/interpreter)", "./bin/windows": `("/bin/sh\r")`,
		"./bin/odd": `\x1b[1mx`, "./bin/unread": "the interpreter it names is not", "./bin/none": "(./bin/none)",
	} {
		res, _, _ := f.run(&backend.ExecRequest{Argv: []string{argv0}})
		if res.ExitCode != 127 || !strings.Contains(res.StartError, want) || len(res.StartError) > 600 || strings.Contains(res.StartError, "\x1b") {
			f.t.Errorf("%q: %+v, want %q", argv0, res, want)
		}
	}
	// More than the kernel takes.
	res, _, _ := f.run(&backend.ExecRequest{Argv: []string{"true", strings.Repeat("x", 200<<10)}})
	if res.ExitCode != 126 || !strings.HasPrefix(res.StartError, "E2BIG") {
		f.t.Errorf("%+v", res)
	}
}

func caseStatus(f *fixture) {
	for code := range 256 {
		if code%5 != 0 && code < 250 {
			continue
		}
		res, _, _ := f.run(&backend.ExecRequest{Shell: fmt.Sprintf("exit %d", code)})
		if res.ExitCode != code || res.Outcome != backend.OutcomeExit || res.Signal != 0 {
			f.t.Errorf("exit %d: %+v", code, res)
		}
	}
	for _, sig := range []int{1, 2, 3, 6, 9, 10, 13, 14, 15} {
		res, _, _ := f.run(&backend.ExecRequest{Shell: fmt.Sprintf("kill -%d $$", sig)})
		if res.ExitCode != 128+sig || res.Outcome != backend.OutcomeSignal || res.Signal != sig {
			f.t.Errorf("signal %d: %+v", sig, res)
		}
	}
}

func caseRefused(f *fixture) {
	negative, long := -time.Second, 2*time.Hour
	for name, req := range map[string]*backend.ExecRequest{
		"nothing":        {},
		"both":           {Argv: []string{"true"}, Shell: "true"},
		"empty program":  {Argv: []string{""}},
		"NUL":            {Argv: []string{"echo", "a\x00b"}},
		"NUL in shell":   {Shell: "echo \x00"},
		"bad id":         {ID: "a/b", Argv: []string{"true"}},
		"bad variable":   {Argv: []string{"true"}, Env: map[string]string{"A=B": "c"}},
		"no variable":    {Argv: []string{"true"}, Env: map[string]string{"": "c"}},
		"NUL value":      {Argv: []string{"true"}, Env: map[string]string{"A": "\x00"}},
		"timeout":        {Argv: []string{"true"}, Timeout: -1},
		"grace":          {Argv: []string{"true"}, Grace: &negative},
		"long grace":     {Argv: []string{"true"}, Grace: &long},
		"limit":          {Argv: []string{"true"}, OutputLimit: -1},
		"NUL in dir":     {Argv: []string{"true"}, Dir: "a\x00"},
		"input kept":     {Argv: []string{"true"}, KeepStdin: true},
		"over-long name": {Argv: []string{"true"}, Dir: strings.Repeat("x", 256)},
	} {
		res, err := f.Exec(f.t.Context(), req)
		if !errors.Is(err, backend.ErrInvalid) || res != nil {
			f.t.Errorf("%s: %+v, %v", name, res, err)
		}
	}
	ended, cancel := context.WithCancel(f.t.Context())
	cancel()
	if _, err := f.Exec(ended, &backend.ExecRequest{Argv: []string{"true"}}); !errors.Is(err, context.Canceled) {
		f.t.Error(err)
	}
}

func casePrivileges(f *fixture) {
	_, out, errs := f.run(&backend.ExecRequest{Shell: "$HELPER -helper=status; $HELPER -helper=setgroups && echo BAD"})
	for line := range strings.Lines(out) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		value = strings.TrimSpace(value)
		switch name {
		case "Uid", "Gid":
			want := strings.TrimSpace(strings.Repeat(fmt.Sprintf("%d\t", f.uid), 4))
			if value != want {
				f.t.Errorf("%s is %q, want %q", name, value, want)
			}
		case "CapInh", "CapPrm", "CapEff", "CapAmb":
			if strings.Trim(value, "0") != "" {
				f.t.Errorf("%s is %s", name, value)
			}
		}
	}
	if !strings.Contains(out, "CapEff") || strings.Contains(out, "BAD") || !strings.Contains(errs, "not permitted") {
		f.t.Errorf("%s%s", out, errs)
	}
	if got := f.sh("umask"); got != "0022\n" {
		f.t.Errorf("umask %q", got)
	}
	if got := f.sh("cat /proc/self/oom_score_adj; true"); got != "500\n" && got != "0\n" {
		f.t.Errorf("oom score %q", got)
	}
	eventually(f.t, "the oom score is raised", func() bool {
		return f.sh("sleep 0.05; cat /proc/$$/oom_score_adj") == "500\n"
	})
}

func caseDescriptors(f *fixture) {
	if got := f.sh("ls /proc/self/fd"); got != "0\n1\n2\n3\n" { // 3 is ls's own
		f.t.Errorf("open descriptors %q", got)
	}
	res, _, errs := f.run(&backend.ExecRequest{Shell: "exec 3</dev/tty"})
	if res.ExitCode == 0 {
		f.t.Errorf("there is a terminal: %s", errs)
	}
}

func caseBytes(f *fixture) {
	const size = 8 << 20
	want := make([]byte, size)
	for i := range want {
		want[i] = byte(i * 7 >> 3)
	}
	f.put("blob", string(want))
	var out bytes.Buffer
	res, err := f.Exec(f.t.Context(), &backend.ExecRequest{Shell: "cat blob; cat blob >&2", Stdout: &out})
	check(f.t, err)
	if !bytes.Equal(out.Bytes(), want) || res.StdoutBytes != size || res.StderrBytes != size {
		f.t.Fatalf("%d bytes of output, %+v", out.Len(), res)
	}
}

func caseStdin(f *fixture) {
	const size = 50 << 20
	input := bytes.Repeat([]byte("0123456789abcdef\x00\xff\n"), size/19+1)[:size]
	f.put("copy", "")
	res, err := f.Exec(f.t.Context(), &backend.ExecRequest{Shell: "cat > copy; echo done", Stdin: bytes.NewReader(input)})
	check(f.t, err)
	if res.ExitCode != 0 || f.get("copy") != string(input) {
		f.t.Fatalf("%+v", res)
	}
	check(f.t, os.Remove(f.path("copy")))
}

func caseStdinUnread(f *fixture) {
	// A reader that hangs does not hold up the end, nor does one nobody reads.
	hang, _ := io.Pipe()
	res, _, _ := f.run(&backend.ExecRequest{Shell: "exit 3", Stdin: hang})
	if res.ExitCode != 3 {
		f.t.Fatalf("%+v", res)
	}
	res, _, _ = f.run(&backend.ExecRequest{Shell: "exec <&-; exit 4", Stdin: endless{}})
	if res.ExitCode != 4 {
		f.t.Fatalf("%+v", res)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func caseStdinBroken(f *fixture) {
	broken := errors.New("the caller's disk is broken")
	res, err := f.Exec(f.t.Context(), &backend.ExecRequest{
		Shell: "cat; sleep 1000", Stdin: io.MultiReader(strings.NewReader("some"), failing{broken}),
	})
	if !errors.Is(err, broken) || res == nil || res.Outcome != backend.OutcomeCancelled {
		f.t.Fatalf("%+v, %v", res, err)
	}
}

type failing struct{ err error }

func (r failing) Read([]byte) (int, error) { return 0, r.err }

func caseBackgroundChild(f *fixture) {
	// It holds the pipe, writes to it for ever, and nobody minds.
	const tag = "TAG=background"
	begin := time.Now()
	res, out, _ := f.run(&backend.ExecRequest{
		Shell: "(while :; do echo more; sleep 0.01; done) & echo $!; echo last",
		Env:   map[string]string{"TAG": "background"}, Timeout: time.Minute,
	})
	if res.Outcome != backend.OutcomeExit || res.ExitCode != 0 || !strings.Contains(out, "last\n") || time.Since(begin) > 30*time.Second {
		f.t.Fatalf("after %v: %+v %q", time.Since(begin), res, out)
	}
	length := len(out)
	// It lives on, without a broken pipe, while others run and are killed.
	for range 20 {
		f.sh("sleep 0.02")
		if len(tagged(f.t, tag)) == 0 {
			f.t.Fatal("the background child died")
		}
	}
	if len(out) != length {
		f.t.Fatal("output after the end")
	}
	f.killTagged(tag)
}

// killTagged ends what a test left running.
func (f *fixture) killTagged(tag string) {
	f.t.Helper()
	eventually(f.t, "killed "+tag, func() bool {
		for _, p := range tagged(f.t, tag) {
			var pid int
			if _, err := fmt.Sscanf(p, "%d ", &pid); err == nil {
				_ = unix.Kill(pid, unix.SIGKILL)
			}
		}
		return len(tagged(f.t, tag)) == 0
	})
}

// signalling tells when it was first written to.
type signalling struct {
	once  sync.Once
	first chan struct{}
	bytes atomic.Int64
}

func newSignalling() *signalling { return &signalling{first: make(chan struct{})} }

func (w *signalling) Write(p []byte) (int, error) {
	w.bytes.Add(int64(len(p)))
	w.once.Do(func() { close(w.first) })
	return len(p), nil
}

func caseStreaming(f *fixture) {
	// Output comes while the command runs: it waits for the test to see it.
	f.put("seen", "")
	check(f.t, os.Remove(f.path("seen")))
	w := newSignalling()
	go func() {
		<-w.first
		_ = os.WriteFile(f.path("seen"), nil, 0o644)
	}()
	res, err := f.Exec(f.t.Context(), &backend.ExecRequest{
		Shell: "echo first; while [ ! -e seen ]; do sleep 0.01; done", Stdout: w, Timeout: 30 * time.Second,
	})
	check(f.t, err)
	if res.ExitCode != 0 || res.Outcome != backend.OutcomeExit {
		f.t.Fatalf("%+v", res)
	}
}

func caseOutputLimit(f *fixture) {
	const tag = "TAG=limited"
	for _, limit := range []int64{1, 10, 100_000} {
		var out, errs bytes.Buffer
		grace := 50 * time.Millisecond
		res, err := f.Exec(f.t.Context(), &backend.ExecRequest{
			Shell: "while :; do echo 0123456789abcdef; echo x >&2; done", Env: map[string]string{"TAG": "limited"},
			Stdout: &out, Stderr: &errs, OutputLimit: limit, Grace: &grace,
		})
		check(f.t, err)
		if res.Outcome != backend.OutcomeOutputLimited || int64(out.Len()+errs.Len()) != limit {
			f.t.Errorf("limit %d: %+v, %d bytes", limit, res, out.Len()+errs.Len())
		}
		if left := tagged(f.t, tag); len(left) > 0 {
			f.t.Errorf("left: %v", left)
		}
	}
}

func caseWriterFails(f *fixture) {
	full := errors.New("the caller's disk is full")
	res, err := f.Exec(f.t.Context(), &backend.ExecRequest{Shell: "echo x; sleep 1000", Stdout: failingWriter{full}})
	if !errors.Is(err, full) || res == nil || res.Outcome != backend.OutcomeCancelled {
		f.t.Fatalf("%+v, %v", res, err)
	}
}

type failingWriter struct{ err error }

func (w failingWriter) Write([]byte) (int, error) { return 0, w.err }

// blocked blocks its writer until released.
type blocked struct {
	entered chan struct{}
	once    sync.Once
	release chan struct{}
}

func (w *blocked) Write(p []byte) (int, error) {
	w.once.Do(func() { close(w.entered) })
	<-w.release
	return len(p), nil
}

func caseWriterBlocks(f *fixture) {
	// The command is slowed, and killed at its deadline though its output is
	// stuck; then the result waits for the writer only.
	const tag = "TAG=stuck"
	w := &blocked{entered: make(chan struct{}), release: make(chan struct{})}
	done := make(chan *backend.ExecResult, 1)
	grace := 50 * time.Millisecond
	go func() {
		res, _ := f.Exec(context.Background(), &backend.ExecRequest{
			Shell: "yes", Stdout: w, Timeout: 500 * time.Millisecond, Grace: &grace, Env: map[string]string{"TAG": "stuck"},
		})
		done <- res
	}()
	<-w.entered
	eventually(f.t, "the stuck command is killed", func() bool { return len(tagged(f.t, tag)) == 0 })
	select {
	case res := <-done:
		f.t.Fatalf("the result came before the writer: %+v", res)
	default:
	}
	close(w.release)
	res := <-done
	if res.Outcome != backend.OutcomeTimeout {
		f.t.Fatalf("%+v", res)
	}
	// Back-pressure: no more was read than a pipe and two buffers hold.
	if res.StdoutBytes > 1<<20 {
		f.t.Fatalf("%d bytes were taken from a command whose output was stuck", res.StdoutBytes)
	}
}

func caseTermIsHeard(f *fixture) {
	// A command that tidies up at SIGTERM has the time to, and its own status
	// is told beside the timeout.
	grace := 20 * time.Second
	begin := time.Now()
	res, out, _ := f.run(&backend.ExecRequest{
		Shell:   "trap 'echo tidy; exit 5' TERM; echo up; while :; do sleep 0.01; done",
		Timeout: 400 * time.Millisecond, Grace: &grace,
	})
	if res.Outcome != backend.OutcomeTimeout || res.ExitCode != 5 || !strings.HasSuffix(out, "tidy\n") || time.Since(begin) > 15*time.Second {
		f.t.Fatalf("after %v: %+v %q", time.Since(begin), res, out)
	}
}

func caseRegistry(f *fixture) {
	ctx := f.t.Context()
	res, err := f.Exec(ctx, &backend.ExecRequest{ID: "once", Shell: "echo ran >> count; exit 9"})
	check(f.t, err)
	if res.ID != "once" {
		f.t.Fatalf("%+v", res)
	}
	_, err = f.Exec(ctx, &backend.ExecRequest{ID: "once", Shell: "echo ran >> count"})
	wantKind(f.t, err, backend.ErrExists)
	if got := f.get("count"); got != "ran\n" {
		f.t.Fatalf("it ran twice: %q", got)
	}
	reply, err := f.Outcome(ctx, &backend.OutcomeRequest{ID: "once"})
	check(f.t, err)
	if reply.Result.ExitCode != 9 || reply.Result.Outcome != backend.OutcomeExit {
		f.t.Fatalf("%+v", reply.Result)
	}

	runCtx, cancel := context.WithCancel(ctx)
	w := newSignalling()
	done := make(chan error, 1)
	go func() {
		_, err := f.Exec(runCtx, &backend.ExecRequest{ID: "live", Shell: "echo up; sleep 1000", Stdout: w})
		done <- err
	}()
	<-w.first
	reply, err = f.Outcome(ctx, &backend.OutcomeRequest{ID: "live"})
	check(f.t, err)
	if reply.Result.Outcome != backend.OutcomeRunning || reply.Result.StdoutBytes != 3 {
		f.t.Fatalf("%+v", reply.Result)
	}
	_, err = f.Exec(ctx, &backend.ExecRequest{ID: "live", Argv: []string{"true"}})
	wantKind(f.t, err, backend.ErrExists)
	cancel()
	wantKind(f.t, <-done, context.Canceled)
	reply, err = f.Outcome(ctx, &backend.OutcomeRequest{ID: "live"})
	check(f.t, err)
	if reply.Result.Outcome != backend.OutcomeCancelled {
		f.t.Fatalf("%+v", reply.Result)
	}
	_, err = f.Outcome(ctx, &backend.OutcomeRequest{ID: "never"})
	wantKind(f.t, err, backend.ErrNotFound)
}

func caseParallel(f *fixture) {
	n := 200
	if os.Getenv(envMode) == modePIDNS {
		n = 40 // a namespace's first process has threads, and they share the limit
	}
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			var out bytes.Buffer
			want := fmt.Sprintf("out %d\n", i)
			res, err := f.Exec(f.t.Context(), &backend.ExecRequest{
				Shell: fmt.Sprintf("sleep 0.2; echo out %d; exit %d", i, i%100), Stdout: &out, Stderr: &out,
			})
			if err != nil || res.ExitCode != i%100 || out.String() != want {
				f.t.Errorf("%d: %+v %v %q", i, res, err, out.String())
			}
		})
	}
	wg.Wait()
}

func caseZombies(f *fixture) {
	// Orphans come to process 1 and do not stay.
	f.sh("i=0; while [ $i -lt 300 ]; do (true &); i=$((i+1)); done")
	eventually(f.t, "zombies are reaped", func() bool {
		entries, err := os.ReadDir("/proc")
		check(f.t, err)
		for _, e := range entries {
			status, err := os.ReadFile("/proc/" + e.Name() + "/status")
			if err == nil && bytes.Contains(status, []byte("State:\tZ")) {
				return false
			}
		}
		return true
	})
}
