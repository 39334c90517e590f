package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/deep-sandbox/deep/core/backend"
)

// Run is a run as it is kept.
type Run struct {
	ID               string
	Created, Updated time.Time
	// Status in the agent's words.
	Status string
	Task   string
	// Backend and Model it was begun with.
	Backend, Model string
	// Workspace is the name of the kept one, "" if it is a directory of the user's.
	Workspace string
	// Settings is JSON of whoever runs it: what the sandbox is made by.
	Settings []byte
	// State is JSON of the agent.
	State []byte
	// Owner is who works on it, "" if nobody does; see Claim.
	Owner string
}

const columns = "id, created, updated, status, task, backend, model, workspace, settings, state, owner"

func scan(row interface{ Scan(...any) error }) (*Run, error) {
	var r Run
	var created, updated int64
	if err := row.Scan(&r.ID, &created, &updated, &r.Status, &r.Task, &r.Backend, &r.Model, &r.Workspace, &r.Settings, &r.State, &r.Owner); err != nil {
		return nil, err
	}
	r.Created, r.Updated = time.Unix(0, created), time.Unix(0, updated)
	return &r, nil
}

// CreateRun adds a run, claimed by r.Owner. One of that id is ErrExists.
func (s *Store) CreateRun(ctx context.Context, r *Run) error {
	const op = "create run"
	now := time.Now().UnixNano()
	res, err := s.db.ExecContext(ctx, "INSERT INTO runs ("+columns+") VALUES (?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT DO NOTHING",
		r.ID, now, now, r.Status, r.Task, r.Backend, r.Model, r.Workspace, nonNil(r.Settings), nonNil(r.State), r.Owner)
	return s.changed(op, res, err, &backend.Error{Kind: backend.ErrExists, Op: op, Path: r.ID, Message: "there is a run of this id already"})
}

func nonNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// SaveRun replaces status and state of a run that owner has claimed; ErrConflict
// if another has.
func (s *Store) SaveRun(ctx context.Context, id, owner, status string, state []byte) error {
	const op = "save run"
	res, err := s.db.ExecContext(ctx, "UPDATE runs SET status = ?, state = ?, updated = ? WHERE id = ? AND owner = ?",
		status, nonNil(state), time.Now().UnixNano(), id, owner)
	return s.changed(op, res, err, lost(op, id))
}

// DeleteRun removes a run that owner has claimed; ErrConflict if another has, or
// if there is none. Claim it first, and then remove what belongs to it.
func (s *Store) DeleteRun(ctx context.Context, id, owner string) error {
	const op = "remove run"
	res, err := s.db.ExecContext(ctx, "DELETE FROM runs WHERE id = ? AND owner = ?", id, owner)
	return s.changed(op, res, err, lost(op, id))
}

func lost(op, id string) error {
	return &backend.Error{Kind: backend.ErrConflict, Op: op, Path: id, Message: "another process has taken it over, or removed it"}
}

// changed returns none if a statement changed no row.
func (s *Store) changed(op string, res sql.Result, err, none error) error {
	if err != nil {
		return s.wrap(op, err)
	}
	n, err := res.RowsAffected()
	if err != nil {
		return s.wrap(op, err)
	}
	if n == 0 {
		return none
	}
	return nil
}

// Run returns a run, ErrNotFound if there is none.
func (s *Store) Run(ctx context.Context, id string) (*Run, error) {
	return s.one(id, s.db.QueryRowContext(ctx, "SELECT "+columns+" FROM runs WHERE id = ?", id))
}

func (s *Store) one(id string, row *sql.Row) (*Run, error) {
	r, err := scan(row)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, &backend.Error{Kind: backend.ErrNotFound, Op: "run", Path: id, Message: "no such run", Hint: "`deep run list` shows those there are"}
	}
	if err != nil {
		return nil, s.wrap("read run", err)
	}
	return r, nil
}

// Runs returns all runs, newest first, without their Settings and State, which may
// be megabytes each.
func (s *Store) Runs(ctx context.Context) ([]*Run, error) {
	const op = "list runs"
	rows, err := s.db.QueryContext(ctx, "SELECT id, created, updated, status, task, backend, model, workspace, NULL, NULL, owner FROM runs ORDER BY created DESC, id")
	if err != nil {
		return nil, s.wrap(op, err)
	}
	defer func() { _ = rows.Close() }() // rows.Err has told
	var runs []*Run
	for rows.Next() {
		r, err := scan(rows)
		if err != nil {
			return nil, s.wrap(op, err)
		}
		runs = append(runs, r)
	}
	if err := rows.Err(); err != nil {
		return nil, s.wrap(op, err)
	}
	return runs, nil
}
