package host_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/host"
)

// A command in a sandbox of backend local. It runs where deep's plugins are
// installed; here it is only compiled.
func Example() {
	ctx := context.Background()
	p, err := host.Launch(ctx, host.Options{Name: "local"})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = p.Close(ctx) }()

	sb, err := p.Create(ctx, &backend.CreateRequest{
		ID:   backend.NewID(),
		Spec: backend.Spec{Ephemeral: true},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = sb.Close() }()

	res, err := sb.Exec(ctx, &backend.ExecRequest{
		Argv:   []string{"echo", "hello from the sandbox"},
		Stdout: os.Stdout,
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(res.Outcome, res.ExitCode)
}
