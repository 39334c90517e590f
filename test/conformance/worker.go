package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/deep-sandbox/deep/core/backend/backendtest"
	"github.com/deep-sandbox/deep/test/contract"
)

// cleaningTime is what an interrupted worker gets to remove its sandboxes in.
const cleaningTime = 4 * time.Minute

// message is a line that a worker prints: what came of a rule, or why it ends.
type message struct {
	Rule   string
	Status backendtest.Status
	Reason string
	Took   time.Duration
	Error  string
}

// work is a worker: a process that tests one backend, since rules measure the
// memory, files and goroutines of the process they run in. It ends with its
// standard input, and so with the process that started it.
func work(name, bin, dir string, patterns []string) error {
	// The signals of a terminal reach it too.
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	out := json.NewEncoder(os.Stdout)
	err := test(ctx, name, bin, dir, patterns, func(r backendtest.Result) {
		if err := out.Encode(message{Rule: r.Rule.Name, Status: r.Status, Reason: r.Reason, Took: r.Duration}); err != nil {
			cancel() // nobody listens
		}
	})
	if err != nil {
		return out.Encode(message{Error: err.Error()})
	}
	return nil
}

// test launches a backend, tries the rules and ends it.
func test(ctx context.Context, name, bin, dir string, patterns []string, report func(backendtest.Result)) (err error) {
	s, err := contract.Launch(ctx, name, bin, dir)
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		err = errors.Join(err, s.Shutdown(ctx))
	}()
	s.Opts.Only = patterns
	return backendtest.Check(ctx, s.Backend, s.Opts, report)
}

// delegate starts a worker for one backend and passes on what it reports.
func delegate(ctx context.Context, name, bin, dir string, patterns []string, report func(message)) error {
	if err := os.MkdirAll(filepath.Join(dir, name), 0o700); err != nil {
		return err
	}
	args := []string{"-worker", filepath.Join(dir, name), "-backends", name, "-bin", bin}
	for _, p := range patterns {
		args = append(args, "-rule", p)
	}
	cmd := exec.CommandContext(ctx, "/proc/self/exe", args...)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	cmd.Cancel = stdin.Close
	cmd.WaitDelay = cleaningTime
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	var told error
	for in := json.NewDecoder(stdout); ; {
		var m message
		if err := in.Decode(&m); err != nil {
			break // the end of it; Wait tells how
		}
		if m.Error != "" {
			told = errors.New(m.Error)
			continue
		}
		report(m)
	}
	return errors.Join(told, cmd.Wait())
}
