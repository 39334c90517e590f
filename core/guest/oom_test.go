package guest

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/deep-sandbox/deep/core/backend"
)

// oomCases hold for both domains. The kernel's count is played, since a count that
// rises for a reason takes a memory limit: the tests of backends do that.
func oomCases(t *testing.T) {
	f := newFixture(t)
	for _, c := range []struct {
		name string
		run  func(f *fixture)
	}{
		{"Verdict", caseOOMVerdict},
		{"Background", caseOOMBackground},
		{"Accompanied", caseOOMAccompanied},
		{"OwnSignal", caseOOMOwnSignal},
		{"Untold", caseOOMUntold},
	} {
		t.Run(c.name, func(t *testing.T) {
			inner := *f
			inner.t = t
			inner.put("memory.events", "low 0\noom 0\noom_kill 7\n")
			check(t, f.oom.close())
			f.oom = openOOMCount(cgroups{"": f.dir})
			c.run(&inner)
		})
	}
}

func TestGroupOOM(t *testing.T) { inNamespaces(t, modeGroup, oomCases) }
func TestPIDNSOOM(t *testing.T) { inNamespaces(t, modePIDNS, oomCases) }

// countKill is a shell command that makes the count rise.
const countKill = "echo 'oom_kill 8' > memory.events; "

func (f *fixture) wantVerdict(about string, res *backend.ExecResult, outcome backend.Outcome, possible bool) {
	f.t.Helper()
	if res.Outcome != outcome || res.OOMPossible != possible {
		f.t.Errorf("%s: %s, possible %v, want %s, %v", about, res.Outcome, res.OOMPossible, outcome, possible)
	}
}

func caseOOMVerdict(f *fixture) {
	for _, c := range []struct {
		command string
		outcome backend.Outcome
	}{
		{"kill -9 $$", backend.OutcomeSignal},
		{countKill + "kill -15 $$", backend.OutcomeSignal},
		{countKill + "exit 137", backend.OutcomeExit},
		{countKill + "kill -9 $$", backend.OutcomeOOM},
	} {
		f.put("memory.events", "oom_kill 7\n")
		res, _, _ := f.run(&backend.ExecRequest{Shell: c.command})
		f.wantVerdict(c.command, res, c.outcome, false)
		if c.outcome == backend.OutcomeOOM && (res.Signal != 9 || res.ExitCode != 137) {
			f.t.Errorf("%+v", res)
		}
	}
}

func caseOOMBackground(f *fixture) {
	res := f.await(f.start(&backend.ExecRequest{Shell: countKill + "kill -9 $$"}))
	f.wantVerdict("background", &res, backend.OutcomeOOM, false)
}

func caseOOMAccompanied(f *fixture) {
	// Whom the count means is not known: neither with one that ran before, nor with
	// one that has come and gone meanwhile.
	beside := f.start(&backend.ExecRequest{Argv: []string{"sleep", "1000"}})
	res, _, _ := f.run(&backend.ExecRequest{Shell: countKill + "kill -9 $$"})
	f.wantVerdict("one before", res, backend.OutcomeSignal, true)
	f.killNow(beside)

	f.put("memory.events", "oom_kill 7\n")
	id := f.start(&backend.ExecRequest{Shell: "echo up; read go; " + countKill + "kill -9 $$", KeepStdin: true})
	f.waitOutput(id, "up")
	f.sh("true")
	_, err := f.WriteStdin(f.t.Context(), &backend.WriteStdinRequest{ID: id, Close: true})
	check(f.t, err)
	ended := f.await(id)
	f.wantVerdict("one meanwhile", &ended, backend.OutcomeSignal, true)
}

func caseOOMOwnSignal(f *fixture) {
	id := f.start(&backend.ExecRequest{Shell: countKill + "echo up; exec sleep 1000"})
	f.waitOutput(id, "up")
	check(f.t, f.Signal(f.t.Context(), &backend.SignalRequest{ID: id, Signal: int(unix.SIGKILL)}))
	res := f.await(id)
	f.wantVerdict("our own", &res, backend.OutcomeSignal, false)

	f.put("memory.events", "oom_kill 7\n")
	id = f.start(&backend.ExecRequest{Shell: countKill + "echo up; exec sleep 1000"})
	f.waitOutput(id, "up")
	f.wantVerdict("halted", &f.killNow(id).Result, backend.OutcomeCancelled, false)
}

func caseOOMUntold(f *fixture) {
	check(f.t, f.oom.close())
	f.Sandbox.oom = openOOMCount(cgroups{"memory": f.dir}) // which has no memory.oom_control
	res, _, _ := f.run(&backend.ExecRequest{Shell: "kill -9 $$"})
	f.wantVerdict("untold", res, backend.OutcomeSignal, true)
	res, _, _ = f.run(&backend.ExecRequest{Shell: "kill -15 $$"})
	f.wantVerdict("untold, another signal", res, backend.OutcomeSignal, false)
}
