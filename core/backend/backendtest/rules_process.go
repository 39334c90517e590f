package backendtest

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/deep-sandbox/deep/core/backend"
)

// processes lists those that run with these arguments.
func (t *T) processes(sb backend.Sandbox, args ...string) []backend.Process {
	r, err := sb.Processes(t.ctx, &backend.ProcessesRequest{})
	t.must("processes", err)
	if !slices.IsSortedFunc(r.Processes, func(a, b backend.Process) int { return a.PID - b.PID }) {
		t.Errorf("they are not in the order of their ids: %+v", r.Processes)
	}
	return slices.DeleteFunc(r.Processes, func(p backend.Process) bool { return !slices.Equal(p.Args, args) })
}

var processRules = []Rule{
	{
		Name:     "processes",
		Sentence: "Processes lists what runs, with the exec that started it; what has ended is not listed.",
		Shell:    true, Needs: backend.CapProcesses,
		run: func(t *T) {
			sb := t.sandbox()
			args := []string{"sleep", "6543"}
			id := t.start(sb, &backend.ExecRequest{Argv: args, Timeout: backend.Unlimited})
			var found []backend.Process
			// While it starts its program, it has no memory yet.
			t.eventually("it is listed, with its memory", func() bool { found = t.processes(sb, args...); return len(found) > 0 && found[0].RSS != 0 })
			for _, p := range found {
				if len(found) != 1 || p.Exec != id || p.PID < 1 || p.PPID < 1 || p.PID == p.PPID || !strings.Contains("RSD", p.State) || p.State == "" ||
					time.Since(p.Started).Abs() > time.Hour || p.RSS <= 0 || p.CPUTime < 0 {
					t.Errorf("%+v", p)
				}
			}
			t.must("stop", sb.Signal(t.ctx, &backend.SignalRequest{ID: id, Signal: 19}))
			t.eventually("it is listed as stopped", func() bool { f := t.processes(sb, args...); return len(f) == 1 && f[0].State == "T" })
			t.kill(sb, id)
			if left := t.processes(sb, args...); len(left) > 0 {
				t.Errorf("after it was killed: %+v", left)
			}
		},
	},
	{
		Name:     "processes-tree",
		Sentence: "What an exec started is listed below the process that started it.",
		Shell:    true, Needs: backend.CapProcesses,
		run: func(t *T) {
			sb := t.sandbox()
			id := t.start(sb, &backend.ExecRequest{Shell: "echo $$ > pid; sleep 6544; true", Dir: t.dir(), Timeout: backend.Unlimited})
			t.eventually("it is listed", func() bool {
				f := t.processes(sb, "sleep", "6544")
				return len(f) == 1 && f[0].Exec == id && strconv.Itoa(f[0].PPID) == strings.TrimSpace(t.read("pid"))
			})
		},
	},
	{
		Name:     "processes-left-behind",
		Sentence: "The child that a finished command left behind is listed by Processes.",
		Shell:    true, Needs: backend.CapProcesses,
		run: func(t *T) {
			sb := t.sandbox()
			t.wantOutput("exec", t.exec(&backend.ExecRequest{Shell: "sleep 6545 & echo done"}), "done\n")
			var left []backend.Process
			t.eventually("it is listed", func() bool { left = t.processes(sb, "sleep", "6545"); return len(left) == 1 })
			for _, p := range left {
				if p.PPID != 1 {
					t.Errorf("its parent has ended: %+v", p)
				}
				t.must("kill", t.exec(&backend.ExecRequest{Shell: "kill -KILL " + strconv.Itoa(p.PID)}).err)
			}
			t.eventually("it has ended", func() bool { return len(t.processes(sb, "sleep", "6545")) == 0 })
		},
	},
	{
		Name:     "stats",
		Sentence: "Stats tells what the sandbox uses, and Processes leaves the guest out.",
		Shell:    true, Needs: backend.CapProcesses,
		run: func(t *T) {
			sb := t.newSandbox(func(s *backend.Spec) { s.Memory, s.PIDs = 256<<20, 200 })
			stats := func() *backend.Stats {
				st, err := sb.Stats(t.ctx, &backend.StatsRequest{})
				t.must("stats", err)
				return st
			}
			r, err := sb.Processes(t.ctx, &backend.ProcessesRequest{})
			if t.must("processes", err); len(r.Processes) > 0 {
				t.Errorf("in a fresh sandbox: %+v", r.Processes)
			}
			before := stats()
			if before.Uptime <= 0 || before.Uptime > time.Hour || before.Execs != 0 || before.KeptOutput != 0 || before.KeptOutputLimit != 32<<20 || before.OOMKills > 0 {
				t.Errorf("fresh: %+v", before)
			}
			// The kernel may not tell.
			if m := before.MemoryLimit; m != 256<<20 && m != -1 && !degraded(sb, "memory") {
				t.Errorf("memory limit %d", m)
			}
			if n := before.PIDsLimit; n != 200 && n != -1 && !degraded(sb, "pids") {
				t.Errorf("limit of processes %d", n)
			}
			id := t.start(sb, &backend.ExecRequest{Shell: "head -c 50000000 /dev/zero | wc -c; head -c 100000 /dev/zero; cat", KeepStdin: true})
			t.eventually("its output is kept", func() bool { return stats().KeptOutput >= 100_000 })
			now := stats()
			if now.Execs != 1 || now.Uptime <= before.Uptime || now.CPUTime >= 0 && now.CPUTime <= before.CPUTime ||
				now.Memory == 0 || now.PIDs >= 0 && now.PIDs < 2 {
				t.Errorf("while one runs: %+v, before %+v", now, before)
			}
			t.kill(sb, id)
			if now := stats(); now.Execs != 0 {
				t.Errorf("afterwards: %+v", now)
			}
		},
	},
	{
		Name:     "stats-cpu-time",
		Sentence: "CPUTime of Stats holds what ended commands have used, those that were killed too; it may be unknown where the sandbox says that it does without a cpu limit.",
		Shell:    true, Needs: backend.CapProcesses,
		run: func(t *T) {
			sb := t.newSandbox(nil)
			used := func() time.Duration {
				st, err := sb.Stats(t.ctx, &backend.StatsRequest{})
				t.must("stats", err)
				return st.CPUTime
			}
			last := used()
			if last < 0 && !degraded(sb, "cpu") {
				t.Fatalf("it is not known, and the sandbox does without nothing: %v", sb.Info().Degraded)
			}
			for what, req := range map[string]*backend.ExecRequest{
				"one that ended":     {Shell: "head -c 50000000 /dev/zero | wc -c"},
				"one that was ended": {Shell: "while :; do :; done", Timeout: 300 * time.Millisecond, Grace: new(time.Duration)},
			} {
				r := t.execIn(t.ctx, sb, req)
				t.must(what, r.err)
				now := used()
				// Both are the kernel's, and not to the same tick.
				if told := r.UserTime + r.SystemTime; last >= 0 && now-last < told*9/10 || last < 0 && now != last {
					t.Errorf("%s used %v, and the sandbox %v before and %v after", what, told, last, now)
				}
				last = now
			}
		},
	},
}

// degraded reports whether a sandbox says that it does without a limit.
func degraded(sb backend.Sandbox, limit string) bool {
	return slices.ContainsFunc(sb.Info().Degraded, func(d string) bool { return strings.Contains(d, limit) })
}
