package jail

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// abortTime is how long a keeper may take to undo what it has begun.
const abortTime = 20 * time.Second

// Start makes the sandbox of a plan and returns when its guest listens on
// listener. lock is the lock of the sandbox, which the keeper takes over; both
// files stay the caller's to close. If it fails, or ctx ends, what the keeper
// made is gone again; the rest is for the caller to remove, who needs the lock
// for that. The error is a *Failure where a step failed.
func Start(ctx context.Context, plan *Plan, lock, listener *os.File) error {
	reports, reportEnd, err := os.Pipe()
	if err != nil {
		return err
	}
	defer func() { _ = reports.Close() }()
	input, inputEnd, err := os.Pipe()
	if err != nil {
		return errors.Join(err, reportEnd.Close())
	}
	// A session of its own: what ends the plugin's group must not end it.
	cmd := stage(keeperName, &syscall.SysProcAttr{Setsid: true})
	cmd.Env = append(cmd.Env, "PATH="+os.Getenv("PATH")) // for newuidmap
	cmd.Stdin = input
	cmd.ExtraFiles = []*os.File{reportEnd, lock, listener}
	err = cmd.Start()
	_ = input.Close()
	_ = reportEnd.Close()
	if err != nil {
		return errors.Join(err, inputEnd.Close())
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	if err := converse(ctx, plan, inputEnd, reports); err != nil {
		// Its input has ended: it undoes all, and goes.
		if endErr := awaitEnd(cmd, ended); endErr != nil {
			err = errors.Join(err, endErr)
		}
		return err
	}
	return nil
}

// converse tells the keeper the plan, hears that the sandbox is there, and says
// that it may stay.
func converse(ctx context.Context, plan *Plan, input io.WriteCloser, reports *os.File) error {
	defer func() { _ = input.Close() }()
	if err := sendPlan(input, plan); err != nil {
		return fmt.Errorf("tell the keeper its plan: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = reports.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	var failure *Failure
	err := json.NewDecoder(reports).Decode(&failure)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, io.EOF):
		return errors.New("the keeper ended before the sandbox was there")
	case err != nil:
		return fmt.Errorf("hear of the sandbox: %w", err)
	case failure != nil:
		return failure
	}
	if err := sendCommit(input); err != nil {
		return fmt.Errorf("let the sandbox stay: %w", err)
	}
	return nil
}

func awaitEnd(cmd *exec.Cmd, ended <-chan struct{}) error {
	select {
	case <-ended:
		return nil
	case <-time.After(abortTime):
	}
	_ = cmd.Process.Kill()
	<-ended
	return errors.New("the keeper did not end, and was killed")
}
