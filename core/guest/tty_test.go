package guest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/deep-sandbox/deep/core/backend"
)

// ttyCases hold for both domains.
func ttyCases(t *testing.T) {
	f := newFixture(t)
	for _, c := range []struct {
		name string
		run  func(f *fixture)
	}{
		{"Basics", caseTTYBasics},
		{"Owner", caseTTYOwner},
		{"Term", caseTTYTerm},
		{"NoInput", caseTTYNoInput},
		{"Input", caseTTYInput},
		{"LargeInput", caseTTYLargeInput},
		{"Keys", caseTTYKeys},
		{"Resize", caseTTYResize},
		{"BackgroundChild", caseTTYBackgroundChild},
		{"LastOutput", caseTTYLastOutput},
		{"ClosedForAWhile", caseTTYClosedForAWhile},
		{"Killed", caseTTYKilled},
		{"Refused", caseTTYRefused},
		{"Descriptors", caseTTYDescriptors},
	} {
		t.Run(c.name, func(t *testing.T) {
			inner := *f
			inner.t = t
			c.run(&inner)
		})
	}
}

func TestGroupTTY(t *testing.T) { inNamespaces(t, modeGroup, ttyCases) }
func TestPIDNSTTY(t *testing.T) { inNamespaces(t, modePIDNS, ttyCases) }

var windowSize = &backend.WindowSize{Rows: 33, Cols: 101}

// tty runs a command at a terminal and returns what it shows.
func (f *fixture) tty(shell string, stdin io.Reader) (*backend.ExecResult, string) {
	f.t.Helper()
	res, out, errs := f.run(&backend.ExecRequest{Shell: shell, TTY: windowSize, Stdin: stdin, Timeout: patience})
	if errs != "" || res.StdoutBytes != int64(len(out)) || res.StderrBytes != 0 {
		f.t.Fatalf("%+v: %q beside %q", res, errs, out)
	}
	if kept, _ := f.output(res.ID, "", 0, false); kept != out {
		f.t.Fatalf("kept %q of %q", kept, out)
	}
	return res, out
}

func caseTTYBasics(f *fixture) {
	res, out := f.tty(`test -t 0 && test -t 1 && test -t 2 && echo all three; stty size; echo to the one >/dev/tty; echo err >&2; exit 6`, nil)
	if out != "all three\r\n33 101\r\nto the one\r\nerr\r\n" || res.ExitCode != 6 || res.Outcome != backend.OutcomeExit {
		f.t.Fatalf("%+v %q", res, out)
	}
	res, _ = f.tty("kill -15 $$", nil)
	if res.Outcome != backend.OutcomeSignal || res.Signal != 15 {
		f.t.Fatalf("%+v", res)
	}
	if res, _ = f.tty("exec /no/such/program", nil); res.ExitCode != 127 {
		f.t.Fatalf("%+v", res)
	}
	none, _, _ := f.run(&backend.ExecRequest{Argv: []string{"/no/such/program"}, TTY: windowSize})
	if none.Outcome != backend.OutcomeStartFailed || none.ExitCode != 127 {
		f.t.Fatalf("%+v", none)
	}
}

func caseTTYOwner(f *fixture) {
	_, out := f.tty("stat -c %u /proc/self/fd/0 -L; echo again >/proc/self/fd/1", nil)
	if out != fmt.Sprintf("%d\r\nagain\r\n", f.uid) {
		f.t.Fatalf("%q", out)
	}
}

func caseTTYTerm(f *fixture) {
	if _, out := f.tty("echo $TERM", nil); out != "xterm\r\n" {
		f.t.Errorf("%q", out)
	}
	if _, out, _ := f.run(&backend.ExecRequest{Shell: "echo $TERM", TTY: windowSize, Env: map[string]string{"TERM": "vt100"}}); out != "vt100\r\n" {
		f.t.Errorf("%q", out)
	}
	if out := f.sh("echo $TERM"); out != "dumb\n" {
		f.t.Errorf("without a terminal: %q", out)
	}
}

func caseTTYNoInput(f *fixture) {
	if res, out := f.tty("cat; echo end", nil); out != "end\r\n" || res.ExitCode != 0 {
		f.t.Fatalf("%+v %q", res, out)
	}
}

func caseTTYInput(f *fixture) {
	for input, want := range map[string]string{
		"":               "[]",
		"a line\n":       "[a line]",
		"two\nlines\n":   "[two lines]",
		"half a line":    "[half a line]",
		"a\nhalf":        "[a half]",
		"\x04cut":        "[]",
		"edit\x7f\x7f\n": "[ed]",
	} {
		_, out := f.tty(`stty -echo; echo "[$(cat | tr '\n' ' ' | sed 's/ $//')]"`, strings.NewReader(input))
		if !strings.HasSuffix(out, want+"\r\n") {
			f.t.Errorf("%q: %q, want %q", input, out, want)
		}
	}
	// What is typed is shown.
	if _, out := f.tty("cat >/dev/null", strings.NewReader("shown\n")); out != "shown\r\n" {
		f.t.Errorf("%q", out)
	}
}

func caseTTYLargeInput(f *fixture) {
	// More than a terminal holds: who writes waits for who reads.
	id := f.start(&backend.ExecRequest{Shell: "stty -echo; echo ready; wc -c", TTY: windowSize, KeepStdin: true, Timeout: patience})
	f.waitOutput(id, "ready")
	text := strings.Repeat("a line of some length\n", 50_000)
	r, err := f.WriteStdin(f.t.Context(), &backend.WriteStdinRequest{ID: id, Content: strings.NewReader(text), Close: true})
	check(f.t, err)
	res := f.await(id)
	out, _ := f.output(id, "", 0, false)
	if want := "ready\r\n" + strconv.Itoa(len(text)) + "\r\n"; out != want || r.Written != int64(len(text)) || res.ExitCode != 0 {
		f.t.Fatalf("%+v %q, want %q", res, out, want)
	}
}

func caseTTYKeys(f *fixture) {
	id := f.start(&backend.ExecRequest{
		Shell: "trap 'echo caught; exit 9' INT; echo ready; while :; do sleep 0.02; done", TTY: windowSize, KeepStdin: true, Timeout: patience,
	})
	f.waitOutput(id, "ready")
	// It may have ended before it is known that nothing else is to be typed.
	r, err := f.WriteStdin(f.t.Context(), &backend.WriteStdinRequest{ID: id, Content: strings.NewReader("\x03")})
	if err != nil && !errors.Is(err, backend.ErrConflict) || r.Written != 1 {
		f.t.Fatalf("%+v, %v", r, err)
	}
	res := f.await(id)
	if out, _ := f.output(id, "", 0, false); res.ExitCode != 9 || !strings.HasSuffix(out, "caught\r\n") {
		f.t.Fatalf("%+v %q", res, out)
	}
}

func caseTTYResize(f *fixture) {
	id := f.start(&backend.ExecRequest{
		Shell: "trap 'stty size; exit 7' WINCH; stty size; while :; do sleep 0.02; done", TTY: windowSize, Timeout: patience,
	})
	f.waitOutput(id, "33 101")
	check(f.t, f.Resize(f.t.Context(), &backend.ResizeRequest{ID: id, Size: backend.WindowSize{Rows: 5, Cols: 77}}))
	res := f.await(id)
	if out, _ := f.output(id, "", 0, false); res.ExitCode != 7 || out != "33 101\r\n5 77\r\n" {
		f.t.Fatalf("%+v %q", res, out)
	}
	wantKind(f.t, f.Resize(f.t.Context(), &backend.ResizeRequest{ID: id, Size: *windowSize}), backend.ErrConflict)
	id = f.start(&backend.ExecRequest{Argv: []string{"sleep", "1000"}})
	wantKind(f.t, f.Resize(f.t.Context(), &backend.ResizeRequest{ID: id, Size: *windowSize}), backend.ErrConflict)
	wantKind(f.t, f.Resize(f.t.Context(), &backend.ResizeRequest{ID: id, Size: backend.WindowSize{Rows: 1}}), backend.ErrInvalid)
	wantKind(f.t, f.Resize(f.t.Context(), &backend.ResizeRequest{ID: "none", Size: *windowSize}), backend.ErrNotFound)
	f.killNow(id)
}

func caseTTYBackgroundChild(f *fixture) {
	// It holds the terminal, writes to it for ever, and nobody minds.
	const tag = "TAG=ttychild"
	res, out, _ := f.run(&backend.ExecRequest{
		Shell: "setsid sh -c 'echo up; while :; do echo more; sleep 0.01; done' & while ! [ -e /proc/$!/cwd ]; do :; done; sleep 0.1; echo last",
		TTY:   windowSize, Env: map[string]string{"TAG": "ttychild"}, Timeout: patience,
	})
	if res.Outcome != backend.OutcomeExit || res.ExitCode != 0 || !strings.Contains(out, "last\r\n") {
		f.t.Fatalf("%+v %q", res, out)
	}
	for range 20 {
		f.sh("sleep 0.02")
		if len(tagged(f.t, tag)) == 0 {
			f.t.Fatal("the background child died")
		}
	}
	f.killTagged(tag)
}

func caseTTYLastOutput(f *fixture) {
	want := strings.ReplaceAll(seq(3000), "\n", "\r\n")
	for range 30 {
		if _, out := f.tty("seq 1 3000", nil); out != want {
			f.t.Fatalf("%d bytes of %d", len(out), len(want))
		}
	}
}

func caseTTYClosedForAWhile(f *fixture) {
	res, out := f.tty("exec 0<&- 1>&- 2>&-; sleep 0.1; exec 1>/dev/tty; echo back; exit 3", nil)
	if res.ExitCode != 3 || out != "back\r\n" {
		f.t.Fatalf("%+v %q", res, out)
	}
}

func caseTTYKilled(f *fixture) {
	for _, how := range []string{"timeout", "cancel", "kill"} {
		grace := 20 * time.Millisecond
		req := &backend.ExecRequest{
			ID: "tty-" + how, Shell: "trap '' TERM HUP; (setsid sleep 1000 &); echo up; sleep 1000; sleep 1000", TTY: windowSize,
			Env: map[string]string{"TAG": "ttykill"}, Grace: &grace, Timeout: patience,
		}
		ctx, cancel := context.WithCancel(f.t.Context())
		up := newMarker("up")
		req.Stdout = up
		want := backend.OutcomeCancelled
		if how == "timeout" {
			req.Timeout, want = 300*time.Millisecond, backend.OutcomeTimeout
		}
		done := make(chan *backend.ExecResult, 1)
		go func() {
			res, _ := f.Exec(ctx, req)
			done <- res
		}()
		<-up.seen
		switch how {
		case "cancel":
			cancel()
		case "kill":
			f.killNow(req.ID)
		}
		if res := <-done; res == nil || res.Outcome != want {
			f.t.Errorf("%s: %+v", how, res)
		}
		if left := tagged(f.t, "TAG=ttykill"); len(left) > 0 {
			f.t.Errorf("%s: survivors %v", how, left)
		}
		cancel()
	}
}

func caseTTYRefused(f *fixture) {
	for _, size := range []backend.WindowSize{{}, {Rows: 1}, {Cols: 1}} {
		_, err := f.Exec(f.t.Context(), &backend.ExecRequest{Argv: []string{"true"}, TTY: &size})
		wantKind(f.t, err, backend.ErrInvalid)
	}
	// A sandbox without terminals.
	check(f.t, unix.Mount("/dev/null", "/dev/ptmx", "", unix.MS_BIND, ""))
	_, err := f.Exec(f.t.Context(), &backend.ExecRequest{ID: "no-tty", Argv: []string{"true"}, TTY: windowSize})
	check(f.t, unix.Unmount("/dev/ptmx", 0))
	if e := wantKind(f.t, err, backend.ErrUnsupported); !strings.Contains(e.Hint, "/dev/pts") {
		f.t.Errorf("%+v", e)
	}
	// Nothing was run, so the id is free.
	if res, err := f.Exec(f.t.Context(), &backend.ExecRequest{ID: "no-tty", Argv: []string{"true"}, TTY: windowSize}); err != nil || res.ExitCode != 0 {
		f.t.Errorf("%+v, %v", res, err)
	}
}

func caseTTYDescriptors(f *fixture) {
	// The command has its terminal, and nothing of the guest's.
	if _, out := f.tty("ls /proc/self/fd | tr '\\n' ' '", nil); out != "0 1 2 3 " { // 3 is ls's own
		f.t.Errorf("open descriptors %q", out)
	}
	eventually(f.t, "every terminal is closed", func() bool {
		links := f.openFiles()
		return !bytes.Contains(links, []byte("ptmx")) && !bytes.Contains(links, []byte("/pts/"))
	})
}
