package llm

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// The kinds of failure, found with errors.Is.
var (
	// ErrConfig: the client cannot be made from its Config.
	ErrConfig = errors.New("bad model configuration")
	// ErrAuth: the API key is missing, wrong or revoked (401).
	ErrAuth = errors.New("wrong API key")
	// ErrForbidden: the key is good and may not do this (403).
	ErrForbidden = errors.New("no access to the model")
	// ErrModelNotFound: the endpoint does not have the model (404).
	ErrModelNotFound = errors.New("model not found")
	// ErrNoEndpoint: something answers at the URL, but not a Chat Completions endpoint.
	ErrNoEndpoint = errors.New("not a Chat Completions endpoint")
	// ErrRedirect: the endpoint sends us elsewhere.
	ErrRedirect = errors.New("endpoint redirects")
	// ErrBadRequest: the endpoint does not take the request (400 and other 4xx), or it is senseless already here.
	ErrBadRequest = errors.New("model request refused")
	// ErrQuota: the account is used up; unlike ErrRateLimited, waiting does not help.
	ErrQuota = errors.New("quota used up")
	// ErrRateLimited: too many requests (429), still so after the last try.
	ErrRateLimited = errors.New("rate limited")
	// ErrServer: the endpoint failed (5xx, or an error in the stream).
	ErrServer = errors.New("model endpoint failed")
	// ErrUnreachable: no connection, so nothing answers at all.
	ErrUnreachable = errors.New("model endpoint out of reach")
	// ErrStalled: the endpoint keeps the connection and says nothing.
	ErrStalled = errors.New("model endpoint hangs")
	// ErrMalformed: the stream broke off or is not what the protocol says.
	ErrMalformed = errors.New("malformed model response")
	// ErrTooLarge: the response went over a limit of this package.
	ErrTooLarge = errors.New("model response too large")
	// ErrLength: the answer was cut at the token limit. Complete returns it beside this error.
	ErrLength = errors.New("model answer cut short")
	// ErrFiltered: the endpoint's content filter ended the answer. Complete returns the part before beside this error.
	ErrFiltered = errors.New("model answer filtered")
)

// Error is a failed call to the model.
type Error struct {
	// Kind is one of the Err values of this package.
	Kind error

	// URL is the address asked, if any was.
	URL string

	// Status is the HTTP status, or zero if there was none or it was 200.
	Status int

	// Code is the endpoint's own short word, such as "context_length_exceeded"; often empty.
	Code string

	// Message says what happened: the endpoint's text, bounded and cleaned, or ours.
	Message string

	// Tries counts the requests made.
	Tries int

	// Remedy says what the reader can do.
	Remedy string

	// Cause is the underlying error, for errors.As; its text is part of Message.
	Cause error

	retryable  bool
	retryAfter time.Duration
}

// Error gives kind, address, message and remedy, in that order.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Kind.Error())

	var facts []string
	if e.Status != 0 {
		facts = append(facts, fmt.Sprintf("HTTP %d", e.Status))
	}
	if e.URL != "" {
		facts = append(facts, e.URL)
	}
	if e.Tries > 1 {
		facts = append(facts, fmt.Sprintf("after %d tries", e.Tries))
	}
	if len(facts) > 0 {
		fmt.Fprintf(&b, " (%s)", strings.Join(facts, ", "))
	}
	if e.Message != "" {
		b.WriteString(": " + e.Message)
	}
	if e.Remedy != "" {
		sep := "; "
		if strings.Contains(e.Message, "\n") {
			sep = "\n"
		}
		b.WriteString(sep + e.Remedy)
	}
	return b.String()
}

// Unwrap gives the kind and the cause.
func (e *Error) Unwrap() []error {
	if e.Cause == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Cause}
}
