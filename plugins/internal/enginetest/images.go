package enginetest

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/deep-sandbox/deep/core/backend"
)

// testImageErrors: each its own error, which names the image and what to do.
func testImageErrors(s *suite) {
	r := newRegistry(s.T, s.engine.TLS, false)
	private := newRegistry(s.T, s.engine.TLS, true)
	unreachable := closedPort(s.T)
	for _, test := range []struct {
		image string
		pull  backend.PullPolicy
		kind  error
	}{
		{"deep-test/UPPER", backend.PullMissing, backend.ErrInvalid},
		{"bad::reference", backend.PullNever, backend.ErrInvalid},
		{"localhost/deep-test/not-there:1", backend.PullNever, backend.ErrNotFound},
		{unreachable + "/good/image:1", backend.PullMissing, backend.ErrUnavailable},
		{private.host + "/good/image:1", backend.PullMissing, backend.ErrPermission},
		{r.host + "/forbidden/image:1", backend.PullMissing, backend.ErrPermission},
		{r.host + "/good/image:missing", backend.PullMissing, backend.ErrNotFound},
	} {
		req := s.request(func(sp *backend.Spec) { sp.Image, sp.Pull = test.image, test.pull })
		_, err := s.p.Provision(s.Context(), req)
		wantKind(s.T, err, test.kind, test.image)
		s.Log(err)
		s.wantNothing(req.ID)
	}
}

// testPull gets an image with the credentials that a user has, and tells of its
// bytes.
func testPull(s *suite) {
	r := newRegistry(s.T, s.engine.TLS, true)
	image := r.host + "/good/image:1"
	auth := filepath.Join(s.TempDir(), "auth.json")
	login := base64.StdEncoding.EncodeToString([]byte(r.user + ":" + r.password))
	if err := os.WriteFile(auth, fmt.Appendf(nil, `{"auths":{%q:{"auth":%q}}}`, r.host, login), 0o600); err != nil {
		s.Fatal(err)
	}
	p, err := s.engine.NewWithAuth(s.env(), "unix://"+s.engine.Socket, auth)
	if err != nil {
		s.Fatal(err)
	}
	defer func() { _ = p.Close() }()
	s.Cleanup(func() { s.removeImage(image) })

	// Given up, nothing stays and the next one is not hindered.
	ctx, cancel := context.WithCancel(s.Context())
	req := s.request(func(sp *backend.Spec) { sp.Image, sp.Pull = image, backend.PullAlways })
	req.Progress = func(p backend.Progress) {
		if p.Phase == backend.PhasePull {
			cancel()
		}
	}
	if _, err := p.Provision(ctx, req); !errors.Is(err, context.Canceled) {
		s.Errorf("a pull that was given up: %v", err)
	}
	cancel()
	s.wantNothing(req.ID)

	var log []string
	told := sync.OnceFunc(func() { close(r.told) })
	req = s.request(func(sp *backend.Spec) { sp.Image, sp.Pull = image, backend.PullMissing })
	req.Progress = func(p backend.Progress) {
		log = append(log, fmt.Sprintf("%+v", p))
		if p.Phase == backend.PhasePull && p.Layer != "" && p.Current > 0 && p.Total > 0 {
			told()
		}
	}
	if _, err := s.provisionBy(p, req); err != nil {
		s.Fatal(err)
	}
	select {
	case <-r.told:
	default:
		s.Errorf("no progress of a layer's bytes in\n%s", strings.Join(log, "\n"))
	}
	if all := strings.Join(log, ""); strings.Contains(all, r.password) || strings.Contains(all, login) {
		s.Error("the password is in the progress")
	}
	s.echo(s.connect(p, req.ID), []byte("in an image without a shell"))
}
