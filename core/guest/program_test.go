package guest

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/internal/wire"
	guestv1 "github.com/deep-sandbox/deep/core/proto/guest/v1"
	"github.com/deep-sandbox/deep/test/require"
)

const (
	envStage  = "GUEST_TEST_STAGE" // what the test program executes as process 1
	sandboxID = "sandbox-1"
	patience  = 60 * time.Second
)

// program is the guest as it is shipped: built once, static.
var program = sync.OnceValues(func() (path string, err error) {
	dir, err := os.MkdirTemp("", "guest-program")
	if err != nil {
		return "", err
	}
	atExit = append(atExit, func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		return "", err
	}
	path = filepath.Join(dir, "deep-guest")
	build := exec.Command("go", "build", "-o", path, "github.com/deep-sandbox/deep/cmd/deep-guest")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the guest: %w\n%s", err, out)
	}
	return path, nil
})

func built(t testing.TB) string {
	t.Helper()
	path, err := program()
	check(t, err)
	return path
}

// stage is process 1 until it has a /proc of its own.
func stage(path string) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return err
	}
	return unix.Exec(path, append([]string{path}, os.Args[1:]...), []string{"PATH=/usr/bin:/bin", "DEEP_SECRET=x", "IMAGE=yes"})
}

// process is a guest that runs.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	socket string
	work   string
	uid    uint32
	stderr bytes.Buffer
	exited chan struct{}
}

// each runs a test against a guest that is uid 0 and one that shares its uid
// with the commands.
func each(t *testing.T, test func(t *testing.T, start func(t *testing.T) *process)) {
	t.Run("Group", func(t *testing.T) {
		if os.Getuid() != 0 {
			require.Skip(t, "root", "a guest that is uid 0 needs root to start")
		}
		test(t, func(t *testing.T) *process { return launch(t, false) })
	})
	t.Run("PIDNS", func(t *testing.T) {
		require.Local(t)
		test(t, func(t *testing.T) *process { return launch(t, true) })
	})
}

// launch starts a guest in namespaces of its own.
func launch(t *testing.T, oneUID bool, extra ...*os.File) *process {
	t.Helper()
	dir, err := os.MkdirTemp("", "guest")
	check(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	check(t, os.Chmod(dir, 0o755))
	g := &process{t: t, socket: filepath.Join(dir, "run", "guest.sock"), work: filepath.Join(dir, "work"), exited: make(chan struct{})}
	check(t, os.Mkdir(g.work, 0o755))
	args := []string{"serve", "--socket", g.socket}
	if len(extra) > 0 {
		args = []string{"serve", "--listen-fd", "3"}
	}
	g.cmd = exec.Command("/proc/self/exe", args...)
	g.cmd.Env = append(os.Environ(), envStage+"="+built(t))
	g.cmd.ExtraFiles = extra
	g.cmd.Stderr = &g.stderr
	attr := &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS}
	if oneUID {
		owner := os.Getuid()
		if owner == 0 {
			owner = testUID
			attr.Credential = &syscall.Credential{NoSetGroups: true}
			check(t, os.Chown(dir, testUID, testUID))
			check(t, os.Chown(g.work, testUID, testUID))
		}
		attr.Cloneflags |= unix.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: owner, Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: owner, Size: 1}}
	} else {
		g.uid = uint32(testUID)
		check(t, os.Chown(g.work, testUID, testUID))
	}
	g.cmd.SysProcAttr = attr
	check(t, g.cmd.Start())
	go func() {
		_ = g.cmd.Wait()
		close(g.exited)
	}()
	t.Cleanup(func() {
		_ = g.cmd.Process.Kill()
		<-g.exited
		if t.Failed() {
			t.Logf("the guest said:\n%s", g.stderr.String())
		}
	})
	return g
}

// dial connects to the guest's socket.
func (g *process) dial() net.Conn {
	g.t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(2 * time.Millisecond) {
		conn, err := net.Dial("unix", g.socket)
		if err == nil {
			return conn
		}
		select {
		case <-g.exited:
			g.t.Fatalf("the guest ended: %s", g.stderr.String())
		default:
		}
		if time.Now().After(end) {
			g.t.Fatal(err)
		}
	}
}

// client speaks gRPC over conn until the test ends or close is called.
type client struct {
	backend.Sandbox
	guest guestv1.GuestClient
	close func()
}

func over(t *testing.T, conn net.Conn) *client {
	t.Helper()
	taken := false
	cc, err := grpc.NewClient("passthrough:///guest", append(wire.DialOptions(),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) {
			if taken {
				return nil, errors.New("no second connection")
			}
			taken = true
			return conn, nil
		}))...)
	check(t, err)
	c := &client{
		Sandbox: wire.NewSandbox(cc, backend.SandboxInfo{ID: sandboxID}, func() error { return nil }),
		guest:   guestv1.NewGuestClient(cc),
		close:   func() { _ = cc.Close() },
	}
	t.Cleanup(c.close)
	return c
}

func (g *process) setup(change func(*guestv1.SetupRequest)) *guestv1.SetupRequest {
	req := &guestv1.SetupRequest{SandboxId: sandboxID, Workspace: []byte(g.work), Uid: g.uid, Gid: g.uid, Env: [][]byte{[]byte("SET=up")}}
	if change != nil {
		change(req)
	}
	return req
}

// connected is a guest that was set up.
func (g *process) connected(change func(*guestv1.SetupRequest)) *client {
	g.t.Helper()
	c := over(g.t, g.dial())
	_, err := c.guest.Setup(g.t.Context(), g.setup(change))
	check(g.t, wire.FromStatus(err))
	return c
}

func (g *process) wantExit(why string) {
	g.t.Helper()
	select {
	case <-g.exited:
	case <-time.After(patience):
		g.t.Fatal("the guest goes on for ever")
	}
	if code := g.cmd.ProcessState.ExitCode(); code != 0 {
		g.t.Fatalf("exit code %d: %v", code, g.cmd.ProcessState)
	}
	if !strings.Contains(g.stderr.String(), why) {
		g.t.Fatalf("it says %q, want %q", g.stderr.String(), why)
	}
}

func (g *process) wantAlive() {
	g.t.Helper()
	select {
	case <-g.exited:
		g.t.Fatalf("the guest ended: %v %s", g.cmd.ProcessState, g.stderr.String())
	default:
	}
}

func shRun(t *testing.T, sb backend.Sandbox, command string) string {
	t.Helper()
	var out bytes.Buffer
	res, err := sb.Exec(t.Context(), &backend.ExecRequest{Shell: command, Stdout: &out, Stderr: &out})
	check(t, err)
	if res.ExitCode != 0 {
		t.Fatalf("%s: %+v %s", command, res, out.String())
	}
	return out.String()
}

func TestProgramServe(t *testing.T) {
	each(t, func(t *testing.T, start func(t *testing.T) *process) {
		g := start(t)
		c := over(t, g.dial())
		ctx := t.Context()
		if _, err := c.guest.Info(ctx, &guestv1.InfoRequest{}); !errors.Is(wire.FromStatus(err), backend.ErrNotFound) {
			t.Errorf("info before setup: %v", err)
		}
		if _, err := c.Stat(ctx, &backend.StatRequest{Path: "."}); !errors.Is(err, backend.ErrNotFound) {
			t.Errorf("a call before setup: %v", err)
		}
		for name, change := range map[string]func(*guestv1.SetupRequest){
			"no id":              func(r *guestv1.SetupRequest) { r.SandboxId = "" },
			"relative workspace": func(r *guestv1.SetupRequest) { r.Workspace = []byte("work") },
			"bad environment":    func(r *guestv1.SetupRequest) { r.Env = [][]byte{[]byte("novalue")} },
			"negative lease":     func(r *guestv1.SetupRequest) { r.LeaseNs = -1 },
		} {
			if _, err := c.guest.Setup(ctx, g.setup(change)); !errors.Is(wire.FromStatus(err), backend.ErrInvalid) {
				t.Errorf("%s: %v", name, err)
			}
		}
		_, err := c.guest.Setup(ctx, g.setup(func(r *guestv1.SetupRequest) { r.Workspace = []byte("/no/such/dir") }))
		if !errors.Is(wire.FromStatus(err), backend.ErrNotFound) {
			t.Errorf("no workspace: %v", err)
		}
		// A setup that failed may be tried again; one that did not, not.
		reply, err := c.guest.Setup(ctx, g.setup(nil))
		check(t, err)
		want := "group"
		if g.uid == 0 {
			want = "pidns"
		}
		if reply.GetDomain() != want || reply.GetVersion() == "" || reply.GetSetup().GetSandboxId() != sandboxID {
			t.Errorf("%v", reply)
		}
		if _, err := c.guest.Setup(ctx, g.setup(nil)); !errors.Is(wire.FromStatus(err), backend.ErrExists) {
			t.Errorf("a second setup: %v", err)
		}
		if info, err := c.guest.Info(ctx, &guestv1.InfoRequest{}); err != nil || info.GetDomain() != want {
			t.Errorf("%v %v", info, err)
		}
		if got := shRun(t, c, `echo "$SET $IMAGE $DEEP_SECRET"; id -u`); got != fmt.Sprintf("up yes \n%d\n", g.uid) {
			t.Errorf("%q", got)
		}
		_, err = c.WriteFile(ctx, &backend.WriteFileRequest{Path: "dir/f", Content: strings.NewReader("content")})
		check(t, err)
		if got := shRun(t, c, "cat dir/f; stat -c %u dir/f"); got != fmt.Sprintf("content%d\n", g.uid) {
			t.Errorf("%q", got)
		}
		// A client of another sandbox is told so.
		other := wire.NewSandbox(clientConn(t, g), backend.SandboxInfo{ID: "another"}, nil)
		if _, err := other.Stat(ctx, &backend.StatRequest{Path: "."}); !errors.Is(err, backend.ErrGone) {
			t.Errorf("another sandbox: %v", err)
		}
		g.wantHardened()
	})
}

func clientConn(t *testing.T, g *process) *grpc.ClientConn {
	t.Helper()
	conn := g.dial()
	cc, err := grpc.NewClient("passthrough:///guest", append(wire.DialOptions(),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) { return conn, nil }))...)
	check(t, err)
	t.Cleanup(func() { _ = cc.Close() })
	return cc
}

// wantHardened looks at the process from outside.
func (g *process) wantHardened() {
	g.t.Helper()
	proc := "/proc/" + strconv.Itoa(g.cmd.Process.Pid)
	tasks, err := os.ReadDir(proc + "/task")
	check(g.t, err)
	for _, task := range tasks {
		status, err := os.ReadFile(proc + "/task/" + task.Name() + "/status")
		if err == nil && !bytes.Contains(status, []byte("NoNewPrivs:\t1")) {
			g.t.Errorf("a thread may gain privileges:\n%s", status)
		}
	}
	// An undumpable process's files are root's.
	info, err := os.Stat(proc + "/environ")
	check(g.t, err)
	if uid := info.Sys().(*syscall.Stat_t).Uid; g.uid == 0 && os.Getuid() == 0 && uid == 0 {
		g.t.Error("the files of a guest in a user namespace are the host root's")
	}
	dir, err := os.Stat(filepath.Dir(g.socket))
	check(g.t, err)
	if dir.Mode().Perm() != 0o700 {
		g.t.Errorf("the socket's directory has mode %v", dir.Mode())
	}
}

func TestProgramSignals(t *testing.T) {
	each(t, func(t *testing.T, start func(t *testing.T) *process) {
		g := start(t)
		c := g.connected(nil)
		for n := syscall.Signal(1); n <= 64; n++ {
			if n == unix.SIGKILL || n == unix.SIGSTOP || n == unix.SIGTERM {
				continue
			}
			for range 20 {
				check(t, g.cmd.Process.Signal(n))
			}
		}
		if got := shRun(t, c, "echo alive"); got != "alive\n" {
			t.Error(got)
		}
		// A program of the sandbox starts with none of them blocked or ignored.
		for _, line := range strings.Split(strings.TrimSpace(shRun(t, c, "grep -E 'SigBlk|SigIgn' /proc/self/status")), "\n") {
			_, mask, _ := strings.Cut(line, ":")
			if bits, err := strconv.ParseUint(strings.TrimSpace(mask), 16, 64); err != nil || bits != 0 {
				t.Errorf("%s, %v", line, err)
			}
		}
		g.wantAlive()
		check(t, g.cmd.Process.Signal(unix.SIGTERM))
		g.wantExit("the engine asked for it")
	})
}

func TestProgramEndsWithCommands(t *testing.T) {
	each(t, func(t *testing.T, start func(t *testing.T) *process) {
		g := start(t)
		c := g.connected(nil)
		up := newMarker("up")
		type answer struct {
			res *backend.ExecResult
			err error
		}
		done := make(chan answer, 1)
		go func() {
			res, err := c.Exec(context.Background(), &backend.ExecRequest{Shell: "trap '' TERM; sleep 1000 & echo up; wait; sleep 1000", Stdout: up})
			done <- answer{res, err}
		}()
		<-up.seen
		check(t, g.cmd.Process.Signal(unix.SIGTERM))
		g.wantExit("the engine asked for it")
		a := <-done
		if !errors.Is(a.err, backend.ErrGone) || a.res == nil || a.res.Outcome != backend.OutcomeLost {
			t.Errorf("%+v, %v", a.res, a.err)
		}
	})
}

func TestProgramConnectionLost(t *testing.T) {
	each(t, func(t *testing.T, start func(t *testing.T) *process) {
		g := start(t)
		first, second := g.connected(nil), over(t, g.dial())
		up := newMarker("up")
		done := make(chan error, 1)
		go func() {
			grace := time.Duration(0)
			_, err := first.Exec(context.Background(), &backend.ExecRequest{ID: "x", Shell: "echo up; sleep 1000", Stdout: up, Grace: &grace, Timeout: backend.Unlimited})
			done <- err
		}()
		<-up.seen
		if r, err := second.Outcome(t.Context(), &backend.OutcomeRequest{ID: "x"}); err != nil || r.Result.Outcome != backend.OutcomeRunning {
			t.Errorf("%+v %v", r, err)
		}
		first.close()
		<-done
		// The command is cancelled, and who asks is told.
		for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
			r, err := second.Outcome(t.Context(), &backend.OutcomeRequest{ID: "x"})
			check(t, err)
			if r.Result.Outcome == backend.OutcomeCancelled {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("%+v", r)
			}
		}
		if _, err := second.Exec(t.Context(), &backend.ExecRequest{ID: "x", Argv: []string{"true"}}); !errors.Is(err, backend.ErrExists) {
			t.Errorf("it could be run again: %v", err)
		}
	})
}

func TestProgramLease(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, start func(t *testing.T) *process) {
		g := start(t)
		c := g.connected(func(r *guestv1.SetupRequest) { r.LeaseNs = int64(300 * time.Millisecond) })
		// It lives while somebody is connected, whoever, and dies though something
		// runs.
		again := over(t, g.dial())
		shRun(t, again, "trap '' TERM; (sleep 1000 >/dev/null 2>&1 &); sleep 0.7")
		c.close()
		shRun(t, again, "sleep 0.7")
		g.wantAlive()
		again.close()
		g.wantExit("no host has been connected for 300ms")
	})
}

func TestProgramIdleTimeout(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, start func(t *testing.T) *process) {
		g := start(t)
		c := g.connected(func(r *guestv1.SetupRequest) { r.IdleTimeoutNs = int64(4 * time.Second) })
		// A long command is not idle.
		if got := shRun(t, c, "sleep 6; echo done"); got != "done\n" {
			t.Error(got)
		}
		// Nor is one that nobody waits for: it is not ended before it is done.
		_, err := c.Start(t.Context(), &backend.ExecRequest{Shell: "sleep 6; echo done > done"})
		check(t, err)
		g.wantExit("nothing was done for 4s")
		if b, err := os.ReadFile(filepath.Join(g.work, "done")); err != nil || string(b) != "done\n" {
			t.Errorf("%q, %v", b, err)
		}
	})
}

func TestProgramMaxLifetime(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, start func(t *testing.T) *process) {
		g := start(t)
		c := g.connected(func(r *guestv1.SetupRequest) { r.MaxLifetimeNs = int64(4 * time.Second) })
		_, err := c.Exec(t.Context(), &backend.ExecRequest{Shell: "sleep 1000", Timeout: backend.Unlimited})
		if !errors.Is(err, backend.ErrGone) {
			t.Error(err)
		}
		g.wantExit("it is 4s old")
	})
}

func TestProgramListenFD(t *testing.T) {
	each(t, func(t *testing.T, _ func(t *testing.T) *process) {
		oneUID := strings.HasSuffix(t.Name(), "PIDNS")
		path := filepath.Join(t.TempDir(), "s")
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
		check(t, err)
		l.SetUnlinkOnClose(false)
		f, err := l.File()
		check(t, err)
		check(t, l.Close())
		g := launch(t, oneUID, f)
		check(t, f.Close())
		g.socket = path
		c := g.connected(nil)
		// The listener is not the commands'.
		if got := shRun(t, c, "ls /proc/self/fd"); got != "0\n1\n2\n3\n" {
			t.Errorf("open descriptors %q", got)
		}
		check(t, g.cmd.Process.Signal(unix.SIGTERM))
		g.wantExit("the engine asked for it")
		if _, err := os.Stat(path); err != nil {
			t.Errorf("a socket that was bound outside was removed: %v", err)
		}
	})
}

// stdio is the two pipes of a process as a connection.
type stdio struct {
	io.ReadCloser
	io.Writer
	stdin io.Closer
}

func (s *stdio) Close() error                     { return errors.Join(s.stdin.Close(), s.ReadCloser.Close()) }
func (s *stdio) LocalAddr() net.Addr              { return &net.UnixAddr{} }
func (s *stdio) RemoteAddr() net.Addr             { return &net.UnixAddr{} }
func (s *stdio) SetDeadline(time.Time) error      { return nil }
func (s *stdio) SetReadDeadline(time.Time) error  { return nil }
func (s *stdio) SetWriteDeadline(time.Time) error { return nil }

func TestProgramConnect(t *testing.T) {
	each(t, func(t *testing.T, start func(t *testing.T) *process) {
		g := start(t)
		bridge := func() (*exec.Cmd, *stdio) {
			cmd := exec.Command(built(t), "connect", "--socket", g.socket)
			in, err := cmd.StdinPipe()
			check(t, err)
			out, err := cmd.StdoutPipe()
			check(t, err)
			check(t, cmd.Start())
			t.Cleanup(func() { _ = cmd.Process.Kill() })
			return cmd, &stdio{out, in, in}
		}
		// Started at the same moment as the guest, it waits for it.
		cmd, conn := bridge()
		c := over(t, conn)
		_, err := c.guest.Setup(t.Context(), g.setup(nil), grpc.WaitForReady(true))
		check(t, wire.FromStatus(err))
		var out bytes.Buffer
		want := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
		_, err = c.Exec(t.Context(), &backend.ExecRequest{Argv: []string{"cat"}, Stdin: bytes.NewReader(want), Stdout: &out})
		check(t, err)
		if !bytes.Equal(out.Bytes(), want) {
			t.Errorf("%d bytes came back of %d", out.Len(), len(want))
		}
		// The end of its stdin ends it, and the guest goes on.
		c.close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("connect: %v", err)
		}
		g.wantAlive()
		// So does the guest's end.
		cmd, conn = bridge()
		if err := over(t, conn).ping(t); err != nil {
			t.Error(err)
		}
		check(t, g.cmd.Process.Signal(unix.SIGTERM))
		g.wantExit("the engine asked for it")
		if err := cmd.Wait(); err != nil {
			t.Errorf("connect: %v", err)
		}
	})
}

func (c *client) ping(t *testing.T) error {
	t.Helper()
	_, err := c.guest.Info(t.Context(), &guestv1.InfoRequest{})
	return err
}

func TestProgramUsage(t *testing.T) {
	for _, args := range [][]string{{}, {"what"}, {"serve"}, {"serve", "--socket", "x", "--listen-fd", "3"}, {"serve", "--socket", "/nonexistent/x", "y"}, {"connect"}, {"connect", "--bogus"}} {
		out, err := exec.Command(built(t), args...).CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || len(out) == 0 {
			t.Errorf("%v: %v, %q", args, err, out)
		}
	}
	out, err := exec.Command(built(t), "version").Output()
	if err != nil || len(strings.TrimSpace(string(out))) == 0 {
		t.Errorf("version: %q, %v", out, err)
	}
	out, err = exec.Command(built(t), "serve", "--socket", filepath.Join(t.TempDir(), "s")).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "process 1") {
		t.Errorf("outside of a namespace: %v %q", err, out)
	}
}

// TestMemory checks what the guest takes for itself after it has worked.
func TestProgramMemory(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, start func(t *testing.T) *process) {
		g := start(t)
		c := g.connected(nil)
		for range 50 {
			shRun(t, c, "echo x")
		}
		shRun(t, c, "i=0; while [ $i -lt 2000 ]; do echo needle > f$i; i=$((i+1)); done")
		for range 10 {
			_, err := c.Grep(t.Context(), &backend.GrepRequest{Pattern: "needle"})
			check(t, err)
		}
		flood, err := c.Exec(t.Context(), &backend.ExecRequest{Shell: "head -c 50000000 /dev/zero", Stdout: io.Discard})
		check(t, err)
		if flood.StdoutBytes != 50_000_000 {
			t.Errorf("%+v", flood)
		}
		const most = 8 << 10
		for end := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
			anon := rssAnon(t, g.cmd.Process.Pid)
			if anon <= most {
				t.Logf("RssAnon %d KiB", anon)
				return
			}
			if time.Now().After(end) {
				t.Fatalf("RssAnon is %d KiB, above %d", anon, most)
			}
		}
	})
}

func rssAnon(t *testing.T, pid int) (kib int) {
	t.Helper()
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	check(t, err)
	defer func() { _ = f.Close() }()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if _, err := fmt.Sscanf(lines.Text(), "RssAnon: %d kB", &kib); err == nil {
			return kib
		}
	}
	t.Fatal("no RssAnon")
	return 0
}
