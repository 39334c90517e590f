package host

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/internal/plugintest"
)

func kill(t testing.TB, pid int, sig syscall.Signal) {
	t.Helper()
	if pid == 0 {
		t.Fatal("there is no process to be killed")
	}
	if err := syscall.Kill(pid, sig); err != nil {
		t.Fatal(err)
	}
}

func touch(t testing.TB, dir, name string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

// sleeper runs a command that does not end, and returns once it runs.
func sleeper(t testing.TB, sb backend.Sandbox, id string) (result chan error) {
	t.Helper()
	started, result := make(chan struct{}), make(chan error, 1)
	go func() {
		_, err := sb.Exec(context.Background(), &backend.ExecRequest{
			ID: id, Shell: "echo started; exec sleep 1000", Stdout: writerFunc(func([]byte) { close(started) }),
		})
		result <- err
	}()
	<-started
	return result
}

type writerFunc func([]byte)

func (f writerFunc) Write(p []byte) (int, error) {
	f(p)
	return len(p), nil
}

func TestPluginKilled(t *testing.T) {
	p, _, _ := launch(t, "engine")
	sb := create(t, p, "x", backend.Spec{Ephemeral: true})
	pid := p.PID()
	result := sleeper(t, sb, "sleep")
	kill(t, pid, syscall.SIGKILL)
	var crash *backend.CrashError
	if err := <-result; !errors.As(err, &crash) || crash.Reason != "killed by signal 9 (SIGKILL)" || crash.Plugin != "engine" || !errors.Is(err, backend.ErrUnavailable) {
		t.Errorf("the exec in flight ended with %v", err)
	} else if !strings.Contains(err.Error(), "outcome is unknown") || backend.HintOf(err) == "" {
		t.Errorf("what became of the command, and what to do, is not said: %v", err)
	}
	if err := echo(t, sb, "the same handle"); err != nil {
		t.Error(err)
	}
	if again := p.PID(); again == 0 || again == pid {
		t.Errorf("the plugin runs as %d, and as %d before", again, pid)
	}
	// The command was not run again: its id is known.
	if _, err := sb.Exec(t.Context(), &backend.ExecRequest{ID: "sleep", Argv: []string{"true"}}); !errors.Is(err, backend.ErrExists) {
		t.Errorf("the same exec once more: %v, want ErrExists", err)
	}
	plugintest.Eventually(t, "the foreground command was cancelled", func() bool {
		r, err := sb.Outcome(t.Context(), &backend.OutcomeRequest{ID: "sleep"})
		return err == nil && r.Result.Outcome == backend.OutcomeCancelled
	})
}

func TestPluginPanics(t *testing.T) {
	p, engine, _ := launch(t, "engine")
	touch(t, engine, plugintest.CrashFile)
	_, err := p.Check(t.Context())
	var crash *backend.CrashError
	if !errors.As(err, &crash) || crash.Reason != "exited with status 2" || !strings.Contains(strings.Join(crash.Stderr, "\n"), "the engine is on fire") {
		t.Fatalf("%v", err)
	}
	if strings.ContainsRune(err.Error(), '\x1b') {
		t.Errorf("an escape reaches the terminal: %q", err.Error())
	}
	if err := os.Remove(filepath.Join(engine, plugintest.CrashFile)); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Check(t.Context()); err != nil {
		t.Errorf("the next call: %v", err)
	}
}

func TestCrashLoop(t *testing.T) {
	p, engine, _ := launch(t, "engine")
	touch(t, engine, plugintest.CrashFile)
	crashes := 0
	for {
		_, err := p.Check(t.Context())
		var crash *backend.CrashError
		if direct, ok := err.(*backend.CrashError); ok { //nolint:errorlint // the crash itself, not what refers to it
			crashes++
			if crashes > 1+maxRestarts {
				t.Fatalf("crash %d: %v", crashes, direct)
			}
			continue
		}
		if !errors.Is(err, backend.ErrUnavailable) || !errors.As(err, &crash) || !strings.Contains(err.Error(), "does not stay up") || backend.HintOf(err) == "" {
			t.Errorf("after %d crashes: %v", crashes, err)
		}
		break
	}
	if crashes != 1+maxRestarts {
		t.Errorf("it was given up after %d crashes, want %d", crashes, 1+maxRestarts)
	}
}

func TestPluginFrozen(t *testing.T) {
	p, _, _ := launch(t, "engine")
	pid := p.PID()
	kill(t, pid, syscall.SIGSTOP)
	plugintest.Eventually(t, "every thread has stopped", func() bool { return stopped(pid) })
	_, err := p.Check(t.Context())
	var crash *backend.CrashError
	if !errors.As(err, &crash) || !strings.Contains(crash.Reason, "stopped answering") {
		t.Errorf("%v", err)
	}
	if plugintest.Alive(pid) {
		t.Error("the frozen plugin is still there")
	}
	if _, err := p.Check(t.Context()); err != nil {
		t.Errorf("the next call: %v", err)
	}
}

// stopped reports whether all threads of a process are stopped.
func stopped(pid int) bool {
	stats, _ := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/*/stat")
	for _, name := range stats {
		stat, _ := os.ReadFile(name)
		_, rest, _ := bytes.Cut(stat, []byte(") "))
		if !bytes.HasPrefix(rest, []byte("T")) {
			return false
		}
	}
	return len(stats) > 0
}

func TestSandboxGoneWithThePlugin(t *testing.T) {
	p, engine, _ := launch(t, "engine")
	sb := create(t, p, "x", backend.Spec{})
	kill(t, plugintest.GuestPID(engine, "x"), syscall.SIGKILL)
	kill(t, p.PID(), syscall.SIGKILL)
	plugintest.Eventually(t, "the crash is noticed", func() bool { return p.PID() == 0 })
	if err := echo(t, sb, "x"); !errors.Is(err, backend.ErrGone) {
		t.Errorf("%v, want ErrGone", err)
	}
}

// Nobody calls, and an ephemeral sandbox must not run into its lease.
func TestCrashWhileIdle(t *testing.T) {
	p, engine, _ := launch(t, "engine")
	sb := create(t, p, "x", backend.Spec{Ephemeral: true})
	pid, guest := p.PID(), plugintest.GuestPID(engine, "x")
	kill(t, pid, syscall.SIGKILL)
	plugintest.Eventually(t, "the plugin is started again", func() bool { return p.PID() != 0 && p.PID() != pid })
	if err := echo(t, sb, "x"); err != nil || !plugintest.Alive(guest) {
		t.Errorf("the sandbox: %v, alive %v", err, plugintest.Alive(guest))
	}
}

func TestCloseAfterCrash(t *testing.T) {
	p, engine, log := launch(t, "engine")
	create(t, p, "x", backend.Spec{Ephemeral: true})
	create(t, p, "kept", backend.Spec{})
	kill(t, p.PID(), syscall.SIGKILL)
	// While it is being started again, as likely as not: Close is what ends that.
	plugintest.Eventually(t, "the crash is noticed", func() bool { return strings.Contains(log.String(), "the plugin crashed") })
	if err := p.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if left := plugintest.Sandboxes(engine); len(left) != 1 || left[0] != "kept" {
		t.Errorf("left: %v", left)
	}
	for _, loud := range []string{"not started again", "level=ERROR"} {
		if strings.Contains(log.String(), loud) {
			t.Errorf("a restart that Close cut short is told as trouble:\n%s", log)
		}
	}
}

// What an earlier process made is destroyed by the later one.
func TestCloseAfterRestart(t *testing.T) {
	p, engine, _ := launch(t, "engine")
	sb := create(t, p, "x", backend.Spec{Ephemeral: true})
	kill(t, p.PID(), syscall.SIGKILL)
	plugintest.Eventually(t, "the sandbox answers again", func() bool { return echo(t, sb, "x") == nil })
	if err := p.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if left := plugintest.Sandboxes(engine); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func TestSignals(t *testing.T) {
	p, engine, _ := launch(t, "engine")
	create(t, p, "x", backend.Spec{Ephemeral: true})
	pid := p.PID()
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGHUP} {
		kill(t, pid, sig)
		if _, err := p.Check(t.Context()); err != nil || p.PID() != pid {
			t.Errorf("after %v: %v", sig, err)
		}
	}
	kill(t, pid, syscall.SIGTERM)
	plugintest.Eventually(t, "SIGTERM ends it in good order", func() bool { return !plugintest.Alive(pid) })
	if left := plugintest.Sandboxes(engine); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// Whatever happens meanwhile, a call ends with an answer or with the crash.
func TestManyCallsInACrash(t *testing.T) {
	p, engine, _ := launch(t, "engine")
	touch(t, engine, plugintest.SlowFile)
	const callers = 50
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			_, err := p.Check(t.Context())
			var crash *backend.CrashError
			if err != nil && !errors.As(err, &crash) {
				t.Error(err)
			}
		})
	}
	time.Sleep(50 * time.Millisecond) // some are in flight by now, or none: both must work
	kill(t, p.PID(), syscall.SIGKILL)
	if err := os.Remove(filepath.Join(engine, plugintest.SlowFile)); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	if _, err := p.Check(t.Context()); err != nil {
		t.Errorf("the next call: %v", err)
	}
}

func TestCallCancelled(t *testing.T) {
	p, engine, _ := launch(t, "engine")
	touch(t, engine, plugintest.SlowFile)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := p.Check(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v, want DeadlineExceeded", err)
	}
	if _, err := p.List(t.Context(), &backend.ListRequest{}); err != nil {
		t.Errorf("another call: %v", err)
	}
}

func TestHostKilled(t *testing.T) {
	for _, busy := range []string{"", "1"} {
		t.Run("busy="+busy, func(t *testing.T) {
			leaks(t)
			engine := plugintest.Dir(t)
			var env []string
			if busy != "" {
				env = []string{hostKey + "_BUSY=" + busy}
			}
			cmd, pid := startHost(t, engine, env...)
			guest := plugintest.GuestPID(engine, "ephemeral")
			t.Cleanup(func() {
				_ = plugintest.NewEngine(engine).Destroy(context.Background(), &backend.DestroyRequest{ID: "lasting"})
			})
			if !plugintest.Alive(pid) || !plugintest.Alive(guest) {
				t.Fatal("the plugin or the guest does not run")
			}
			kill(t, cmd.Process.Pid, syscall.SIGKILL)
			_ = cmd.Wait()
			plugintest.Eventually(t, "the plugin is gone", func() bool { return !plugintest.Alive(pid) })
			if left := plugintest.Sandboxes(engine); len(left) != 1 || left[0] != "lasting" {
				t.Errorf("left: %v", left)
			}
			if plugintest.Alive(guest) {
				t.Error("the guest of the ephemeral sandbox runs")
			}
			if !plugintest.Alive(plugintest.GuestPID(engine, "lasting")) {
				t.Error("the guest of the lasting sandbox was ended")
			}
		})
	}
}

// The host restarted its plugin before it is killed: what the first plugin made
// belongs to the same host.
func TestHostKilledAfterRestart(t *testing.T) {
	leaks(t)
	engine := plugintest.Dir(t)
	cmd, first := startHost(t, engine)
	t.Cleanup(func() {
		_ = plugintest.NewEngine(engine).Destroy(context.Background(), &backend.DestroyRequest{ID: "lasting"})
	})
	kill(t, first, syscall.SIGKILL)
	second := 0
	plugintest.Eventually(t, "the plugin is started again", func() bool {
		for _, pid := range childrenOf(cmd.Process.Pid) {
			if pid != first && plugintest.Alive(pid) {
				second = pid
			}
		}
		return second != 0
	})
	// It must have been configured to know whose it is.
	plugintest.Eventually(t, "the new plugin holds the sandbox", func() bool { return connections(engine, "ephemeral") > 0 })
	kill(t, cmd.Process.Pid, syscall.SIGKILL)
	_ = cmd.Wait()
	plugintest.Eventually(t, "the plugin is gone", func() bool { return !plugintest.Alive(second) })
	if left := plugintest.Sandboxes(engine); len(left) != 1 || left[0] != "lasting" {
		t.Errorf("left: %v", left)
	}
}
