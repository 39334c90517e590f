package agent

import (
	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/tools"
)

// EventType says what an event tells.
type EventType string

// Types of events, with the fields that come with each.
const (
	EventTurn     EventType = "turn"     // Turn: the model is asked
	EventText     EventType = "text"     // Text: a piece of its answer
	EventRetry    EventType = "retry"    // Text: why it is asked again
	EventMessage  EventType = "message"  // Text: a whole answer, Usage
	EventCall     EventType = "call"     // Call: a tool is about to run
	EventApproval EventType = "approval" // Call, Decision: somebody decided
	EventAnswer   EventType = "answer"   // Call, Text, Failed, Truncated, Exec
	EventPlan     EventType = "plan"     // Todos
	EventEnd      EventType = "end"      // Result
)

// Event is something that happened. Its JSON is one line of `deep run --json`.
type Event struct {
	Type      EventType           `json:"type"`
	Turn      int                 `json:"turn,omitempty"`
	Text      string              `json:"text,omitempty"`
	Call      *Call               `json:"call,omitempty"`
	Decision  *Decision           `json:"decision,omitempty"`
	Failed    bool                `json:"failed,omitempty"`
	Truncated bool                `json:"truncated,omitempty"`
	Exec      *backend.ExecResult `json:"exec,omitempty"`
	Usage     *Usage              `json:"usage,omitempty"`
	Todos     []tools.Todo        `json:"todos,omitempty"`
	Result    *Result             `json:"result,omitempty"`
}
