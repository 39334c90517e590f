package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/internal/trust"
)

const (
	// fileName in the user's and the system's directory, and the one that earns a
	// hint in the working directory.
	fileName  = "config.hcl"
	systemDir = "/etc/deep"
	// maxBytes of a file. The example, which explains every key, has not 10 KiB.
	maxBytes = 1 << 20
)

// FileError says why a file cannot be used as the configuration.
type FileError struct {
	Path string
	// What is wrong, and what to do about it.
	What, Hint string
	Err        error
}

func (e *FileError) Error() string {
	s := backend.Printable(e.Path) + ": " + e.What
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	if e.Hint != "" {
		s += " — " + e.Hint
	}
	return s
}

func (e *FileError) Unwrap() error { return e.Err }

// Locate returns the path of the file to read, "" if there is none. A file named
// by the user (named, or DEEP_CONFIG) is returned without looking whether it is
// there: reading it tells.
func Locate(named string) (string, error) {
	if named != "" {
		return named, nil
	}
	if named = os.Getenv("DEEP_CONFIG"); named != "" {
		return named, nil
	}
	for _, path := range standardPaths() {
		_, err := os.Stat(path)
		switch {
		case err == nil:
			return path, nil
		case errors.Is(err, fs.ErrNotExist):
		default:
			// It may well be there, and say something that matters.
			return "", &FileError{Path: path, What: "cannot look whether there is a configuration", Err: cause(err), Hint: "make it readable, or name another file with --config"}
		}
	}
	return "", nil
}

// standardPaths are where a file is looked for that nobody named.
func standardPaths() []string {
	var paths []string
	if dir := os.Getenv("XDG_CONFIG_HOME"); filepath.IsAbs(dir) {
		paths = append(paths, filepath.Join(dir, "deep", fileName))
	} else if home, err := os.UserHomeDir(); err == nil && filepath.IsAbs(home) {
		paths = append(paths, filepath.Join(home, ".config", "deep", fileName))
	}
	return append(paths, filepath.Join(systemDir, fileName))
}

// Ignored returns the path of a config.hcl in the working directory that is not
// read, "" if there is none or it is the one that is read.
func Ignored(read string) string {
	here, err := os.Lstat(fileName)
	if err != nil {
		return ""
	}
	if read != "" {
		if there, err := os.Stat(read); err == nil && os.SameFile(here, there) {
			return ""
		}
	}
	return fileName
}

// readTrusted returns the content of a file that nobody else can have written.
func readTrusted(path string) ([]byte, error) {
	// Not blocking: opening a FIFO waits for a writer.
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		hint := "make it readable for this user"
		if errors.Is(err, fs.ErrNotExist) {
			hint = "see config.hcl.example, or do without: every key has a default"
		}
		return nil, &FileError{Path: path, What: "cannot open the configuration", Err: cause(err), Hint: hint}
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, &FileError{Path: path, What: "cannot look at the configuration", Err: cause(err)}
	}
	if !info.Mode().IsRegular() {
		return nil, &FileError{Path: path, What: "the configuration is not a regular file", Hint: "name a file"}
	}
	if who := trust.Writer(info); who != "" {
		return nil, &FileError{Path: path, What: "refused: " + who + " can write it", Hint: trustHint(who, path)}
	}
	if err := trustDirectories(path); err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(f, maxBytes+1))
	if err != nil {
		return nil, &FileError{Path: path, What: "cannot read the configuration", Err: cause(err)}
	}
	if len(text) > maxBytes {
		return nil, &FileError{Path: path, What: fmt.Sprintf("the configuration is larger than %d MiB", maxBytes>>20), Hint: "is it another file?"}
	}
	return text, nil
}

// trustDirectories refuses a file that others could replace by another one.
func trustDirectories(path string) error {
	dir, who, err := trust.Directory(path)
	if err != nil {
		return &FileError{Path: path, What: "cannot look at the directory of the configuration", Err: cause(err)}
	}
	if who != "" {
		return &FileError{Path: path, What: "refused: " + who + " can write its directory " + backend.Printable(dir), Hint: trustHint(who, dir)}
	}
	return nil
}

func trustHint(who, path string) string {
	if strings.HasPrefix(who, "another user") {
		return "it decides what sandboxes may do: have it owned by you or root"
	}
	return "it decides what sandboxes may do: check it, then chmod go-w " + backend.Printable(path)
}

// cause takes the operation and the path off an error of package os, which the
// message has already.
func cause(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}
