package enginetest

import (
	"context"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/volume"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/pluginsdk"
)

// contextAfter returns a context that is cancelled after d.
func contextAfter(parent context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(parent)
	timer := time.AfterFunc(d, cancel)
	return ctx, func() { timer.Stop(); cancel() }
}

// cleanContext is for what is done after a test.
func cleanContext() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), time.Minute)
}

// foreignVolume makes a volume that is not deep's, gone with the test.
func (s *suite) foreignVolume(name string) {
	s.Helper()
	if _, err := s.api.VolumeCreate(s.Context(), volume.CreateOptions{Name: name}); err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() {
		ctx, cancel := cleanContext()
		defer cancel()
		if err := s.api.VolumeRemove(ctx, name, false); err != nil {
			s.Error(err)
		}
	})
}

// removeGuestVolume removes the volume with this test's guest.
func (s *suite) removeGuestVolume() {
	ctx, cancel := cleanContext()
	defer cancel()
	for _, arch := range []string{"amd64", "arm64"} {
		sum, err := s.guest.SHA256(arch)
		if err != nil {
			continue // there is one for this machine's architecture
		}
		if err := s.api.VolumeRemove(ctx, pluginsdk.EngineGuestVolume(sum), false); err != nil {
			s.Errorf("clean up: %v", err)
		}
		fillers, err := s.api.ContainerList(ctx, container.ListOptions{All: true, Filters: filters.NewArgs(filters.Arg("label", pluginsdk.LabelGuest+"="+sum))})
		if err != nil || len(fillers) > 0 {
			s.Errorf("what filled the volume is left: %v, %v", fillers, err)
		}
	}
}

// imageWith makes an image of the test's, gone with it.
func (s *suite) imageWith(opts container.CommitOptions) string {
	s.Helper()
	opts.Config = &container.Config{}
	opts.Reference = "localhost/deep-test/" + backend.NewID() + ":1"
	if _, err := s.api.ContainerCommit(s.Context(), s.foreign(""), opts); err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { s.removeImage(opts.Reference) })
	return opts.Reference
}

// removeImage removes an image, and its content unless something else has it.
func (s *suite) removeImage(name string) {
	ctx, cancel := cleanContext()
	defer cancel()
	if _, err := s.api.ImageRemove(ctx, name, image.RemoveOptions{Force: true, PruneChildren: true}); err != nil && !strings.Contains(err.Error(), "No such image") {
		s.Errorf("clean up: %v", err)
	}
}
