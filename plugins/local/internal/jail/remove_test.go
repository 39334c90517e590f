package jail

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestRemoveTree(t *testing.T) {
	parent, outside := t.TempDir(), t.TempDir()
	canary := filepath.Join(outside, "canary")
	must(t, os.WriteFile(canary, nil, 0o600))
	must(t, os.Chmod(outside, 0o500)) //nolint:gosec // a mode that must not change
	t.Cleanup(func() { _ = os.Chmod(outside, 0o700) })
	tree := filepath.Join(parent, "tree")
	must(t, os.MkdirAll(filepath.Join(tree, "a", "b", "c"), 0o700))
	for i := range 2000 { // more than are read at once
		must(t, os.WriteFile(filepath.Join(tree, "a", fmt.Sprint(i)), nil, 0o600))
	}
	must(t, os.Symlink(outside, filepath.Join(tree, "a", "b", "link")))
	must(t, os.Symlink(canary, filepath.Join(tree, "link")))
	must(t, unix.Mkfifo(filepath.Join(tree, "a", "fifo"), 0))
	dig(t, filepath.Join(tree, "deep"), 2500)
	for _, dir := range []string{"a/b/c", "a/b", "a", ""} {
		must(t, os.Chmod(filepath.Join(tree, dir), 0))
	}

	must(t, RemoveTree(tree))
	entries, err := os.ReadDir(parent)
	must(t, err)
	if len(entries) > 0 {
		t.Errorf("left: %v", entries)
	}
	info, err := os.Stat(outside)
	must(t, err)
	if _, err := os.Lstat(canary); err != nil || info.Mode().Perm() != 0o500 {
		t.Errorf("outside: %v, %v", err, info.Mode())
	}
	must(t, RemoveTree(tree)) // once more
	must(t, RemoveTree(filepath.Join(parent, "not", "there")))
}

// dig makes a directory of that depth, which is deeper than a path is long.
func dig(t *testing.T, dir string, depth int) {
	t.Helper()
	must(t, os.Mkdir(dir, 0o700))
	at, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	must(t, err)
	for range depth {
		must(t, unix.Mkdirat(at, "d", 0o700))
		next, err := unix.Openat(at, "d", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		must(t, errors.Join(err, unix.Close(at)))
		at = next
	}
	must(t, unix.Close(at))
}

func TestLock(t *testing.T) {
	dir := t.TempDir()
	if _, err := Lock(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no lock: %v", err)
	}
	lock, err := NewLock(dir)
	must(t, err)
	if _, err := Lock(dir); !errors.Is(err, ErrHeld) {
		t.Errorf("a held lock: %v", err)
	}
	if held, err := Held(dir); err != nil || !held {
		t.Errorf("a held lock: %v, %v", held, err)
	}
	// Somebody removed the sandbox, and another took its place: not ours to remove.
	must(t, os.Remove(filepath.Join(dir, lockFile)))
	other, err := NewLock(dir)
	must(t, err)
	must(t, Remove(dir, lock))
	if _, err := os.Lstat(dir); err != nil {
		t.Errorf("the other's is gone: %v", err)
	}
	must(t, lock.Close())
	must(t, other.Close())
	lock, err = Lock(dir)
	must(t, err)
	must(t, Remove(dir, lock))
	if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("left: %v", err)
	}
	must(t, lock.Close())
}

func TestRecordDamaged(t *testing.T) {
	for _, text := range []string{"", "{", "{}", `{"id":7}`} {
		dir := t.TempDir()
		must(t, os.WriteFile(filepath.Join(dir, recordFile), []byte(text), 0o600))
		if _, err := ReadRecord(dir); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestProcess(t *testing.T) {
	me, err := processOf(os.Getpid())
	must(t, err)
	other := me
	other.Start--
	if !me.Alive() || other.Alive() || (Process{}).Alive() {
		t.Errorf("%v lives: %v; another of its id: %v", me, me.Alive(), other.Alive())
	}
	// It would end this test.
	must(t, other.Signal(unix.SIGKILL))
	must(t, Process{}.Signal(unix.SIGKILL))
	must(t, other.Await(t.Context()))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
