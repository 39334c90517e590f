package backendtest_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/backend/backendtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestFake(t *testing.T) {
	backendtest.Run(t, func(t *testing.T) (backend.Backend, backendtest.Opts) {
		fake := backendtest.NewFake()
		return fake, backendtest.Opts{Shell: true, Another: fake.Another}
	})
}

// TestFakeOfImages keeps the rules about images.
func TestFakeOfImages(t *testing.T) {
	t.Parallel()
	fake, opts := fakeOfImages()
	opts.Only = []string{"describe", "capability-*", "image-*", "home-*"}
	if err := backendtest.Test(t.Context(), fake, opts); err != nil {
		t.Error(err)
	}
}

func fakeOfImages() (*backendtest.Fake, backendtest.Opts) {
	return backendtest.NewFakeOfImages("ordinary", "bare", "trap"),
		backendtest.Opts{Spec: backend.Spec{Image: "ordinary"}, Shell: true, Bare: "bare", Trap: "trap"}
}
