// Package registry gives tests real registries: Debian's docker-registry, which
// `make engines` brings up, with and without a password, images that are pushed
// there, and servers that stand in for a registry that is slow, altered or silent.
package registry

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/deep-sandbox/deep/test/require"
)

// The registries: one store with two doors. They are the same in
// test/engines/lib.sh.
const (
	// Open lets anybody in, to push too.
	Open = "127.0.0.1:5801"
	// Private lets in User with Password, to pull only.
	Private = "127.0.0.1:5802"
	// User and Password are no secret: see test/engines/registry.
	User     = "deep-test"
	Password = "deep-test-no-secret"
)

// Require skips unless both registries answer; where DEEP_TEST_REQUIRE names the
// engine that shall pull from them, it fails.
func Require(t testing.TB, engine string) {
	t.Helper()
	for host, want := range map[string]int{Open: http.StatusOK, Private: http.StatusUnauthorized} {
		if err := answers(t.Context(), host, want); err != nil {
			require.Skip(t, engine, "no registry answers at "+host+", try `make engines`: "+err.Error())
		}
	}
}

func answers(ctx context.Context, host string, want int) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+host+"/v2/", nil)
	if err != nil {
		return err
	}
	resp, err := direct.RoundTrip(req)
	if err != nil {
		return err
	}
	_ = resp.Body.Close()
	if resp.StatusCode != want {
		return fmt.Errorf("%s, want %d", resp.Status, want)
	}
	return nil
}

// direct is a way to the registries that no proxy of the environment's is in.
var direct = &http.Transport{DisableKeepAlives: true}
