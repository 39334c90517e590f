package enginetest

import (
	"errors"
	"slices"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/volume"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/pluginsdk"
)

// testRemovedByOthers: somebody removes the container, as `docker rm -f` does,
// and not what belongs to it. Destroy does.
func testRemovedByOthers(s *suite) {
	req, made := s.provision(nil)
	workspace := s.volume(made.Info.EngineID, req.Spec.Workspace.Path)
	if err := s.api.ContainerRemove(s.Context(), made.Info.EngineID, container.RemoveOptions{Force: true}); err != nil {
		s.Fatal(err)
	}
	s.eventually("the container is gone", func() bool { return len(s.containers(req.ID)) == 0 })
	_, err := s.p.Connect(s.Context(), req.ID)
	wantKind(s.T, err, backend.ErrGone, req.ID)
	for range 2 {
		if err := s.p.Destroy(s.Context(), &backend.DestroyRequest{ID: req.ID}); err != nil {
			s.Fatal(err)
		}
	}
	// The engine may be at it itself.
	s.eventually("the workspace is gone", func() bool { return !s.hasVolume(workspace) })
}

// testWorkspaceLeft: the workspace of a sandbox whose container is gone is told
// of as much as a dead host's sandbox must be to be cleaned up, and no workspace
// that is kept by name is taken for one.
func testWorkspaceLeft(s *suite) {
	req := s.request(nil)
	owner := backend.Owner{HostID: "m", BootID: "b", PID: 7, StartTime: 8}
	req.Labels[pluginsdk.LabelOwner] = owner.String()
	kept := s.request(func(sp *backend.Spec) { sp.Workspace.Name = backend.NewID() })
	for _, r := range []*pluginsdk.ProvisionRequest{req, kept} {
		left, err := s.api.VolumeCreate(s.Context(), volume.CreateOptions{Labels: r.Labels})
		if err != nil {
			s.Fatal(err)
		}
		s.Cleanup(func() {
			ctx, cancel := cleanContext()
			defer cancel()
			if err := s.api.VolumeRemove(ctx, left.Name, false); err != nil && !errdefs.IsNotFound(err) {
				s.Error(err)
			}
		})
	}
	info, err := s.p.Inspect(s.Context(), &backend.InspectRequest{ID: req.ID})
	if err != nil {
		s.Fatal(err)
	}
	if info.State != backend.StateStopped || !info.Ephemeral || info.Owner != owner || info.Created.IsZero() {
		s.Errorf("Inspect: %+v", info)
	}
	list, err := s.p.List(s.Context(), &backend.ListRequest{})
	if err != nil {
		s.Fatal(err)
	}
	if n := len(slices.DeleteFunc(list.Sandboxes, func(i backend.SandboxInfo) bool { return i.ID != req.ID && i.ID != kept.ID })); n != 1 {
		s.Errorf("%d of what is left are listed, want 1", n)
	}
	if _, err := s.p.Inspect(s.Context(), &backend.InspectRequest{ID: kept.ID}); !errors.Is(err, backend.ErrNotFound) {
		s.Errorf("Inspect of one with a workspace that is kept: %v", err)
	}
	if err := s.p.Stop(s.Context(), &backend.StopRequest{ID: req.ID}); err != nil {
		s.Error(err)
	}
	for range 2 {
		if err := s.p.Destroy(s.Context(), &backend.DestroyRequest{ID: req.ID}); err != nil {
			s.Error(err)
		}
	}
	s.wantNothing(req.ID)
}
