// Package enginetest tests provisioners that make containers: the same tests on
// every engine, on real ones.
package enginetest

import (
	"bytes"
	crand "crypto/rand"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/volume"
	"github.com/docker/docker/client"
	"github.com/docker/docker/pkg/stdcopy"
	"github.com/docker/go-units"
	"github.com/hashicorp/go-hclog"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/pluginsdk"
	"github.com/deep-sandbox/deep/test/require"
)

// Engine is what the tests have to know of an engine.
type Engine struct {
	// Name of the engine, as in package require.
	Name string
	// Socket it answers at by default.
	Socket string
	// New makes a provisioner of the service at host. remote says that it shall
	// take the service for another host's.
	New func(env pluginsdk.Env, host string, remote bool) (pluginsdk.Provisioner, error)
	// NewWithAuth makes one that has the credentials in a file.
	NewWithAuth func(env pluginsdk.Env, host, file string) (pluginsdk.Provisioner, error)
	// NewWithRuntime makes one that asks for an OCI runtime.
	NewWithRuntime func(env pluginsdk.Env, host, runtime string) (pluginsdk.Provisioner, error)
	// TLS: it takes no registry without, on the loopback interface neither.
	TLS bool
}

// Capabilities of the engines' backends.
var capabilities = []backend.Capability{
	backend.CapImages, backend.CapBind, backend.CapNetworkFull, backend.CapKeepWorkspace,
}

// suite is one engine under test.
type suite struct {
	*testing.T
	engine Engine
	p      pluginsdk.Provisioner
	// api looks at the engine from outside, by the API that all engines speak.
	api   *client.Client
	guest pluginsdk.GuestProgram
}

// Run tries everything on an engine.
func Run(t *testing.T, e Engine) {
	t.Run("engine", func(t *testing.T) {
		require.Engine(t, e.Name)
		for _, test := range []struct {
			name string
			run  func(*suite)
		}{
			{"check", testCheck},
			{"stream", testStream},
			{"isolation", testIsolation},
			{"limits", testLimits},
			{"runtime", testRuntime},
			{"network-full", testNetworkFull},
			{"exists", testExists},
			{"foreign", testForeign},
			{"stop", testStop},
			{"paused", testPaused},
			{"guest-ends", testGuestEnds},
			{"removed-by-others", testRemovedByOthers},
			{"workspace-left", testWorkspaceLeft},
			{"kept-workspace", testKeptWorkspace},
			{"foreign-workspace", testForeignWorkspace},
			{"bound-workspace", testBoundWorkspace},
			{"refused-workspace", testRefusedWorkspace},
			{"mounts", testMounts},
			{"image-volumes", testImageVolumes},
			{"image-healthcheck", testImageHealthcheck},
			{"remote", testRemote},
			{"tcp", testTCP},
			{"cancel", testCancel},
			{"image-errors", testImageErrors},
			{"pull", testPull},
		} {
			t.Run(test.name, func(t *testing.T) { test.run(newSuite(t, e)) })
		}
	})
	t.Run("no-engine", func(t *testing.T) { testNoEngine(t, e) })
}

// RunAt makes a sandbox with the engine at an address that is not its socket, and
// sends bytes through.
func RunAt(t *testing.T, e Engine, host string) {
	require.Engine(t, e.Name)
	s := newSuite(t, e)
	p := s.provisioner(host, false)
	s.Cleanup(s.removeGuestVolume)
	req := s.request(nil)
	if _, err := s.provisionBy(p, req); err != nil {
		s.Fatal(err)
	}
	stream := s.connect(p, req.ID)
	data := make([]byte, 8<<20)
	_, _ = crand.Read(data) // never fails
	s.echo(stream, data)
	if err := stream.Close(); err != nil {
		s.Error(err)
	}
	if err := p.Destroy(s.Context(), &backend.DestroyRequest{ID: req.ID}); err != nil {
		s.Error(err)
	}
}

func newSuite(t *testing.T, e Engine) *suite {
	api, err := client.NewClientWithOpts(client.WithHost("unix://"+e.Socket), client.WithAPIVersionNegotiation())
	if err != nil {
		t.Fatal(err)
	}
	s := &suite{T: t, engine: e, api: api, guest: pluginsdk.NewGuestProgram(guestDir(t))}
	s.p = s.provisioner("unix://"+e.Socket, false)
	t.Cleanup(func() { _ = api.Close() })
	return s
}

// provisioner makes another one, closed with the test.
func (s *suite) provisioner(host string, remote bool) pluginsdk.Provisioner {
	s.Helper()
	p, err := s.engine.New(s.env(), host, remote)
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() {
		if err := p.Close(); err != nil {
			s.Error(err)
		}
	})
	return p
}

func (s *suite) env() pluginsdk.Env {
	log := hclog.New(&hclog.LoggerOptions{Output: testWriter{s.T}, Level: hclog.Debug})
	return pluginsdk.Env{Name: s.engine.Name, StateDir: s.TempDir(), Log: log}
}

// testWriter makes lines of the log lines of the test.
type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Log(string(bytes.TrimRight(p, "\n")))
	return len(p), nil
}

var (
	echoOnce sync.Once
	echoPath string
	echoErr  error
)

// guestDir returns a directory with a stand-in for the guest that sends bytes
// back. It is another file for each test, so that no test finds the volume of
// another's.
func guestDir(t *testing.T) string {
	t.Helper()
	echoOnce.Do(func() {
		_, file, _, _ := runtime.Caller(0)
		var dir string
		if dir, echoErr = os.MkdirTemp("", "enginetest"); echoErr != nil {
			return
		}
		echoPath = filepath.Join(dir, "echo")
		cmd := exec.Command("go", "build", "-o", echoPath, "./testdata/echo")
		cmd.Dir = filepath.Dir(file)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false")
		if out, err := cmd.CombinedOutput(); err != nil {
			echoErr = fmt.Errorf("%w: %s", err, out)
		}
	})
	if echoErr != nil {
		t.Fatal(echoErr)
	}
	program, err := os.ReadFile(echoPath)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	// What follows the program is of no account to the kernel.
	if err := os.WriteFile(filepath.Join(dir, "deep-guest-linux-"+runtime.GOARCH), append(program, crand.Text()...), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// Clean removes what the tests share. Call it from TestMain, at the end.
func Clean() {
	if echoPath != "" {
		_ = os.RemoveAll(filepath.Dir(echoPath))
	}
}

// request asks for a sandbox as the SDK does.
func (s *suite) request(change func(*backend.Spec)) *pluginsdk.ProvisionRequest {
	s.Helper()
	spec := backend.Spec{Image: require.Busybox, Pull: backend.PullNever}
	if change != nil {
		change(&spec)
	}
	spec, err := spec.Settle(capabilities)
	if err != nil {
		s.Fatal(err)
	}
	id := backend.NewID()
	labels := map[string]string{
		pluginsdk.LabelManaged:   "true",
		pluginsdk.LabelSandbox:   id,
		pluginsdk.LabelCreated:   time.Now().UTC().Format(time.RFC3339Nano),
		pluginsdk.LabelEphemeral: "true",
	}
	if spec.Workspace.Name != "" {
		labels[pluginsdk.LabelWorkspace] = spec.Workspace.Name
	}
	return &pluginsdk.ProvisionRequest{ID: id, Spec: spec, Labels: labels, Guest: s.guest, Progress: func(backend.Progress) {}}
}

// provision makes a sandbox that goes with the test, its workspace too.
func (s *suite) provision(change func(*backend.Spec)) (*pluginsdk.ProvisionRequest, *pluginsdk.Provisioned) {
	s.Helper()
	req := s.request(change)
	made, err := s.provisionBy(s.p, req)
	if err != nil {
		s.Fatal(err)
	}
	return req, made
}

func (s *suite) provisionBy(p pluginsdk.Provisioner, req *pluginsdk.ProvisionRequest) (*pluginsdk.Provisioned, error) {
	s.Helper()
	s.Cleanup(func() {
		ctx, cancel := cleanContext()
		defer cancel()
		// By a provisioner of its own: the test may have closed its own.
		if err := s.p.Destroy(ctx, &backend.DestroyRequest{ID: req.ID}); err != nil {
			s.Errorf("clean up: %v", err)
		}
		if req.Spec.Workspace.Name != "" {
			if err := s.p.RemoveWorkspace(ctx, &backend.RemoveWorkspaceRequest{Name: req.Spec.Workspace.Name}); err != nil {
				s.Errorf("clean up: %v", err)
			}
		}
		s.wantNothing(req.ID)
	})
	return p.Provision(s.Context(), req)
}

// containers of a sandbox that the engine has, by label.
func (s *suite) containers(id string) []container.Summary {
	s.Helper()
	ctx, cancel := cleanContext()
	defer cancel()
	list, err := s.api.ContainerList(ctx, container.ListOptions{All: true, Filters: filters.NewArgs(filters.Arg("label", pluginsdk.LabelSandbox+"="+id))})
	if err != nil {
		s.Error(err)
	}
	return list
}

// wantNothing fails if the engine still has something of a sandbox.
func (s *suite) wantNothing(id string) {
	s.Helper()
	for _, c := range s.containers(id) {
		s.Errorf("container %s is left, %s", c.Names, c.Status)
	}
	for _, name := range s.ownVolumes(id) {
		s.Errorf("volume %s is left", name)
	}
}

// ownVolumes of a sandbox that the engine has, by label.
func (s *suite) ownVolumes(id string) []string {
	s.Helper()
	ctx, cancel := cleanContext()
	defer cancel()
	list, err := s.api.VolumeList(ctx, volume.ListOptions{Filters: filters.NewArgs(filters.Arg("label", pluginsdk.LabelSandbox+"="+id))})
	if err != nil {
		s.Error(err)
	}
	var names []string
	for _, v := range list.Volumes {
		if v.Labels[pluginsdk.LabelWorkspace] == "" {
			names = append(names, v.Name)
		}
	}
	return names
}

// volume returns the name of the volume mounted at a path in a container.
func (s *suite) volume(engineID, target string) string {
	s.Helper()
	found, err := s.api.ContainerInspect(s.Context(), engineID)
	if err != nil {
		s.Fatal(err)
	}
	for _, m := range found.Mounts {
		if m.Destination == target && m.Type == "volume" {
			return m.Name
		}
	}
	s.Fatalf("nothing is mounted at %s: %+v", target, found.Mounts)
	return ""
}

// hasVolume reports whether the engine has a volume.
func (s *suite) hasVolume(name string) bool {
	s.Helper()
	_, err := s.api.VolumeInspect(s.Context(), name)
	if err != nil && !errdefs.IsNotFound(err) {
		s.Fatal(err)
	}
	return err == nil
}

// sh runs a shell command in a container, as the engine's root without
// capabilities, or as a user, and returns its output.
func (s *suite) sh(engineID, user, command string) string {
	s.Helper()
	created, err := s.api.ContainerExecCreate(s.Context(), engineID, container.ExecOptions{
		User: user, Cmd: []string{"/bin/sh", "-c", command}, AttachStdout: true, AttachStderr: true})
	if err != nil {
		s.Fatal(err)
	}
	attached, err := s.api.ContainerExecAttach(s.Context(), created.ID, container.ExecAttachOptions{})
	if err != nil {
		s.Fatal(err)
	}
	defer attached.Close()
	var out bytes.Buffer
	if _, err := stdcopy.StdCopy(&out, &out, attached.Reader); err != nil {
		s.Fatal(err)
	}
	return out.String()
}

// foreign makes a container that is not deep's, gone with the test.
func (s *suite) foreign(name string) string {
	s.Helper()
	return s.foreignOf(require.Busybox, name)
}

func (s *suite) foreignOf(image, name string) string {
	s.Helper()
	made, err := s.api.ContainerCreate(s.Context(),
		&container.Config{Image: image, Cmd: []string{"sleep", "600"}},
		&container.HostConfig{NetworkMode: "none", Resources: container.Resources{Ulimits: []*units.Ulimit{
			{Name: "nofile", Soft: 1024, Hard: 1024}, {Name: "nproc", Soft: 1024, Hard: 1024}}}},
		nil, nil, name)
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() {
		ctx, cancel := cleanContext()
		defer cancel()
		if err := s.api.ContainerRemove(ctx, made.ID, container.RemoveOptions{Force: true, RemoveVolumes: true}); err != nil {
			s.Error(err)
		}
	})
	return made.ID
}

// connect opens a stream, closed with the test.
func (s *suite) connect(p pluginsdk.Provisioner, id string) io.ReadWriteCloser {
	s.Helper()
	stream, err := p.Connect(s.Context(), id)
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { _ = stream.Close() })
	return stream
}

// echo fails unless what is written comes back.
func (s *suite) echo(stream io.ReadWriter, data []byte) {
	s.Helper()
	written := make(chan error, 1)
	go func() {
		_, err := stream.Write(data)
		written <- err
	}()
	got := make([]byte, len(data))
	n, err := io.ReadFull(stream, got)
	if err != nil {
		s.Fatalf("after %d of %d bytes: %v", n, len(data), err)
	}
	if err := <-written; err != nil {
		s.Fatal(err)
	}
	if !bytes.Equal(got, data) {
		i := 0
		for got[i] == data[i] {
			i++
		}
		s.Fatalf("%d bytes came back changed, the first at %d: %x, want %x", len(data), i, got[i:min(i+16, len(got))], data[i:min(i+16, len(data))])
	}
}

// eventually waits until ok says true, which may take an engine a while.
func (s *suite) eventually(what string, ok func() bool) {
	s.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.Fatalf("after a minute still not: %s", what)
		}
	}
}
