package backendtest

import (
	"context"
	"errors"
	"io"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/deep-sandbox/deep/core/backend"
)

// hostile is a command that starts everything a killer could miss: a background
// child, one in a session of its own, a double fork, one that ignores SIGTERM, one
// that is stopped, and one that is another process at each look. Each shows that
// it lives by writing to a file; the one that is stopped would, if it went on.
const hostile = `
: > child; : > session; : > grandchild; : > deaf; : > runner; : > stopped
(while :; do echo alive >> child; sleep 0.1; done) &
setsid sh -c 'while :; do echo alive >> session; sleep 0.1; done' &
( (while :; do echo alive >> grandchild; sleep 0.1; done) & )
(trap '' TERM; while :; do echo alive >> deaf; sleep 0.1; done) &
sh -c 'echo $$ > stopped; kill -STOP $$; echo alive > escaped' &
echo 'echo alive >> runner; sleep 0.02; sh ./run &' > run
sh ./run
sleep 600`

var hostiles = []string{"child", "session", "grandchild", "deaf", "runner"}

// A neighbour is a command beside the one that is killed. It writes to a file as
// often as the hostile ones do.
type neighbour struct {
	t    *T
	stop context.CancelFunc
	wait func() ran
}

func (t *T) neighbour() *neighbour {
	ctx, cancel := context.WithCancel(t.ctx)
	return &neighbour{t, cancel, t.running(ctx, t.sandbox(), &backend.ExecRequest{
		Shell: "while :; do echo alive >> neighbour; sleep 0.1; done", Dir: t.dir(), Timeout: backend.Unlimited, Grace: new(time.Duration),
	})}
}

// allLive reports whether all that hostile starts has shown itself, and the
// neighbour.
func (t *T) allLive() bool {
	for _, name := range append([]string{"stopped", "neighbour"}, hostiles...) {
		info, err := t.sandbox().Stat(t.ctx, &backend.StatRequest{Path: t.path(name)})
		if err != nil || info.Size == 0 {
			return false
		}
	}
	return true
}

// sizes of the files the hostile ones write to.
func (t *T) sizes() map[string]int64 {
	all := map[string]int64{}
	for _, name := range hostiles {
		all[name] = t.stat(name).Size
	}
	return all
}

// wantDead notes a problem if something of hostile is alive still, or its
// neighbour is not. How long it looks the neighbour says: 6 lines of its.
func (n *neighbour) wantDead() {
	t := n.t
	before, from := t.sizes(), t.stat("neighbour").Size
	t.eventually("the neighbour goes on", func() bool { return t.stat("neighbour").Size >= from+6*int64(len("alive\n")) })
	for name, size := range t.sizes() {
		if size != before[name] {
			t.Errorf("the %s survived", name)
		}
	}
	t.must("exec", t.exec(&backend.ExecRequest{Shell: "kill -CONT " + strings.TrimSpace(t.read("stopped"))}).err)
	n.stop()
	r := n.wait()
	if r.ExecResult == nil || r.Outcome != backend.OutcomeCancelled {
		t.Errorf("the neighbour: %+v, %v", r.ExecResult, r.err)
	}
	if t.exists("escaped") {
		t.Errorf("the stopped one survived")
	}
}

// holds reports whether an exec has written text n times.
func (t *T) holds(sb backend.Sandbox, id string) func(text string, n int) func() bool {
	return func(text string, n int) func() bool {
		return func() bool {
			got, _ := t.kept(sb, &backend.ReadOutputRequest{ID: id})
			return strings.Count(got, text) >= n
		}
	}
}

var killRules = []Rule{
	{
		Name:     "timeout-kills-all",
		Sentence: "After a timeout nothing survives: not background children, setsid, a double fork, one that ignores TERM, is stopped or forks on; concurrent commands are untouched.",
		Shell:    true,
		run: func(t *T) {
			n := t.neighbour()
			t.timedOut(backend.ExecRequest{Shell: hostile, Dir: t.dir(), Grace: new(100 * time.Millisecond)}, func(ran) bool { return t.allLive() })
			n.wantDead()
		},
	},
	{
		Name:     "cancel-kills-all",
		Sentence: "When the caller cancels, the error is the context's, the result says cancelled, and nothing survives.",
		Shell:    true,
		run: func(t *T) {
			n := t.neighbour()
			ctx, cancel := context.WithCancel(t.ctx)
			defer cancel()
			wait := t.running(ctx, t.sandbox(), &backend.ExecRequest{Shell: hostile, Dir: t.dir(), Timeout: backend.Unlimited, Grace: new(100 * time.Millisecond)})
			t.eventually("all have started", t.allLive)
			cancel()
			r := wait()
			t.wantKind("exec", r.err, context.Canceled)
			if r.ExecResult == nil || r.Outcome != backend.OutcomeCancelled {
				t.Errorf("%+v", r.ExecResult)
			}
			n.wantDead()
		},
	},
	{
		Name:     "connection-lost-kills-all",
		Sentence: "When the caller's connection is lost, the command is ended as at a cancel, and nothing survives.",
		Shell:    true, Another: true,
		run: func(t *T) {
			n, id := t.neighbour(), backend.NewID()
			other := t.another()
			theirs, err := other.Open(t.ctx, &backend.OpenRequest{ID: t.sandbox().Info().ID})
			t.must("open", err)
			wait := t.running(t.ctx, theirs, &backend.ExecRequest{ID: id, Shell: hostile, Dir: t.dir(), Timeout: backend.Unlimited, Grace: new(100 * time.Millisecond)})
			t.eventually("all have started", t.allLive)
			t.must("shut the other down", other.Shutdown(t.ctx))
			if r := wait(); r.err == nil {
				t.Errorf("no error: %+v", r.ExecResult)
			}
			if r := t.ended(t.sandbox(), id); r.Outcome != backend.OutcomeCancelled {
				t.Errorf("%+v", r)
			}
			n.wantDead()
		},
	},
	{
		Name:     "kill-kills-all",
		Sentence: "Kill ends an exec and everything it started, and returns how it ended, once nothing of it is left.",
		Shell:    true,
		run: func(t *T) {
			n, sb := t.neighbour(), t.sandbox()
			id := t.start(sb, &backend.ExecRequest{Shell: hostile, Dir: t.dir(), Timeout: backend.Unlimited})
			t.eventually("all have started", t.allLive)
			r, err := sb.Kill(t.ctx, &backend.KillRequest{ID: id, Grace: new(100 * time.Millisecond)})
			t.must("kill", err)
			if r.Result.ID != id || r.Result.Outcome != backend.OutcomeCancelled {
				t.Errorf("%+v", r.Result)
			}
			n.wantDead()
		},
	},
	{
		Name:     "kill-grace",
		Sentence: "Kill gives the grace that it is asked for: a command that ends by itself within it says its last words.",
		Shell:    true,
		run: func(t *T) {
			sb := t.sandbox()
			id := t.start(sb, &backend.ExecRequest{Shell: "trap 'echo cleaned; exit 3' TERM; echo up; while :; do sleep 0.05; done", Timeout: backend.Unlimited})
			t.printed(sb, id, "up\n")
			r, err := sb.Kill(t.ctx, &backend.KillRequest{ID: id, Grace: new(time.Minute)})
			t.must("kill", err)
			if r.Result.Outcome != backend.OutcomeCancelled || r.Result.ExitCode != 3 || r.Result.Signal != 0 {
				t.Errorf("%+v", r.Result)
			}
			if got, _ := t.kept(sb, &backend.ReadOutputRequest{ID: id}); got != "up\ncleaned\n" {
				t.Errorf("output %q", got)
			}
			deaf := t.start(sb, &backend.ExecRequest{Shell: "trap '' TERM; echo up; while :; do sleep 0.05; done", Timeout: backend.Unlimited})
			t.printed(sb, deaf, "up\n")
			r, err = sb.Kill(t.ctx, &backend.KillRequest{ID: deaf, Grace: new(time.Duration)})
			t.must("kill", err)
			if r.Result.Outcome != backend.OutcomeCancelled || r.Result.Signal != 9 || r.Result.ExitCode != 137 {
				t.Errorf("without grace: %+v", r.Result)
			}
		},
	},
	{
		Name:     "kill-foreground",
		Sentence: "Kill ends a command that another caller waits for, who learns that it was cancelled.",
		Shell:    true,
		run: func(t *T) {
			sb, id := t.sandbox(), backend.NewID()
			var out collector
			wait := t.running(t.ctx, sb, &backend.ExecRequest{ID: id, Shell: "echo up; sleep 600", Timeout: backend.Unlimited, Stdout: &out})
			t.eventually("it is up", func() bool { return out.holds("up\n") })
			_, err := sb.Kill(t.ctx, &backend.KillRequest{ID: id, Grace: new(time.Duration)})
			t.must("kill", err)
			if r := wait(); r.ExecResult == nil || r.Outcome != backend.OutcomeCancelled {
				t.Errorf("%+v, %v", r.ExecResult, r.err)
			}
		},
	},
	{
		Name:     "kill-ended",
		Sentence: "Killing an exec that has ended is no error and tells how it ended; one that never was is ErrNotFound.",
		Shell:    true,
		run: func(t *T) {
			sb := t.sandbox()
			id := t.start(sb, &backend.ExecRequest{Shell: "exit 5"})
			t.ended(sb, id)
			r, err := sb.Kill(t.ctx, &backend.KillRequest{ID: id})
			t.must("kill", err)
			if r.Result.Outcome != backend.OutcomeExit || r.Result.ExitCode != 5 {
				t.Errorf("%+v", r.Result)
			}
			_, err = sb.Kill(t.ctx, &backend.KillRequest{ID: backend.NewID()})
			t.wantKind("never was", err, backend.ErrNotFound)
			_, err = sb.Kill(t.ctx, &backend.KillRequest{ID: id, Grace: new(-time.Second)})
			t.wantKind("a negative grace", err, backend.ErrInvalid)
		},
	},
	{
		Name:     "signal-one",
		Sentence: "A signal reaches the program of an exec and not what else it started, unless asked.",
		Shell:    true,
		run: func(t *T) {
			sb := t.sandbox()
			id := t.start(sb, &backend.ExecRequest{
				Shell: "sh -c 'trap \"echo child\" USR1; echo up; while :; do sleep 0.05; done' & trap 'echo main' USR1; echo up; while :; do sleep 0.05; done",
				Dir:   t.dir(), Timeout: backend.Unlimited,
			})
			holds := t.holds(sb, id)
			t.eventually("both are up", holds("up\n", 2))
			// What the first had reached has had its turn when the last is seen.
			for n := range 5 {
				t.must("signal", sb.Signal(t.ctx, &backend.SignalRequest{ID: id, Signal: int(syscall.SIGUSR1)}))
				t.eventually("the program has it", holds("main\n", n+1))
			}
			if holds("child", 1)() {
				t.Errorf("the child has it too")
			}
		},
	},
	{
		Name:     "signal-all",
		Sentence: "A signal reaches everything an exec started when asked to.",
		Shell:    true,
		run: func(t *T) {
			sb := t.sandbox()
			id := t.start(sb, &backend.ExecRequest{
				Shell:   "setsid sh -c 'trap \"echo child\" USR1; echo up; while :; do sleep 0.05; done' & trap 'echo main' USR1 ; echo up; while :; do sleep 0.05; done",
				Timeout: backend.Unlimited,
			})
			holds := t.holds(sb, id)
			t.eventually("both are up", holds("up\n", 2))
			// Its sleep is one of those, and dies of it: the loops go on.
			t.must("signal", sb.Signal(t.ctx, &backend.SignalRequest{ID: id, Signal: int(syscall.SIGUSR1), All: true}))
			t.eventually("the program has it", holds("main\n", 1))
			t.eventually("the child has it", holds("child\n", 1))
		},
	},
	{
		Name:     "signal-ends",
		Sentence: "A signal sent to an exec that ends it is its outcome: 128+n, by a signal.",
		Shell:    true,
		run: func(t *T) {
			sb := t.sandbox()
			for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL, syscall.SIGQUIT} {
				id := t.start(sb, &backend.ExecRequest{Argv: []string{"sleep", "600"}, Timeout: backend.Unlimited})
				t.must("signal", sb.Signal(t.ctx, &backend.SignalRequest{ID: id, Signal: int(sig)}))
				if r := t.ended(sb, id); r.Outcome != backend.OutcomeSignal || r.Signal != int(sig) || r.ExitCode != 128+int(sig) {
					t.Errorf("%v: %+v", sig, r)
				}
			}
		},
	},
	{
		Name:     "signal-stop-continue",
		Sentence: "A command that is stopped is no command that has ended; it goes on when told, and Kill ends it.",
		Shell:    true,
		run: func(t *T) {
			sb := t.sandbox()
			id := t.start(sb, &backend.ExecRequest{Shell: "kill -STOP $$; echo on", Timeout: backend.Unlimited})
			t.eventually("it goes on", func() bool {
				// It may not have stopped yet, then this one is for nothing; or it went
				// on and has ended.
				err := sb.Signal(t.ctx, &backend.SignalRequest{ID: id, Signal: int(syscall.SIGCONT)})
				if err != nil && !errors.Is(err, backend.ErrConflict) {
					t.Fatalf("continue: %v", err)
				}
				return t.holds(sb, id)("on\n", 1)()
			})
			if r := t.ended(sb, id); r.Outcome != backend.OutcomeExit || r.ExitCode != 0 {
				t.Errorf("%+v", r)
			}
			stopped := t.start(sb, &backend.ExecRequest{Shell: "echo up; kill -STOP $$; echo never", Timeout: backend.Unlimited})
			t.printed(sb, stopped, "up\n")
			r, err := sb.Kill(t.ctx, &backend.KillRequest{ID: stopped, Grace: new(100 * time.Millisecond)})
			t.must("kill", err)
			if r.Result.Outcome != backend.OutcomeCancelled {
				t.Errorf("%+v", r.Result)
			}
			if got, _ := t.kept(sb, &backend.ReadOutputRequest{ID: stopped}); strings.Contains(got, "never") {
				t.Errorf("output %q", got)
			}
		},
	},
	{
		Name:     "signal-refused",
		Sentence: "A signal that there is not is ErrInvalid; to an exec that has ended ErrConflict, to one that never was ErrNotFound.",
		Shell:    true,
		run: func(t *T) {
			sb := t.sandbox()
			id := t.start(sb, &backend.ExecRequest{Argv: []string{"true"}})
			t.ended(sb, id)
			send := func(id string, sig int) error {
				return sb.Signal(t.ctx, &backend.SignalRequest{ID: id, Signal: sig})
			}
			t.wantKind("it has ended", send(id, 15), backend.ErrConflict)
			t.wantKind("never was", send(backend.NewID(), 15), backend.ErrNotFound)
			live := t.start(sb, &backend.ExecRequest{Argv: []string{"sleep", "600"}, Timeout: backend.Unlimited})
			for _, sig := range []int{0, -1, 65, 1 << 33} {
				t.wantKind("signal "+strconv.Itoa(sig), send(live, sig), backend.ErrInvalid)
			}
			r, err := sb.Outcome(t.ctx, &backend.OutcomeRequest{ID: live})
			if t.must("outcome", err); r.Result.Outcome != backend.OutcomeRunning {
				t.Errorf("%+v", r.Result)
			}
		},
	},
	{
		Name:     "oom",
		Sentence: "A program the kernel ends for want of memory, and no other runs, is told so: oom, or where the kernel does not count such ends a SIGKILL with oom_possible; the sandbox lives on.",
		Shell:    true,
		run: func(t *T) {
			sb := t.newSandbox(func(s *backend.Spec) { s.Memory = smallMemory })
			// It holds what it may have to print: four times the memory.
			res, err := sb.Exec(t.ctx, &backend.ExecRequest{
				Argv: []string{"tail", "-c", strconv.Itoa(4 * smallMemory)}, Stdin: io.LimitReader(zeroes{}, 4*smallMemory), Grace: new(time.Duration),
			})
			if errors.Is(err, backend.ErrGone) {
				t.Fatalf("it took the sandbox along: %v", err)
			}
			t.must("exec", err)
			likely := res.Outcome == backend.OutcomeSignal && res.OOMPossible && !t.countsOOM(sb)
			killed := res.Signal == 9 && res.ExitCode == 137 && (res.Outcome == backend.OutcomeOOM || likely)
			without := degraded(sb, "memory") && res.Outcome == backend.OutcomeExit
			if !killed && !without {
				t.Errorf("%+v", res)
			}
			t.wantExit("the next command", t.execIn(t.ctx, sb, &backend.ExecRequest{Argv: []string{"true"}}), 0)
		},
	},
}

// countsOOM reports whether a sandbox knows how often the kernel ended something in
// it for want of memory.
func (t *T) countsOOM(sb backend.Sandbox) bool {
	if !t.declares(backend.CapProcesses) {
		return false
	}
	st, err := sb.Stats(t.ctx, &backend.StatsRequest{})
	t.must("stats", err)
	return st.OOMKills >= 0
}
