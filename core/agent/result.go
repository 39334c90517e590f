package agent

import "github.com/deep-sandbox/deep/core/tools"

// Status tells how a run ended, or that it waits.
type Status string

// Statuses.
const (
	StatusRunning   Status = "running"
	StatusCompleted Status = "completed" // the model said its last word
	StatusWaiting   Status = "waiting"   // calls need a decision
	StatusLimit     Status = "limit"     // one of the Limits was reached
	StatusFailed    Status = "failed"    // the model or the sandbox failed
	StatusCancelled Status = "cancelled" // ctx ended
)

// Result of a run.
type Result struct {
	Status Status `json:"status"`
	// Reason in words, for every status but StatusCompleted.
	Reason string `json:"reason,omitempty"`
	// Output is the model's last word; with ErrLength and ErrFiltered, the part of
	// it that came.
	Output string `json:"output,omitempty"`
	// Pending calls, for StatusWaiting.
	Pending []Call `json:"pending,omitempty"`
	Usage   Usage  `json:"usage"`
	Turns   int    `json:"turns"`
	// ToolCalls that were answered by a tool, or denied.
	ToolCalls int          `json:"tool_calls"`
	Todos     []tools.Todo `json:"todos,omitempty"`
	// State to go on from, with the transcript.
	State *State `json:"-"`
	// Err is the failure behind StatusFailed and StatusCancelled.
	Err error `json:"-"`
}
