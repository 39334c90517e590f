package store

import (
	"context"
	"fmt"

	"github.com/deep-sandbox/deep/core/backend"
)

// Claim makes owner the one who works on a run and returns it as it then is, so
// that no two processes go on with it at once. Owner is a backend.Owner in words,
// or anything else that tells claims apart; claiming what one has is no error. A
// run of another's is ErrConflict, unless dead tells that that owner is no more.
func (s *Store) Claim(ctx context.Context, id, owner string, dead func(owner string) bool) (*Run, error) {
	const op = "claim run"
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return nil, s.wrap(op, err)
	}
	defer func() { _ = tx.Rollback() }()
	r, err := s.one(id, tx.QueryRowContext(ctx, "SELECT "+columns+" FROM runs WHERE id = ?", id))
	if err != nil {
		return nil, err
	}
	if r.Owner != "" && r.Owner != owner && !dead(r.Owner) {
		return nil, taken(r)
	}
	if _, err := tx.ExecContext(ctx, "UPDATE runs SET owner = ? WHERE id = ?", owner, id); err != nil {
		return nil, s.wrap(op, err)
	}
	if err := tx.Commit(); err != nil {
		return nil, s.wrap(op, err)
	}
	r.Owner = owner
	return r, nil
}

func taken(r *Run) error {
	who := "another deep process"
	if o := backend.ParseOwner(r.Owner); o.PID != 0 {
		who = fmt.Sprintf("another deep process (pid %d)", o.PID)
	}
	return &backend.Error{Kind: backend.ErrConflict, Op: "claim run", Path: r.ID,
		Message: who + " works on it", Hint: "wait for that one to end, or end it"}
}

// Release lets go of a run. One that owner has not claimed is left as it is.
func (s *Store) Release(ctx context.Context, id, owner string) error {
	if _, err := s.db.ExecContext(ctx, "UPDATE runs SET owner = '' WHERE id = ? AND owner = ?", id, owner); err != nil {
		return s.wrap("release run", err)
	}
	return nil
}
