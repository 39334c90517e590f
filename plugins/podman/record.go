package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/containers/podman/v5/pkg/bindings/containers"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/pluginsdk"
)

// record tells whose a volume is that has no name of its own: Podman gives such a
// volume no labels, and leaves it when somebody else removes the container. This
// host alone can prove that its owner is dead, so this host remembers it.
type record struct {
	Volume string            `json:"volume"`
	Labels map[string]string `json:"labels"`
}

// recordDir is where the records of a service are: what one service has not,
// another may have.
func (b *podmanBackend) recordDir() string {
	return filepath.Join(b.env.StateDir, "volumes-"+hashed(b.address.Address))
}

func hashed(name string) string {
	sum := sha256.Sum256([]byte(name))
	return hex.EncodeToString(sum[:8])
}

// remember records the volume a container got at a path.
func (b *podmanBackend) remember(api context.Context, engineID, target string, labels map[string]string) error {
	found, err := containers.Inspect(api, engineID, nil)
	if err != nil {
		return b.failure(err, labels[pluginsdk.LabelSandbox])
	}
	for _, m := range found.Mounts {
		if m.Type != "volume" || m.Destination != target {
			continue
		}
		data, err := json.Marshal(record{m.Name, labels})
		if err == nil {
			err = b.writeRecord(m.Name, data)
		}
		if err != nil {
			return &backend.Error{Kind: backend.ErrUnavailable, Path: b.recordDir(), Message: "cannot write down whose a volume is", Err: err}
		}
		return nil
	}
	return &backend.Error{Kind: backend.ErrUnavailable, Path: labels[pluginsdk.LabelSandbox], Message: "the Podman service made no volume at " + target}
}

// writeRecord is all or nothing: others read while it writes.
func (b *podmanBackend) writeRecord(volume string, data []byte) error {
	dir := b.recordDir()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(dir, ".new-")
	if err != nil {
		return err
	}
	_, err = tmp.Write(data)
	if err = errors.Join(err, tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), filepath.Join(dir, hashed(volume)))
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp.Name()))
	}
	return nil
}

// records returns those there are, by their files. One that cannot be read is
// skipped: it must not hide the others.
func (b *podmanBackend) records() (map[string]record, error) {
	files, err := os.ReadDir(b.recordDir())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, &backend.Error{Kind: backend.ErrUnavailable, Path: b.recordDir(), Err: err}
	}
	all := map[string]record{}
	for _, f := range files {
		if strings.HasPrefix(f.Name(), ".") {
			continue
		}
		var r record
		file := filepath.Join(b.recordDir(), f.Name())
		data, err := os.ReadFile(file)
		if err == nil {
			err = json.Unmarshal(data, &r)
		}
		switch {
		case errors.Is(err, fs.ErrNotExist): // its volume just went
		case err != nil:
			b.env.Log.Warn("cannot tell whose a volume is", "error", err)
		default:
			all[file] = r
		}
	}
	return all, nil
}

// forget removes the record of a volume that is no more.
func (b *podmanBackend) forget(file string) {
	if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		b.env.Log.Warn("cannot forget a volume that is no more", "error", err)
	}
}
