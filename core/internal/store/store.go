// Package store keeps what must outlive a process: runs with their transcripts and
// the calls that wait for a decision, in one SQLite file that several deep
// processes use at once.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/deep-sandbox/deep/core/backend"
)

// Store is the file. It is safe for concurrent use.
type Store struct {
	db   *sql.DB
	path string
}

// busyTimeout, in milliseconds, is how long a statement waits for another
// process; what any of them does takes a few.
const busyTimeout = 10_000

// Open opens the file, and makes it with its directory if it does not exist. A
// file of a newer deep is ErrUnsupported, a damaged one ErrInvalid; both are left
// as they are.
func Open(ctx context.Context, path string) (*Store, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fail(path, backend.ErrPermission, err, "set XDG_STATE_HOME to a directory you can write")
	}
	// SQLite would make it by the umask; it holds transcripts.
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fail(path, kindOf(err), err, "set XDG_STATE_HOME to a directory you can write")
	}
	if err := f.Close(); err != nil {
		return nil, fail(path, backend.ErrUnavailable, err, "")
	}
	query := url.Values{"_pragma": {
		fmt.Sprintf("busy_timeout(%d)", busyTimeout), "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)",
	}, "_txlock": {"immediate"}}
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?"+query.Encode())
	if err != nil {
		return nil, fail(path, backend.ErrInvalid, err, "")
	}
	s := &Store{db: db, path: path}
	if err := s.migrate(ctx); err != nil {
		_ = db.Close()
		return nil, err
	}
	return s, nil
}

// Close closes the file.
func (s *Store) Close() error { return s.db.Close() }

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
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return s.wrap("open", err)
	}
	defer func() { _ = tx.Rollback() }()
	var version int
	if err := tx.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return s.wrap("open", err)
	}
	if version > len(migrations) {
		return &backend.Error{Kind: backend.ErrUnsupported, Op: "open state", Path: s.path,
			Message: fmt.Sprintf("it was written by a newer deep (version %d, this one knows %d)", version, len(migrations)),
			Hint:    "use that deep, or set XDG_STATE_HOME to another directory; the file was not touched"}
	}
	if version == len(migrations) {
		return nil
	}
	for _, m := range migrations[version:] {
		if _, err := tx.ExecContext(ctx, m); err != nil {
			return s.wrap("migrate", err)
		}
	}
	if _, err := tx.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d", len(migrations))); err != nil {
		return s.wrap("migrate", err)
	}
	if err := tx.Commit(); err != nil {
		return s.wrap("migrate", err)
	}
	return nil
}

// wrap says what a failed statement means.
func (s *Store) wrap(op string, err error) error {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return err
	}
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT:
		return fail(s.path, backend.ErrInvalid, err, "it is damaged: move it away to begin anew, or restore a copy; it was not touched")
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return fail(s.path, backend.ErrUnavailable, err, "another program holds it: end that one, then try again")
	case sqlite3.SQLITE_FULL:
		return fail(s.path, backend.ErrNoSpace, err, "free some space")
	case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_CANTOPEN:
		return fail(s.path, backend.ErrPermission, err, "make the file and its directory writable for you")
	}
	return fail(s.path, backend.ErrUnavailable, fmt.Errorf("%s: %w", op, err), "")
}

func fail(path string, kind, err error, hint string) error {
	return &backend.Error{Kind: kind, Op: "state file", Path: path, Err: err, Hint: hint}
}

func kindOf(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return backend.ErrPermission
	}
	return backend.ErrUnavailable
}
