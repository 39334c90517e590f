package store

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/deep-sandbox/deep/core/backend"
)

// open opens a store that is closed with the test.
func open(t *testing.T, path string) *Store {
	t.Helper()
	s, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func nobodyDead(string) bool { return false }

func TestRunsAreKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "deep", "state.db")
	s := open(t, path)
	for _, id := range []string{"one", "two"} {
		err := s.CreateRun(t.Context(), &Run{
			ID: id, Status: "running", Task: "task of " + id, Backend: "docker", Model: "m", Workspace: "w-" + id,
			Settings: []byte(`{"image":"x"}`), State: []byte(`{}`), Owner: "me",
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	state := []byte("{\"text\":\"caf\xc3\xa9 \\u0000\"}")
	if err := s.SaveRun(t.Context(), "one", "me", "waiting", state); err != nil {
		t.Fatal(err)
	}

	again := open(t, path)
	r, err := again.Run(t.Context(), "one")
	if err != nil {
		t.Fatal(err)
	}
	if r.Status != "waiting" || r.Task != "task of one" || r.Backend != "docker" || r.Model != "m" || r.Workspace != "w-one" ||
		string(r.Settings) != `{"image":"x"}` || !bytes.Equal(r.State, state) || r.Owner != "me" {
		t.Errorf("got %+v", r)
	}
	if r.Updated.Before(r.Created) || r.Created.IsZero() {
		t.Errorf("created %v, updated %v", r.Created, r.Updated)
	}
	runs, err := again.Runs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(runs) != 2 || runs[0].ID != "two" || runs[1].ID != "one" {
		t.Errorf("runs = %v, want two, one", runs)
	}
	if runs[0].State != nil || runs[0].Settings != nil {
		t.Error("a list carries whole transcripts")
	}
}

func TestCreateTwice(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "state.db"))
	if err := s.CreateRun(t.Context(), &Run{ID: "a", Task: "first"}); err != nil {
		t.Fatal(err)
	}
	if err := s.CreateRun(t.Context(), &Run{ID: "a", Task: "second"}); !errors.Is(err, backend.ErrExists) {
		t.Errorf("second create: %v, want ErrExists", err)
	}
	if r, err := s.Run(t.Context(), "a"); err != nil || r.Task != "first" {
		t.Errorf("run = %+v, %v", r, err)
	}
}

func TestMissingRun(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "state.db"))
	if _, err := s.Run(t.Context(), "no"); !errors.Is(err, backend.ErrNotFound) || backend.HintOf(err) == "" {
		t.Errorf("Run: %v, want ErrNotFound with a hint", err)
	}
	if _, err := s.Claim(t.Context(), "no", "me", nobodyDead); !errors.Is(err, backend.ErrNotFound) {
		t.Errorf("Claim: %v, want ErrNotFound", err)
	}
	if err := s.SaveRun(t.Context(), "no", "me", "", nil); !errors.Is(err, backend.ErrConflict) {
		t.Errorf("SaveRun: %v, want ErrConflict", err)
	}
}

func TestClaim(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "state.db"))
	ctx := t.Context()
	if err := s.CreateRun(ctx, &Run{ID: "a", Owner: "me"}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Claim(ctx, "a", "other", nobodyDead); !errors.Is(err, backend.ErrConflict) {
		t.Errorf("claim of a living owner's run: %v, want ErrConflict", err)
	}
	for what, err := range map[string]error{
		"save":   s.SaveRun(ctx, "a", "other", "x", nil),
		"delete": s.DeleteRun(ctx, "a", "other"),
	} {
		if !errors.Is(err, backend.ErrConflict) {
			t.Errorf("%s by another: %v, want ErrConflict", what, err)
		}
	}
	if err := s.Release(ctx, "a", "other"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Claim(ctx, "a", "me", nobodyDead); err != nil {
		t.Errorf("claim of one's own run: %v", err)
	}

	asked := ""
	r, err := s.Claim(ctx, "a", "other", func(owner string) bool { asked = owner; return true })
	if err != nil || r.Owner != "other" || asked != "me" {
		t.Errorf("claim of a dead owner's run: %+v, %v; asked about %q", r, err, asked)
	}
	if err := s.SaveRun(ctx, "a", "me", "x", nil); !errors.Is(err, backend.ErrConflict) {
		t.Errorf("save by who lost the run: %v, want ErrConflict", err)
	}

	if err := s.Release(ctx, "a", "other"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Claim(ctx, "a", "third", nobodyDead); err != nil {
		t.Errorf("claim of a released run: %v", err)
	}
	if err := s.DeleteRun(ctx, "a", "third"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Run(ctx, "a"); !errors.Is(err, backend.ErrNotFound) {
		t.Errorf("a removed run is still there: %v", err)
	}
}

// TestPrivate: transcripts are nobody else's business, whatever the umask.
func TestPrivate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "deep")
	path := filepath.Join(dir, "state.db")
	s := open(t, path)
	if err := s.CreateRun(t.Context(), &Run{ID: "a"}); err != nil {
		t.Fatal(err)
	}
	mode(t, dir, 0o700)
	for _, suffix := range []string{"", "-wal", "-shm"} {
		mode(t, path+suffix, 0o600)
	}

	loose := filepath.Join(t.TempDir(), "state.db")
	if err := os.WriteFile(loose, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	open(t, loose)
	mode(t, loose, 0o600)
}

func mode(t *testing.T, path string, want os.FileMode) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != want {
		t.Errorf("%s has mode %o, want %o", path, got, want)
	}
}

func TestOddPath(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a b?c#d%20&e=f", "state.db")
	s := open(t, path)
	if err := s.CreateRun(t.Context(), &Run{ID: "a"}); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path + "-wal"); err != nil || info.Size() == 0 {
		t.Errorf("nothing was written beside %s: %v", path, err)
	}
}

// raw runs statements on a file, as another program would.
func raw(t *testing.T, path string, statements ...string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, st := range statements {
		if _, err := db.ExecContext(t.Context(), st); err != nil {
			t.Fatal(err)
		}
	}
}

func TestNewerIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	raw(t, path, "CREATE TABLE future (x)", "INSERT INTO future VALUES (1)", fmt.Sprintf("PRAGMA user_version = %d", len(migrations)+1))
	refusedAndUntouched(t, path, backend.ErrUnsupported, "newer deep")
}

func TestDamagedIsRefused(t *testing.T) {
	for name, content := range map[string]string{
		"text":  strings.Repeat("this is no database\n", 1000),
		"short": "short",
		"zeros": string(make([]byte, 8192)),
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "state.db")
			if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			refusedAndUntouched(t, path, backend.ErrInvalid, "move it away")
		})
	}
}

func refusedAndUntouched(t *testing.T, path string, kind error, says string) {
	t.Helper()
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.Context(), path)
	if err == nil {
		s.Close()
		t.Fatal("it was opened")
	}
	if !errors.Is(err, kind) || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), path) || backend.HintOf(err) == "" {
		t.Errorf("error %q; want %v, with %q, the path and a hint", err, kind, says)
	}
	after, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(before, after) {
		t.Error("the file was changed")
	}
	left, err := filepath.Glob(path + "-*")
	if err != nil || len(left) > 0 {
		t.Errorf("left beside it: %v, %v", left, err)
	}
}

// TestDamagedInside: the head is whole, what follows is not. An error, never a
// list without the runs that cannot be read.
func TestDamagedInside(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	s, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		if err := s.CreateRun(t.Context(), &Run{ID: fmt.Sprint(i), State: make([]byte, 10_000)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := 4096; i < len(content); i++ {
		content[i] = 0xa5
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	s = open(t, path)
	if runs, err := s.Runs(t.Context()); !errors.Is(err, backend.ErrInvalid) || backend.HintOf(err) == "" {
		t.Errorf("Runs: %d runs, %v; want ErrInvalid with a hint", len(runs), err)
	}
}

func TestPathThatCannotBe(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, kind := range map[string]error{
		filepath.Join(file, "state.db"): backend.ErrNotDirectory,
		dir:                             backend.ErrIsDirectory,
	} {
		_, err := Open(t.Context(), path)
		if !errors.Is(err, kind) || !strings.Contains(backend.HintOf(err), "XDG_STATE_HOME") {
			t.Errorf("%s: %v; want %v with a hint", path, err, kind)
		}
	}
}

func TestCancelled(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "state.db"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.CreateRun(ctx, &Run{ID: "a"}); !errors.Is(err, context.Canceled) {
		t.Errorf("create: %v", err)
	}
}

func TestDefaultPath(t *testing.T) {
	t.Setenv("HOME", "/home/someone")
	for state, want := range map[string]string{
		"":         "/home/someone/.local/state/deep/state.db",
		"relative": "/home/someone/.local/state/deep/state.db",
		"/state":   "/state/deep/state.db",
	} {
		t.Setenv("XDG_STATE_HOME", state)
		if got, err := DefaultPath(); err != nil || got != want {
			t.Errorf("XDG_STATE_HOME=%q: %q, %v; want %q", state, got, err, want)
		}
	}
}
