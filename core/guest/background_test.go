package guest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/deep-sandbox/deep/core/backend"
)

// backgroundCases hold for both domains.
func backgroundCases(t *testing.T) {
	f := newFixture(t)
	for _, c := range []struct {
		name string
		run  func(f *fixture)
	}{
		{"Start", caseStart},
		{"StartRefused", caseStartRefused},
		{"StartOutlivesCaller", caseStartOutlivesCaller},
		{"StartTimeout", caseStartTimeout},
		{"Output", caseOutput},
		{"OutputFollow", caseOutputFollow},
		{"OutputDropped", caseOutputDropped},
		{"OutputOfExec", caseOutputOfExec},
		{"OutputSlowCaller", caseOutputSlowCaller},
		{"OutputForgotten", caseOutputForgotten},
		{"WriteStdin", caseWriteStdin},
		{"WriteStdinWaits", caseWriteStdinWaits},
		{"WriteStdinTogether", caseWriteStdinTogether},
		{"WriteStdinRefused", caseWriteStdinRefused},
		{"Signal", caseSignal},
		{"SignalAll", caseSignalAll},
		{"Kill", caseKill},
		{"KillForeground", caseKillForeground},
		{"KillShorter", caseKillShorter},
		{"KillStuckCaller", caseKillStuckCaller},
		{"KillLeftBehind", caseKillLeftBehind},
		{"Unknown", caseUnknown},
	} {
		t.Run(c.name, func(t *testing.T) {
			inner := *f
			inner.t = t
			c.run(&inner)
		})
	}
}

func TestGroupBackground(t *testing.T) { inNamespaces(t, modeGroup, backgroundCases) }
func TestPIDNSBackground(t *testing.T) { inNamespaces(t, modePIDNS, backgroundCases) }

// start starts a command and returns its id.
func (f *fixture) start(req *backend.ExecRequest) string {
	f.t.Helper()
	r, err := f.Start(f.t.Context(), req)
	check(f.t, err)
	return r.ID
}

// await returns how an exec ended.
func (f *fixture) await(id string) backend.ExecResult {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), patience)
	defer cancel()
	r, err := f.Outcome(ctx, &backend.OutcomeRequest{ID: id, Wait: true})
	check(f.t, err)
	return r.Result
}

// output reads what is kept of a stream, from an offset on.
func (f *fixture) output(id string, stream backend.Stream, offset int64, follow bool) (string, int64) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), patience)
	defer cancel()
	out, err := f.ReadOutput(ctx, &backend.ReadOutputRequest{ID: id, Stream: stream, Offset: offset, Follow: follow})
	check(f.t, err)
	b, err := io.ReadAll(out)
	check(f.t, errors.Join(err, out.Close()))
	return string(b), out.Offset
}

// waitOutput waits until a stream of an exec holds text.
func (f *fixture) waitOutput(id, text string) {
	f.t.Helper()
	eventually(f.t, "output "+text, func() bool {
		b, _ := f.output(id, "", 0, false)
		return strings.Contains(b, text)
	})
}

func (f *fixture) killNow(id string) *backend.OutcomeReply {
	f.t.Helper()
	r, err := f.Kill(f.t.Context(), &backend.KillRequest{ID: id, Grace: new(time.Duration)})
	check(f.t, err)
	return r
}

func caseStart(f *fixture) {
	f.put("go", "")
	check(f.t, os.Remove(f.path("go")))
	id := f.start(&backend.ExecRequest{Shell: "cat; echo up; while [ ! -e go ]; do sleep 0.01; done; echo err >&2; exit 7"})
	r, err := f.Outcome(f.t.Context(), &backend.OutcomeRequest{ID: id})
	check(f.t, err)
	if r.Result.Outcome != backend.OutcomeRunning || r.Result.ID != id {
		f.t.Fatalf("%+v", r.Result)
	}
	// It waits as long as the caller does.
	ctx, cancel := context.WithTimeout(f.t.Context(), 20*time.Millisecond)
	_, err = f.Outcome(ctx, &backend.OutcomeRequest{ID: id, Wait: true})
	cancel()
	wantKind(f.t, err, context.DeadlineExceeded)
	f.put("go", "")
	res := f.await(id)
	if res.Outcome != backend.OutcomeExit || res.ExitCode != 7 || res.StdoutBytes != 3 || res.StderrBytes != 4 || res.Duration <= 0 {
		f.t.Fatalf("%+v", res)
	}
	// What cannot be started is an outcome, not an error.
	res = f.await(f.start(&backend.ExecRequest{Argv: []string{"no-such-program"}}))
	if res.Outcome != backend.OutcomeStartFailed || res.ExitCode != 127 {
		f.t.Fatalf("%+v", res)
	}
}

func caseStartRefused(f *fixture) {
	ctx := f.t.Context()
	for name, req := range map[string]*backend.ExecRequest{
		"stdin": {Argv: []string{"true"}, Stdin: strings.NewReader("")}, "stdout": {Argv: []string{"true"}, Stdout: io.Discard},
		"stderr": {Argv: []string{"true"}, Stderr: io.Discard}, "nothing": {}, "id": {ID: "a/b", Argv: []string{"true"}},
	} {
		if r, err := f.Start(ctx, req); !errors.Is(err, backend.ErrInvalid) || r != nil {
			f.t.Errorf("%s: %v, %v", name, r, err)
		}
	}
	_, err := f.Start(ctx, &backend.ExecRequest{ID: "nodir-bg", Argv: []string{"true"}, Dir: "none"})
	if e := wantKind(f.t, err, backend.ErrNotFound); e.Path != "none" || e.Op != "start" {
		f.t.Errorf("%+v", e)
	}
	_, err = f.Outcome(ctx, &backend.OutcomeRequest{ID: "nodir-bg"})
	wantKind(f.t, err, backend.ErrNotFound)
	f.await(f.start(&backend.ExecRequest{ID: "twice", Argv: []string{"true"}}))
	_, err = f.Start(ctx, &backend.ExecRequest{ID: "twice", Argv: []string{"true"}})
	wantKind(f.t, err, backend.ErrExists)
	_, err = f.Exec(ctx, &backend.ExecRequest{ID: "twice", Argv: []string{"true"}})
	wantKind(f.t, err, backend.ErrExists)
}

func caseStartOutlivesCaller(f *fixture) {
	ctx, cancel := context.WithCancel(f.t.Context())
	r, err := f.Start(ctx, &backend.ExecRequest{Shell: "sleep 0.3; echo done"})
	check(f.t, err)
	cancel()
	if res := f.await(r.ID); res.Outcome != backend.OutcomeExit || res.ExitCode != 0 {
		f.t.Fatalf("%+v", res)
	}
	if out, _ := f.output(r.ID, "", 0, false); out != "done\n" {
		f.t.Fatalf("%q", out)
	}
}

func caseStartTimeout(f *fixture) {
	grace := 20 * time.Millisecond
	id := f.start(&backend.ExecRequest{
		Shell: "trap '' TERM; echo up; setsid sleep 1000 & sleep 1000", Env: map[string]string{"TAG": "bgtimeout"},
		Timeout: 300 * time.Millisecond, Grace: &grace,
	})
	if res := f.await(id); res.Outcome != backend.OutcomeTimeout {
		f.t.Fatalf("%+v", res)
	}
	if left := tagged(f.t, "TAG=bgtimeout"); len(left) > 0 {
		f.t.Fatalf("survivors %v", left)
	}
}

func caseOutput(f *fixture) {
	const text = "one\x00two\xff\r\n"
	f.put("text", text)
	id := f.start(&backend.ExecRequest{Shell: "cat text; cat text text >&2"})
	f.await(id)
	for _, stream := range []backend.Stream{"", backend.StreamStdout, backend.StreamStderr} {
		want := text
		if stream == backend.StreamStderr {
			want += text
		}
		for at := range len(want) + 1 {
			if got, offset := f.output(id, stream, int64(at), at%2 == 0); got != want[at:] || offset != int64(at) {
				f.t.Errorf("%s from %d: %q from %d", stream, at, got, offset)
			}
		}
		for _, at := range []int64{-1, int64(len(want)) + 1} {
			_, err := f.ReadOutput(f.t.Context(), &backend.ReadOutputRequest{ID: id, Stream: stream, Offset: at})
			wantKind(f.t, err, backend.ErrInvalid)
		}
	}
	_, err := f.ReadOutput(f.t.Context(), &backend.ReadOutputRequest{ID: id, Stream: "both"})
	wantKind(f.t, err, backend.ErrInvalid)
	// Both as one are stdout.
	id = f.start(&backend.ExecRequest{Shell: "echo a; echo b >&2; echo c", Merge: true})
	if res := f.await(id); res.StdoutBytes != 6 || res.StderrBytes != 0 {
		f.t.Errorf("%+v", res)
	}
	if got, _ := f.output(id, "", 0, true); got != "a\nb\nc\n" {
		f.t.Errorf("%q", got)
	}
	// What is over a limit is not kept.
	id = f.start(&backend.ExecRequest{Shell: "yes", OutputLimit: 1000, Grace: new(time.Duration)})
	if res := f.await(id); res.Outcome != backend.OutcomeOutputLimited {
		f.t.Errorf("%+v", res)
	}
	if got, _ := f.output(id, "", 0, true); got != strings.Repeat("y\n", 500) {
		f.t.Errorf("%d bytes", len(got))
	}
}

func caseOutputFollow(f *fixture) {
	id := f.start(&backend.ExecRequest{Shell: "echo first; read go; echo second; exit 3", KeepStdin: true})
	out, err := f.ReadOutput(f.t.Context(), &backend.ReadOutputRequest{ID: id, Follow: true})
	check(f.t, err)
	buf := make([]byte, 100)
	n, err := io.ReadFull(out, buf[:6])
	if err != nil || string(buf[:n]) != "first\n" {
		f.t.Fatalf("%q %v", buf[:n], err)
	}
	_, err = f.WriteStdin(f.t.Context(), &backend.WriteStdinRequest{ID: id, Content: strings.NewReader("go\n")})
	check(f.t, err)
	rest, err := io.ReadAll(out)
	if err != nil || string(rest) != "second\n" {
		f.t.Fatalf("%q %v", rest, err)
	}
	if res := f.await(id); res.ExitCode != 3 {
		f.t.Fatalf("%+v", res)
	}
}

// seq is what "seq 1 n" prints.
func seq(n int) string {
	var b []byte
	for i := 1; i <= n; i++ {
		b = append(strconv.AppendInt(b, int64(i), 10), '\n')
	}
	return string(b)
}

func caseOutputDropped(f *fixture) {
	// Four times what this sandbox keeps.
	_, limit := f.spool.usage()
	n := int(limit) * 4 / 7
	id := f.start(&backend.ExecRequest{Shell: fmt.Sprintf("seq 1 %d", n), Timeout: patience})
	f.await(id)
	want := seq(n)
	got, offset := f.output(id, "", 5, false)
	if offset < int64(len(want))-limit || offset > int64(len(want))-limit+spoolBlock || got != want[offset:] {
		f.t.Fatalf("%d bytes from %d, of %d", len(got), offset, len(want))
	}
}

func caseOutputOfExec(f *fixture) {
	res, out, errs := f.run(&backend.ExecRequest{Shell: "seq 1 100000; seq 1 5 >&2"})
	if got, _ := f.output(res.ID, "", 0, true); got != out || int64(len(got)) != res.StdoutBytes {
		f.t.Errorf("%d bytes of stdout, want %d", len(got), len(out))
	}
	if got, _ := f.output(res.ID, backend.StreamStderr, 0, true); got != errs || int64(len(got)) != res.StderrBytes {
		f.t.Errorf("%d bytes of stderr, want %d", len(got), len(errs))
	}
}

func caseOutputSlowCaller(f *fixture) {
	// One who follows and does not read holds up nobody.
	id := f.start(&backend.ExecRequest{Shell: "seq 1 1000000; echo end", Timeout: patience})
	out, err := f.ReadOutput(f.t.Context(), &backend.ReadOutputRequest{ID: id, Follow: true})
	check(f.t, err)
	if res := f.await(id); res.ExitCode != 0 || res.Outcome != backend.OutcomeExit {
		f.t.Fatalf("%+v", res)
	}
	check(f.t, out.Close())
}

func caseOutputForgotten(f *fixture) {
	id := f.start(&backend.ExecRequest{Shell: "echo remember me"})
	f.await(id)
	out, err := f.ReadOutput(f.t.Context(), &backend.ReadOutputRequest{ID: id})
	check(f.t, err)
	used, _ := f.spool.usage()
	// As when it has become the oldest of 1024.
	e, err := f.execs.find("test", id)
	check(f.t, err)
	e.stdout.forget()
	if now, _ := f.spool.usage(); now != used-12 {
		f.t.Errorf("%d bytes kept, before %d", now, used)
	}
	_, err = out.Read(make([]byte, 1))
	wantKind(f.t, err, backend.ErrConflict)
}

func caseWriteStdin(f *fixture) {
	id := f.start(&backend.ExecRequest{Shell: "cat; echo end", KeepStdin: true})
	input := bytes.Repeat([]byte("0123456789\x00\xff\n"), 100_000)
	for part := range 4 {
		piece := input[part*len(input)/4 : (part+1)*len(input)/4]
		r, err := f.WriteStdin(f.t.Context(), &backend.WriteStdinRequest{ID: id, Content: bytes.NewReader(piece), Close: part == 3})
		check(f.t, err)
		if r.Written != int64(len(piece)) {
			f.t.Fatalf("%d of %d bytes taken", r.Written, len(piece))
		}
	}
	if res := f.await(id); res.ExitCode != 0 || res.StdoutBytes != int64(len(input))+4 {
		f.t.Fatalf("%+v", res)
	}
	if got, _ := f.output(id, "", 0, false); got != string(input)+"end\n" {
		f.t.Fatal("other bytes came out")
	}
}

func caseWriteStdinWaits(f *fixture) {
	// A command that does not read makes the writer wait, until its ctx ends; the
	// input stays usable, and nothing is lost or twice.
	f.put("read", "")
	check(f.t, os.Remove(f.path("read")))
	id := f.start(&backend.ExecRequest{Shell: "while [ ! -e read ]; do sleep 0.01; done; wc -c", KeepStdin: true})
	ctx, cancel := context.WithTimeout(f.t.Context(), 200*time.Millisecond)
	defer cancel()
	r, err := f.WriteStdin(ctx, &backend.WriteStdinRequest{ID: id, Content: endless{}})
	wantKind(f.t, err, context.DeadlineExceeded)
	if r == nil || r.Written == 0 || r.Written > 1<<20 {
		f.t.Fatalf("%+v", r)
	}
	f.put("read", "")
	_, err = f.WriteStdin(f.t.Context(), &backend.WriteStdinRequest{ID: id, Content: strings.NewReader("12345"), Close: true})
	check(f.t, err)
	f.await(id)
	if got, _ := f.output(id, "", 0, false); strings.TrimSpace(got) != strconv.FormatInt(r.Written+5, 10) {
		f.t.Fatalf("%q of %d bytes", got, r.Written+5)
	}
	// A content that hangs does not outlast the command.
	id = f.start(&backend.ExecRequest{Shell: "read line; exit 0", KeepStdin: true})
	hang, give := io.Pipe()
	go func() { _, _ = give.Write([]byte("line\n")) }()
	_, err = f.WriteStdin(f.t.Context(), &backend.WriteStdinRequest{ID: id, Content: hang})
	wantKind(f.t, err, backend.ErrConflict)
	check(f.t, hang.Close())
}

func caseWriteStdinTogether(f *fixture) {
	// Several at once: each one's bytes stay together.
	id := f.start(&backend.ExecRequest{Shell: "cat", KeepStdin: true})
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			text := strings.Repeat(string(rune('a'+i)), 100_000) + "\n"
			if _, err := f.WriteStdin(f.t.Context(), &backend.WriteStdinRequest{ID: id, Content: strings.NewReader(text)}); err != nil {
				f.t.Error(err)
			}
		})
	}
	all.Wait()
	_, err := f.WriteStdin(f.t.Context(), &backend.WriteStdinRequest{ID: id, Close: true})
	check(f.t, err)
	f.await(id)
	got, _ := f.output(id, "", 0, false)
	lines := strings.Split(strings.TrimSuffix(got, "\n"), "\n")
	if len(lines) != 8 {
		f.t.Fatalf("%d lines", len(lines))
	}
	for _, line := range lines {
		if line != strings.Repeat(line[:1], 100_000) {
			f.t.Fatalf("mixed: %.20q", line)
		}
	}
}

func caseWriteStdinRefused(f *fixture) {
	write := func(id string) (*backend.WriteStdinReply, error) {
		return f.WriteStdin(f.t.Context(), &backend.WriteStdinRequest{ID: id, Content: strings.NewReader("x")})
	}
	id := f.start(&backend.ExecRequest{Shell: "sleep 1000"})
	_, err := write(id)
	wantKind(f.t, err, backend.ErrConflict) // not kept open
	f.killNow(id)
	_, err = write(id)
	wantKind(f.t, err, backend.ErrConflict) // ended

	id = f.start(&backend.ExecRequest{Shell: "exec <&-; echo closed; sleep 1000", KeepStdin: true})
	f.waitOutput(id, "closed")
	_, err = write(id)
	wantKind(f.t, err, backend.ErrConflict)
	f.killNow(id)

	id = f.start(&backend.ExecRequest{Shell: "cat; sleep 1000", KeepStdin: true})
	_, err = f.WriteStdin(f.t.Context(), &backend.WriteStdinRequest{ID: id, Close: true})
	check(f.t, err)
	_, err = write(id)
	wantKind(f.t, err, backend.ErrConflict)
	broken := errors.New("the caller's disk is broken")
	id2 := f.start(&backend.ExecRequest{Shell: "cat", KeepStdin: true})
	r, err := f.WriteStdin(f.t.Context(), &backend.WriteStdinRequest{ID: id2, Content: io.MultiReader(strings.NewReader("some"), failing{broken}), Close: true})
	if !errors.Is(err, broken) || r == nil || r.Written != 4 {
		f.t.Fatalf("%+v, %v", r, err)
	}
	// Half a content is not the end of the input.
	if r, err := f.Outcome(f.t.Context(), &backend.OutcomeRequest{ID: id2}); err != nil || r.Result.Outcome != backend.OutcomeRunning {
		f.t.Fatalf("%+v, %v", r, err)
	}
	f.killNow(id)
	f.killNow(id2)
}

func caseSignal(f *fixture) {
	// The program alone: its child lives.
	id := f.start(&backend.ExecRequest{
		Shell: "trap 'echo caught; kill $!; exit 4' USR1; sleep 1000 & echo up; wait", Env: map[string]string{"TAG": "signalled"},
	})
	f.waitOutput(id, "up")
	check(f.t, f.Signal(f.t.Context(), &backend.SignalRequest{ID: id, Signal: int(unix.SIGUSR1)}))
	if res := f.await(id); res.Outcome != backend.OutcomeExit || res.ExitCode != 4 {
		f.t.Fatalf("%+v", res)
	}
	wantKind(f.t, f.Signal(f.t.Context(), &backend.SignalRequest{ID: id, Signal: 15}), backend.ErrConflict)
	for _, sig := range []int{-1, 0, 65, 1 << 20} {
		wantKind(f.t, f.Signal(f.t.Context(), &backend.SignalRequest{ID: id, Signal: sig}), backend.ErrInvalid)
	}
	for _, sig := range []unix.Signal{unix.SIGTERM, unix.SIGKILL, unix.Signal(64)} {
		id := f.start(&backend.ExecRequest{Argv: []string{"sleep", "1000"}})
		check(f.t, f.Signal(f.t.Context(), &backend.SignalRequest{ID: id, Signal: int(sig)}))
		if res := f.await(id); res.Outcome != backend.OutcomeSignal || res.Signal != int(sig) || res.ExitCode != 128+int(sig) {
			f.t.Errorf("%d: %+v", sig, res)
		}
	}
}

func caseSignalAll(f *fixture) {
	neighbour := f.start(&backend.ExecRequest{Argv: []string{"sleep", "1000"}})
	id := f.start(&backend.ExecRequest{
		Shell: "setsid sleep 1000 & setsid setsid sleep 1000 & echo up; wait; wait; echo never; sleep 1000", Env: map[string]string{"TAG": "all"},
	})
	f.waitOutput(id, "up")
	eventually(f.t, "three processes", func() bool { return len(tagged(f.t, "TAG=all")) >= 3 })
	check(f.t, f.Signal(f.t.Context(), &backend.SignalRequest{ID: id, Signal: int(unix.SIGKILL), All: true}))
	if res := f.await(id); res.Outcome != backend.OutcomeSignal || res.Signal != 9 {
		f.t.Fatalf("%+v", res)
	}
	eventually(f.t, "all are dead", func() bool { return len(tagged(f.t, "TAG=all")) == 0 })
	if r, err := f.Outcome(f.t.Context(), &backend.OutcomeRequest{ID: neighbour}); err != nil || r.Result.Outcome != backend.OutcomeRunning {
		f.t.Fatalf("the neighbour: %+v, %v", r, err)
	}
	f.killNow(neighbour)
}

func caseKill(f *fixture) {
	id := f.start(&backend.ExecRequest{
		Shell: "trap '' TERM; (setsid sleep 1000 &); echo up; sleep 1000; sleep 1000", Env: map[string]string{"TAG": "kill"},
	})
	f.waitOutput(id, "up")
	r := f.killNow(id)
	if r.Result.Outcome != backend.OutcomeCancelled || r.Result.Signal != 9 || r.Result.StdoutBytes != 3 {
		f.t.Fatalf("%+v", r.Result)
	}
	if left := tagged(f.t, "TAG=kill"); len(left) > 0 {
		f.t.Fatalf("survivors %v", left)
	}
	// Again is no error, and the same.
	if again := f.killNow(id); again.Result.Outcome != backend.OutcomeCancelled || again.Result.Duration != r.Result.Duration {
		f.t.Fatalf("%+v", again.Result)
	}
	// One that tidies up in its grace.
	id = f.start(&backend.ExecRequest{Shell: "trap 'echo tidy; exit 5' TERM; echo up; while :; do sleep 0.01; done"})
	f.waitOutput(id, "up")
	grace := 20 * time.Second
	k, err := f.Kill(f.t.Context(), &backend.KillRequest{ID: id, Grace: &grace})
	check(f.t, err)
	if k.Result.ExitCode != 5 || k.Result.Outcome != backend.OutcomeCancelled {
		f.t.Fatalf("%+v", k.Result)
	}
	for _, bad := range []time.Duration{-1, 2 * time.Hour} {
		_, err := f.Kill(f.t.Context(), &backend.KillRequest{ID: id, Grace: &bad})
		wantKind(f.t, err, backend.ErrInvalid)
	}
}

func caseKillForeground(f *fixture) {
	up := newMarker("up")
	done := make(chan error, 1)
	var res *backend.ExecResult
	go func() {
		var err error
		res, err = f.Exec(f.t.Context(), &backend.ExecRequest{ID: "killed-by-another", Shell: "echo up; sleep 1000", Stdout: up})
		done <- err
	}()
	<-up.seen
	r := f.killNow("killed-by-another")
	check(f.t, <-done)
	if r.Result.Outcome != backend.OutcomeCancelled || res == nil || res.Outcome != backend.OutcomeCancelled {
		f.t.Fatalf("%+v, %+v", r.Result, res)
	}
}

func caseKillShorter(f *fixture) {
	// A long grace does not bind who comes later.
	id := f.start(&backend.ExecRequest{Shell: "trap '' TERM; echo up; while :; do sleep 0.1; done"})
	f.waitOutput(id, "up")
	long := time.Hour
	first := make(chan error, 1)
	go func() {
		_, err := f.Kill(f.t.Context(), &backend.KillRequest{ID: id, Grace: &long})
		first <- err
	}()
	time.Sleep(50 * time.Millisecond) // so that, most times, it is the second
	f.killNow(id)
	check(f.t, <-first)
}

func caseKillStuckCaller(f *fixture) {
	// The caller of a foreground command does not take its output: that is no
	// reason for it to live, nor for who kills it to wait.
	w := &blocked{entered: make(chan struct{}), release: make(chan struct{})}
	done := make(chan *backend.ExecResult, 1)
	go func() {
		res, _ := f.Exec(context.Background(), &backend.ExecRequest{ID: "stuck-kill", Shell: "yes", Stdout: w, Env: map[string]string{"TAG": "stuckkill"}})
		done <- res
	}()
	<-w.entered
	r := f.killNow("stuck-kill")
	if r.Result.Outcome != backend.OutcomeCancelled || len(tagged(f.t, "TAG=stuckkill")) > 0 {
		f.t.Fatalf("%+v", r.Result)
	}
	close(w.release)
	if res := <-done; res.Outcome != backend.OutcomeCancelled {
		f.t.Fatalf("%+v", res)
	}
}

func caseKillLeftBehind(f *fixture) {
	res, _, _ := f.run(&backend.ExecRequest{
		Shell: "trap '' TERM; (setsid sleep 1000 >/dev/null 2>&1 &); exit 3", Env: map[string]string{"TAG": "behind"},
	})
	eventually(f.t, "it is left behind", func() bool { return len(tagged(f.t, "TAG=behind")) == 1 })
	r := f.killNow(res.ID)
	if r.Result.Outcome != backend.OutcomeExit || r.Result.ExitCode != 3 {
		f.t.Fatalf("%+v", r.Result)
	}
	if left := tagged(f.t, "TAG=behind"); len(left) > 0 {
		f.t.Fatalf("survivors %v", left)
	}
}

func caseUnknown(f *fixture) {
	ctx := f.t.Context()
	for id, kind := range map[string]error{"unknown": backend.ErrNotFound, "a/b": backend.ErrInvalid, "": backend.ErrInvalid} {
		for op, call := range map[string]func() error{
			"outcome":     func() error { _, err := f.Outcome(ctx, &backend.OutcomeRequest{ID: id}); return err },
			"read output": func() error { _, err := f.ReadOutput(ctx, &backend.ReadOutputRequest{ID: id}); return err },
			"write stdin": func() error { _, err := f.WriteStdin(ctx, &backend.WriteStdinRequest{ID: id}); return err },
			"signal":      func() error { return f.Signal(ctx, &backend.SignalRequest{ID: id, Signal: 15}) },
			"kill":        func() error { _, err := f.Kill(ctx, &backend.KillRequest{ID: id}); return err },
		} {
			if e := wantKind(f.t, call(), kind); e.Op != op {
				f.t.Errorf("%s: %+v", op, e)
			}
		}
	}
}

// TestGroupEndBackground ends the sandbox under a command nobody waits for.
func TestGroupEndBackground(t *testing.T) { inNamespaces(t, modeGroup, endBackgroundCase) }
func TestPIDNSEndBackground(t *testing.T) { inNamespaces(t, modePIDNS, endBackgroundCase) }

func endBackgroundCase(t *testing.T) {
	f := newFixture(t)
	var change sync.Mutex
	running := 0
	f.execs.changed = func(by int) {
		change.Lock()
		defer change.Unlock()
		running += by
	}
	id := f.start(&backend.ExecRequest{Shell: "trap '' TERM; echo up; sleep 1000; sleep 1000", Env: map[string]string{"TAG": "ending"}, Grace: new(time.Duration)})
	f.waitOutput(id, "up")
	if running != 1 {
		t.Fatalf("%d commands run", running)
	}
	f.end()
	if res := f.await(id); res.Outcome != backend.OutcomeLost {
		t.Fatalf("%+v", res)
	}
	if left := tagged(t, "TAG=ending"); len(left) > 0 || running != 0 {
		t.Fatalf("survivors %v, %d commands run", left, running)
	}
	_, err := f.Start(t.Context(), &backend.ExecRequest{Argv: []string{"true"}})
	wantKind(t, err, backend.ErrGone)
}
