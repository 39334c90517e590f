// Package agent is the loop: ask the model, run the tools it calls, answer, until
// it is done. It asks before it runs what needs approval, keeps a transcript that
// survives a killed process, and stops at its limits.
//
//	a, err := agent.New(agent.Config{
//		Model:   agent.Model{Name: "gpt-4.1", APIKey: key},
//		Sandbox: func(context.Context) (backend.Sandbox, error) { return sb, nil },
//		Approve: ask,
//	})
//	if err != nil {
//		return err
//	}
//	result, err := a.Run(ctx, "Write a Fibonacci program and run it.")
//
// A run that needs an approval nobody is there to give ends waiting. Its State is
// plain JSON; another process goes on with it by Resume, any number of times.
package agent
