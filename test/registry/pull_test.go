package registry

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/deep-sandbox/deep/core/backend"
)

// TestPullProgress: layers, and of each its bytes, from nothing to all of them
// and never back.
func TestPullProgress(t *testing.T) {
	on(t, func(t *testing.T, e *engine) {
		img := Fixed(t, 1, 8<<20, 8<<20, 8<<20)
		Push(t, img, "pull/progress:1")
		e.Forget(ID(t, img))
		host := e.Proxy(Open, Slow(6<<20))
		made := create(t.Context(), t, e.plugin, host+"/pull/progress:1", backend.PullMissing, nil)
		made.works(t)
		made.destroy(t, e.plugin)

		type layer struct{ current, total int64 }
		layers := map[string]layer{}
		for i, s := range made.steps {
			if s.Phase != backend.PhasePull || s.Total == 0 {
				continue
			}
			l, known := layers[s.Layer]
			if s.Layer == "" || s.Current < l.current || s.Current > s.Total || known && s.Total != l.total {
				t.Errorf("step %d is %+v after %+v", i, s, l)
			}
			layers[s.Layer] = layer{s.Current, s.Total}
		}
		var sum int64
		for id, l := range layers {
			if l.current != l.total {
				t.Errorf("layer %s ended at %d of %d bytes", id, l.current, l.total)
			}
			sum += l.total
		}
		if sum < 24<<20 {
			t.Errorf("%d bytes of %d layers were told of, want 24 MiB at least:", sum, len(layers))
			for _, s := range made.steps {
				t.Logf("%+v", s)
			}
		}
	})
}

// TestPullPolicy: "never" asks no registry, "missing" only for what is not there,
// "always" each time, and then takes what the tag means by now.
func TestPullPolicy(t *testing.T) {
	on(t, func(t *testing.T, e *engine) {
		repository := "policy/" + backend.NewID() + ":1"
		image := e.At(Open) + "/" + repository
		first, second := Small(t), Small(t)
		Push(t, first, repository)
		e.Forget(ID(t, first))
		e.Forget(ID(t, second))

		e.failed(t, create(t.Context(), t, e.plugin, image, backend.PullNever, nil), backend.ErrNotFound, "never")
		for _, c := range []struct {
			pull   backend.PullPolicy
			tag    string // what it means now
			pulled bool
		}{
			{backend.PullMissing, "first", true},
			{backend.PullMissing, "second", false},
			{backend.PullNever, "second", false},
			{backend.PullAlways, "second", true},
		} {
			if c.tag == "second" {
				Push(t, second, repository)
			}
			made := create(t.Context(), t, e.plugin, image, c.pull, nil)
			made.works(t)
			made.destroy(t, e.plugin)
			if made.pulled() != c.pulled {
				t.Errorf("%s pulled: %v, want %v", c.pull, made.pulled(), c.pulled)
			}
			if newer := e.Has(ID(t, second)); newer != (c.pull == backend.PullAlways) {
				t.Errorf("after %s the engine has the newer image: %v", c.pull, newer)
			}
		}
	})
}

// TestPullDigest: a digest means this content, whatever becomes of the tag, also
// beside a tag.
func TestPullDigest(t *testing.T) {
	on(t, func(t *testing.T, e *engine) {
		repository := "digest/" + backend.NewID()
		first, second := Small(t), Small(t)
		digest := Push(t, first, repository+":1")
		Push(t, second, repository+":1")
		e.Forget(ID(t, first))
		e.Forget(ID(t, second))
		open := e.At(Open)
		for _, c := range []struct {
			name string
			pull backend.PullPolicy
		}{
			{repository + ":1@" + digest, backend.PullAlways},
			{repository + "@" + digest, backend.PullMissing},
			{repository + "@" + digest, backend.PullNever},
		} {
			made := create(t.Context(), t, e.plugin, open+"/"+c.name, c.pull, nil)
			made.works(t)
			made.destroy(t, e.plugin)
			if !e.Has(ID(t, first)) || e.Has(ID(t, second)) {
				t.Errorf("%s, %s: has the first %v, the second %v", c.name, c.pull, e.Has(ID(t, first)), e.Has(ID(t, second)))
			}
		}
	})
}

// TestPullAtOnce: two callers of one plugin, and a third of another, want an image
// that is missing.
func TestPullAtOnce(t *testing.T) {
	on(t, func(t *testing.T, e *engine) {
		repository := "at-once/" + backend.NewID() + ":1"
		img := Small(t)
		Push(t, img, repository)
		e.Forget(ID(t, img))
		host := e.Proxy(Open, Slow(1<<20))
		another := launch(t, e.Name, nil)
		var work sync.WaitGroup
		for _, p := range []*engine{e, e, {e.Engine, t, another}} {
			work.Go(func() {
				made := create(t.Context(), t, p.plugin, host+"/"+repository, backend.PullMissing, nil)
				if made.err != nil {
					t.Error(made.err)
				} else {
					made.destroy(t, p.plugin)
				}
			})
		}
		work.Wait()
	})
}

// TestPullCancelled: given up in the middle of a layer it returns at once, leaves
// nothing, and is in nobody's way afterwards.
func TestPullCancelled(t *testing.T) {
	on(t, func(t *testing.T, e *engine) {
		img := Fixed(t, 2, 4<<20)
		Push(t, img, "pull/cancelled:1")
		e.Forget(ID(t, img))
		host := e.Proxy(Open, Slow(1<<20))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var gaveUp time.Time
		made := create(ctx, t, e.plugin, host+"/pull/cancelled:1", backend.PullMissing, func(s backend.Progress) {
			if s.Current > 0 && gaveUp.IsZero() {
				gaveUp = time.Now()
				cancel()
			}
		})
		took := time.Since(gaveUp)
		if !errors.Is(made.err, context.Canceled) {
			t.Errorf("the error is %v", made.err)
		}
		if gaveUp.IsZero() || took > 2*time.Second {
			t.Errorf("it took %v to give up", took)
		}
		if n := e.Containers(made.id); n > 0 || e.Has(ID(t, img)) {
			t.Errorf("left: %d containers, the image %v", n, e.Has(ID(t, img)))
		}
		made = create(t.Context(), t, e.plugin, e.At(Open)+"/pull/cancelled:1", backend.PullMissing, nil)
		made.works(t)
		made.destroy(t, e.plugin)
	})
}
