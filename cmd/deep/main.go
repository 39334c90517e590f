// Command deep runs an agent whose tools act inside a sandbox.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/deep-sandbox/deep/core/cli"
)

func main() {
	// API keys are in this memory: no other process of the user reads it, and it is
	// in no core dump. The kernel that refuses this has not been built.
	_ = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
	os.Exit(cli.Main(interruptible(), os.Args[1:], cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
}

// interruptible returns a context that ends with the first signal to end, so that
// the sandbox is removed. The second ends the process at once; its plugins notice
// and remove what they made.
func interruptible() context.Context {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 2)
	for _, sig := range []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		if !signal.Ignored(sig) { // as nohup has it
			signal.Notify(signals, sig)
		}
	}
	go func() {
		first := cli.Interrupted{Signal: (<-signals).(syscall.Signal)}
		cancel(first)
		second := cli.Interrupted{Signal: (<-signals).(syscall.Signal)}
		cli.Exit(second.ExitCode())
	}()
	// A closed pipe is an error of the write: to die of it would leave the cleaning
	// up to others.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	return ctx
}
