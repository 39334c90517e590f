package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/plugins/local/internal/jail"
	"github.com/deep-sandbox/deep/test/require"
)

func TestAsRoot(t *testing.T) {
	as(t, asRoot, func(t *testing.T) { all(t, asRoot) })
}

func TestAsUser(t *testing.T) {
	as(t, asUser, func(t *testing.T) { all(t, asUser) })
}

func TestAsUserWithSubordinateIDs(t *testing.T) {
	as(t, asSub, func(t *testing.T) { all(t, asSub) })
}

// all is what must hold whoever runs it.
func all(t *testing.T, w who) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T, w who)
	}{
		{"check", testCheck},
		{"attacks", testAttacks},
		{"inside", testInside},
		{"found", testFound},
		{"limits", testLimits},
		{"bound-workspace", testBoundWorkspace},
		{"refused-workspace", testRefusedWorkspace},
		{"mounts", testMounts},
		{"network-full", testNetworkFull},
		{"stop", testStop},
		{"guest-ends", testGuestEnds},
		{"keeper-killed", testKeeperKilled},
		{"plugin-killed", testPluginKilled},
		{"cancel", testCancel},
		{"wild-tree", testWildTree},
		{"leftovers", testLeftovers},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, w) })
	}
}

func testCheck(t *testing.T, w who) {
	report, err := provisioner(t, t.TempDir()).Check(t.Context())
	check(t, err)
	states := map[string]backend.LayerState{}
	for _, l := range report.Layers {
		states[l.Name] = l.State
		if (l.State == backend.LayerMissing || l.State == backend.LayerDegraded) && (l.Detail == "" || l.Remedy == "") {
			t.Errorf("%s is %s, and neither why nor what to do is said", l.Name, l.State)
		}
	}
	split := map[who]backend.LayerState{asRoot: backend.LayerPresent, asSub: backend.LayerPresent, asUser: backend.LayerDegraded}[w]
	for name, want := range map[string]backend.LayerState{
		"namespaces": backend.LayerPresent, "user split": split, backend.NameSeccomp: backend.LayerPresent, backend.NameLandlock: backend.LayerPresent, backend.NameDiskQuota: backend.LayerPlanned,
	} {
		if states[name] != want {
			t.Errorf("%s is %q, want %q", name, states[name], want)
		}
	}
}

// withAttacker shows this program in a sandbox.
func withAttacker(s *backend.Spec) {
	s.Mounts = append(s.Mounts, backend.Mount{Source: programs, Target: "/attacker", ReadOnly: true})
}

func attackIn(t *testing.T, sb backend.Sandbox, args ...string) (string, *backend.ExecResult) {
	t.Helper()
	return execute(t, sb, &backend.ExecRequest{Argv: append([]string{"/attacker/" + attackArg, attackArg}, args...)})
}

func testAttacks(t *testing.T, _ who) {
	// Hard to miss, and readable for all.
	canary := filepath.Join(t.TempDir(), "canary")
	check(t, os.WriteFile(canary, []byte("secret"), 0o644)) //nolint:gosec // so that only the sandbox hides it
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	name := "local-test-" + backend.NewID()
	abstract, err := net.Listen("unix", "@"+name)
	check(t, err)
	reached := make(chan string, 2)
	for _, l := range []net.Listener{tcp, abstract} {
		t.Cleanup(func() { _ = l.Close() })
		go func() {
			if conn, err := l.Accept(); err == nil {
				reached <- l.Addr().String()
				_ = conn.Close()
			}
		}()
	}
	_, port, err := net.SplitHostPort(tcp.Addr().String())
	check(t, err)

	sb := create(t, launch(t), withAttacker)
	for _, args := range [][]string{
		{"files", canary, "/root", "/etc/shadow", "/etc/fstab", "/boot", "/sys", "/var/lib", "/srv", "/mnt", "/opt",
			"/dev/sda", "/dev/vda", "/dev/kmsg", "/dev/mem", "/run/docker.sock", "/etc/resolv.conf", "/etc/ssl/private", programs},
		{"writes", "/x", "/usr/x", "/bin/x", "/etc/x", "/etc/passwd", "/dev/x", "/.deep/x", "/.deep/deep-guest", "/attacker/x",
			"/proc/sysrq-trigger", "/proc/sys/kernel/hostname", "/proc/sys/kernel/core_pattern", "/proc/sys/net/ipv4/ip_forward"},
		{"rights"},
		{"mounts"},
		{"network", port, name},
		{"process1"},
	} {
		got, res := attackIn(t, sb, args...)
		if res.Outcome != backend.OutcomeExit || res.ExitCode != 0 || got != "" {
			t.Errorf("%s: %s with %d:\n%s", args[0], res.Outcome, res.ExitCode, got)
		}
	}
	// Process 1 has not minded.
	if got, _ := sh(t, sb, "echo alive"); got != "alive\n" {
		t.Errorf("after all attacks: %q", got)
	}
	select {
	case address := <-reached:
		t.Errorf("the sandbox reached %s of the host", address)
	default:
	}
	// The control: these attacks succeed where nothing is in their way.
	for name, args := range map[string][]string{
		"files": {canary}, "writes": {filepath.Join(t.TempDir(), "x")}, "network": {port, name},
	} {
		if len(attacks[name](args)) == 0 {
			t.Errorf("VACUOUS: %s fails outside too", name)
		}
	}
}

func testInside(t *testing.T, w who) {
	sb := create(t, launch(t), nil)
	for _, c := range []struct{ command, want string }{
		{"id -u; id -g; id -un", "1000\n1000\ndeep\n"},
		{"hostname", "sandbox\n"},
		{"pwd; echo $HOME", "/workspace\n/home/deep\n"},
		{"touch a /tmp/b $HOME/c /dev/shm/d /var/tmp/e", ""},
		{"stat -c %u:%g a", "1000:1000\n"},
		{"echo x > /dev/null; head -c 1 /dev/zero | wc -c", "1\n"},
		{"cat /dev/stdin < /dev/null; ls /dev/fd/ > /dev/null; test -c /dev/ptmx && echo yes", "yes\n"},
		{"ulimit -n; ulimit -c", "4096\n0\n"},
		{"cut -d: -f1 /etc/passwd | tr '\\n' ' '", "root deep nobody "},
		{"grep -v ':/$' /proc/self/cgroup", ""},
	} {
		if got, _ := sh(t, sb, c.command); got != c.want {
			t.Errorf("%s: %q, want %q", c.command, got, c.want)
		}
	}
	_, res := sh(t, sb, "true")
	degraded := strings.Join(res.Degraded, "; ")
	if strings.Contains(degraded, "user split") != (w == asUser) {
		t.Errorf("degraded: %s", degraded)
	}
	// One word has one meaning: what Check calls degraded, every result does.
	report, err := provisioner(t, t.TempDir()).Check(t.Context())
	check(t, err)
	for _, l := range report.Layers {
		if strings.Contains(degraded, l.Name) != (l.State == backend.LayerDegraded) {
			t.Errorf("Check says that %s is %s, and a result that these are degraded: %s", l.Name, l.State, degraded)
		}
	}
}

// testFound: what is told of a sandbox is what this user can have.
func testFound(t *testing.T, w who) {
	h, err := findHierarchies()
	check(t, err)
	_, missing := h.cgroupsFor("x", backend.Spec{})
	info := create(t, launch(t), func(s *backend.Spec) { s.Memory, s.PIDs, s.CPUs = 256<<20, 200, 0.5 }).Info()
	i := info.Isolation
	if i == nil {
		t.Fatal("nothing is told")
	}
	if i.UID != 1000 || i.GID != 1000 || i.UserSplit != (w != asUser) || i.Capabilities != 0 || !i.NoNewPrivileges || i.Seccomp == "" || i.Landlock == 0 ||
		i.Network != backend.NetworkNone || i.RootFileSystem != backend.RootReadOnly || i.OpenFiles != 4096 || i.FileSize != 2<<30 || i.CoreSize != 0 ||
		i.Disk != backend.DiskNone || i.Runtime != "namespaces" {
		t.Errorf("%+v", i)
	}
	for _, l := range []struct {
		controller string
		found      bool
	}{{"memory", i.Memory == 256<<20 && i.Swap == 0}, {"pids", i.PIDs == 200}, {"cpu", i.CPUs == 0.5}} {
		if l.found == slices.Contains(missing, l.controller) {
			t.Errorf("without %q: %+v", missing, i)
		}
	}
}

func testLimits(t *testing.T, _ who) {
	h, err := findHierarchies()
	check(t, err)
	_, missing := h.cgroupsFor("x", backend.Spec{})
	sb := create(t, launch(t), func(s *backend.Spec) {
		withAttacker(s)
		s.PIDs, s.Memory = 128, 256<<20
	})
	for _, name := range missing {
		if !strings.Contains(strings.Join(sb.Info().Degraded, "; "), name+" limit") {
			t.Errorf("no cgroup for %s, and nothing says so: %q", name, sb.Info().Degraded)
		}
	}
	if countsApart() || !strings.Contains(strings.Join(missing, " "), "pids") {
		// A shell that cannot fork ends; the count is what it came to.
		sh(t, sb, "n=0; while [ $n -lt 300 ]; do echo $n > count; sleep 100 > /dev/null 2>&1 & n=$((n+1)); done")
		got := content(t, sb, "count")
		if n, err := strconv.Atoi(strings.TrimSpace(got)); err != nil || n >= 128 || n < 10 {
			t.Errorf("a bomb forked %q times, of 128", got)
		}
	}
	if strings.Contains(strings.Join(missing, " "), "memory") {
		return
	}
	sb = create(t, launch(t), func(s *backend.Spec) {
		withAttacker(s)
		s.Memory = 256 << 20
	})
	got, res := attackIn(t, sb, "memory")
	if res.Signal != int(syscall.SIGKILL) {
		t.Errorf("it got %q MiB of 256 and ended with %s, exit code %d", got, res.Outcome, res.ExitCode)
	}
	// A sandbox sees its own cgroups, and so knows why.
	if res.Outcome != backend.OutcomeOOM || res.OOMPossible {
		t.Errorf("out of memory is %s: %+v", res.Outcome, res)
	}
	if stats, err := sb.Stats(t.Context(), &backend.StatsRequest{}); err != nil || stats.MemoryLimit != 256<<20 || stats.OOMKills != 1 || stats.Memory <= 0 {
		t.Errorf("%+v, %v", stats, err)
	}
	if got, res := sh(t, sb, "cd /.deep/cgroup && find . -type f -writable; for d in . *; do mkdir $d/x && echo made $d/x; (echo 1 > $d/cgroup.procs) && echo moved in $d; done 2>/dev/null; true"); got != "" {
		t.Errorf("cgroups can be changed from inside: %q, %+v", got, res)
	}
	if got, _ := sh(t, sb, "echo alive"); got != "alive\n" {
		t.Errorf("after the memory ran out: %q", got)
	}
}

// content reads a file, which takes no process.
func content(t *testing.T, sb backend.Sandbox, path string) string {
	t.Helper()
	f, err := sb.ReadFile(t.Context(), &backend.ReadFileRequest{Path: path})
	check(t, err)
	data, err := io.ReadAll(f)
	check(t, errors.Join(err, f.Close()))
	return string(data)
}

// countsApart: processes are limited even without a cgroup.
func countsApart() bool {
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	var major, minor int
	if err != nil {
		return false
	}
	if _, err := fmt.Sscanf(string(release), "%d.%d", &major, &minor); err != nil {
		return false
	}
	return major > 5 || major == 5 && minor >= 14
}

// ownDir makes a directory that commands in a sandbox may write to.
func ownDir(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "own")
	check(t, os.Mkdir(dir, 0o755)) //nolint:gosec // somebody else's
	if os.Getuid() == 0 {
		check(t, os.Chown(dir, plainUID, plainUID))
	}
	return dir
}

func testBoundWorkspace(t *testing.T, _ who) {
	dir := ownDir(t)
	link := filepath.Join(t.TempDir(), "link")
	check(t, os.Symlink(dir, link))
	p := launch(t)
	sb := create(t, p, func(s *backend.Spec) { s.Workspace.Source = link })
	if got, res := sh(t, sb, "echo inside > file && mkdir sub && ls -ld . | cut -d' ' -f3"); res.ExitCode != 0 || got != "deep\n" {
		t.Errorf("%q", got)
	}
	check(t, p.Destroy(t.Context(), &backend.DestroyRequest{ID: sb.Info().ID}))
	for _, name := range []string{"file", "sub"} {
		info, err := os.Lstat(filepath.Join(dir, name))
		check(t, err)
		if uid := info.Sys().(*syscall.Stat_t).Uid; uid != ownerOf(t, dir) {
			t.Errorf("%s belongs to %d", name, uid)
		}
	}
}

func ownerOf(t *testing.T, path string) uint32 {
	t.Helper()
	info, err := os.Lstat(path)
	check(t, err)
	return info.Sys().(*syscall.Stat_t).Uid
}

func testRefusedWorkspace(t *testing.T, _ who) {
	state := t.TempDir()
	b := provisioner(t, state)
	etc := filepath.Join(t.TempDir(), "etc")
	check(t, os.Symlink("/etc", etc))
	file := filepath.Join(t.TempDir(), "file")
	check(t, os.WriteFile(file, nil, 0o600))
	for _, c := range []struct {
		source string
		kind   error
	}{
		{"/usr/share", backend.ErrPermission}, // root's
		{etc, backend.ErrPermission},
		{"/", backend.ErrPermission},
		{"/proc/self", backend.ErrPermission},
		{state, backend.ErrPermission},
		{file, backend.ErrNotDirectory},
		{"/nowhere/at/all", backend.ErrNotFound},
	} {
		_, err := b.Provision(t.Context(), request(t, func(s *backend.Spec) { s.Workspace.Source = c.source }))
		wantError(t, c.source, err, c.kind, "")
		if backend.HintOf(err) == "" {
			t.Errorf("%s: what to do? %v", c.source, err)
		}
	}
	wantNothing(t, state)
}

func testMounts(t *testing.T, _ who) {
	dir, outside := ownDir(t), t.TempDir()
	check(t, os.WriteFile(filepath.Join(dir, "file"), []byte("outside\n"), 0o644)) //nolint:gosec // read inside
	check(t, os.Chmod(dir, 0o777))                                                 //nolint:gosec // by whoever that is
	p := launch(t)
	// The workspace has had a sandbox before, which left a trap.
	kept := func(s *backend.Spec) { s.Workspace.Name = "trapped" }
	first := create(t, p, kept)
	if _, res := sh(t, first, "ln -s "+outside+" trap; ln -s /tmp safe"); res.ExitCode != 0 {
		t.Fatal(res)
	}
	check(t, p.Destroy(t.Context(), &backend.DestroyRequest{ID: first.Info().ID, KeepWorkspace: true}))

	sb := create(t, p, func(s *backend.Spec) {
		kept(s)
		s.Mounts = []backend.Mount{
			{Source: dir, Target: "/data/ro", ReadOnly: true},
			{Source: dir, Target: "/data/rw"},
			{Source: filepath.Join(dir, "file"), Target: "/data/file", ReadOnly: true},
			{Source: dir, Target: "/workspace/in/side"},
			{Source: dir, Target: "/workspace/safe/there"},
		}
	})
	got, _ := sh(t, sb, "cat /data/ro/file /data/file in/side/file /tmp/there/file; touch /data/ro/x 2>/dev/null || echo read-only; touch /data/rw/x && ls /data/ro/x; stat -c %u in")
	if want := strings.Repeat("outside\n", 4) + "read-only\n/data/ro/x\n1000\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	_, err := p.Create(t.Context(), &backend.CreateRequest{ID: backend.NewID(), Spec: backend.Spec{
		Workspace: backend.Workspace{Name: "trapped"}, Mounts: []backend.Mount{{Source: dir, Target: "/workspace/trap/there"}},
	}})
	if err == nil {
		t.Error("a link to a directory that is not there was followed")
	}
	if entries, err := os.ReadDir(outside); err != nil || len(entries) > 0 {
		t.Errorf("outside: %v, %v", entries, err)
	}
	_, err = p.Create(t.Context(), &backend.CreateRequest{ID: backend.NewID(), Spec: backend.Spec{
		Mounts: []backend.Mount{{Source: dir, Target: "/usr/new"}},
	}})
	wantError(t, "a mount in /usr", err, backend.ErrInvalid, "another path")
}

// TestReplacedSource: what was looked at is what is shown, or nothing.
func TestReplacedSource(t *testing.T) {
	require.Local(t)
	state, dir := t.TempDir(), ownDir(t)
	b := provisioner(t, state)
	req := request(t, func(s *backend.Spec) { s.Workspace.Source = dir })
	// Between the look and the mount: at the report of progress.
	req.Progress = func(backend.Progress) {
		check(t, os.Rename(dir, dir+".old"))
		check(t, os.Symlink("/etc", dir))
	}
	_, err := b.Provision(t.Context(), req)
	if err == nil {
		t.Fatal("the sandbox was made of what took the place")
	}
	check(t, os.Remove(dir))
	req = request(t, func(s *backend.Spec) { s.Workspace.Source = dir + ".old" })
	req.Progress = func(backend.Progress) {
		check(t, os.Rename(dir+".old", dir))
		check(t, os.Mkdir(dir+".old", 0o755)) //nolint:gosec // as before
	}
	_, err = b.Provision(t.Context(), req)
	wantError(t, "another directory", err, backend.ErrConflict, "replaces")
	wantNothing(t, state)
}

func testNetworkFull(t *testing.T, _ who) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_ = conn.Close()
		}
	}()
	_, port, err := net.SplitHostPort(l.Addr().String())
	check(t, err)
	sb := create(t, launch(t), func(s *backend.Spec) {
		withAttacker(s)
		s.Network = backend.NetworkFull
	})
	if got, _ := attackIn(t, sb, "network", port, "nobody"); !strings.Contains(got, "tcp 127.0.0.1:"+port) {
		t.Errorf("the network is not the host's: %q", got)
	}
}

func testStop(t *testing.T, _ who) {
	p := launch(t)
	sb := create(t, p, nil)
	id := sb.Info().ID
	sh(t, sb, "echo kept > file; sleep 1000 > /dev/null 2>&1 &")
	check(t, p.Stop(t.Context(), &backend.StopRequest{ID: id}))
	info, err := p.Inspect(t.Context(), &backend.InspectRequest{ID: id})
	check(t, err)
	if info.State != backend.StateStopped {
		t.Errorf("state %s", info.State)
	}
	if _, err := p.Open(t.Context(), &backend.OpenRequest{ID: id}); !errors.Is(err, backend.ErrGone) {
		t.Errorf("open: %v", err)
	}
	check(t, p.Destroy(t.Context(), &backend.DestroyRequest{ID: id}))
}

// made is a sandbox that no plugin process knows of any more: it was made by a
// provisioner that was closed.
func made(t *testing.T, state string) (id string, rec *jail.Record, dir string) {
	t.Helper()
	b := provisioner(t, state)
	req := request(t, nil)
	_, err := b.Provision(t.Context(), req)
	check(t, err)
	dir = b.dir(req.ID)
	rec, err = jail.ReadRecord(dir)
	check(t, err)
	check(t, b.Close())
	return req.ID, rec, dir
}

func wantGone(t *testing.T, rec *jail.Record, dir string) {
	t.Helper()
	for _, path := range append([]string{dir}, rec.Cgroups...) {
		if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is left: %v", path, err)
		}
	}
	for _, p := range []jail.Process{rec.Guest, rec.Keeper} {
		if p.Alive() {
			t.Errorf("process %d is left", p.PID)
		}
	}
}

// testGuestEnds: with nobody there but the keeper, all goes.
func testGuestEnds(t *testing.T, _ who) {
	state := t.TempDir()
	_, rec, dir := made(t, state)
	check(t, rec.Guest.Signal(syscall.SIGKILL))
	eventually(t, "the keeper cleans up", func() bool { return !rec.Keeper.Alive() })
	wantGone(t, rec, dir)
	wantNothing(t, state)
}

// testKeeperKilled: the guest goes too, and the next plugin cleans up.
func testKeeperKilled(t *testing.T, _ who) {
	state := t.TempDir()
	_, rec, dir := made(t, state)
	check(t, rec.Keeper.Signal(syscall.SIGKILL))
	eventually(t, "the guest ends", func() bool { return !rec.Guest.Alive() })
	if _, err := os.Lstat(dir); err != nil {
		t.Fatal(err)
	}
	provisioner(t, state)
	eventually(t, "the next plugin cleans up", func() bool {
		_, err := os.Lstat(dir)
		return errors.Is(err, os.ErrNotExist)
	})
	eventually(t, "all is removed", func() bool {
		entries, err := os.ReadDir(filepath.Dir(dir))
		return err == nil && len(entries) == 0
	})
	wantGone(t, rec, dir)
}

// testPluginKilled: deep's plugin dies while a command runs; the sandbox stays
// for the next one.
func testPluginKilled(t *testing.T, _ who) {
	p := launch(t)
	sb := create(t, p, nil)
	if _, res := sh(t, sb, "echo before > file"); res.ExitCode != 0 {
		t.Fatalf("%+v", res)
	}
	check(t, syscall.Kill(p.PID(), syscall.SIGKILL))
	eventually(t, "the sandbox answers through the next plugin", func() bool {
		other, err := p.Open(t.Context(), &backend.OpenRequest{ID: sb.Info().ID})
		if err != nil {
			return false
		}
		_, err = other.Stat(t.Context(), &backend.StatRequest{Path: "file"})
		return err == nil
	})
	if got := content(t, sb, "file"); got != "before\n" {
		t.Errorf("%q", got)
	}
}

// testCancel gives up at many moments: nothing stays, or all is there.
func testCancel(t *testing.T, _ who) {
	state := t.TempDir()
	b := provisioner(t, state)
	finished := 0
	for i := range 25 {
		req := request(t, func(s *backend.Spec) {
			if i%2 == 1 {
				s.Workspace.Name = "cancelled"
			}
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*4*time.Millisecond)
		_, err := b.Provision(ctx, req)
		cancel()
		switch {
		case err == nil:
			finished++
			check(t, b.Destroy(t.Context(), &backend.DestroyRequest{ID: req.ID}))
		case !errors.Is(err, context.DeadlineExceeded):
			t.Errorf("given up after %d × 4 ms: %v", i, err)
		}
		wantNothing(t, state)
		wantNoCgroups(t, req.ID)
	}
	t.Logf("%d of 25 were made in time", finished)
}

// wantNoCgroups fails if there is one of a sandbox.
func wantNoCgroups(t *testing.T, id string) {
	t.Helper()
	h, err := findHierarchies()
	check(t, err)
	for _, parent := range []string{h.v2, h.v1["memory"], h.v1["pids"], h.v1["cpu"], h.v1[accounting]} {
		found, err := filepath.Glob(filepath.Join(parent, "deep-"+hashed(id)+"-*"))
		check(t, err)
		if parent != "" && len(found) > 0 {
			t.Errorf("left: %v", found)
		}
	}
}

// testWildTree: what a sandbox leaves is removed, whatever it looks like, and
// nothing it points to.
func testWildTree(t *testing.T, _ who) {
	outside := ownDir(t)
	check(t, os.WriteFile(filepath.Join(outside, "canary"), nil, 0o644)) //nolint:gosec // to be found again
	p := launch(t)
	sb := create(t, p, withAttacker)
	if _, res := sh(t, sb, `
		ln -s `+outside+` link; ln -s / root
		mkdir -p locked/deep/er && touch locked/file locked/deep/er/file && chmod 0 locked/deep/er locked/deep locked
		mkdir "$(printf 'new\nline')" && mkfifo fifo`); res.ExitCode != 0 {
		t.Fatalf("%+v", res)
	}
	if got, res := attackIn(t, sb, "dig"); res.ExitCode != 0 || got != "" {
		t.Fatalf("%s %+v", got, res)
	}
	check(t, p.Destroy(t.Context(), &backend.DestroyRequest{ID: sb.Info().ID}))
	if _, err := os.Lstat(filepath.Join(outside, "canary")); err != nil {
		t.Error(err)
	}
	// That nothing is left the clean-up of launch looks for.
}

// testLeftovers: what a plugin that was killed in the middle left is removed when
// it is old enough, and no sooner.
func testLeftovers(t *testing.T, _ who) {
	state := t.TempDir()
	first := provisioner(t, state)
	old, fresh := filepath.Join(first.sandboxes, jail.PrefixNew+"old"), filepath.Join(first.sandboxes, jail.PrefixDead+"fresh")
	for _, dir := range []string{old, fresh} {
		check(t, os.Mkdir(dir, 0o700))
		check(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o600))
	}
	hour := time.Now().Add(-time.Hour)
	check(t, os.Chtimes(old, hour, hour))
	damaged := first.dir("damaged")
	check(t, os.Mkdir(damaged, 0o700))
	check(t, os.WriteFile(filepath.Join(damaged, "sandbox.json"), []byte("{"), 0o600))

	b := provisioner(t, state)
	eventually(t, "the old one is removed", func() bool {
		_, err := os.Lstat(old)
		return errors.Is(err, os.ErrNotExist)
	})
	check(t, b.Close())
	if _, err := os.Lstat(filepath.Join(fresh, "file")); err != nil {
		t.Errorf("one that may still be worked on: %v", err)
	}
	// A record that cannot be read hides no other, and can be got rid of.
	reply, err := b.List(t.Context(), &backend.ListRequest{})
	if err != nil || len(reply.Sandboxes) > 0 {
		t.Errorf("list: %v, %v", reply, err)
	}
	check(t, b.Destroy(t.Context(), &backend.DestroyRequest{ID: "damaged"}))
	if _, err := os.Lstat(damaged); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the damaged one is left: %v", err)
	}
}

// TestForbidden: where user namespaces are switched off, the error names the
// switch.
func TestForbidden(t *testing.T) {
	as(t, asForbidden, func(t *testing.T) {
		check(t, os.WriteFile("/proc/sys/user/max_user_namespaces", []byte("0"), 0))
		state := t.TempDir()
		b := provisioner(t, state)
		_, err := b.Provision(t.Context(), request(t, nil))
		wantError(t, "create", err, backend.ErrUnsupported, "user.max_user_namespaces")
		report, err := b.Check(t.Context())
		check(t, err)
		if l := report.Layers[0]; l.State != backend.LayerMissing || !strings.Contains(l.Remedy, "user.max_user_namespaces") {
			t.Errorf("%+v", l)
		}
		wantNothing(t, state)
	})
}
