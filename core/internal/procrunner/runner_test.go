package procrunner

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// childKey makes the test's own program act as a plugin in one of the ways of
// children.
const childKey = "PROCRUNNER_TEST_CHILD"

// children are what a plugin may do; the program exits with 0 after one.
var children = map[string]func(){
	"line": func() { fmt.Println("hello|there") },
	"env": func() {
		for _, e := range os.Environ() {
			fmt.Fprintln(os.Stderr, e)
		}
		fmt.Println("ok")
	},
	"lifeline": func() {
		fmt.Println("ok")
		_, _ = io.Copy(io.Discard, os.Stdin)
		fmt.Fprintln(os.Stderr, "the host is gone")
	},
	"exit7": func() { fmt.Fprintln(os.Stderr, "that is the end"); os.Exit(7) },
	// Asleep, not blocked for good: the runtime takes that for a deadlock and ends.
	"hang": func() { fmt.Println("ok"); time.Sleep(time.Hour) },
	"stop": func() { fmt.Println("ok"); _ = unix.Kill(os.Getpid(), unix.SIGSTOP); time.Sleep(time.Hour) },
	// A grandchild in the group, and one that left it, hold all the pipes.
	"grandchildren": func() {
		sleep(false)
		sleep(true)
		fmt.Println("ok")
	},
	"hclog": func() {
		fmt.Fprintln(os.Stderr, `{"@level":"warn","@message":"too hot","@module":"x","degrees":41,"where":{"a":"b"}}`)
		fmt.Fprintln(os.Stderr, `{"@message":5}`)
		fmt.Fprintln(os.Stderr, `{"@level":7,"@message":null}`)
		fmt.Fprintln(os.Stderr, `{"@level":"error"`)
		fmt.Fprintln(os.Stderr, "\x1b[2Jpanic: oh no")
		fmt.Println("ok")
	},
	"flood": func() {
		fmt.Println("ok")
		w := bufio.NewWriterSize(os.Stderr, 1<<16)
		_, _ = w.WriteString(strings.Repeat("x", 1<<20) + "\n")
		for i := range 100_000 {
			fmt.Fprintf(w, "line %d\n", i)
		}
		_ = w.Flush()
	},
	"endless line": func() {
		chunk := bytes.Repeat([]byte("y"), 1<<16)
		for range 256 {
			_, _ = os.Stdout.Write(chunk)
		}
	},
	"where": func() {
		self, _ := os.Executable()
		sid, _ := unix.Getsid(0)
		dir, _ := os.Getwd()
		_, ttyErr := os.Open("/dev/tty")
		fmt.Printf("%s|%v|%s|%v|%s\n", self, sid == os.Getpid(), dir, ttyErr != nil, os.Args[0])
	},
}

// sleep starts a grandchild that holds what its parent holds, and prints its pid
// to standard error.
func sleep(session bool) {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{childKey + "=hang"}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stderr, os.Stderr
	cmd.SysProcAttr = &unix.SysProcAttr{Setsid: session}
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Fprintln(os.Stderr, "pid", cmd.Process.Pid)
}

func TestMain(m *testing.M) {
	if child := children[os.Getenv(childKey)]; child != nil {
		child()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// logged is a logger's output that can be read while it is written.
type logged struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func self(t *testing.T) *Program {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p, err := Open(exe)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// run starts this test's program as a child; whatever it does, it is gone at the
// end of the test.
func run(t *testing.T, child string, change func(*Config)) (*Runner, *logged) {
	t.Helper()
	log := &logged{}
	cfg := Config{
		Program: self(t),
		// The race detector waits for a second at exit otherwise.
		Env:    []string{childKey + "=" + child, "GORACE=atexit_sleep_ms=0"},
		Accept: func(string) error { return nil },
		Logger: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	if change != nil {
		change(&cfg)
	}
	r := New(cfg)
	if err := r.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := r.Kill(ctx); err != nil {
			t.Error(err)
		}
	})
	return r, log
}

func wait(t *testing.T, r *Runner) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	err := r.Wait(ctx)
	if ctx.Err() != nil {
		t.Fatal("the process does not end")
	}
	return err
}

func stdout(t *testing.T, r *Runner) string {
	t.Helper()
	b, err := io.ReadAll(r.Stdout())
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestFirstLine(t *testing.T) {
	r, _ := run(t, "line", nil)
	if got := stdout(t, r); got != "hello|there\n" {
		t.Errorf("standard output %q", got)
	}
	if err := wait(t, r); err != nil {
		t.Error(err)
	}
	if spoke, err := r.FirstLine(); !spoke || err != nil {
		t.Errorf("FirstLine() = %v, %v", spoke, err)
	}
}

func TestFirstLineRefused(t *testing.T) {
	no := errors.New("no")
	r, _ := run(t, "line", func(c *Config) { c.Accept = func(string) error { return no } })
	if got := stdout(t, r); got != "" {
		t.Errorf("go-plugin saw %q", got)
	}
	_ = wait(t, r)
	if _, err := r.FirstLine(); !errors.Is(err, no) {
		t.Errorf("FirstLine() = %v", err)
	}
}

func TestFirstLineIsBounded(t *testing.T) {
	var seen string
	r, _ := run(t, "endless line", func(c *Config) {
		c.Accept = func(line string) error { seen = line; return errors.New("no") }
	})
	_ = wait(t, r)
	if len(seen) < maxLine || len(seen) > maxLine+100 {
		t.Errorf("a line of 16 MiB was handed on with %d bytes", len(seen))
	}
}

func TestNobodyReadsFirstLine(t *testing.T) {
	r, _ := run(t, "line", nil)
	if err := wait(t, r); err != nil {
		t.Error(err)
	}
}

func TestEnvironmentIsWhatIsAllowed(t *testing.T) {
	t.Setenv("OPENAI_API_KEY", "s3cret")
	t.Setenv("ALLOWED_FOR_TEST", "yes")
	r, _ := run(t, "env", func(c *Config) {
		c.Env = append(c.Env, Environment([]string{"ALLOWED_FOR_TEST", "PATH", "NOT_SET_AT_ALL"})...)
	})
	r.AddEnv([]string{"TOO=late"}) // after Start: no effect
	_ = stdout(t, r)
	_ = wait(t, r)
	env := strings.Join(r.Tail(), "\n")
	if strings.Contains(env, "s3cret") || strings.Contains(env, "TOO=") || strings.Contains(env, "NOT_SET") {
		t.Errorf("environment\n%s", env)
	}
	if !strings.Contains(env, "ALLOWED_FOR_TEST=yes") || strings.Count(env, "\nPATH=") != 1 {
		t.Errorf("environment\n%s", env)
	}
}

func TestLifeline(t *testing.T) {
	r, _ := run(t, "lifeline", nil)
	_ = stdout(t, r)
	r.LetGo()
	if err := wait(t, r); err != nil {
		t.Error(err)
	}
	if tail := r.Tail(); len(tail) != 1 || tail[0] != "the host is gone" {
		t.Errorf("Tail() = %q", tail)
	}
}

func TestHowEnded(t *testing.T) {
	r, _ := run(t, "exit7", nil)
	if err := wait(t, r); err == nil || r.HowEnded() != "exited with status 7" {
		t.Errorf("Wait: %v, HowEnded: %s", err, r.HowEnded())
	}
	if spoke, _ := r.FirstLine(); spoke {
		t.Error("it said nothing")
	}
	r, _ = run(t, "hang", nil)
	_ = stdout(t, r)
	if err := unix.Kill(r.PID(), unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = wait(t, r)
	if got := r.HowEnded(); got != "killed by signal 9 (SIGKILL)" {
		t.Errorf("HowEnded: %s", got)
	}
}

func TestKillOfAStoppedProcess(t *testing.T) {
	r, _ := run(t, "stop", nil)
	_ = stdout(t, r)
	if err := r.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := r.Kill(t.Context()); err != nil {
		t.Errorf("a second time: %v", err)
	}
}

func TestKillBeforeStart(t *testing.T) {
	r := New(Config{
		Program: self(t), Env: []string{childKey + "=hang"},
		Accept: func(string) error { return nil }, Logger: slog.New(slog.DiscardHandler),
	})
	if err := r.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := r.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := wait(t, r); err == nil || r.EndedByItself() {
		t.Errorf("it ended with %v, by itself: %v", err, r.EndedByItself())
	}
}

// The group goes with its leader, and one that left it and holds the pipes does
// not keep us waiting.
func TestGrandchildren(t *testing.T) {
	r, _ := run(t, "grandchildren", nil)
	_ = stdout(t, r)
	_ = wait(t, r)
	var pids []int
	for _, line := range r.Tail() {
		if text, ok := strings.CutPrefix(line, "pid "); ok {
			pid, err := strconv.Atoi(text)
			if err != nil {
				t.Fatal(err)
			}
			pids = append(pids, pid)
		}
	}
	if len(pids) != 2 {
		t.Fatalf("grandchildren %v of %q", pids, r.Tail())
	}
	defer func() { _ = unix.Kill(pids[1], unix.SIGKILL) }()
	for deadline := time.Now().Add(30 * time.Second); running(pids[0]); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the grandchild of the group lives")
		}
	}
	if !running(pids[1]) {
		t.Error("the grandchild with a session of its own was killed too: a guest would be")
	}
}

// running reports whether pid is a process, and not one that only waits to be
// reaped.
func running(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := bytes.Cut(stat, []byte(") "))
	return len(rest) > 0 && rest[0] != 'Z'
}

func TestLog(t *testing.T) {
	r, log := run(t, "hclog", nil)
	_ = stdout(t, r)
	_ = wait(t, r)
	out := log.String()
	for _, want := range []string{`level=WARN msg="too hot" degrees=41 where="{\"a\":\"b\"}"`, `level=DEBUG msg=5`, `level=DEBUG msg=null`} {
		if !strings.Contains(out, want) {
			t.Errorf("the log lacks %s:\n%s", want, out)
		}
	}
	for _, line := range r.Tail() {
		if strings.ContainsRune(line, '\x1b') {
			t.Errorf("an escape is left in %q", line)
		}
	}
	if last := r.Tail()[4]; last != `"\x1b[2Jpanic: oh no"` {
		t.Errorf("last line %s", last)
	}
}

func TestFlood(t *testing.T) {
	r, log := run(t, "flood", nil)
	_ = stdout(t, r)
	_ = wait(t, r)
	tail := r.Tail()
	if len(tail) != tailLines || tail[tailLines-1] != "line 99999" || tail[0] != "line 99800" {
		t.Errorf("%d lines, from %q to %q", len(tail), tail[0], tail[len(tail)-1])
	}
	// A loaded machine needs some seconds for the flood, each with its share.
	if n := strings.Count(log.String(), "\n"); n > 50_000 {
		t.Errorf("%d of 100,001 lines were logged", n)
	}
}

func TestWhereItRuns(t *testing.T) {
	r, _ := run(t, "where", nil)
	exe, _ := os.Executable()
	want := fmt.Sprintf("%s|true|/|true|%s\n", exe, exe)
	if got := stdout(t, r); got != want {
		t.Errorf("executable, session leader, directory, no terminal, argv[0]:\n%swant\n%s", got, want)
	}
}

func TestScript(t *testing.T) {
	path := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(path, []byte("#!/bin/sh\necho hello from $0\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	p, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	// What runs is what was opened, whatever the name stands for by now.
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	r, _ := run(t, "", func(c *Config) { c.Program = p })
	if got := stdout(t, r); got != "hello from /proc/self/fd/3\n" {
		t.Errorf("it printed %q", got)
	}
	_ = wait(t, r)
}

func TestSwappedProgramIsNotRun(t *testing.T) {
	dir := t.TempDir()
	exe, _ := os.Executable()
	path := filepath.Join(dir, "plugin")
	if err := os.Symlink(exe, path); err != nil {
		t.Fatal(err)
	}
	p, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	sum, err := p.SHA256()
	if err != nil || len(sum) != 64 {
		t.Fatalf("SHA256() = %q, %v", sum, err)
	}
	evil := filepath.Join(dir, "evil")
	if err := os.WriteFile(evil, []byte("#!/bin/sh\necho evil\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(evil, path); err != nil {
		t.Fatal(err)
	}
	r, _ := run(t, "line", func(c *Config) { c.Program = p })
	if got := stdout(t, r); got != "hello|there\n" {
		t.Errorf("it printed %q", got)
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	fifo := filepath.Join(dir, "fifo")
	if err := unix.Mkfifo(fifo, 0o700); err != nil {
		t.Fatal(err)
	}
	exposed := filepath.Join(t.TempDir(), "program")
	if err := errors.Join(os.WriteFile(exposed, []byte("x"), 0o700), os.Chmod(exposed, 0o700), os.Chmod(filepath.Dir(exposed), 0o777)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		path string
		want Fault
	}{
		{filepath.Join(dir, "nothing"), FaultMissing},
		{dir, FaultDirectory},
		{fifo, FaultNotRegular},
		{write("plain", "x", 0o600), FaultNotExecutable},
		{write("open", "x", 0o707), FaultWritable},
		{write("group's", "x", 0o770), FaultWritable},
		{exposed, FaultDirectoryWritable},
	} {
		p, err := Open(c.path)
		var e *ProgramError
		if !errors.As(err, &e) || e.Fault != c.want {
			t.Errorf("Open(%s) = %v, want %s", c.path, err, c.want)
		}
		if err == nil {
			_ = p.Close()
		}
	}
}

func TestStartRefuses(t *testing.T) {
	dir := t.TempDir()
	exe, _ := os.Executable()
	image, err := os.ReadFile(exe)
	if err != nil {
		t.Fatal(err)
	}
	foreign := bytes.Clone(image[:4096])
	foreign[18], foreign[19] = 0x16, 0x00 // e_machine: IBM S/390
	for _, c := range []struct {
		name    string
		content []byte
		want    Fault
	}{
		{"foreign", foreign, FaultArchitecture},
		{"text", []byte("hello\n"), FaultFormat},
		{"empty", nil, FaultFormat},
		{"no interpreter", []byte("#!/no/such/interpreter\n"), FaultFormat},
	} {
		path := filepath.Join(dir, c.name)
		if err := os.WriteFile(path, c.content, 0o700); err != nil {
			t.Fatal(err)
		}
		p, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		r := New(Config{Program: p, Accept: func(string) error { return nil }, Logger: slog.New(slog.DiscardHandler)})
		err = r.Start(t.Context())
		var e *ProgramError
		if !errors.As(err, &e) || e.Fault != c.want {
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		}
		if err := r.Kill(t.Context()); err != nil {
			t.Errorf("%s: Kill: %v", c.name, err)
		}
		_ = p.Close()
	}
}
