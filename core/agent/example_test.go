package agent_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log"

	"github.com/deep-sandbox/deep/core/agent"
	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/backend/backendtest"
	"github.com/deep-sandbox/deep/core/internal/replay"
)

// A run that nobody watches waits for approval. Another process reads its state,
// decides, and goes on.
func Example() {
	ctx := context.Background()
	recording, err := replay.Load("testdata/hello.json") // in the place of a model
	if err != nil {
		log.Fatal(err)
	}
	model, err := replay.Start(recording)
	if err != nil {
		log.Fatal(err)
	}
	defer model.Close()
	sandboxes := backendtest.NewFake() // in the place of host.Launch

	a, err := agent.New(agent.Config{
		Model: agent.Model{Name: "recorded", BaseURL: model.BaseURL(), APIKey: model.APIKey()},
		Sandbox: func(ctx context.Context) (backend.Sandbox, error) {
			return sandboxes.Create(ctx, &backend.CreateRequest{ID: backend.NewID()})
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	result, err := a.Run(ctx, "Say hello.")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(result.Status, result.Pending[0].Arguments)

	kept, err := json.Marshal(result.State)
	if err != nil {
		log.Fatal(err)
	}
	var state agent.State
	if err := json.Unmarshal(kept, &state); err != nil {
		log.Fatal(err)
	}
	if err := state.Decide([]agent.Decision{{CallID: result.Pending[0].ID, Approve: true}}); err != nil {
		log.Fatal(err)
	}
	result, err = a.Resume(ctx, &state)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(result.Status, result.Output)
	// Output:
	// waiting {"command":"echo hello"}
	// completed The shell says hello.
}
