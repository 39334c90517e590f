package pluginsdk

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/deep-sandbox/deep/core/backend"
)

// TestEnginePullSilent: a registry that tells nothing is given up after a while,
// one that has told something is not.
func TestEnginePullSilent(t *testing.T) {
	const image = "registry.example.com/x:1"
	for _, c := range []struct {
		name, said string
		want       error
	}{
		{"silent", "", backend.ErrUnavailable},
		{"slow", `{"status":"Pulling fs layer","id":"0123"}`, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				err := EnginePull(t.Context(), image, func(backend.Progress) {}, func(ctx context.Context) (io.ReadCloser, error) {
					r, w := io.Pipe()
					go func() {
						_, _ = io.WriteString(w, c.said)
						select {
						case <-time.After(10 * registryPatience):
							_ = w.Close()
						case <-ctx.Done():
							_ = w.CloseWithError(ctx.Err())
						}
					}()
					return r, nil
				})
				if !errors.Is(err, c.want) || err != nil && (!strings.Contains(err.Error(), "does not answer") || !strings.Contains(backend.HintOf(err), "registry.example.com")) {
					t.Errorf("%v, want %v", err, c.want)
				}
			})
		})
	}
}

// TestPullProgress: it is of layers alone. What is told of a layer never goes back and ends at its total,
// though an engine counts again as it unpacks, and not to the end.
func TestPullProgress(t *testing.T) {
	var got []int64
	err := followPull(strings.NewReader(`
		{"status":"Pulling from x","id":"1"}
		{"status":"Pulling fs layer","progressDetail":{},"id":"a"}
		{"status":"Downloading","progressDetail":{"current":40,"total":100},"id":"a"}
		{"status":"Download complete","progressDetail":{},"id":"a"}
		{"status":"Extracting","progressDetail":{"current":10,"total":100},"id":"a"}
		{"status":"Pull complete","progressDetail":{},"id":"a"}
		{"status":"Status: Downloaded newer image for x:1"}
	`), "x:1", func() {}, func(p backend.Progress) {
		if p.Layer != "a" {
			t.Errorf("%+v is of no layer", p)
		}
		got = append(got, p.Current, p.Total)
	})
	want := []int64{0, 0, 40, 100, 100, 100, 100, 100, 100, 100}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v; want %v", got, err, want)
	}
}
