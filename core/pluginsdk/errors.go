package pluginsdk

import (
	"context"
	"errors"
	"strings"

	"github.com/deep-sandbox/deep/core/backend"
)

// annotate returns err as a *backend.Error that tells the backend and the
// operation. What is of no kind is made ErrUnavailable: an engine did something
// its plugin knows no name for.
func annotate(err error, name, op string) error {
	if err == nil {
		return nil
	}
	err = alone(err)
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
		// Its text has the hint and the path in it, which have fields of their own.
		message := err.Error()
		if e.Hint != "" {
			message = strings.Replace(message, " — "+e.Hint, "", 1)
		}
		if e.Path != "" {
			message = strings.TrimPrefix(message, backend.PrintablePath(e.Path)+": ")
		}
		return &backend.Error{Kind: kindOf(err), Backend: name, Op: op, Path: e.Path, Hint: e.Hint, Count: e.Count, Message: message}
	}
	return &backend.Error{Kind: kindOf(err), Backend: name, Op: op, Err: err}
}

// alone returns the one error in what errors.Join made of it and of a clean-up
// that went well.
func alone(err error) error {
	for {
		joined, ok := err.(interface{ Unwrap() []error })                                //nolint:errorlint // the outermost, on purpose
		if _, typed := err.(*backend.Error); typed || !ok || len(joined.Unwrap()) != 1 { //nolint:errorlint // as above
			return err
		}
		err = joined.Unwrap()[0]
	}
}

func kindOf(err error) error {
	if kind := backend.KindOf(err); kind != nil {
		return kind
	}
	return backend.ErrUnavailable
}

// Gone is the ErrGone of a sandbox that runs no more. Whoever notices it first,
// engine, guest or SDK, says it in these words.
func Gone(id string) *backend.Error {
	return &backend.Error{Kind: backend.ErrGone, Path: id, Message: "the sandbox is gone: it ended, or somebody removed it",
		Hint: "make another one with another id, or destroy what is left of it first; what was in a directory of this host, or in a workspace kept by name, is still there"}
}

// toldGone returns err, or Gone in place of an ErrGone that says no more than
// its kind does: it has no hint.
func toldGone(id string, err error) error {
	if errors.Is(err, backend.ErrGone) && backend.HintOf(err) == "" {
		return Gone(id)
	}
	return err
}

// ctxError returns what ended ctx as an error of its kind, nil while it has not.
func ctxError(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return &backend.Error{Kind: err}
	}
	return nil
}
