package pluginsdk

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/pluginsdk/seccomp"
)

// EngineSeccomp is the layer of deep's own seccomp profile, for images of an
// architecture. without says why the engine cannot have it, if it cannot.
func EngineSeccomp(arch string, present bool, without, remedy string) EngineLayer {
	l := EngineLayer{Name: backend.NameSeccomp, Present: present, Detail: without, Remedy: remedy}
	if !present {
		return l
	}
	profile, err := seccomp.Profile(arch)
	if err != nil {
		return EngineLayer{Name: l.Name, Detail: err.Error()}
	}
	l.Detail = "deep's profile " + seccomp.Digest(profile)
	return l
}

// EngineSeccompFile writes a profile into dir, for an engine that takes it by path,
// and returns that. Whoever calls it at the same time writes the same.
func EngineSeccompFile(dir string, profile []byte) (string, error) {
	path := filepath.Join(dir, "seccomp-"+seccomp.Digest(profile)+".json")
	if there, err := os.ReadFile(path); err == nil && bytes.Equal(there, profile) {
		return path, nil
	}
	f, err := os.CreateTemp(dir, ".seccomp-")
	if err != nil {
		return "", err
	}
	_, err = f.Write(profile)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return "", errors.Join(err, os.Remove(f.Name()))
	}
	return path, nil
}
