package enginetest

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/pluginsdk"
)

// testNoEngine: the error names the address, says what was found there and what
// would help.
func testNoEngine(t *testing.T, e Engine) {
	dir, err := os.MkdirTemp("", "enginetest") // short: a socket's path has 108 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	deaf := filepath.Join(dir, "deaf")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: deaf, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	_ = l.Close()
	web := filepath.Join(dir, "web")
	listener, err := net.Listen("unix", web)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	_ = server.Listener.Close()
	server.Listener = listener
	server.Start()
	t.Cleanup(server.Close)
	closed := closedPort(t)

	for _, test := range []struct{ host, found string }{
		{"unix://" + filepath.Join(dir, "missing"), "no such socket"},
		{"unix://" + file, "a regular file"},
		{"unix://" + dir, "a directory"},
		{"unix://" + deaf, "nobody listens"},
		{"unix://" + web, "something answers"},
		{"tcp://" + closed, "does not answer"},
	} {
		p, err := e.New(pluginsdk.Env{Name: e.Name, StateDir: dir, Log: hclog.NewNullLogger()}, test.host, false)
		if err != nil {
			t.Errorf("%s: %v", test.host, err)
			continue
		}
		_, err = p.Check(t.Context())
		wantKind(t, err, backend.ErrUnavailable, test.host)
		if err != nil && !strings.Contains(err.Error(), test.found) {
			t.Errorf("%s: %v, want %q", test.host, err, test.found)
		}
		t.Log(err)
		if _, err := p.Inspect(t.Context(), &backend.InspectRequest{ID: "x"}); !errors.Is(err, backend.ErrUnavailable) {
			t.Errorf("%s: inspect: %v", test.host, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := p.Check(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: a call given up: %v", test.host, err)
		}
		if err := p.Close(); err != nil {
			t.Errorf("%s: %v", test.host, err)
		}
	}
	if _, err := e.New(pluginsdk.Env{Name: e.Name, StateDir: dir, Log: hclog.NewNullLogger()}, "carrier-pigeon://loft", false); !errors.Is(err, backend.ErrInvalid) {
		t.Errorf("no address at all: %v", err)
	}
}
