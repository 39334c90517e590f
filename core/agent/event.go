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
	EventRetry    EventType = "retry"    // Text: why it is asked again; Retry
	EventMessage  EventType = "message"  // Text: a whole answer; Usage of this turn
	EventCall     EventType = "call"     // Call: a tool is about to run
	EventAsk      EventType = "ask"      // Calls: they need a decision
	EventApproval EventType = "approval" // Call, Decision: somebody decided
	EventAnswer   EventType = "answer"   // Call, Text, Failed, Truncated, Exec
	EventPlan     EventType = "plan"     // Todos
	EventEnd      EventType = "end"      // Result
)

// Event is something that happened. Its JSON is one line of `deep run --json`.
type Event struct {
	Type      EventType    `json:"type"`
	Turn      int          `json:"turn,omitempty"`
	Text      string       `json:"text,omitempty"`
	Retry     *Retry       `json:"retry,omitempty"`
	Call      *Call        `json:"call,omitempty"`
	Calls     []Call       `json:"calls,omitempty"`
	Decision  *Decision    `json:"decision,omitempty"`
	Failed    bool         `json:"failed,omitempty"`
	Truncated bool         `json:"truncated,omitempty"`
	Exec      *Exec        `json:"exec,omitempty"`
	Usage     *Usage       `json:"usage,omitempty"`
	Todos     []tools.Todo `json:"todos,omitempty"`
	Result    *Result      `json:"result,omitempty"`
}

// Retry tells that asking the model failed, and that it is asked again.
type Retry struct {
	// Try is the one that failed, counted from 1, of MaxTries.
	Try      int `json:"try"`
	MaxTries int `json:"max_tries"`
	// WaitMS is the time until the next, in milliseconds.
	WaitMS int64 `json:"wait_ms"`
}

// Exec is how a command ended, or that it runs; see backend.ExecResult.
type Exec struct {
	ID          string          `json:"id"`
	Outcome     backend.Outcome `json:"outcome"`
	ExitCode    int             `json:"exit_code"`
	Signal      int             `json:"signal,omitempty"`
	StartError  string          `json:"start_error,omitempty"`
	OOMPossible bool            `json:"oom_possible,omitempty"`
	DurationMS  int64           `json:"duration_ms"`
	Degraded    []string        `json:"degraded,omitempty"`
}

func execOf(r *backend.ExecResult) *Exec {
	if r == nil {
		return nil
	}
	return &Exec{
		ID: r.ID, Outcome: r.Outcome, ExitCode: r.ExitCode, Signal: r.Signal, StartError: r.StartError, OOMPossible: r.OOMPossible,
		DurationMS: r.Duration.Milliseconds(), Degraded: r.Degraded,
	}
}
