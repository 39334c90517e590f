package llm

import "encoding/json"

// Role says who speaks a message.
type Role string

// The roles of a conversation.
const (
	RoleSystem    Role = "system"
	RoleUser      Role = "user"
	RoleAssistant Role = "assistant"
	RoleTool      Role = "tool"
)

// Message is one turn of a conversation.
type Message struct {
	Role    Role   `json:"role"`
	Content string `json:"content,omitempty"`

	// ToolCalls are what the model asks for; on assistant messages only. Each wants exactly one tool message in reply,
	// before anybody else speaks.
	ToolCalls []ToolCall `json:"tool_calls,omitempty"`

	// ToolCallID names the call a tool message answers.
	ToolCallID string `json:"tool_call_id,omitempty"`
}

// ToolCall is the model's wish to run a tool.
type ToolCall struct {
	ID   string `json:"id"`
	Name string `json:"name"`

	// Arguments is the text the model wrote. It is meant to be a JSON object and need not be one: models slip, and the
	// answer to that is a tool result which says so, hence no decoding here.
	Arguments string `json:"arguments"`
}

// Tool is a function the model may call.
type Tool struct {
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`

	// Parameters is a JSON schema, sent byte for byte: models read properties in order, so the order is the author's.
	Parameters json.RawMessage `json:"parameters,omitempty"`
}

// Request is one question to the model: the conversation so far and the tools on offer.
type Request struct {
	Model    string    `json:"model"`
	Messages []Message `json:"messages"`
	Tools    []Tool    `json:"tools,omitempty"`

	// MaxTokens bounds the answer; zero leaves it to the endpoint. An answer cut short by it is [ErrLength].
	MaxTokens int64 `json:"max_tokens,omitempty"`

	// Temperature is sent when set; some models refuse any.
	Temperature *float64 `json:"temperature,omitempty"`
}

// Response is a whole answer.
type Response struct {
	Message Message `json:"message"`

	// Model is what the endpoint says it used, often more precise than what was asked for.
	Model string `json:"model,omitempty"`

	// FinishReason is the endpoint's word, never empty: "stop", "tool_calls", or another server's own.
	FinishReason string `json:"finish_reason"`
	Usage        Usage  `json:"usage"`
}

// Usage counts tokens.
type Usage struct {
	// Reported tells a count of zero from no count: not every endpoint sends usage with a stream.
	Reported   bool  `json:"reported"`
	Prompt     int64 `json:"prompt"`
	Completion int64 `json:"completion"`
	Total      int64 `json:"total"`

	// Cached is the part of Prompt served from the endpoint's cache.
	Cached int64 `json:"cached,omitempty"`
}

// Delta is one piece of an answer as it arrives. Exactly one of its fields is set.
type Delta struct {
	Content  string         `json:"content,omitempty"`
	ToolCall *ToolCallDelta `json:"tool_call,omitempty"`
}

// ToolCallDelta is a piece of a tool call. Only the complete [ToolCall] of the [Response] may be acted upon.
type ToolCallDelta struct {
	// Index counts the calls of this answer, in the order in which they began.
	Index int `json:"index"`

	// ID and Name come with the first piece.
	ID   string `json:"id,omitempty"`
	Name string `json:"name,omitempty"`

	// Arguments is the text to append.
	Arguments string `json:"arguments,omitempty"`
}
