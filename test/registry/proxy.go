package registry

import (
	"bytes"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/deep-sandbox/deep/test/require"
)

// At returns a HOST:PORT where the engine finds a registry as it is.
func (e *Engine) At(registry string) (host string) {
	if e.Name == "docker" {
		return registry
	}
	return e.Proxy(registry, nil)
}

// A Change is made to an answer of a registry on its way.
type Change func(*http.Response) error

// Proxy serves what a registry has, on another port and with each answer changed,
// and returns its HOST:PORT. change may be nil.
func (e *Engine) Proxy(registry string, change Change) (host string) {
	return e.serve(&httputil.ReverseProxy{
		Transport: direct,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: registry})
			// The answer is changed as it was sent, not unpacked.
			r.Out.Header.Set("Accept-Encoding", "identity")
		},
		ModifyResponse: change,
		FlushInterval:  -1, // a slow answer is slow bytes, not late ones
		// An engine that hangs up is what the test wants, not a line in its log.
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	})
}

// Refusing answers every request with a status and an error code of the
// distribution specification.
func (e *Engine) Refusing(status int, code string) (host string) {
	return e.serve(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, `{"errors":[{"code":"`+code+`","message":"as the test wants it"}]}`)
	}))
}

// trust is where podman looks, with each pull, for certificates to trust.
const trust = "/etc/containers/certs.d"

// serve serves on a port of the loopback interface. Docker takes a registry there
// without TLS. Podman does not; it is told of a certificate, which needs root.
func (e *Engine) serve(handler http.Handler) (host string) {
	t := e.t
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	t.Cleanup(func() {
		server.CloseClientConnections() // podman keeps some, also of a pull that was given up
		server.Close()
	})
	host = server.Listener.Addr().String()
	if e.Name == "docker" {
		server.Start()
		return host
	}
	server.StartTLS()
	if _, err := os.Stat(trust); err != nil {
		t.Cleanup(func() { _ = os.Remove(trust) }) // if it is empty
	}
	dir := filepath.Join(trust, host)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		require.Skip(t, "root", "podman is told of a registry's certificate below /etc: "+err.Error())
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(filepath.Join(dir, "ca.crt"), cert, 0o644); err != nil {
		t.Fatal(err)
	}
	return host
}

// Slow lets so many bytes of each blob pass in a second.
func Slow(rate int) Change {
	return func(resp *http.Response) error {
		if kind(resp.Request) == "blobs" {
			resp.Body = &slowBody{resp.Body, rate}
		}
		return nil
	}
}

type slowBody struct {
	io.ReadCloser
	rate int
}

func (b *slowBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	time.Sleep(time.Duration(n) * time.Second / time.Duration(b.rate))
	return n, err
}

// Altered changes one byte of each answer about the kind, "manifests" or "blobs",
// that is wanted, and leaves its length, type and claimed digest as they are.
func Altered(which string, wanted func(name string) bool) Change {
	return func(resp *http.Response) error {
		if kind(resp.Request) != which || resp.Request.Method != http.MethodGet || !wanted(filepath.Base(resp.Request.URL.Path)) {
			return nil
		}
		data, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if which == "manifests" {
			// Still JSON, still a manifest, and another one.
			data = bytes.Replace(data, []byte(`"size":`), []byte(`"size": `), 1)
			resp.ContentLength = int64(len(data))
			resp.Header.Set("Content-Length", strconv.Itoa(len(data)))
		} else {
			data[len(data)/2] ^= 1
		}
		resp.Body = io.NopCloser(bytes.NewReader(data))
		return err
	}
}

// kind of what a request is about: /v2/NAME/KIND/REFERENCE.
func kind(req *http.Request) string { return filepath.Base(filepath.Dir(req.URL.Path)) }

// Closed returns a HOST:PORT where nobody listens.
func Closed(t testing.TB) string {
	t.Helper()
	l := listen(t)
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// Silent returns a HOST:PORT where connections are accepted, and nothing is ever
// said.
func Silent(t testing.TB) string {
	t.Helper()
	l := listen(t)
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = conn.Close() })
		}
	}()
	return l.Addr().String()
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}
