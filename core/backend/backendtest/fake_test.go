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
