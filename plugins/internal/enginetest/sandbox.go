package enginetest

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/pluginsdk"
	"github.com/deep-sandbox/deep/test/require"
)

// wantKind fails unless err is of that kind, names what it is about and says
// what to do.
func wantKind(t *testing.T, err, kind error, path string) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Errorf("error %v, want %v", err, kind)
		return
	}
	var e *backend.Error
	if !errors.As(err, &e) || !strings.Contains(e.Path, path) {
		t.Errorf("the error is not about %q: %v", path, err)
	}
	if backend.HintOf(err) == "" {
		t.Errorf("the error does not say what to do: %v", err)
	}
}

func testCheck(s *suite) {
	report, err := s.p.Check(s.Context())
	if err != nil {
		s.Fatal(err)
	}
	if !strings.Contains(strings.ToLower(report.Engine), s.engine.Name) || !strings.Contains(report.Endpoint, s.engine.Socket) {
		s.Errorf("engine %q at %q", report.Engine, report.Endpoint)
	}
	states := map[string]backend.LayerState{}
	for _, l := range report.Layers {
		states[l.Name] = l.State
		if l.State == backend.LayerMissing && (l.Detail == "" || l.Remedy == "") {
			s.Errorf("%s is missing, and neither why nor what to do is said", l.Name)
		}
	}
	for _, name := range []string{"memory limit", "pids limit", "cpu limit", "seccomp"} {
		if states[name] != backend.LayerPresent {
			s.Errorf("%s is %q", name, states[name])
		}
	}
	if states["disk quota"] != backend.LayerPlanned {
		s.Errorf("what is not done yet is not said to be planned: %v", states)
	}
	// One word has one meaning: what Check calls degraded, every result does.
	_, made := s.provision(nil)
	for name, state := range states {
		if (state == backend.LayerDegraded) != slices.Contains(made.Info.Degraded, name) {
			s.Errorf("Check says that %s is %q, and a sandbox that %q are degraded", name, state, made.Info.Degraded)
		}
	}
}

// testStream sends what breaks naive streams: every byte, the keys that detach a
// terminal one by one, and more than all buffers on the way hold.
func testStream(s *suite) {
	req, _ := s.provision(nil)
	stream := s.connect(s.p, req.ID)
	for _, b := range []byte{0x10, 0x11, 0x10, 0x11, 0x03, 0x04, 0x0d, 0x0a, 0x00, 0xff} {
		s.echo(stream, []byte{b})
	}
	data := make([]byte, 64<<20)
	if _, err := rand.Read(data); err != nil {
		s.Fatal(err)
	}
	s.echo(stream, data)

	// A second host, at the same time.
	other := s.connect(s.p, req.ID)
	s.echo(other, []byte("other"))
	s.echo(stream, []byte("first"))
	if err := other.Close(); err != nil {
		s.Error(err)
	}
	if err := other.Close(); err != nil {
		s.Errorf("close again: %v", err)
	}
	s.echo(stream, []byte("first still"))
	if err := stream.Close(); err != nil {
		s.Error(err)
	}
	if _, err := stream.Read(make([]byte, 1)); err == nil {
		s.Error("read after close: no error")
	}
	s.eventually("nothing of the connections is left in the sandbox", func() bool {
		top, err := s.api.ContainerTop(s.Context(), pluginsdk.EngineContainer(req.ID), nil)
		return err == nil && len(top.Processes) == 1
	})
}

// testIsolation looks at a sandbox from inside.
func testIsolation(s *suite) {
	_, made := s.provision(nil)
	status := s.sh(made.Info.EngineID, "", "cat /proc/1/status")
	for _, want := range []string{
		"CapPrm:\t00000000000000e0", "CapEff:\t00000000000000e0", "CapBnd:\t00000000000000e0", "CapAmb:\t0000000000000000",
		"NoNewPrivs:\t1", "Seccomp:\t2", "Uid:\t0\t0\t0\t0",
	} {
		if !strings.Contains(status, want+"\n") {
			s.Errorf("PID 1 has not %q:\n%s", want, status)
		}
	}
	user := fmt.Sprintf("%d:%d", made.UID, made.GID)
	for command, want := range map[string]string{
		// Whose the workspace is, and who may write where.
		"stat -c %u:%g /workspace":                                                   user,
		"touch /workspace/f && echo yes":                                             "yes",
		"touch /tmp/f /home/deep/f && echo yes":                                      "yes",
		"touch /f /etc/f /usr/f /run/f /.deep/f 2>/dev/null || echo no":              "no",
		"ls /.deep/run 2>/dev/null || echo no":                                       "no",
		"echo x 2>/dev/null > /.deep/deep-guest || echo no":                          "no",
		"printf '#!/bin/sh\\necho ran' > /tmp/x; chmod +x /tmp/x; /tmp/x":            "ran",
		"tr '\\0' ' ' < /proc/1/cmdline":                                             "/.deep/deep-guest serve --socket /.deep/run/guest.sock",
		"cat /etc/resolv.conf 2>/dev/null | grep -c nameserver":                      "0",
		"tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '":                         "lo",
		"grep CapEff /proc/self/status | cut -f2":                                    "0000000000000000",
		"awk '/Max open files/ {print $4, $5}' /proc/self/limits":                    "4096 4096",
		"awk '/Max core file size/ {print $5, $6}' /proc/self/limits":                "0 0",
		"awk '/Max file size/ {print $4, $5}' /proc/self/limits":                     "2147483648 2147483648",
		"awk '$2 == \"/tmp\" {print $3}' /proc/mounts":                               "tmpfs",
		"df -k /tmp | awk 'NR == 2 {print $2}'":                                      "262144",
		"awk '$2 == \"/\" {print substr($4, 1, 2)}' /proc/mounts":                    "ro",
		"awk '$2 == \"/tmp\" && $4 ~ /nosuid/ && $4 ~ /nodev/' /proc/mounts | wc -l": "1",
	} {
		if got := strings.TrimSpace(s.sh(made.Info.EngineID, user, command)); got != want {
			s.Errorf("%s\n\tsays %q, want %q", command, got, want)
		}
	}
}

// testLimits looks at what the engine was told.
func testLimits(s *suite) {
	_, made := s.provision(func(sp *backend.Spec) { sp.Memory, sp.PIDs, sp.CPUs = 300<<20, 123, 0.5 })
	found, err := s.api.ContainerInspect(s.Context(), made.Info.EngineID)
	if err != nil {
		s.Fatal(err)
	}
	h := found.HostConfig
	if h.Memory != 300<<20 || h.MemorySwap != 300<<20 || h.PidsLimit == nil || *h.PidsLimit != 123 {
		s.Errorf("memory %d, with swap %d, pids %v", h.Memory, h.MemorySwap, h.PidsLimit)
	}
	if h.NanoCPUs != 5e8 && h.CPUQuota*2 != h.CPUPeriod {
		s.Errorf("cpus: %d, quota %d of %d", h.NanoCPUs, h.CPUQuota, h.CPUPeriod)
	}
	if !h.AutoRemove || h.LogConfig.Type != "none" {
		s.Errorf("auto-remove %v, log driver %q", h.AutoRemove, h.LogConfig.Type)
	}
	if total := s.sh(made.Info.EngineID, "", "df -k | awk '$1 == \"tmpfs\" || $1 == \"shm\"' | grep -E '/(tmp|run|shm|home/deep)$' | awk '{n += $2} END {print n}'"); total == "" {
		s.Error("no tmpfs")
	} else {
		var kib int64
		if _, err := fmt.Sscan(total, &kib); err != nil || kib<<10 > 150<<20 {
			s.Errorf("tmpfs of %q KiB in 300 MiB of memory, want at most half (%v)", strings.TrimSpace(total), err)
		}
	}
}

func testNetworkFull(s *suite) {
	_, made := s.provision(func(sp *backend.Spec) { sp.Network = backend.NetworkFull })
	if devices := s.sh(made.Info.EngineID, "", "cat /proc/net/dev"); !strings.Contains(devices, "eth0") {
		s.Errorf("no network: %s", devices)
	}
}

func testExists(s *suite) {
	req, made := s.provision(nil)
	again := *req
	again.Labels = s.request(nil).Labels
	_, err := s.p.Provision(s.Context(), &again)
	wantKind(s.T, err, backend.ErrExists, req.ID)
	info, err := s.p.Inspect(s.Context(), &backend.InspectRequest{ID: req.ID})
	if err != nil {
		s.Fatal(err)
	}
	if info.EngineID != made.Info.EngineID || info.State != backend.StateRunning || info.Image != req.Spec.Image || !info.Ephemeral || info.Created.IsZero() {
		s.Errorf("the first one is not as it was: %+v", info)
	}
	s.echo(s.connect(s.p, req.ID), []byte("alive"))

	list, err := s.p.List(s.Context(), &backend.ListRequest{})
	if err != nil {
		s.Fatal(err)
	}
	if !slices.ContainsFunc(list.Sandboxes, func(i backend.SandboxInfo) bool { return i.ID == req.ID }) {
		s.Error("it is not listed")
	}
}

// testForeign: a name alone makes nothing ours.
func testForeign(s *suite) {
	req := s.request(nil)
	engineID := s.foreign(pluginsdk.EngineContainer(req.ID))
	_, err := s.p.Provision(s.Context(), req)
	wantKind(s.T, err, backend.ErrExists, req.ID)
	wantKind(s.T, s.p.Destroy(s.Context(), &backend.DestroyRequest{ID: req.ID}), backend.ErrConflict, req.ID)
	wantKind(s.T, s.p.Stop(s.Context(), &backend.StopRequest{ID: req.ID}), backend.ErrConflict, req.ID)
	if _, err := s.p.Inspect(s.Context(), &backend.InspectRequest{ID: req.ID}); !errors.Is(err, backend.ErrNotFound) {
		s.Errorf("inspect: %v", err)
	}
	if _, err := s.p.Connect(s.Context(), req.ID); !errors.Is(err, backend.ErrGone) {
		s.Errorf("connect: %v", err)
	}
	if _, err := s.api.ContainerInspect(s.Context(), engineID); err != nil {
		s.Errorf("the foreign container: %v", err)
	}
}

// testStop: what ran is gone, the files are there until Destroy.
func testStop(s *suite) {
	req, made := s.provision(nil)
	volume := s.volume(made.Info.EngineID, "/workspace")
	s.sh(made.Info.EngineID, fmt.Sprint(made.UID), "echo kept > /workspace/file")
	stream := s.connect(s.p, req.ID)
	for range 2 {
		if err := s.p.Stop(s.Context(), &backend.StopRequest{ID: req.ID}); err != nil {
			s.Fatal(err)
		}
		info, err := s.p.Inspect(s.Context(), &backend.InspectRequest{ID: req.ID})
		if err != nil {
			s.Fatal(err)
		}
		if info.State != backend.StateStopped {
			s.Errorf("state %q", info.State)
		}
	}
	// It ends, if not without a last word of the engine's.
	_, _ = io.Copy(io.Discard, stream)
	if _, err := s.p.Connect(s.Context(), req.ID); !errors.Is(err, backend.ErrGone) {
		s.Errorf("connect: %v", err)
	}
	again := *req
	again.Labels = s.request(nil).Labels
	_, err := s.p.Provision(s.Context(), &again)
	wantKind(s.T, err, backend.ErrExists, req.ID)
	if !s.hasVolume(volume) {
		s.Error("its workspace is gone")
	}
	if n := len(s.containers(req.ID)); n != 1 {
		s.Errorf("%d containers stand for it", n)
	}
	for range 2 {
		if err := s.p.Destroy(s.Context(), &backend.DestroyRequest{ID: req.ID}); err != nil {
			s.Fatal(err)
		}
	}
	if s.hasVolume(volume) {
		s.Error("its workspace is left")
	}
}

func testPaused(s *suite) {
	req, made := s.provision(nil)
	if err := s.api.ContainerPause(s.Context(), made.Info.EngineID); err != nil {
		s.Fatal(err)
	}
	info, err := s.p.Inspect(s.Context(), &backend.InspectRequest{ID: req.ID})
	if err != nil || info.State != backend.StatePaused {
		s.Errorf("inspect: %+v, %v", info, err)
	}
	_, err = s.p.Connect(s.Context(), req.ID)
	wantKind(s.T, err, backend.ErrUnavailable, req.ID)
	if err := s.p.Destroy(s.Context(), &backend.DestroyRequest{ID: req.ID}); err != nil {
		s.Fatal(err)
	}
	s.wantNothing(req.ID)
}

// testGuestEnds: the container goes with its guest, its own volume too; a new
// kept workspace is undone by Destroy all the same.
func testGuestEnds(s *suite) {
	req, made := s.provision(func(sp *backend.Spec) { sp.Workspace.Name = backend.NewID() })
	fresh, madeFresh := s.provision(nil)
	volume := s.volume(madeFresh.Info.EngineID, "/workspace")
	for _, id := range []string{made.Info.EngineID, madeFresh.Info.EngineID} {
		if err := s.api.ContainerKill(s.Context(), id, "KILL"); err != nil {
			s.Fatal(err)
		}
	}
	s.eventually("both containers are gone", func() bool { return len(s.containers(req.ID))+len(s.containers(fresh.ID)) == 0 })
	s.eventually("the workspace is gone", func() bool { return !s.hasVolume(volume) })
	if _, err := s.p.Connect(s.Context(), req.ID); !errors.Is(err, backend.ErrGone) {
		s.Errorf("connect: %v", err)
	}
	if !made.NewWorkspace {
		s.Error("the workspace is said not to be new")
	}
	if err := s.p.Destroy(s.Context(), &backend.DestroyRequest{ID: req.ID}); err != nil {
		s.Fatal(err)
	}
	if s.hasVolume(pluginsdk.EngineWorkspace(req.Spec.Workspace.Name)) {
		s.Error("the new kept workspace is left")
	}
}

func testKeptWorkspace(s *suite) {
	name := backend.NewID()
	volume := pluginsdk.EngineWorkspace(name)
	first, made := s.provision(func(sp *backend.Spec) { sp.Workspace.Name = name })
	user := fmt.Sprint(made.UID)
	s.sh(made.Info.EngineID, user, "echo kept > /workspace/file")
	wantKind(s.T, s.p.RemoveWorkspace(s.Context(), &backend.RemoveWorkspaceRequest{Name: name}), backend.ErrConflict, name)
	if err := s.p.Destroy(s.Context(), &backend.DestroyRequest{ID: first.ID, KeepWorkspace: true}); err != nil {
		s.Fatal(err)
	}
	if !s.hasVolume(volume) {
		s.Fatal("the workspace is gone")
	}
	second, made := s.provision(func(sp *backend.Spec) { sp.Workspace.Name = name })
	if made.NewWorkspace {
		s.Error("a workspace that was there is said to be new")
	}
	if got := s.sh(made.Info.EngineID, user, "cat /workspace/file && echo more >> /workspace/file && echo written"); got != "kept\nwritten\n" {
		s.Errorf("in the next sandbox: %q", got)
	}
	if err := s.p.Destroy(s.Context(), &backend.DestroyRequest{ID: second.ID}); err != nil {
		s.Fatal(err)
	}
	if s.hasVolume(volume) {
		s.Error("Destroy left the workspace")
	}
	if err := s.p.RemoveWorkspace(s.Context(), &backend.RemoveWorkspaceRequest{Name: name}); err != nil {
		s.Errorf("remove what is not there: %v", err)
	}
}

func testForeignWorkspace(s *suite) {
	name := backend.NewID()
	s.foreignVolume(pluginsdk.EngineWorkspace(name))
	req := s.request(func(sp *backend.Spec) { sp.Workspace.Name = name })
	_, err := s.p.Provision(s.Context(), req)
	wantKind(s.T, err, backend.ErrConflict, name)
	wantKind(s.T, s.p.RemoveWorkspace(s.Context(), &backend.RemoveWorkspaceRequest{Name: name}), backend.ErrConflict, name)
	if !s.hasVolume(pluginsdk.EngineWorkspace(name)) {
		s.Error("the foreign volume is gone")
	}
	s.wantNothing(req.ID)
}

// ownedDir makes a directory that belongs to a user, if this process may.
func (s *suite) ownedDir(uid, gid int) string {
	s.Helper()
	if os.Getuid() != 0 {
		require.Skip(s, "root", "only root makes a directory of another user")
	}
	dir := filepath.Join(s.TempDir(), "dir")
	if err := os.Mkdir(dir, 0o755); err != nil {
		s.Fatal(err)
	}
	if err := os.Chown(dir, uid, gid); err != nil {
		s.Fatal(err)
	}
	return dir
}

func testBoundWorkspace(s *suite) {
	dir := s.ownedDir(1234, 1235)
	link := filepath.Join(s.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		s.Fatal(err)
	}
	req, made := s.provision(func(sp *backend.Spec) { sp.Workspace.Source = link })
	if made.UID != 1234 || made.GID != 1235 {
		s.Errorf("commands would run as %d:%d", made.UID, made.GID)
	}
	s.sh(made.Info.EngineID, "1234:1235", "echo inside > /workspace/file")
	if got, err := os.ReadFile(filepath.Join(dir, "file")); err != nil || string(got) != "inside\n" {
		s.Errorf("outside: %q, %v", got, err)
	}
	if err := s.p.Destroy(s.Context(), &backend.DestroyRequest{ID: req.ID}); err != nil {
		s.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "file")); err != nil {
		s.Errorf("after Destroy: %v", err)
	}
}

func testRefusedWorkspace(s *suite) {
	root := s.ownedDir(0, 0)
	etc := filepath.Join(s.TempDir(), "etc")
	if err := os.Symlink("/etc", etc); err != nil {
		s.Fatal(err)
	}
	for source, kind := range map[string]error{
		root:                          backend.ErrPermission,
		etc:                           backend.ErrPermission,
		filepath.Dir(s.engine.Socket): backend.ErrPermission,
		"/":                           backend.ErrPermission,
		"/nowhere/at/all":             backend.ErrNotFound,
	} {
		req := s.request(func(sp *backend.Spec) { sp.Workspace.Source = source })
		_, err := s.p.Provision(s.Context(), req)
		wantKind(s.T, err, kind, "workspace")
		s.wantNothing(req.ID)
	}
}

func testMounts(s *suite) {
	dir := s.ownedDir(backend.DefaultUID, backend.DefaultUID)
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("outside\n"), 0o644); err != nil {
		s.Fatal(err)
	}
	_, made := s.provision(func(sp *backend.Spec) {
		sp.Mounts = []backend.Mount{
			{Source: dir, Target: "/data/ro", ReadOnly: true},
			{Source: dir, Target: "/data/rw"},
			{Source: filepath.Join(dir, "file"), Target: "/data/file", ReadOnly: true},
		}
	})
	got := s.sh(made.Info.EngineID, "1000", "cat /data/ro/file /data/file; touch /data/ro/x 2>/dev/null || echo read-only; touch /data/rw/x && ls /data/ro/x")
	if want := "outside\noutside\nread-only\n/data/ro/x\n"; got != want {
		s.Errorf("%q, want %q", got, want)
	}
}

// testImageVolumes: what an image declares is a bounded tmpfs and no volume.
func testImageVolumes(s *suite) {
	image := s.imageWith(container.CommitOptions{Changes: []string{`VOLUME ["/data", "/tmp", "/workspace/below"]`, `ENV FROM_IMAGE=yes`, `ENTRYPOINT ["/bin/false"]`}})
	_, made := s.provision(func(sp *backend.Spec) { sp.Image = image })
	got := s.sh(made.Info.EngineID, fmt.Sprint(made.UID), `awk '$2 == "/data" {print $3}' /proc/mounts; df -k /data | awk 'NR == 2 {print $2}'; touch /data/x && echo $FROM_IMAGE`)
	if want := "tmpfs\n16384\nyes\n"; got != want {
		s.Errorf("%q, want %q", got, want)
	}
	found, err := s.api.ContainerInspect(s.Context(), made.Info.EngineID)
	if err != nil {
		s.Fatal(err)
	}
	// Two are declared beside /tmp, and share 1/32 of 1 GiB.
	volumes := 0
	for _, m := range found.Mounts {
		if m.Type == "volume" {
			volumes++
		}
	}
	if volumes != 1 {
		s.Errorf("%d volumes, want the workspace alone: %+v", volumes, found.Mounts)
	}
}

// testImageHealthcheck: the engine has none for a sandbox, though its image declares
// one. That none is run does not show it everywhere: Podman leaves it to timers of
// systemd, and without systemd to nobody.
func testImageHealthcheck(s *suite) {
	healthcheck := func(engineID string) []string {
		found, err := s.api.ContainerInspect(s.Context(), engineID)
		if err != nil {
			s.Fatal(err)
		}
		if found.Config.Healthcheck == nil {
			return nil
		}
		return found.Config.Healthcheck.Test
	}
	if test := healthcheck(s.foreignOf(require.Trap, "")); len(test) < 2 {
		s.Fatalf("vacuous: %s declares the check %q", require.Trap, test)
	}
	_, made := s.provision(func(sp *backend.Spec) { sp.Image = require.Trap })
	if test := healthcheck(made.Info.EngineID); len(test) > 0 && test[0] != "NONE" {
		s.Errorf("it has the check %q", test)
	}
}

// testRemote: an engine that does not see this host's files gets the guest by a
// volume, filled once though several ask at once.
func testRemote(s *suite) {
	p := s.provisioner("unix://"+s.engine.Socket, true)
	other := s.provisioner("unix://"+s.engine.Socket, true)
	s.Cleanup(s.removeGuestVolume)
	errs := make(chan error, 3)
	var reqs []*pluginsdk.ProvisionRequest
	for i, by := range []pluginsdk.Provisioner{p, p, other} {
		req := s.request(nil)
		reqs = append(reqs, req)
		if i == 0 {
			req.Spec.Workspace.Path = "/srv/work"
		}
		go func() {
			_, err := s.provisionBy(by, req)
			errs <- err
		}()
	}
	for range 3 {
		if err := <-errs; err != nil {
			s.Error(err)
		}
	}
	for _, req := range reqs {
		s.echo(s.connect(p, req.ID), []byte("through the volume"))
		got := s.sh(pluginsdk.EngineContainer(req.ID), "1000", "stat -c %a /.deep/deep-guest; echo 2>/dev/null > /.deep/deep-guest || echo no; touch /.deep/x 2>/dev/null || echo no; ls /.deep/run 2>/dev/null || echo no")
		if want := "555\nno\nno\nno\n"; got != want {
			s.Errorf("the guest's directory: %q, want %q", got, want)
		}
	}
	req := s.request(func(sp *backend.Spec) { sp.Workspace.Source = s.ownedDir(1000, 1000) })
	_, err := p.Provision(s.Context(), req)
	wantKind(s.T, err, backend.ErrUnsupported, "workspace")
}

// testCancel gives up at many moments: nothing stays, or all is there.
func testCancel(s *suite) {
	for i := range 16 {
		req := s.request(func(sp *backend.Spec) { sp.Workspace.Name = backend.NewID() })
		ctx, cancel := contextAfter(s.Context(), time.Duration(i)*20*time.Millisecond)
		_, err := s.p.Provision(ctx, req)
		cancel()
		volume := pluginsdk.EngineWorkspace(req.Spec.Workspace.Name)
		if err == nil {
			if err := s.p.Destroy(s.Context(), &backend.DestroyRequest{ID: req.ID}); err != nil {
				s.Fatal(err)
			}
		} else if backend.KindOf(err) == nil || ctx.Err() == nil {
			s.Errorf("given up after %d × 20 ms: %v", i, err)
		}
		s.wantNothing(req.ID)
		if s.hasVolume(volume) {
			s.Errorf("given up after %d × 20 ms: the workspace is left", i)
			_ = s.api.VolumeRemove(s.Context(), volume, true)
		}
	}
}
