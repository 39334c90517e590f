package enginetest

import (
	"path/filepath"
	"strings"

	"github.com/deep-sandbox/deep/core/backend"
)

// testRuntime: the sandbox has the runtime that was asked for, or is not made; the
// error tells which there are, and no id that nobody gave.
func testRuntime(s *suite) {
	host := "unix://" + s.engine.Socket
	info, err := s.api.Info(s.Context())
	if err != nil {
		s.Fatal(err)
	}
	own := info.DefaultRuntime
	for runtime, good := range map[string]bool{own: true, "nope": false} {
		p, err := s.engine.NewWithRuntime(s.env(), host, runtime)
		if err != nil {
			s.Fatal(err)
		}
		req := s.request(nil)
		_, err = s.provisionBy(p, req)
		if good {
			if err != nil {
				s.Errorf("with %s: %v", runtime, err)
			}
		} else {
			wantKind(s.T, err, backend.ErrInvalid, "runtime")
			if hint := backend.HintOf(err); !strings.Contains(hint, filepath.Base(own)) || strings.Contains(err.Error(), req.ID) {
				s.Errorf("with %s: %v", runtime, err)
			}
			s.wantNothing(req.ID)
		}
		if err := p.Close(); err != nil {
			s.Error(err)
		}
	}
}
