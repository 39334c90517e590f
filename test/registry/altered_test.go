package registry

import (
	"testing"

	"github.com/deep-sandbox/deep/core/backend"
)

// TestAltered: somebody between engine and registry changes what is sent. The
// error says so, and nothing of it becomes an image.
func TestAltered(t *testing.T) {
	on(t, func(t *testing.T, e *engine) {
		for _, c := range []struct{ name, which string }{
			{"a layer", "blobs"},
			{"the manifest", "manifests"},
		} {
			t.Run(c.name, func(t *testing.T) {
				repository := "altered/" + backend.NewID()
				img := Small(t)
				digest := Push(t, img, repository+":1")
				e.Forget(ID(t, img))
				layers, err := img.Layers()
				if err != nil {
					t.Fatal(err)
				}
				layer, err := layers[len(layers)-1].Digest()
				if err != nil {
					t.Fatal(err)
				}
				host := e.Proxy(Open, Altered(c.which, func(name string) bool { return name == digest || name == layer.String() }))
				made := create(t.Context(), t, e.plugin, host+"/"+repository+"@"+digest, backend.PullMissing, nil)
				e.failed(t, made, backend.ErrConflict, "not match", "digest")
				if e.Has(ID(t, img)) || e.Has(host+"/"+repository+"@"+digest) {
					t.Error("the engine has an image now")
				}
			})
		}
	})
}
