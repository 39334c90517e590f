package guest

import (
	"bytes"
	"context"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/deep-sandbox/deep/core/backend"
)

func processCases(t *testing.T) {
	f := newFixture(t)
	for _, c := range []struct {
		name string
		run  func(f *fixture)
	}{
		{"Nothing", caseProcessesNothing},
		{"Exec", caseProcessesExec},
		{"LeftBehind", caseProcessesLeftBehind},
		{"Args", caseProcessesArgs},
		{"States", caseProcessesStates},
		{"Changing", caseProcessesChanging},
		{"Stats", caseStats},
	} {
		t.Run(c.name, func(t *testing.T) {
			inner := *f
			inner.t = t
			c.run(&inner)
		})
	}
}

func TestGroupProcesses(t *testing.T) { inNamespaces(t, modeGroup, processCases) }
func TestPIDNSProcesses(t *testing.T) { inNamespaces(t, modePIDNS, processCases) }

func (f *fixture) processes() []backend.Process {
	f.t.Helper()
	reply, err := f.Processes(f.t.Context(), &backend.ProcessesRequest{})
	check(f.t, err)
	return reply.Processes
}

// processesOf returns the processes of an exec.
func (f *fixture) processesOf(id string) []backend.Process {
	f.t.Helper()
	return slices.DeleteFunc(f.processes(), func(p backend.Process) bool { return p.Exec != id })
}

// ready is a writer that tells when something was written.
type ready struct {
	once sync.Once
	told chan struct{}
}

func (r *ready) Write(p []byte) (int, error) {
	r.once.Do(func() { close(r.told) })
	return len(p), nil
}

// begin runs a command, whose end it returns, until it has written something.
func (f *fixture) begin(id string, req *backend.ExecRequest) (end func()) {
	f.t.Helper()
	ctx, cancel := context.WithCancel(f.t.Context())
	r := &ready{told: make(chan struct{})}
	none := time.Duration(0)
	req.ID, req.Stdout, req.Grace = id, r, &none
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = f.Exec(ctx, req) // it is cancelled
	}()
	select {
	case <-r.told:
	case <-ended:
		f.t.Fatalf("%s ended at once", id)
	}
	return func() {
		cancel()
		<-ended
	}
}

func caseProcessesNothing(f *fixture) {
	if got := f.processes(); len(got) != 0 {
		f.t.Errorf("nothing runs but %+v", got)
	}
	ctx, cancel := context.WithCancel(f.t.Context())
	cancel()
	_, err := f.Processes(ctx, &backend.ProcessesRequest{})
	wantKind(f.t, err, context.Canceled)
}

func caseProcessesExec(f *fixture) {
	before := time.Now().Add(-time.Second)
	defer f.begin("neighbour", &backend.ExecRequest{Shell: "echo ready; exec sleep 1000"})()
	end := f.begin("family", &backend.ExecRequest{Shell: `sleep 1001 & (sleep 1002 & exec sleep 1003) & sleep 0.05; echo ready; wait`})
	var got []backend.Process
	eventually(f.t, "all of the family are there", func() bool {
		got = f.processesOf("family")
		n := 0
		for _, p := range got {
			if p.Args[0] == "sleep" {
				n++
			}
		}
		return n == 3 && len(got) == 4
	})
	shell := got[0]
	if shell.PPID != 1 || shell.Args[0] != "/bin/sh" || !slices.IsSortedFunc(got, func(a, b backend.Process) int { return a.PID - b.PID }) {
		f.t.Errorf("%+v", got)
	}
	parents := map[string]int{"1001": shell.PID, "1003": shell.PID}
	for _, p := range got[1:] {
		if p.Args[1] == "1003" {
			parents["1002"] = p.PID
		}
	}
	for _, p := range got[1:] {
		if p.PPID != parents[p.Args[1]] {
			f.t.Errorf("%+v should have the parent %d", p, parents[p.Args[1]])
		}
	}
	for _, p := range f.processes() {
		if p.PID <= 1 || p.Exec == "" || len(p.State) != 1 || p.RSS <= 0 || p.Started.Before(before) || p.Started.After(time.Now().Add(time.Second)) {
			f.t.Errorf("%+v", p)
		}
	}
	if n := len(f.processesOf("neighbour")); n != 1 {
		f.t.Errorf("the neighbour has %d processes", n)
	}
	end()
	if got := f.processesOf("family"); len(got) != 0 {
		f.t.Errorf("after its end there is %+v", got)
	}
}

func caseProcessesLeftBehind(f *fixture) {
	var out bytes.Buffer
	_, err := f.Exec(f.t.Context(), &backend.ExecRequest{ID: "server", Shell: "(sleep 1004 >/dev/null 2>&1 &) & wait; echo $$", Stdout: &out})
	check(f.t, err)
	got := f.processesOf("server")
	eventually(f.t, "what is left behind runs its program", func() bool {
		got = f.processesOf("server")
		return len(got) == 1 && slices.Equal(got[0].Args, []string{"sleep", "1004"})
	})
	if got[0].PPID != 1 {
		f.t.Errorf("%+v", got)
	}
	// And is nobody else's, however many come after it.
	f.sh("true")
	if again := f.processesOf("server"); len(again) != 1 || again[0].PID != got[0].PID || !again[0].Started.Equal(got[0].Started) &&
		again[0].Started.Sub(got[0].Started).Abs() > time.Second {
		f.t.Errorf("%+v became %+v", got, again)
	}
	f.domain.endAll(0)
	eventually(f.t, "it has ended", func() bool { return len(f.processes()) == 0 })
}

func caseProcessesArgs(f *fixture) {
	argv := []string{"/bin/sh", "-c", "echo ready; sleep 1005; :", "", "two\nlines", "\xff\xfe", ") S 1 (", ""}
	end := f.begin("odd", &backend.ExecRequest{Argv: argv})
	var got []backend.Process
	eventually(f.t, "both are there", func() bool {
		got = f.processesOf("odd")
		return len(got) == 2
	})
	if !slices.Equal(got[0].Args, argv) {
		f.t.Errorf("%q", got[0].Args)
	}
	end()
	argv[3] = strings.Repeat("long", 5000)
	defer f.begin("long", &backend.ExecRequest{Argv: argv})()
	line := strings.Join(f.processesOf("long")[0].Args, "\x00")
	if want := strings.Join(argv, "\x00")[:maxCommandLine]; line != want {
		f.t.Errorf("%d bytes of a long command line", len(line))
	}
}

func caseProcessesStates(f *fixture) {
	for id, c := range map[string]struct{ shell, state string }{
		"busy":    {"echo ready; while :; do :; done", "R"},
		"asleep":  {"echo ready; exec sleep 1006", "S"},
		"stopped": {"echo ready; kill -STOP $$", "T"},
		"zombie":  {"(while [ ! -e go ]; do sleep 0.02; done) & echo ready; exec sleep 1007", "Z"},
	} {
		end := f.begin(id, &backend.ExecRequest{Shell: c.shell})
		if id == "zombie" { // its parent must be one that does not care
			eventually(f.t, "the shell has become another program", func() bool { return f.processesOf(id)[0].Args[0] == "sleep" })
			f.put("go", "")
		}
		var p backend.Process
		eventually(f.t, id+" is seen", func() bool {
			list := f.processesOf(id)
			i := slices.IndexFunc(list, func(p backend.Process) bool { return p.State == c.state })
			if i >= 0 {
				p = list[i]
			}
			return i >= 0
		})
		if id == "zombie" && (len(p.Args) != 1 || p.Args[0] != "[sh]" || p.PPID == 1) {
			f.t.Errorf("%+v", p)
		}
		if id == "busy" {
			eventually(f.t, "it uses the processor", func() bool { return f.processesOf(id)[0].CPUTime >= 2*tick })
		}
		end()
	}
}

// caseProcessesChanging lists while commands come and go.
func caseProcessesChanging(f *fixture) {
	var wg sync.WaitGroup
	done := make(chan struct{})
	for range 4 {
		wg.Go(func() {
			for range 25 {
				_, err := f.Exec(f.t.Context(), &backend.ExecRequest{Shell: "true & true; (true &)"})
				if err != nil {
					f.t.Error(err)
				}
			}
		})
	}
	go func() {
		wg.Wait()
		close(done)
	}()
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		reply, err := f.Processes(f.t.Context(), &backend.ProcessesRequest{})
		if err != nil {
			f.t.Errorf("%v", err)
			break
		}
		for _, p := range reply.Processes {
			if p.PID <= 1 || p.PPID < 1 || len(p.Args) == 0 {
				f.t.Errorf("%+v", p)
			}
		}
	}
	wg.Wait()
}

func caseStats(f *fixture) {
	ctx := f.t.Context()
	before, err := f.Stats(ctx, &backend.StatsRequest{})
	check(f.t, err)
	end := f.begin("one", &backend.ExecRequest{Shell: "head -c 3000000 /dev/zero > filled; echo ready; exec sleep 1000"})
	now, err := f.Stats(ctx, &backend.StatsRequest{})
	check(f.t, err)
	if now.Execs != 1 || before.Execs != 0 || now.Uptime <= before.Uptime || before.Uptime <= 0 || now.KeptOutput <= 0 || now.KeptOutputLimit < now.KeptOutput {
		f.t.Errorf("%+v, then %+v", before, now)
	}
	if used := before.DiskFree - now.DiskFree; used < 2_900_000 || used > 4<<20 {
		f.t.Errorf("3 MB more take %d bytes of the disk", used)
	}
	for name, n := range map[string]int64{
		"cpu": int64(now.CPUTime), "memory": now.Memory, "memory limit": now.MemoryLimit, "oom kills": now.OOMKills, "pids": now.PIDs, "pids limit": now.PIDsLimit,
	} {
		if n < untold {
			f.t.Errorf("%s: %d", name, n)
		}
	}
	end()
	check(f.t, os.Remove(f.path("filled")))
}
