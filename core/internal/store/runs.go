package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/deep-sandbox/deep/core/backend"
)

// Run is a run as it is kept. It holds neither keys nor environments: those come
// from the configuration again when it goes on.
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
	// Owner is the process that works on it, "" if none does.
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
	now := time.Now().UnixNano()
	res, err := s.db.ExecContext(ctx, "INSERT INTO runs ("+columns+") VALUES (?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT DO NOTHING",
		r.ID, now, now, r.Status, r.Task, r.Backend, r.Model, r.Workspace, nonNil(r.Settings), nonNil(r.State), r.Owner)
	if err != nil {
		return s.wrap("create run", err)
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return errors.Join(&backend.Error{Kind: backend.ErrExists, Op: "create run", Path: r.ID}, err)
	}
	return nil
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
	res, err := s.db.ExecContext(ctx, "UPDATE runs SET status = ?, state = ?, updated = ? WHERE id = ? AND owner = ?",
		status, nonNil(state), time.Now().UnixNano(), id, owner)
	return s.changed("save run", id, res, err)
}

// changed makes an error of a statement that found no run of the owner's.
func (s *Store) changed(op, id string, res sql.Result, err error) error {
	if err != nil {
		return s.wrap(op, err)
	}
	n, err := res.RowsAffected()
	if err != nil {
		return s.wrap(op, err)
	}
	if n == 0 {
		return &backend.Error{Kind: backend.ErrConflict, Op: op, Path: id, Message: "another process has taken it over, or removed it"}
	}
	return nil
}

// Run returns a run, ErrNotFound if there is none.
func (s *Store) Run(ctx context.Context, id string) (*Run, error) {
	r, err := scan(s.db.QueryRowContext(ctx, "SELECT "+columns+" FROM runs WHERE id = ?", id))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, notFound(id)
	}
	if err != nil {
		return nil, s.wrap("read run", err)
	}
	return r, nil
}

func notFound(id string) error {
	return &backend.Error{Kind: backend.ErrNotFound, Op: "run", Path: id, Message: "no such run", Hint: "`deep run list` shows those there are"}
}

// Runs returns all runs, newest first.
func (s *Store) Runs(ctx context.Context) ([]*Run, error) {
	rows, err := s.db.QueryContext(ctx, "SELECT "+columns+" FROM runs ORDER BY created DESC, id")
	if err != nil {
		return nil, s.wrap("list runs", err)
	}
	defer rows.Close()
	var runs []*Run
	for rows.Next() {
		r, err := scan(rows)
		if err != nil {
			return nil, s.wrap("list runs", err)
		}
		runs = append(runs, r)
	}
	return runs, s.wrapNil("list runs", rows.Err())
}

func (s *Store) wrapNil(op string, err error) error {
	if err == nil {
		return nil
	}
	return s.wrap(op, err)
}

// DeleteRun removes a run that owner has claimed; ErrConflict if another has, or
// if there is none. Claim it first, and then remove what belongs to it.
func (s *Store) DeleteRun(ctx context.Context, id, owner string) error {
	res, err := s.db.ExecContext(ctx, "DELETE FROM runs WHERE id = ? AND owner = ?", id, owner)
	return s.changed("delete run", id, res, err)
}

// Claim makes owner the one who works on a run and returns it as it then is. A
// run of another's is ErrConflict, unless dead tells that that process is no more.
func (s *Store) Claim(ctx context.Context, id, owner string, dead func(owner string) bool) (*Run, error) {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return nil, s.wrap("claim run", err)
	}
	defer func() { _ = tx.Rollback() }()
	r, err := scan(tx.QueryRowContext(ctx, "SELECT "+columns+" FROM runs WHERE id = ?", id))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, notFound(id)
	}
	if err != nil {
		return nil, s.wrap("claim run", err)
	}
	if r.Owner != "" && r.Owner != owner && !dead(r.Owner) {
		return nil, &backend.Error{Kind: backend.ErrConflict, Op: "run", Path: id,
			Message: "another deep process works on it", Hint: "wait for it to end, or end it"}
	}
	if _, err := tx.ExecContext(ctx, "UPDATE runs SET owner = ? WHERE id = ?", owner, id); err != nil {
		return nil, s.wrap("claim run", err)
	}
	if err := tx.Commit(); err != nil {
		return nil, s.wrap("claim run", err)
	}
	r.Owner = owner
	return r, nil
}

// Release lets go of a run that owner has claimed.
func (s *Store) Release(ctx context.Context, id, owner string) error {
	_, err := s.db.ExecContext(ctx, "UPDATE runs SET owner = '' WHERE id = ? AND owner = ?", id, owner)
	return s.wrapNil("release run", err)
}
