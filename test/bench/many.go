package main

import (
	"context"
	"io"
	"sync"
	"time"

	"github.com/deep-sandbox/deep/core/backend"
)

const (
	manyCommands = 1000
	inFlight     = 8
	ttyRounds    = 100
)

// many measures 1,000 commands over one connection, 8 of them at a time, in
// commands a second.
func many(ctx context.Context, name string, sb backend.Sandbox) (Row, error) {
	jobs := make(chan struct{}, manyCommands)
	for range manyCommands {
		jobs <- struct{}{}
	}
	close(jobs)
	errs := make(chan error, inFlight)
	var workers sync.WaitGroup
	begin := time.Now()
	for range inFlight {
		workers.Go(func() {
			for range jobs {
				if err := run(ctx, sb, "true"); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	workers.Wait()
	rate := manyCommands / time.Since(begin).Seconds()
	select {
	case err := <-errs:
		return Row{}, err
	default:
		return Row{Name: "exec-1000-by-8", Backend: name, Unit: "1/s", P50: rate, P99: rate}, nil
	}
}

// terminal measures a command on a terminal, from nothing to its first output.
func terminal(ctx context.Context, name string, sb backend.Sandbox) (Row, error) {
	var took sample
	for range ttyRounds {
		begin := time.Now()
		first := &firstWrite{}
		_, err := sb.Exec(ctx, &backend.ExecRequest{
			Argv: []string{"tty"}, TTY: &backend.WindowSize{Rows: 24, Cols: 80}, Stdout: first,
		})
		if err != nil {
			return Row{}, err
		}
		if first.at.IsZero() {
			return Row{}, io.ErrUnexpectedEOF
		}
		took = append(took, first.at.Sub(begin))
	}
	return compare("tty-open", name, took, nil), nil
}

// firstWrite notes when something was first written to it.
type firstWrite struct{ at time.Time }

func (w *firstWrite) Write(p []byte) (int, error) {
	if w.at.IsZero() {
		w.at = time.Now()
	}
	return len(p), nil
}
