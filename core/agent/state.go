package agent

import (
	"fmt"
	"slices"
	"strings"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/internal/llm"
	"github.com/deep-sandbox/deep/core/tools"
)

// The transcript's types, as Chat Completions has them.
type (
	Message  = llm.Message
	ToolCall = llm.ToolCall
	Role     = llm.Role
	// Usage counts tokens.
	Usage = llm.Usage
)

// The roles of a Message.
const (
	RoleSystem    = llm.RoleSystem
	RoleUser      = llm.RoleUser
	RoleAssistant = llm.RoleAssistant
	RoleTool      = llm.RoleTool
)

// stateVersion is raised when a State of before cannot be read any more.
const stateVersion = 1

// State is a run that can be gone on with. It holds no key and no environment.
type State struct {
	Version int `json:"version"`
	// Task the run was begun with.
	Task string `json:"task"`
	// Messages are the transcript. Each call in it has its answer, but for those
	// in Open.
	Messages []Message `json:"messages"`
	// Open are the calls of the last turn until all are answered, in order.
	Open []OpenCall `json:"open,omitempty"`
	// Tools is what the tools remember.
	Tools tools.State `json:"tools"`
	// Usage of all turns so far; not Reported if that of one was not.
	Usage Usage `json:"usage"`
	// Turns and ToolCalls so far.
	Turns     int `json:"turns"`
	ToolCalls int `json:"tool_calls"`
	// Repeat watches for a model that goes round in circles.
	Repeat Repeat `json:"repeat"`
	// Status and Reason of the run when it last ended.
	Status Status `json:"status"`
	Reason string `json:"reason,omitempty"`
	// Output is the model's last word.
	Output string `json:"output,omitempty"`
}

// OpenCall is a call on its way to an answer.
type OpenCall struct {
	Call
	// Asks: it needs a decision.
	Asks bool `json:"asks,omitempty"`
	// Decision that was made, nil if none was.
	Decision *Decision `json:"decision,omitempty"`
	// Begun: it was started. Found so in a state from another process, nobody
	// knows what became of it, and it is not run again.
	Begun bool `json:"begun,omitempty"`
	// Answer for the model, once there is one.
	Answer *string `json:"answer,omitempty"`
}

// Call is what the model wants done. What is shown, decided on and run is the
// same: these bytes.
type Call struct {
	ID        string `json:"id"`
	Tool      string `json:"tool"`
	Arguments string `json:"arguments"`
}

// Decision is somebody's word on a call.
type Decision struct {
	CallID  string `json:"call_id"`
	Approve bool   `json:"approve"`
	// Reason is passed on to the model with a denial.
	Reason string `json:"reason,omitempty"`
}

// Repeat counts equal calls in a row.
type Repeat struct {
	Key   string `json:"key,omitempty"`
	Count int    `json:"count,omitempty"`
}

// pending reports whether the call waits for a decision.
func (o *OpenCall) pending() bool { return o.Asks && o.Decision == nil && o.Answer == nil }

// Pending returns the calls that wait for a decision.
func (s *State) Pending() []Call {
	var calls []Call
	for _, o := range s.Open {
		if o.pending() {
			calls = append(calls, o.Call)
		}
	}
	return calls
}

// Decide records decisions. One for a call that does not wait for any is
// ErrNotFound and the error lists those that do; two for the same call are
// ErrConflict. Then none is recorded. Calls left undecided go on waiting.
func (s *State) Decide(decisions []Decision) error {
	waiting := map[string]*OpenCall{}
	var ids []string
	for i := range s.Open {
		if o := &s.Open[i]; o.pending() {
			waiting[o.ID] = o
			ids = append(ids, backend.Printable(o.ID))
		}
	}
	seen := map[string]bool{}
	for _, d := range decisions {
		if waiting[d.CallID] == nil {
			hint := "no call waits for a decision"
			if len(ids) > 0 {
				hint = "these wait: " + strings.Join(ids, ", ")
			}
			return &backend.Error{Kind: backend.ErrNotFound, Op: "decide", Path: d.CallID, Message: "no such call waits for a decision", Hint: hint}
		}
		if seen[d.CallID] {
			return &backend.Error{Kind: backend.ErrConflict, Op: "decide", Path: d.CallID, Message: "decided twice", Hint: "decide on each call once"}
		}
		seen[d.CallID] = true
	}
	for _, d := range decisions {
		waiting[d.CallID].Decision = &d
	}
	return nil
}

// check refuses a state this version cannot go on with.
func (s *State) check() error {
	if s.Version != stateVersion {
		return &backend.Error{Kind: backend.ErrUnsupported, Op: "resume",
			Message: fmt.Sprintf("the run was stored in version %d, this deep knows version %d", s.Version, stateVersion),
			Hint:    "resume it with the version of deep that began it"}
	}
	if s.Status == StatusCompleted {
		return &backend.Error{Kind: backend.ErrConflict, Op: "resume", Message: "the run is completed", Hint: "begin a new one"}
	}
	return nil
}

// clone returns a copy that shares nothing a run changes.
func (s *State) clone() *State {
	c := *s
	c.Messages = slices.Clone(s.Messages)
	c.Open = slices.Clone(s.Open)
	return &c
}
