package store

import (
	"context"
	"errors"
	"io/fs"
	"syscall"

	sqlite3 "modernc.org/sqlite/lib"

	"github.com/deep-sandbox/deep/core/backend"
)

// wrap says what a failed statement means, and what to do about it.
func (s *Store) wrap(op string, err error) error {
	e := &backend.Error{Kind: backend.ErrUnavailable, Op: op, Path: s.path, Err: err}
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case isBusy(err):
		e.Hint = "another program holds the file: end that one, then try again"
	default:
		switch code(err) {
		case sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT:
			e.Kind, e.Message = backend.ErrInvalid, "the file is damaged, or no state of deep's"
			e.Hint = "move it away, then deep begins a new one; or put a copy of before in its place. It was left as it is"
		case sqlite3.SQLITE_FULL:
			e.Kind, e.Hint = backend.ErrNoSpace, "free some space on its disk"
		case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_CANTOPEN:
			e.Kind, e.Hint = backend.ErrPermission, "make the file and its directory writable for you"
		}
	}
	return e
}

// kindOf returns the kind of an error of the file system.
func kindOf(err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return backend.ErrPermission
	case errors.Is(err, syscall.ENOSPC):
		return backend.ErrNoSpace
	case errors.Is(err, syscall.EISDIR):
		return backend.ErrIsDirectory
	case errors.Is(err, syscall.ENOTDIR):
		return backend.ErrNotDirectory
	}
	return backend.ErrUnavailable
}
