package registry

import (
	"math/rand"
	"runtime"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// layerType is what docker makes: an image of it has the same id on both engines.
const layerType = types.DockerLayer

// Small returns an image that no engine has: busybox with some bytes more.
func Small(t testing.TB) v1.Image {
	t.Helper()
	return onBusybox(t, random.WithSource(rand.NewSource(time.Now().UnixNano())), 1<<10)
}

// Fixed returns an image with layers of so many bytes that do not compress, for a
// seed always the same one, so that the registry does not grow with each run. Each
// test has a seed of its own: two that pull one image at once see less of it.
func Fixed(t testing.TB, seed int64, sizes ...int64) v1.Image {
	t.Helper()
	return onBusybox(t, random.WithSource(rand.NewSource(seed)), sizes...)
}

// onBusybox returns busybox with further layers of so many random bytes.
func onBusybox(t testing.TB, source random.Option, sizes ...int64) v1.Image {
	t.Helper()
	img, err := remote.Image(reference(t, Open+"/deep-test/busybox:1"), remote.WithTransport(direct))
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range sizes {
		layer, err := random.Layer(size, layerType, source)
		if err != nil {
			t.Fatal(err)
		}
		if img, err = mutate.AppendLayers(img, layer); err != nil {
			t.Fatal(err)
		}
	}
	return img
}

// Foreign returns an architecture that is not this machine's.
func Foreign() string {
	if runtime.GOARCH == "arm64" {
		return "amd64"
	}
	return "arm64"
}

// For returns an image with its architecture changed, in name at least.
func For(t testing.TB, img v1.Image, arch string) v1.Image {
	t.Helper()
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config = config.DeepCopy()
	config.Architecture = arch
	if img, err = mutate.ConfigFile(img, config); err != nil {
		t.Fatal(err)
	}
	return img
}

// Index returns an index of one image, said to be for an architecture.
func Index(img v1.Image, arch string) v1.ImageIndex {
	return mutate.AppendManifests(mutate.IndexMediaType(empty.Index, types.DockerManifestList), mutate.IndexAddendum{
		Add: img, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}},
	})
}

// Push puts an image or an index into the registries, under REPOSITORY:TAG, and
// returns its digest.
func Push(t testing.TB, what remote.Taggable, repository string) (digest string) {
	t.Helper()
	ref := reference(t, Open+"/"+repository)
	var err error
	switch w := what.(type) {
	case v1.ImageIndex:
		err = remote.WriteIndex(ref, w, remote.WithTransport(direct), remote.WithJobs(1))
	case v1.Image:
		// One after the other: layers that may come from another repository race for
		// the client (v0.20.6).
		err = remote.Write(ref, w, remote.WithTransport(direct), remote.WithJobs(1))
	default:
		t.Fatalf("neither image nor index: %T", what)
	}
	if err != nil {
		t.Fatal(err)
	}
	found, err := remote.Head(ref, remote.WithTransport(direct))
	if err != nil {
		t.Fatal(err)
	}
	return found.Digest.String()
}

// ID is what an engine calls the image.
func ID(t testing.TB, img v1.Image) string {
	t.Helper()
	id, err := img.ConfigName()
	if err != nil {
		t.Fatal(err)
	}
	return id.String()
}

func reference(t testing.TB, s string) name.Reference {
	t.Helper()
	ref, err := name.ParseReference(s)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}
