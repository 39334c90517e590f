package registry

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/deep-sandbox/deep/core/backend"
)

// TestPullErrors: what is wrong with an image or its registry are different
// errors, the same on each engine, each saying what to do.
func TestPullErrors(t *testing.T) {
	on(t, func(t *testing.T, e *engine) {
		repository := "errors-" + e.Name + "/" + backend.NewID()
		img := Small(t)
		Push(t, img, repository+":1")
		foreign := For(t, Small(t), Foreign())
		Push(t, foreign, repository+":foreign")
		e.Forget(ID(t, foreign))
		Push(t, Index(Small(t), Foreign()), repository+":foreign-index")
		open, private := e.At(Open), e.At(Private)
		// Names that are no place for the words by which engines say what is wrong.
		Push(t, img, "unauthorized/forbidden:denied")
		never := "@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

		for _, c := range []struct {
			name, image string
			kind        error
			words       []string
		}{
			{"bad reference", open + "/UPPER:1", backend.ErrInvalid, []string{"no name of an image"}},
			{"bad digest", open + "/" + repository + "@sha256:abc", backend.ErrInvalid, []string{"no name of an image"}},
			{"missing tag", open + "/" + repository + ":2", backend.ErrNotFound, []string{"no such image", "check name and tag"}},
			{"missing tag of a misleading name", open + "/unauthorized/forbidden:unauthorized", backend.ErrNotFound, []string{"no such image"}},
			{"missing repository", open + "/errors/missing:1", backend.ErrNotFound, []string{"no such image"}},
			{"missing digest", open + "/" + repository + never, backend.ErrNotFound, []string{"no such image"}},
			{"denied without credentials", private + "/" + repository + ":1", backend.ErrPermission, []string{"denies access", "log in", private}},
			{"denied", e.Refusing(http.StatusForbidden, "DENIED") + "/a/b:1", backend.ErrPermission, []string{"denies access", "log in"}},
			{"unreachable", Closed(t) + "/a/b:1", backend.ErrUnavailable, []string{"cannot be reached", "connection refused"}},
			{"out of order", e.Refusing(http.StatusServiceUnavailable, "UNAVAILABLE") + "/a/b:1", backend.ErrUnavailable, []string{"503"}},
			{"another architecture", open + "/" + repository + ":foreign", backend.ErrUnsupported, []string{Foreign()}},
			{"an index without this architecture", open + "/" + repository + ":foreign-index", backend.ErrUnsupported, []string{"architecture"}},
		} {
			t.Run(c.name, func(t *testing.T) {
				made := create(t.Context(), t, e.plugin, c.image, backend.PullMissing, nil)
				e.failed(t, made, c.kind, c.words...)
			})
		}
	})
}

// TestPullSilent: a registry that accepts and never answers. The caller's deadline
// ends it, and the error says what was waited for.
func TestPullSilent(t *testing.T) {
	on(t, func(t *testing.T, e *engine) {
		silent := Silent(t)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		made := create(ctx, t, e.plugin, silent+"/a/b:1", backend.PullMissing, nil)
		e.failed(t, made, context.DeadlineExceeded, silent)
		if !errors.Is(made.err, context.DeadlineExceeded) {
			t.Errorf("errors.Is does not find the deadline in %v", made.err)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("it took %v after a deadline of a second", took)
		}
	})
}
