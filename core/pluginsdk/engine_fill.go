package pluginsdk

import (
	"archive/tar"
	"io"
	"os"
	"path"
	"time"

	"github.com/deep-sandbox/deep/core/backend"
)

// An engine that does not see this host's files gets the guest's program into a
// volume named by its sum, which is filled once through a container that is
// never started. That container's name is the lock.
const (
	// EngineFillDir is where that container has the volume.
	EngineFillDir = "/deep-guest"
	// EngineFillWhole is written last: where it is, the rest is whole.
	EngineFillWhole = "whole"
	// EngineFillTimeout is how long another process may take to fill the volume.
	// One that takes longer was killed, and what it left is taken over.
	EngineFillTimeout = 2 * time.Minute
)

// EngineFill returns what writes the content of EngineGuestDir: the program in
// file, and the directory that a tmpfs covers.
func EngineFill(file string) func(w *tar.Writer) error {
	return func(w *tar.Writer) error {
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
}

// EngineFilled writes EngineFillWhole.
func EngineFilled(w *tar.Writer) error {
	return w.WriteHeader(&tar.Header{Name: EngineFillWhole, Typeflag: tar.TypeReg, Mode: 0o444, ModTime: time.Now()})
}

// EngineOwner returns what writes an archive that makes a user the owner of the
// directory it is unpacked into. name is how the engine wants that directory
// called.
func EngineOwner(name string, uid, gid uint32) func(w *tar.Writer) error {
	return func(w *tar.Writer) error {
		return w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: 0o755, Uid: int(uid), Gid: int(gid), ModTime: time.Now()})
	}
}

// EngineForeignObject is the error for a container or volume with a name of ours
// that deep did not make.
func EngineForeignObject(what, name, remedy string) error {
	return &backend.Error{Kind: backend.ErrConflict, Path: name, Message: "a " + what + " of this name is there that deep did not make", Hint: remedy}
}
