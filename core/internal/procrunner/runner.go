// Package procrunner runs a plugin's process for go-plugin.
//
// go-plugin's own runner has faults, each seen: a line {"@message": 5} on
// standard error panics the host; the plugin inherits the host's environment and
// standard input; its kill reaches one process and blocks while a grandchild
// holds standard error; a plugin outlives a host that was killed. Here:
//
//   - the file is opened once, and that descriptor is summed and executed;
//   - the environment is made of a list of names;
//   - standard input is a pipe that ends with the host, standard output gives
//     go-plugin one line of bounded length, standard error is read here;
//   - the plugin leads its own session, without a terminal, and the whole
//     process group is killed, before its number can be used again.
package procrunner

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-plugin/runner"
	"golang.org/x/sys/unix"
)

// drainTime is how long output is still read once the process has ended: what a
// grandchild that left the group goes on writing is nobody's last words.
const drainTime = 250 * time.Millisecond

// lastWords is how long a plugin whose first line was refused may go on.
const lastWords = 200 * time.Millisecond

// Config says what to run.
type Config struct {
	Program *Program
	// Env is the environment; AddEnv adds to it what go-plugin wants to say.
	Env []string
	// Accept looks at the first line of standard output. What it refuses is not
	// passed on; FirstLine returns its error.
	Accept func(line string) error
	// Logger gets what the plugin logs, at its level.
	Logger *slog.Logger
}

// Runner is one run of a plugin.
type Runner struct {
	cfg  Config
	log  *pluginLog
	tail tail

	// lifeline is the write end of the plugin's standard input.
	lifeline *os.File
	// lineR and lineW hand the first line of output to go-plugin.
	lineR *io.PipeReader
	lineW *io.PipeWriter

	mu      sync.Mutex
	process *os.Process
	reaped  bool
	killed  bool
	refusal error
	// spoke reports that standard output had a first line.
	spoke bool

	// done is closed when the process was reaped and its output read.
	done  chan struct{}
	state *os.ProcessState
}

var _ runner.Runner = (*Runner)(nil)

// New returns a runner that Start starts.
func New(cfg Config) *Runner {
	r := &Runner{cfg: cfg, log: newPluginLog(cfg.Logger), done: make(chan struct{})}
	r.lineR, r.lineW = io.Pipe()
	return r
}

// AddEnv adds variables to the environment. Call before Start.
func (r *Runner) AddEnv(env []string) { r.cfg.Env = append(slices.Clip(r.cfg.Env), env...) }

// Start implements runner.Runner. It does not end early with ctx: it waits for
// nothing but the kernel.
func (r *Runner) Start(context.Context) error {
	stdin, stdout, stderr, err := r.pipes()
	if err != nil {
		return err
	}
	defer closeAll(stdin.r, stdout.w, stderr.w)
	process, err := r.exec(stdin.r, stdout.w, stderr.w)
	if err != nil {
		closeAll(stdin.w, stdout.r, stderr.r)
		return r.cfg.Program.explain(err)
	}
	r.lifeline = stdin.w
	r.mu.Lock()
	r.process = process
	if r.killed {
		r.signal() // while it was being started
	}
	r.mu.Unlock()

	var readers sync.WaitGroup
	readers.Go(func() { r.readStdout(stdout.r) })
	readers.Go(func() { r.readStderr(stderr.r) }) //nolint:contextcheck // a log line has no context
	go r.wait(&readers, stdout.r, stderr.r)
	return nil
}

type pipe struct{ r, w *os.File }

func (r *Runner) pipes() (stdin, stdout, stderr pipe, err error) {
	var made []*os.File
	for _, p := range []*pipe{&stdin, &stdout, &stderr} {
		if p.r, p.w, err = os.Pipe(); err != nil {
			closeAll(made...)
			return stdin, stdout, stderr, fmt.Errorf("pipes for the plugin: %w", err)
		}
		made = append(made, p.r, p.w)
	}
	return stdin, stdout, stderr, nil
}

func closeAll(files ...*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}

// exec starts the program by its descriptor.
func (r *Runner) exec(stdin, stdout, stderr *os.File) (*os.Process, error) {
	p := r.cfg.Program
	// The child has its own copy of the descriptor until the exec succeeds. An
	// interpreter opens the file after that, and needs one that stays.
	path := fmt.Sprintf("/proc/self/fd/%d", p.file.Fd())
	var extra []*os.File
	if p.script {
		extra = []*os.File{p.file}
		path = "/proc/self/fd/3"
	}
	for wait := 5 * time.Millisecond; ; wait *= 2 {
		cmd := &exec.Cmd{
			Path: path, Args: []string{p.Path}, Env: r.cfg.Env, Dir: "/",
			Stdin: stdin, Stdout: stdout, Stderr: stderr, ExtraFiles: extra,
			SysProcAttr: &syscall.SysProcAttr{Setsid: true},
		}
		err := cmd.Start()
		// Somebody's fork holds the file open for writing from before it was
		// installed, and will not for long.
		if errors.Is(err, unix.ETXTBSY) && wait < time.Second {
			time.Sleep(wait)
			continue
		}
		if err != nil {
			return nil, err
		}
		return cmd.Process, nil
	}
}

// wait reaps the process when it has ended, and what it left of its group.
func (r *Runner) wait(readers *sync.WaitGroup, stdout, stderr *os.File) {
	pid := r.process.Pid
	for {
		// Without reaping: until then the number of the group is taken.
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	r.mu.Lock()
	_ = unix.Kill(-pid, unix.SIGKILL)
	r.reaped = true
	state, err := r.process.Wait()
	r.mu.Unlock()
	if err != nil {
		r.cfg.Logger.Error("cannot wait for the plugin", "error", err)
	}

	deadline := time.Now().Add(drainTime)
	_ = stdout.SetReadDeadline(deadline)
	_ = stderr.SetReadDeadline(deadline)
	// A first line that go-plugin never asked for must not hold us up either.
	unread := time.AfterFunc(drainTime, func() { _ = r.lineR.Close() })
	readers.Wait()
	unread.Stop()
	closeAll(stdout, stderr)
	_ = r.lifeline.Close()
	r.state = state
	close(r.done)
}

// readStdout passes the first line on and logs what follows it.
func (r *Runner) readStdout(stdout *os.File) {
	// Last, so that go-plugin learns of the end of output even without a line.
	defer func() { _ = r.lineW.Close() }()
	lines := newLineReader(stdout)
	line, err := lines.next()
	if err == nil || line != "" {
		refusal := r.cfg.Accept(line)
		r.mu.Lock()
		r.spoke, r.refusal = true, refusal
		r.mu.Unlock()
		if refusal == nil {
			if _, err := io.WriteString(r.lineW, line+"\n"); err != nil {
				return // nobody waits for it any more
			}
			_ = r.lineW.Close()
		} else {
			// go-plugin kills it as soon as it learns of this; what it says in the
			// next moment may tell why.
			defer time.AfterFunc(lastWords, func() { _ = r.lineW.Close() }).Stop()
		}
	}
	for err == nil {
		if line, err = lines.next(); line != "" {
			r.tail.add(r.log.raw(line))
		}
	}
}

func (r *Runner) readStderr(stderr *os.File) {
	lines := newLineReader(stderr)
	for {
		line, err := lines.next()
		if line != "" {
			r.tail.add(r.log.line(line))
		}
		if err != nil {
			return
		}
	}
}

// Kill implements runner.AttachedRunner: it kills the process group and waits
// until the process is reaped, or ctx ends. One that has not been started yet is
// killed as soon as it is.
func (r *Runner) Kill(ctx context.Context) error {
	r.mu.Lock()
	started := r.process != nil
	if !r.reaped {
		r.killed = true
		r.signal()
	}
	r.mu.Unlock()
	if !started {
		return nil
	}
	select {
	case <-r.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("plugin process %s does not end: %w", r.ID(), ctx.Err())
	}
}

// signal kills the process and its group. Call with mu held, before it is reaped.
func (r *Runner) signal() {
	if r.process == nil {
		return
	}
	_ = unix.Kill(-r.process.Pid, unix.SIGKILL)
	// By its pidfd too: a plugin may have changed its group.
	_ = r.process.Kill()
}

// LetGo closes the lifeline: to the plugin the host is gone.
func (r *Runner) LetGo() {
	if r.lifeline != nil {
		_ = r.lifeline.Close()
	}
}

// Wait implements runner.AttachedRunner.
func (r *Runner) Wait(ctx context.Context) error {
	select {
	case <-r.done:
		if r.state == nil || !r.state.Success() {
			return errors.New(r.HowEnded())
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Done is closed when the process has been reaped and its output read.
func (r *Runner) Done() <-chan struct{} { return r.done }

// HowEnded says in a few words how the process ended.
func (r *Runner) HowEnded() string {
	select {
	case <-r.done:
	default:
		return "has not ended"
	}
	if r.state == nil {
		return "ended, nobody knows how"
	}
	status, ok := r.state.Sys().(syscall.WaitStatus)
	switch {
	case ok && status.Signaled(): //nolint:misspell // package syscall writes it so
		return fmt.Sprintf("killed by signal %d (%s)", status.Signal(), unix.SignalName(status.Signal()))
	default:
		return fmt.Sprintf("exited with status %d", r.state.ExitCode())
	}
}

// EndedByItself reports whether the process has ended, and not of our Kill.
func (r *Runner) EndedByItself() bool {
	select {
	case <-r.done:
	default:
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.killed || r.state == nil {
		return !r.killed
	}
	// One that ended just before it was killed has a status of its own.
	status, ok := r.state.Sys().(syscall.WaitStatus)
	return ok && (!status.Signaled() || status.Signal() != unix.SIGKILL) //nolint:misspell // as above
}

// FirstLine reports whether standard output had a first line, and returns what
// Accept had against it.
func (r *Runner) FirstLine() (spoke bool, refusal error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.spoke, r.refusal
}

// Tail returns the last lines of output, oldest first, escaped for a terminal.
func (r *Runner) Tail() []string { return r.tail.lines() }

// Output returns a writer for what the plugin prints once go-plugin has taken
// its standard output and error away. Use it from one goroutine.
func (r *Runner) Output() io.Writer { return &printed{runner: r} }

type printed struct {
	runner *Runner
	part   []byte
}

func (p *printed) Write(b []byte) (int, error) {
	p.part = append(p.part, b...)
	for {
		line, rest, ended := bytes.Cut(p.part, []byte("\n"))
		if !ended && len(line) < maxLine {
			return len(b), nil
		}
		p.runner.tail.add(p.runner.log.raw(string(line)))
		p.part = bytes.Clone(rest)
	}
}

// PID returns the process's id, 0 before it was started.
func (r *Runner) PID() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.process == nil {
		return 0
	}
	return r.process.Pid
}

// Diagnose implements runner.Runner. The host makes errors of its own.
func (r *Runner) Diagnose(context.Context) string { return "" }

// Stdout implements runner.Runner: one line, or none.
func (r *Runner) Stdout() io.ReadCloser { return r.lineR }

// Stderr implements runner.Runner. It is empty: go-plugin's parser is not to see
// what a plugin writes.
func (r *Runner) Stderr() io.ReadCloser { return io.NopCloser(eof{}) }

type eof struct{}

func (eof) Read([]byte) (int, error) { return 0, io.EOF }

// Name implements runner.Runner.
func (r *Runner) Name() string { return r.cfg.Program.Path }

// ID implements runner.AttachedRunner. It is never empty: go-plugin would clean
// up nothing.
func (r *Runner) ID() string { return strconv.Itoa(r.PID()) }

// PluginToHost implements runner.AddrTranslator: both see the same paths.
func (r *Runner) PluginToHost(network, addr string) (string, string, error) {
	return network, addr, nil
}

// HostToPlugin implements runner.AddrTranslator.
func (r *Runner) HostToPlugin(network, addr string) (string, string, error) {
	return network, addr, nil
}
