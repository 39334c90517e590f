package pluginsdk

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"os"
	"path"
	"sync"
	"time"

	"github.com/deep-sandbox/deep/core/backend"
)

// An engine that does not see this host's files gets the guest's program into a
// volume named by its sum, which is filled once through an idle container. That
// container's name is the lock.
const (
	// fillDir is where that container has the volume.
	fillDir = "/deep-guest"
	// fillWhole is written last: where it is, the rest is whole.
	fillWhole = "whole"
	// fillTimeout is how long another process may take to fill the volume. One
	// that takes longer was killed, and what it left is taken over.
	fillTimeout = 2 * time.Minute
)

// engineGuests remembers what this process placed.
type engineGuests struct {
	// mu is held while a volume is filled.
	mu sync.Mutex
	// placed are the volumes known to hold a guest.
	placed map[string]bool
}

// EngineGuestVolume is the name of the volume that holds the guest's program of
// this sum.
func EngineGuestVolume(sum string) string { return "deep-guest-" + sum[:min(len(sum), 32)] }

// PlaceGuest makes sure that the engine has a volume with the guest's program of
// an architecture, and returns its name. It goes to EngineGuestDir, read-only.
// image is one that the engine has; nothing of it is run.
func (l *EngineLifecycle) PlaceGuest(ctx context.Context, req *ProvisionRequest, arch, image string) (string, error) {
	file, err := req.Guest.Path(arch)
	if err != nil {
		return "", err
	}
	sum, err := req.Guest.SHA256(arch)
	if err != nil {
		return "", err
	}
	name := EngineGuestVolume(sum)
	l.guests.mu.Lock()
	defer l.guests.mu.Unlock()
	if l.guests.placed[name] {
		return name, nil
	}
	req.Progress(backend.Progress{Phase: backend.PhasePlace, Message: "placing the guest with the engine"})
	outlast, cancel := EngineOutlast(ctx)
	defer cancel()
	if err := l.fill(ctx, outlast, name, image, file, sum); err != nil {
		return "", err
	}
	l.guests.placed[name] = true
	return name, nil
}

func (l *EngineLifecycle) fill(ctx, outlast context.Context, name, image, file, sum string) (err error) {
	labels := map[string]string{LabelManaged: "true", LabelGuest: sum}
	have, err := l.objects.MakeVolume(outlast, name, labels)
	if err != nil {
		return err
	}
	if !engineMade(have, labels) {
		return engineForeign("volume", name, name)
	}
	filler, err := l.lock(ctx, outlast, EngineIdle{Name: name + "-fill", Image: image, Labels: labels,
		Volumes: []EngineVolume{{Name: name, Target: fillDir}}})
	if err != nil {
		return err
	}
	defer func() {
		undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), EngineUndo)
		defer cancel()
		if undoErr := l.objects.RemoveContainer(undo, filler); undoErr != nil {
			err = errors.Join(err, undoErr)
		}
	}()
	whole, err := l.objects.Has(outlast, filler, path.Join(fillDir, fillWhole))
	if err != nil || whole {
		return err
	}
	if err := l.objects.Put(outlast, filler, fillDir, func(w *tar.Writer) error { return writeGuest(w, file) }); err != nil {
		return err
	}
	return l.objects.Put(outlast, filler, fillDir, func(w *tar.Writer) error {
		return w.WriteHeader(&tar.Header{Name: fillWhole, Typeflag: tar.TypeReg, Mode: 0o444, ModTime: time.Now()})
	})
}

// lock makes the container, waiting while another process has it.
func (l *EngineLifecycle) lock(ctx, outlast context.Context, idle EngineIdle) (engineID string, err error) {
	for {
		engineID, err := l.objects.MakeIdle(outlast, idle)
		if !errors.Is(err, backend.ErrExists) {
			return engineID, err
		}
		other, err := l.objects.Container(outlast, idle.Name)
		switch {
		case err != nil:
			return "", err
		case other == nil: // it went a moment ago
		case !engineMade(other.Labels, idle.Labels):
			return "", engineForeign("container", idle.Name, idle.Name)
		case time.Since(other.Created) > fillTimeout:
			if err := l.objects.RemoveContainer(outlast, other.EngineID); err != nil {
				return "", err
			}
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return "", ctxError(ctx)
		}
	}
}

// writeGuest writes the content of EngineGuestDir: the program in file, and the
// directory that a tmpfs covers.
func writeGuest(w *tar.Writer, file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	run := &tar.Header{Name: path.Base(EngineGuestRun) + "/", Typeflag: tar.TypeDir, Mode: 0o700, ModTime: info.ModTime()}
	if err := w.WriteHeader(run); err != nil {
		return err
	}
	program := &tar.Header{Name: path.Base(EngineGuestPath), Typeflag: tar.TypeReg, Mode: 0o555, Size: info.Size(), ModTime: info.ModTime()}
	if err := w.WriteHeader(program); err != nil {
		return err
	}
	_, err = io.CopyN(w, f, info.Size())
	return err
}

// EngineOwner returns what writes an archive that makes a user the owner of the
// directory it is unpacked into. name is how the engine wants that directory
// called.
func EngineOwner(name string, uid, gid uint32) func(w *tar.Writer) error {
	return func(w *tar.Writer) error {
		return w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: 0o755, Uid: int(uid), Gid: int(gid), ModTime: time.Now()})
	}
}

// EnginePack returns the archive that write makes, as it is made. Close it.
func EnginePack(write func(*tar.Writer) error) io.ReadCloser {
	r, w := io.Pipe()
	go func() {
		t := tar.NewWriter(w)
		_ = w.CloseWithError(errors.Join(write(t), t.Close())) // the reader gets it
	}()
	return r
}
