package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/host"
)

// Rounds of each measurement. What costs an engine tens of milliseconds is done
// less often; each round does ours and the engine's way one after the other, so
// that what else the machine does hits both.
const (
	warmRounds   = 40
	warmPerRound = 10
	createRounds = 15
	startRounds  = 15
)

// launch starts the plugin of a backend.
func launch(ctx context.Context, name, stateDir string) (*host.Plugin, error) {
	return host.Launch(ctx, host.Options{Name: name, StateDir: stateDir})
}

// specification of the sandboxes measured; the strict defaults.
func specification(image string) backend.Spec {
	return backend.Spec{Image: image, Pull: backend.PullNever, Ephemeral: true}
}

// run executes a command and wants it to succeed.
func run(ctx context.Context, sb backend.Sandbox, argv ...string) error {
	res, err := sb.Exec(ctx, &backend.ExecRequest{Argv: argv, Stdout: io.Discard, Stderr: io.Discard})
	if err != nil {
		return err
	}
	if res.ExitCode != 0 {
		return fmt.Errorf("%q: exit code %d %s", argv, res.ExitCode, res.StartError)
	}
	return nil
}

// warm measures what is done in a sandbox that runs.
func warm(ctx context.Context, name string, sb backend.Sandbox, e *engine) ([]Row, error) {
	kilobyte := bytes.Repeat([]byte("x"), 1024)
	write := func(path string) func() error {
		return func() error {
			_, err := sb.WriteFile(ctx, &backend.WriteFileRequest{Path: path, Content: bytes.NewReader(kilobyte)})
			return err
		}
	}
	if err := write("kilobyte")(); err != nil {
		return nil, err
	}
	cases := []struct {
		name   string
		ours   func() error
		theirs []string // nil: the engine has nothing like it
	}{
		{"exec-true", func() error { return run(ctx, sb, "true") }, []string{"true"}},
		{"exec-sh-echo", func() error { return run(ctx, sb, "sh", "-c", "echo hi") }, []string{"sh", "-c", "echo hi"}},
		{"read-1k", func() error {
			f, err := sb.ReadFile(ctx, &backend.ReadFileRequest{Path: "kilobyte"})
			if err != nil {
				return err
			}
			n, err := io.Copy(io.Discard, f)
			if n != 1024 {
				err = errors.Join(err, fmt.Errorf("read %d bytes", n))
			}
			return errors.Join(err, f.Close())
		}, nil},
		// /tmp is memory: what is left of a write is not the disk's.
		{"write-1k", write("/tmp/kilobyte"), nil},
		{"write-1k-fsync", write("kilobyte"), nil},
	}
	var rows []Row
	for _, c := range cases {
		var ours, theirs sample
		for range warmPerRound { // until caches and connections are warm
			if err := c.ours(); err != nil {
				return nil, fmt.Errorf("%s: %w", c.name, err)
			}
		}
		for range warmRounds {
			for range warmPerRound {
				if err := ours.time(c.ours); err != nil {
					return nil, fmt.Errorf("%s: %w", c.name, err)
				}
			}
			if e != nil && c.theirs != nil {
				if err := theirs.time(func() error { return e.exec(ctx, c.theirs...) }); err != nil {
					return nil, fmt.Errorf("%s: %w", c.name, err)
				}
			}
		}
		rows = append(rows, compare(c.name, name, ours, theirs))
	}
	return rows, nil
}

// create measures from nothing to the end of a first command, against the
// engine's own create and start.
func create(ctx context.Context, p *host.Plugin, name, image string, e *engine) (Row, error) {
	var ours, theirs sample
	for range createRounds {
		var sb backend.Sandbox
		err := ours.time(func() (err error) {
			sb, err = p.Create(ctx, &backend.CreateRequest{ID: backend.NewID(), Spec: specification(image)})
			if err != nil {
				return err
			}
			return run(ctx, sb, "true")
		})
		if sb != nil {
			err = errors.Join(err, sb.Close())
		}
		if err != nil {
			return Row{}, err
		}
		if e == nil {
			continue
		}
		var id string
		err = theirs.time(func() (err error) {
			id, err = e.start(ctx, image)
			return err
		})
		if id != "" {
			err = errors.Join(err, e.remove(id))
		}
		if err != nil {
			return Row{}, err
		}
	}
	return compare("create-first-exec", name, ours, theirs), nil
}

// start measures from nothing to a plugin's first answer, its checksum included.
func start(ctx context.Context, name, stateDir string) (Row, error) {
	var ours sample
	for range startRounds {
		var p *host.Plugin
		err := ours.time(func() (err error) {
			p, err = launch(ctx, name, stateDir)
			if err != nil {
				return err
			}
			_, err = p.Describe(ctx)
			return err
		})
		if p != nil {
			err = errors.Join(err, p.Close(ctx))
		}
		if err != nil {
			return Row{}, err
		}
	}
	return compare("plugin-start", name, ours, nil), nil
}

// settle is how long a process is left alone before its memory is read.
const settle = 3 * time.Second
