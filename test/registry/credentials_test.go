package registry

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/deep-sandbox/deep/core/backend"
)

// TestCredentials: those of auth_file open the private registry; wrong ones are
// the error that access is denied, and none are told to anybody.
func TestCredentials(t *testing.T) {
	on(t, func(t *testing.T, e *engine) {
		private := e.At(Private)
		for _, c := range []struct {
			name, host, user, password string
			kind                       error
		}{
			{"right", private, User, Password, nil},
			{"wrong password", private, User, "wrong-" + Password, backend.ErrPermission},
			{"wrong user", private, "nobody", Password, backend.ErrPermission},
			{"of another registry", "registry.example.com", User, Password, backend.ErrPermission},
		} {
			t.Run(c.name, func(t *testing.T) {
				repository := "credentials/" + backend.NewID() + ":1"
				img := Small(t)
				Push(t, img, repository)
				e.Forget(ID(t, img))

				var log bytes.Buffer
				p, err := start(t, e.Name, map[string]any{"auth_file": login(t, c.host, c.user, c.password)},
					slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})))
				if err != nil {
					t.Fatal(err)
				}
				made := create(t.Context(), t, p, private+"/"+repository, backend.PullMissing, nil)
				if c.kind == nil {
					made.works(t)
					made.destroy(t, p)
				} else {
					e.failed(t, made, c.kind, "denies access", "log in", private)
				}
				said := fmt.Sprintf("%v %+v %s", made.err, made.steps, log.String())
				for _, secret := range []string{c.password, base64.StdEncoding.EncodeToString([]byte(c.user + ":" + c.password))} {
					if strings.Contains(said, secret) {
						t.Errorf("a secret was told:\n%s", said)
					}
				}
			})
		}
	})
}
