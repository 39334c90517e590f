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
// # One turn
//
// The model's answer may hold several calls. Those before the first that needs
// approval run; then all that need it are asked about at once; then the others
// run. They run in the model's order, except that up to four neighbours which
// only read run side by side. The answers go back in the order of the calls.
//
// # Waiting, and going on
//
// A run that needs an approval nobody is there to give ends waiting. Its State is
// plain JSON; another process goes on with it by Resume, any number of times.
// What is approved is what runs: a call's arguments are kept as they were shown.
//
// Config.Save is told the state before each thing that cannot be undone and after
// it. So a killed run can be gone on with too: a call that had begun and has no
// answer is not run again, and the model hears that its outcome is unknown.
//
// # The transcript
//
// However a run ends, each call in its transcript has its answer, as strict
// endpoints demand. Only a run that waits has open calls.
package agent
