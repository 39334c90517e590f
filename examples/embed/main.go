// Command embed is a whole program that embeds deep: it starts a backend, makes a
// sandbox, and lets an agent work in it, asking before each command.
//
//	OPENAI_API_KEY=… DEEP_PLUGIN_PATH=bin/plugins DEEP_GUEST_DIR=bin/guest go run ./examples/embed local
package main

import (
	"bufio"
	"context"
	"fmt"
	"log"
	"os"
	"os/signal"
	"strings"

	"github.com/deep-sandbox/deep/core/agent"
	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/host"
)

const task = "Create a Python program that prints the first 10 Fibonacci numbers, save it to /workspace/fibonacci.py, run it and show the output."

func main() {
	// Interrupted, the sandbox is removed all the same; killed, its plugin does it.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, args []string) error {
	spec := backend.Spec{Ephemeral: true}
	name := "local"
	if len(args) > 0 {
		name = args[0]
	}
	if len(args) > 1 {
		spec.Image = args[1]
	}

	// The one line that swaps the sandbox.
	plugin, err := host.Launch(ctx, host.Options{Name: name})
	if err != nil {
		return err
	}
	defer func() { _ = plugin.Close(context.WithoutCancel(ctx)) }()

	sandbox, err := plugin.Create(ctx, &backend.CreateRequest{ID: backend.NewID(), Spec: spec})
	if err != nil {
		return err
	}
	defer func() { _ = sandbox.Close() }()

	assistant, err := agent.New(agent.Config{
		Model: agent.Model{
			Name:    "gpt-4.1",
			APIKey:  os.Getenv("OPENAI_API_KEY"),
			BaseURL: os.Getenv("OPENAI_BASE_URL"), // OpenAI's own if empty
		},
		Sandbox: func(context.Context) (backend.Sandbox, error) { return sandbox, nil },
		Approve: ask,
	})
	if err != nil {
		return err
	}
	result, err := assistant.Run(ctx, task)
	if err != nil {
		return err
	}
	fmt.Printf("%s after %d turns:\n%s\n", result.Status, result.Turns, result.Output)
	return nil
}

// ask shows each command and waits for a word.
func ask(_ context.Context, calls []agent.Call) ([]agent.Decision, error) {
	var decisions []agent.Decision
	answers := bufio.NewScanner(os.Stdin)
	for _, call := range calls {
		fmt.Printf("%s %s\nRun it? [y/N] ", call.Tool, backend.Printable(call.Arguments))
		answers.Scan()
		decisions = append(decisions, agent.Decision{CallID: call.ID, Approve: strings.TrimSpace(answers.Text()) == "y"})
	}
	return decisions, answers.Err()
}
