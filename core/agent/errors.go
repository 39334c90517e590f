package agent

import "github.com/deep-sandbox/deep/core/internal/llm"

// ModelError is a failed call to the model; its text ends with the remedy.
type ModelError = llm.Error

// The kinds of a ModelError, found with errors.Is.
var (
	ErrConfig        = llm.ErrConfig        // the client cannot be made from Config.Model
	ErrAuth          = llm.ErrAuth          // API key missing, wrong or revoked
	ErrForbidden     = llm.ErrForbidden     // the key may not use the model
	ErrModelNotFound = llm.ErrModelNotFound // the endpoint does not have the model
	ErrNoEndpoint    = llm.ErrNoEndpoint    // what answers does not speak Chat Completions
	ErrRedirect      = llm.ErrRedirect      // the endpoint sends us elsewhere
	ErrBadRequest    = llm.ErrBadRequest    // the endpoint does not take the request
	ErrQuota         = llm.ErrQuota         // the account is used up
	ErrRateLimited   = llm.ErrRateLimited   // still so after the last try
	ErrServer        = llm.ErrServer        // the endpoint failed
	ErrUnreachable   = llm.ErrUnreachable   // no connection
	ErrStalled       = llm.ErrStalled       // connected, and nothing comes
	ErrMalformed     = llm.ErrMalformed     // the stream broke off or is no such stream
	ErrTooLarge      = llm.ErrTooLarge      // the answer is over 8 MiB
	ErrLength        = llm.ErrLength        // the answer was cut at its limit of tokens
	ErrFiltered      = llm.ErrFiltered      // a content filter ended the answer
)
