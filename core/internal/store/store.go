// Package store keeps what must outlive a process: runs with their transcripts and
// the calls that wait for a decision, in one SQLite file that several deep
// processes use at once.
//
// It keeps no secret: neither API keys nor the environment of a sandbox. Whoever
// goes on with a run takes those from the configuration again.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/deep-sandbox/deep/core/backend"
)

// Store is the file. It is safe for concurrent use.
type Store struct {
	db   *sql.DB
	path string
}

// busyTimeout is how long a statement waits for another process; what any of them
// does takes milliseconds.
const busyTimeout = 10 * time.Second

// DefaultPath is deep/state.db in the user's state directory: XDG_STATE_HOME, or
// ~/.local/state. A relative XDG_STATE_HOME is ignored, as its specification has
// it.
func DefaultPath() (string, error) {
	dir := os.Getenv("XDG_STATE_HOME")
	if !filepath.IsAbs(dir) {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", &backend.Error{Kind: backend.ErrNotFound, Op: "find the state directory", Err: err, Hint: "set XDG_STATE_HOME or HOME"}
		}
		dir = filepath.Join(home, ".local", "state")
	}
	return filepath.Join(dir, "deep", "state.db"), nil
}

// Open opens the file, and makes it with its directory if it does not exist. A
// file of a newer deep is ErrUnsupported, a damaged one ErrInvalid; both are left
// as they are.
func Open(ctx context.Context, path string) (*Store, error) {
	s := &Store{path: path}
	if err := s.makeFile(); err != nil {
		return nil, &backend.Error{Kind: kindOf(err), Op: "open state", Path: path, Err: err, Hint: "set XDG_STATE_HOME to a directory of yours that can be written"}
	}
	if err := s.inspect(ctx); err != nil {
		return nil, err
	}
	db, err := sql.Open("sqlite", s.source("journal_mode(WAL)", "synchronous(FULL)"))
	if err != nil {
		return nil, s.wrap("open state", err)
	}
	s.db = db
	if err := s.migrate(ctx); err != nil {
		_ = db.Close()
		return nil, err
	}
	return s, nil
}

// Close closes the file.
func (s *Store) Close() error { return s.db.Close() }

// makeFile makes the file, for nobody but its owner: it holds transcripts, and
// SQLite would make it by the umask. Its two companions get the same mode.
func (s *Store) makeFile() error {
	if err := os.MkdirAll(filepath.Dir(s.path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(s.path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err == nil && info.Mode().Perm()&0o077 != 0 {
		err = f.Chmod(0o600)
	}
	return errors.Join(err, f.Close())
}

// source is the file in the driver's words. A transaction takes the lock to write
// as it begins: one that reads first and then finds it taken would have to fail.
func (s *Store) source(pragmas ...string) string {
	query := url.Values{
		"_txlock": {"immediate"},
		"_pragma": append([]string{fmt.Sprintf("busy_timeout(%d)", busyTimeout.Milliseconds())}, pragmas...),
	}
	return "file:" + (&url.URL{Path: s.path}).EscapedPath() + "?" + query.Encode()
}

// inspect refuses a file that is not for us, before anything is written to it: not
// even its journal mode.
func (s *Store) inspect(ctx context.Context) error {
	db, err := sql.Open("sqlite", s.source())
	if err != nil {
		return s.wrap("open state", err)
	}
	err = patiently(ctx, func() error {
		_, err := s.version(ctx, db)
		return err
	})
	if closeErr := db.Close(); err == nil && closeErr != nil {
		err = s.wrap("open state", closeErr)
	}
	return err
}

// version returns the version of the file, 0 for a new one.
func (s *Store) version(ctx context.Context, q interface {
	QueryRowContext(context.Context, string, ...any) *sql.Row
}) (int, error) {
	var version int
	if err := q.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return 0, s.wrap("open state", err)
	}
	if version < 0 || version > len(migrations) {
		return 0, &backend.Error{Kind: backend.ErrUnsupported, Op: "open state", Path: s.path,
			Message: fmt.Sprintf("it was written by a newer deep: its version is %d, this deep knows %d", version, len(migrations)),
			Hint:    "use that deep, or set XDG_STATE_HOME to another directory; the file was left as it is"}
	}
	return version, nil
}

// migrations take the file from the version of their index to the next.
var migrations = []string{
	`CREATE TABLE runs (
		id        TEXT PRIMARY KEY,
		created   INTEGER NOT NULL,
		updated   INTEGER NOT NULL,
		status    TEXT NOT NULL,
		task      TEXT NOT NULL,
		backend   TEXT NOT NULL,
		model     TEXT NOT NULL,
		workspace TEXT NOT NULL,
		settings  BLOB NOT NULL,
		state     BLOB NOT NULL,
		owner     TEXT NOT NULL DEFAULT ''
	) STRICT`,
}

// migrate brings the file to the newest version, in one transaction, so that two
// processes that start at once do it once.
func (s *Store) migrate(ctx context.Context) error {
	var tx *sql.Tx
	err := patiently(ctx, func() (err error) {
		tx, err = s.db.BeginTx(ctx, nil)
		return err
	})
	if err != nil {
		return s.wrap("migrate state", err)
	}
	defer func() { _ = tx.Rollback() }()
	version, err := s.version(ctx, tx)
	if err != nil || version == len(migrations) {
		return err
	}
	for _, m := range migrations[version:] {
		if _, err := tx.ExecContext(ctx, m); err != nil {
			return s.wrap("migrate state", err)
		}
	}
	if _, err := tx.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d", len(migrations))); err != nil {
		return s.wrap("migrate state", err)
	}
	if err := tx.Commit(); err != nil {
		return s.wrap("migrate state", err)
	}
	return nil
}

// patiently does something on a file that others may be making at this moment:
// while its journal mode changes, SQLite answers "busy" without waiting.
func patiently(ctx context.Context, do func() error) error {
	for deadline := time.Now().Add(busyTimeout); ; {
		err := do()
		if !isBusy(err) || time.Now().After(deadline) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func code(err error) int {
	var e *sqlite.Error
	if errors.As(err, &e) {
		return e.Code() & 0xff
	}
	return sqlite3.SQLITE_OK
}

func isBusy(err error) bool {
	c := code(err)
	return c == sqlite3.SQLITE_BUSY || c == sqlite3.SQLITE_LOCKED
}
