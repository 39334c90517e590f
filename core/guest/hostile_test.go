package guest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/deep-sandbox/deep/core/backend"
)

// hostile commands try to leave something behind when they are killed. Each
// prints "ready" when that something is there.
var hostile = []struct {
	name, command string
	// least processes that are there when it is ready: the attack was real.
	least int
	// alone: it hits every process of its uid, its neighbours too.
	alone bool
}{
	{name: "Plain", least: 1,
		command: `echo ready; exec sleep 1000`},
	{name: "BackgroundChild", least: 2,
		command: `sleep 1000 & echo ready; wait`},
	{name: "Setsid", least: 2,
		command: `$HELPER -helper=setsid /bin/sh -c "echo ready; exec sleep 1000" & wait`},
	{name: "DoubleFork", least: 2,
		command: `( (sleep 1000 >/dev/null 2>&1 &) & ) ; echo ready; sleep 1000`},
	{name: "DeepDoubleFork", least: 30,
		command: `n=0; while [ $n -lt 30 ]; do ( (sleep 1000 &) & ); n=$((n+1)); done; echo ready; sleep 1000`},
	{name: "TermIgnored", least: 2,
		command: `trap "" TERM HUP INT; sleep 1000 & echo ready; while :; do sleep 1; done`},
	{name: "Stopped", least: 2,
		command: `sleep 1000 & kill -STOP $!; echo ready; kill -STOP $$; sleep 1000`},
	{name: "ForkLoop", least: 30,
		command: `trap "" TERM; n=0; while :; do (sleep 1000 &) 2>/dev/null; n=$((n+1)); [ $n = 40 ] && echo ready; done`},
	{name: "ForkBomb", least: 30,
		command: `exec $HELPER -helper=bomb`},
	{name: "Relay", least: 1, // each process lives for a moment and starts the next
		command: `trap "" TERM; echo 'trap "" TERM; n=$1; sh ./relay $n & exit' > relay; sh ./relay 1 & echo ready; sleep 1000`},
	{name: "Threads", least: 1,
		command: `exec $HELPER -helper=threads 100`},
	{name: "Leaderless", least: 1,
		command: `$HELPER -helper=leaderless & wait`},
	{name: "KillAll", least: 1, alone: true,
		command: `kill -9 -1; echo ready; sleep 1000`},
	{name: "KillGuest", least: 1,
		command: `for s in STOP HUP INT QUIT ILL ABRT FPE KILL SEGV PIPE ALRM TERM USR1 USR2 CONT TSTP TTIN TTOU 33 34 64; do kill -$s 1 2>/dev/null; done; echo ready; exec sleep 1000`},
}

func hostileCases(t *testing.T) {
	f := newFixture(t)
	for _, h := range hostile {
		for _, how := range []string{"Timeout", "Cancel", "NoGrace"} {
			t.Run(h.name+"/"+how, func(t *testing.T) {
				inner := *f
				inner.t = t
				inner.attack(h.command, how, h.least, h.alone)
			})
		}
	}
	t.Run("NeighbourKilled", func(t *testing.T) {
		inner := *f
		inner.t = t
		inner.together()
	})
}

func TestGroupHostile(t *testing.T) { inNamespaces(t, modeGroup, hostileCases) }
func TestPIDNSHostile(t *testing.T) { inNamespaces(t, modePIDNS, hostileCases) }

// attack runs a hostile command and ends it, beside a command that nothing must
// happen to.
func (f *fixture) attack(command, how string, least int, alone bool) {
	f.t.Helper()
	tag := "HOSTILE=" + backend.NewID()
	ctx, cancel := context.WithCancel(f.t.Context())
	defer cancel()
	grace := 100 * time.Millisecond
	req := &backend.ExecRequest{Shell: command, Env: map[string]string{"HOSTILE": tag[len("HOSTILE="):]}, Grace: &grace, Timeout: backend.Unlimited}
	switch how {
	case "Timeout":
		req.Timeout = 700 * time.Millisecond
	case "NoGrace":
		grace = 0
	}

	neighbour := func() *backend.ExecResult { return nil }
	if !alone {
		neighbour = f.neighbour()
	}
	ready := newMarker("ready")
	var said bytes.Buffer
	req.Stdout, req.Stderr = ready, &said
	type outcome struct {
		res *backend.ExecResult
		err error
	}
	done := make(chan outcome, 1)
	go func() {
		res, err := f.Exec(ctx, req)
		done <- outcome{res, err}
	}()
	if how != "Timeout" {
		select {
		case <-ready.seen:
		case o := <-done:
			f.t.Fatalf("it ended before it was ready: %+v, %v\n%s", o.res, o.err, said.String())
		case <-time.After(60 * time.Second):
			f.t.Fatal("it was never ready")
		}
		eventually(f.t, fmt.Sprintf("VACUOUS: %d processes were there", least), func() bool { return len(tagged(f.t, tag)) >= least })
		cancel()
	}
	o := <-done
	if left := tagged(f.t, tag); len(left) > 0 {
		f.t.Fatalf("%d survivors: %v", len(left), left)
	}
	want := backend.OutcomeCancelled
	if how == "Timeout" {
		want = backend.OutcomeTimeout
	}
	if o.res == nil || o.res.Outcome != want {
		f.t.Fatalf("%+v, %v", o.res, o.err)
	}
	if how == "Timeout" && o.err != nil || how != "Timeout" && !errors.Is(o.err, context.Canceled) {
		f.t.Fatalf("error %v", o.err)
	}
	if res := neighbour(); res != nil && (res.Outcome != backend.OutcomeExit || res.ExitCode != 42) {
		f.t.Fatalf("the neighbour was hurt: %+v", res)
	}
	// And the guest is as good as before.
	if got := f.sh("echo alive"); got != "alive\n" {
		f.t.Fatal(got)
	}
}

// neighbour starts a command with a background child; what it returns lets it
// end, and tells how it did.
func (f *fixture) neighbour() func() *backend.ExecResult {
	f.t.Helper()
	in, end := io.Pipe()
	up := newMarker("up")
	done := make(chan *backend.ExecResult, 1)
	go func() {
		res, err := f.Exec(context.Background(), &backend.ExecRequest{
			Shell: "sleep 2000 & c=$!; echo up; read x; kill $c && exit 42", Stdin: in, Stdout: up, Timeout: backend.Unlimited,
		})
		if err != nil {
			f.t.Error(err)
		}
		done <- res
	}()
	select {
	case <-up.seen:
	case res := <-done:
		f.t.Fatalf("the neighbour did not start: %+v", res)
	}
	return func() *backend.ExecResult {
		_, _ = io.WriteString(end, "x\n")
		_ = end.Close()
		return <-done
	}
}

// together ends one of two commands that do the same.
func (f *fixture) together() {
	first, second := f.neighbour(), f.neighbour()
	f.attack(`sleep 1000 & echo ready; sleep 1000`, "Cancel", 2, false)
	for _, n := range []func() *backend.ExecResult{first, second} {
		if res := n(); res.ExitCode != 42 {
			f.t.Errorf("%+v", res)
		}
	}
}

// marker tells when a text was written to it.
type marker struct {
	want []byte
	have []byte
	seen chan struct{}
	done bool
}

func newMarker(want string) *marker { return &marker{want: []byte(want), seen: make(chan struct{})} }

func (m *marker) Write(p []byte) (int, error) {
	if !m.done {
		if m.have = append(m.have, p...); bytes.Contains(m.have, m.want) {
			m.done = true
			close(m.seen)
		}
	}
	return len(p), nil
}

// TestGroupProcessesUsedUp fills the limit of processes: starting another then
// fails as told, and files can be read.
func TestGroupProcessesUsedUp(t *testing.T) {
	inNamespaces(t, modeGroup, func(t *testing.T) {
		f := newFixture(t)
		f.put("file", "content")
		check(t, unix.Setrlimit(unix.RLIMIT_NPROC, &unix.Rlimit{Cur: 60, Max: 60}))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = f.Exec(ctx, &backend.ExecRequest{Shell: "exec $HELPER -helper=fill", Timeout: backend.Unlimited, Grace: new(time.Duration)})
		}()
		// The limit is looked at before a process counts, so one may be started at
		// it, and the next not.
		refused := make(chan error)
		var started sync.WaitGroup
		eventually(t, "no more processes", func() bool {
			started.Go(func() {
				res, err := f.Exec(ctx, &backend.ExecRequest{Argv: []string{"sleep", "1000"}, Timeout: backend.Unlimited, Grace: new(time.Duration)})
				if errors.Is(err, backend.ErrUnavailable) && (res == nil || res.Outcome != backend.OutcomeStartFailed) {
					err = fmt.Errorf("%+v, %w", res, err)
				}
				select {
				case refused <- err:
				case <-ctx.Done():
				}
			})
			select {
			case err := <-refused:
				if wantKind(t, err, backend.ErrUnavailable); backend.HintOf(err) == "" {
					t.Fatal(err)
				}
				return true
			case <-time.After(100 * time.Millisecond):
				return false
			}
		})
		r, err := f.ReadFile(ctx, &backend.ReadFileRequest{Path: "file"})
		check(t, err)
		b, err := io.ReadAll(r)
		check(t, errors.Join(err, r.Close()))
		if string(b) != "content" {
			t.Fatalf("%q", b)
		}
		cancel()
		<-done
		started.Wait()
		if got := f.sh("echo again"); got != "again\n" {
			t.Fatal(got)
		}
	})
}

// TestGroupCancelAnyTime cancels at all sorts of moments: each time the answer
// is one, and nothing stays.
func TestGroupCancelAnyTime(t *testing.T) { inNamespaces(t, modeGroup, cancelAnyTime) }
func TestPIDNSCancelAnyTime(t *testing.T) { inNamespaces(t, modePIDNS, cancelAnyTime) }

func cancelAnyTime(t *testing.T) {
	f := newFixture(t)
	tag := "ANYTIME=" + backend.NewID()
	n := 100
	if testing.Short() {
		n = 20
	}
	for i := range n {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*200*time.Microsecond)
		res, err := f.Exec(ctx, &backend.ExecRequest{
			Shell: `(sleep 1000 &) ; sleep 1000 & sleep 1000`, Env: map[string]string{"ANYTIME": tag[len("ANYTIME="):]}, Grace: new(time.Duration),
		})
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) || res != nil && res.Outcome != backend.OutcomeCancelled {
			t.Fatalf("%d: %+v, %v", i, res, err)
		}
		if left := tagged(t, tag); len(left) > 0 {
			t.Fatalf("%d: survivors %v", i, left)
		}
	}
}

// TestGroupEnd ends the sandbox under running commands.
func TestGroupEnd(t *testing.T) { inNamespaces(t, modeGroup, endCase) }
func TestPIDNSEnd(t *testing.T) { inNamespaces(t, modePIDNS, endCase) }

func endCase(t *testing.T) {
	f := newFixture(t)
	tag := "ENDING=" + backend.NewID()
	env := map[string]string{"ENDING": tag[len("ENDING="):]}
	f.run(&backend.ExecRequest{Shell: "trap '' TERM; (sleep 1000 &) ; exit 0", Env: env})
	up := newMarker("up")
	done := make(chan error, 1)
	var res *backend.ExecResult
	go func() {
		var err error
		res, err = f.Exec(context.Background(), &backend.ExecRequest{ID: "lost", Shell: "trap '' TERM; echo up; sleep 1000; sleep 1000", Env: env, Stdout: up, Grace: new(time.Duration)})
		done <- err
	}()
	<-up.seen
	f.end()
	wantKind(t, <-done, backend.ErrGone)
	if res == nil || res.Outcome != backend.OutcomeLost {
		t.Fatalf("%+v", res)
	}
	if left := tagged(t, tag); len(left) > 0 {
		t.Fatalf("survivors %v", left)
	}
	_, err := f.Exec(t.Context(), &backend.ExecRequest{Argv: []string{"true"}})
	wantKind(t, err, backend.ErrGone)
	if os.Getpid() != 1 {
		t.Fatal("not process 1")
	}
}
