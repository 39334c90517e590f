package pluginsdk

import (
	"context"
	"errors"

	"github.com/deep-sandbox/deep/core/backend"
)

// annotate returns err as a *backend.Error that tells the backend and the
// operation. What is of no kind is made ErrUnavailable: an engine did something
// its plugin knows no name for.
func annotate(err error, name, op string) error {
	if err == nil {
		return nil
	}
	var e *backend.Error
	if errors.As(err, &e) {
		// Only what err itself is may be filled in; one deeper down is a cause.
		if direct, ok := err.(*backend.Error); ok { //nolint:errorlint // the outermost, on purpose
			filled := *direct
			if filled.Backend == "" {
				filled.Backend = name
			}
			if filled.Op == "" {
				filled.Op = op
			}
			return &filled
		}
		return &backend.Error{Kind: kindOf(err), Backend: name, Op: op, Path: e.Path, Hint: e.Hint, Count: e.Count, Message: err.Error()}
	}
	return &backend.Error{Kind: kindOf(err), Backend: name, Op: op, Err: err}
}

func kindOf(err error) error {
	if kind := backend.KindOf(err); kind != nil {
		return kind
	}
	return backend.ErrUnavailable
}

// ctxError returns what ended ctx as an error of its kind, nil while it has not.
func ctxError(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return &backend.Error{Kind: err}
	}
	return nil
}
