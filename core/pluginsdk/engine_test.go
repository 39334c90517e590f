package pluginsdk

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/deep-sandbox/deep/core/backend"
)

// frame is one as engines send it.
func frame(stream byte, data string) string {
	header := []byte{stream, 0, 0, 0, 0, 0, 0, 0}
	binary.BigEndian.PutUint32(header[4:], uint32(len(data)))
	return string(header) + data
}

// engineStream is one of which the engine sends what, in pieces of size bytes.
func engineStream(t *testing.T, what string, size int) (*EngineStream, *[]string) {
	t.Helper()
	ours, theirs := net.Pipe()
	go func() {
		defer func() { _ = theirs.Close() }()
		for piece := range slices.Chunk([]byte(what), size) {
			if _, err := theirs.Write(piece); err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() { _ = ours.Close() })
	var lines []string
	return NewEngineStream(ours, bufio.NewReader(ours), func(l string) { lines = append(lines, l) }), &lines
}

func TestEngineStream(t *testing.T) {
	what := frame(1, "one ") + frame(2, "war") + frame(1, "") + frame(2, "ning\x1b[2J\nhalf") + frame(1, "two\x00\xff") + frame(2, "")
	for _, size := range []int{1, 3, 7, len(what)} {
		s, lines := engineStream(t, what, size)
		got, err := io.ReadAll(s)
		if err != nil || string(got) != "one two\x00\xff" {
			t.Errorf("in pieces of %d: %q, %v", size, got, err)
		}
		if want := []string{`"warning\x1b[2J"`, "half"}; !slices.Equal(*lines, want) {
			t.Errorf("in pieces of %d: stderr %q, want %q", size, *lines, want)
		}
		if err := errors.Join(s.Close(), s.Close()); err != nil {
			t.Error(err)
		}
	}
}

func TestEngineStreamBroken(t *testing.T) {
	for what, want := range map[string]error{
		frame(1, "whole") + frame(1, "cut off")[:10]: io.ErrUnexpectedEOF,
		frame(1, "x")[:5]:                        io.ErrUnexpectedEOF,
		"HTTP/1.1 500 Internal Server Error\r\n": backend.ErrUnavailable,
		frame(3, "conmon fell over"):             backend.ErrUnavailable,
		frame(2, strings.Repeat("x", 1<<20)):     nil,
	} {
		s, lines := engineStream(t, what, 4096)
		if _, err := io.ReadAll(s); !errors.Is(err, want) {
			t.Errorf("%.20q: %v, want %v", what, err, want)
		}
		if n := len(strings.Join(*lines, "")); n > maxStderr {
			t.Errorf("%.20q: %d bytes of a line kept", what, n)
		}
	}
}

func TestEngineBinds(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	data, state, good := t.TempDir(), t.TempDir(), t.TempDir()
	b := EngineBinds{Data: []string{data}, StateDir: state}
	link := filepath.Join(t.TempDir(), "link")
	for _, l := range []struct{ name, to string }{{link, "/proc/self"}, {link + "2", home}, {link + "3", good}} {
		if err := os.Symlink(l.to, l.name); err != nil {
			t.Fatal(err)
		}
	}
	inHome := filepath.Join(home, "project")
	if err := os.Mkdir(inHome, 0o755); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(good, "socket")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })

	for source, want := range map[string]error{
		"/": backend.ErrPermission, "/etc": backend.ErrPermission, "/etc/ssl": backend.ErrPermission,
		"/proc": backend.ErrPermission, "/sys/fs": backend.ErrPermission, "/dev": backend.ErrPermission,
		"/dev/null": backend.ErrPermission, "/run": backend.ErrPermission, "/var": backend.ErrPermission,
		"/var/run": backend.ErrPermission, "/etc/../etc": backend.ErrPermission,
		home: backend.ErrPermission, filepath.Dir(home): backend.ErrPermission, inHome: nil,
		data: backend.ErrPermission, filepath.Dir(data): backend.ErrPermission, state: backend.ErrPermission,
		link: backend.ErrPermission, link + "2": backend.ErrPermission, link + "3": nil, good: nil,
		socket: backend.ErrInvalid, filepath.Join(good, "missing"): backend.ErrNotFound,
	} {
		_, err := b.Mount(backend.Mount{Source: source, Target: "/x"})
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", source, err, want)
		}
	}
	if resolved, err := b.Mount(backend.Mount{Source: link + "3"}); err != nil || resolved != good {
		t.Errorf("through a link: %q, %v", resolved, err)
	}
	_, uid, _, err := b.Workspace(good)
	if os.Getuid() == 0 {
		if !errors.Is(err, backend.ErrPermission) || !strings.Contains(backend.HintOf(err), "chown") {
			t.Errorf("root's directory: %v", err)
		}
		if err := os.Chown(good, 4321, 0); err != nil {
			t.Fatal(err)
		}
		_, uid, gid, err := b.Workspace(good)
		if err != nil || uid != 4321 || gid != 4321 {
			t.Errorf("a user's directory: %d:%d, %v", uid, gid, err)
		}
	} else if err != nil || int(uid) != os.Getuid() {
		t.Errorf("own directory: %d, %v", uid, err)
	}
}

func TestEngineEnforce(t *testing.T) {
	layers := []EngineLayer{{Name: "a", Present: true}, {Name: "b", Detail: "not found", Remedy: "get it"}, {Name: "c"}}
	_, err := EngineEnforce(layers, []string{"c"})
	var e *backend.Error
	if !errors.As(err, &e) || !errors.Is(e.Kind, backend.ErrUnsupported) || e.Path != "b" || !strings.Contains(e.Hint, "get it") || !strings.Contains(e.Hint, `"b" in accept_degraded`) {
		t.Errorf("%v", err)
	}
	degraded, err := EngineEnforce(layers, []string{"c", "b", "a"})
	if err != nil || !slices.Equal(degraded, []string{"b", "c"}) {
		t.Errorf("%v, %v", degraded, err)
	}
}

func TestEngineMounts(t *testing.T) {
	for _, memory := range []int64{16 << 20, 1 << 30, 64 << 30} {
		spec, err := backend.Spec{Memory: memory}.Settle([]backend.Capability{backend.CapBind})
		if err != nil {
			t.Fatal(err)
		}
		tmpfs, shm, err := EngineMounts(spec, []string{"/data", "/data/", "/workspace", "/tmp", "/workspace/below"})
		if err != nil {
			t.Fatal(err)
		}
		total := shm
		var targets []string
		for _, m := range tmpfs {
			total += m.Size
			targets = append(targets, m.Target)
		}
		if want := []string{"/tmp", "/run", EngineGuestRun, EngineHome, "/data", "/workspace/below"}; !slices.Equal(targets, want) {
			t.Errorf("%v, want %v", targets, want)
		}
		if got, want := EngineEnv(tmpfs)["DEEP_OPEN"], "/tmp\n"+EngineHome+"\n/data\n/workspace/below"; got != want {
			t.Errorf("open are %q, want %q", got, want)
		}
		if total > memory/2 {
			t.Errorf("of %d MiB, %d MiB may be files in memory", memory>>20, total>>20)
		}
	}
	for _, v := range []string{"/", "/proc", "/dev/shm", "/.deep", "/.deep/run", "/x/../.deep/run"} {
		if _, _, err := EngineMounts(backend.Spec{Memory: 1 << 30}, []string{v}); !errors.Is(err, backend.ErrInvalid) {
			t.Errorf("an image with a volume at %s: %v", v, err)
		}
	}
}

func TestEngineImageError(t *testing.T) {
	for text, want := range map[string]error{
		"pull access denied for x, repository does not exist or may require 'docker login': denied: requested access to the resource is denied": backend.ErrPermission,
		"unauthorized: authentication required":                                             backend.ErrPermission,
		"reading manifest 1 in r/x: manifest unknown":                                       backend.ErrNotFound,
		"manifest for r/x:1 not found":                                                      backend.ErrNotFound,
		"dial tcp: lookup registry.example.com: no such host":                               backend.ErrUnavailable,
		"net/http: request canceled while waiting for connection (Client.Timeout exceeded)": backend.ErrUnavailable,
		"x509: certificate signed by unknown authority":                                     backend.ErrUnavailable,
		"no matching manifest for linux/arm64/v8 in the manifest list entries":              backend.ErrUnsupported,
		"toomanyrequests: You have reached your pull rate limit":                            backend.ErrUnavailable,
		"filesystem layer verification failed for digest sha256:00":                         backend.ErrConflict,
		"Digest did not match, expected sha256:00, got sha256:01":                           backend.ErrConflict,
		"write /var/lib/docker/tmp/GetImageBlob1: no space left on device":                  backend.ErrNoSpace,
		"something new \x1b[31m":                                                            backend.ErrUnavailable,
	} {
		err := EngineImageError("registry.example.com/x:1", text)
		if !errors.Is(backend.KindOf(err), want) || backend.HintOf(err) == "" {
			t.Errorf("%q: %v, want %v", text, err, want)
		}
		if strings.ContainsRune(err.Error(), '\x1b') {
			t.Errorf("%q moves the cursor", err)
		}
	}
}
