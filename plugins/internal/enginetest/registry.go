package enginetest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/deep-sandbox/deep/test/require"
)

// A registry with one image, good/image:1.
type registry struct {
	// host is HOST:PORT, the first part of an image's name.
	host  string
	blobs map[string][]byte
	// manifest of the good image.
	manifest []byte
	// private: only this user may do anything.
	private        bool
	user, password string
	// told is closed when an engine has told of a layer's bytes. Until then they
	// come slowly, a few seconds at most: engines tell of them once a second.
	told chan struct{}
}

// newRegistry serves on a port of the loopback interface. Docker takes that
// without TLS; for an engine that does not, its certificate is put where
// engines that read certs.d look, which needs root.
func newRegistry(t *testing.T, tls, private bool) *registry {
	t.Helper()
	r := &registry{blobs: map[string][]byte{}, private: private, told: make(chan struct{}), user: "someone", password: rand.Text()}
	r.fill(t)
	server := httptest.NewUnstartedServer(r)
	if tls {
		server.StartTLS()
	} else {
		server.Start()
	}
	t.Cleanup(server.Close)
	r.host = server.Listener.Addr().String()
	if tls {
		const certs = "/etc/containers/certs.d"
		if _, err := os.Stat(certs); err != nil {
			t.Cleanup(func() { _ = os.Remove(certs) }) // if it is empty
		}
		dir := filepath.Join(certs, r.host)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			require.Skip(t, "root", "the engine is told of a registry's certificate below /etc: "+err.Error())
		}
		t.Cleanup(func() { _ = os.RemoveAll(dir) })
		cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
		if err := os.WriteFile(filepath.Join(dir, "ca.crt"), cert, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

// closedPort returns an address at which nobody listens.
func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// fill makes an image of one layer, big enough for an engine to tell of its
// bytes.
func (r *registry) fill(t *testing.T) {
	t.Helper()
	var layer, packed bytes.Buffer
	w := tar.NewWriter(&layer)
	content := make([]byte, 4<<20)
	_, _ = rand.Read(content) // never fails
	if err := w.WriteHeader(&tar.Header{Name: "random", Mode: 0o644, Size: int64(len(content))}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	diff := digest(layer.Bytes())
	z := gzip.NewWriter(&packed)
	if _, err := z.Write(layer.Bytes()); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	config := mustJSON(t, map[string]any{
		"architecture": runtime.GOARCH, "os": "linux", "config": map[string]any{},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{diff}},
	})
	blob := func(mediaType string, data []byte) map[string]any {
		r.blobs[digest(data)] = data
		return map[string]any{"mediaType": mediaType, "size": len(data), "digest": digest(data)}
	}
	r.manifest = mustJSON(t, map[string]any{
		"schemaVersion": 2, "mediaType": manifestType,
		"config": blob("application/vnd.docker.container.image.v1+json", config),
		"layers": []any{blob("application/vnd.docker.image.rootfs.diff.tar.gzip", packed.Bytes())},
	})
}

const manifestType = "application/vnd.docker.distribution.manifest.v2+json"

func digest(data []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(data)) }

func mustJSON(t *testing.T, v any) []byte {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// ServeHTTP implements http.Handler: as much of the distribution specification
// as a pull needs.
func (r *registry) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	fail := func(status int, code string) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"errors":[{"code":%q,"message":"as the test wants it"}]}`, code)
	}
	path := strings.TrimPrefix(req.URL.Path, "/v2/")
	if user, password, _ := req.BasicAuth(); r.private && (user != r.user || password != r.password) {
		w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
		fail(http.StatusUnauthorized, "UNAUTHORIZED")
		return
	}
	parts := strings.Split(path, "/")
	switch {
	case path == "":
		w.WriteHeader(http.StatusOK)
	case strings.HasPrefix(path, "forbidden/"):
		fail(http.StatusForbidden, "DENIED")
	case len(parts) == 4 && parts[2] == "manifests" && (parts[3] == "1" || parts[3] == digest(r.manifest)):
		w.Header().Set("Content-Type", manifestType)
		w.Header().Set("Docker-Content-Digest", digest(r.manifest))
		w.Header().Set("Content-Length", fmt.Sprint(len(r.manifest)))
		if req.Method != http.MethodHead {
			_, _ = w.Write(r.manifest) // an engine that hung up
		}
	case len(parts) == 4 && parts[2] == "blobs" && r.blobs[parts[3]] != nil:
		r.serveBlob(w, req, parts[3])
	case len(parts) == 4 && parts[2] == "manifests":
		fail(http.StatusNotFound, "MANIFEST_UNKNOWN")
	default:
		fail(http.StatusNotFound, "NAME_UNKNOWN")
	}
}

func (r *registry) serveBlob(w http.ResponseWriter, req *http.Request, name string) {
	blob := r.blobs[name]
	w.Header().Set("Content-Length", fmt.Sprint(len(blob)))
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Docker-Content-Digest", name)
	if req.Method == http.MethodHead {
		return
	}
	for piece := range slices.Chunk(blob, 64<<10) {
		if _, err := w.Write(piece); err != nil {
			return // the engine hung up
		}
		_ = http.NewResponseController(w).Flush()
		select {
		case <-r.told:
		case <-time.After(50 * time.Millisecond):
		case <-req.Context().Done():
			return
		}
	}
}
