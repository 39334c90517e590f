package replay

import "regexp"

// Recording is a conversation as it shall go.
type Recording struct {
	// Name is the file's, for messages.
	Name        string
	Description string
	Steps       []Step
}

// Step is one request and its answer. At least one of Failure and Reply is set.
type Step struct {
	Expect Expect

	// Failure is served first if set, Reply after it.
	Failure *Failure
	Reply   *Reply
}

// Expect is what the request must hold.
type Expect struct {
	// User is for the last user message.
	User *Match

	// Results are for the tool results since the last assistant turn, taken in the order of their calls.
	Results []ResultMatch
}

// ResultMatch takes the next result not yet taken, or the next one of Tool if that is set.
type ResultMatch struct {
	Tool string
	Match
}

// Match is a condition on a text. At least one field is set, and all that are must hold.
type Match struct {
	Contains, Equals *string
	Matches          *regexp.Regexp
}

// Reply is an assistant turn.
type Reply struct {
	Content      string
	ToolCalls    []ToolCall
	FinishReason string

	// Usage is estimated from the sizes of request and reply if nil.
	Usage *Usage
}

// ToolCall is a call as the model would write it. Its id is made from the step's number and its own.
type ToolCall struct {
	Name      string
	Arguments string
}

// Usage is what the reply claims to have cost, in tokens.
type Usage struct {
	Prompt, Completion, Cached int64
}

// Failure is an HTTP error to test a client with.
type Failure struct {
	Status int

	// RetryAfter is sent as the header of that name if positive; seconds.
	RetryAfter int64

	// Body is sent as it is.
	Body string

	// Times is how often the failure is served before the step's Reply is. A step without Reply never stops failing.
	Times int64
}
