package llm

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"

	"github.com/openai/openai-go/v3/packages/ssestream"
)

// streamError explains why a stream could not be had, or not be read on.
func (c *Client) streamError(err error, answered, stalled bool) *Error {
	var known *Error
	var failed *ssestream.StreamError
	var broken readError
	switch {
	case errors.As(err, &known):
		return known
	case stalled && answered: // err says that our own context was cancelled; wrapped, it would look like the caller's
		return &Error{Kind: ErrStalled, URL: c.url,
			Message: fmt.Sprintf("no event for %v in the middle of an answer", c.cfg.IdleTimeout),
			Remedy:  "try again, or raise the idle timeout if the model thinks that long"}
	case stalled:
		return &Error{Kind: ErrStalled, URL: c.url,
			Message: fmt.Sprintf("no response within %v", c.cfg.HeaderTimeout),
			Remedy:  "check that the endpoint is well, or raise the header timeout if the model thinks that long"}
	case errors.Is(err, errEventTooLarge), errors.Is(err, errStreamTooLarge), errors.Is(err, bufio.ErrTooLong):
		return c.tooLarge(err)
	case errors.As(err, &failed):
		detail := parseErrorBody(failed.Event.Data)
		return &Error{Kind: ErrServer, URL: c.url, Code: c.clean(detail.code), Message: c.clean(detail.message),
			Remedy: "nothing is wrong on this side; try later", retryable: true}
	case errors.As(err, &broken):
		return &Error{Kind: ErrMalformed, URL: c.url, Cause: broken.error,
			Message: "the connection broke in the middle of the stream: " + c.clean(broken.Error()),
			Remedy:  "try again; if it happens each time, look at the proxies in between", retryable: true}
	case answered:
		return c.damaged(err)
	}
	return c.unreachable(err)
}

// unreachable explains why no response came at all.
func (c *Client) unreachable(err error) *Error {
	message := err.Error()
	var at *url.Error
	if errors.As(err, &at) { // the address is named already
		message = at.Err.Error()
	}
	e := &Error{Kind: ErrUnreachable, URL: c.url, Message: c.clean(message), Cause: err, retryable: true,
		Remedy: "check that the endpoint runs and that base_url is right"}
	var certificate *tls.CertificateVerificationError
	var dns *net.DNSError
	switch {
	case errors.As(err, &certificate):
		e.Remedy = "its certificate is not trusted here: check base_url, or add the issuer to the system's certificates"
		e.retryable = false
	case errors.Is(err, http.ErrSchemeMismatch):
		e.Remedy = "it speaks plain HTTP: use http:// in base_url"
		e.retryable = false
	case errors.As(err, &dns):
		e.Remedy = fmt.Sprintf("the name %s does not resolve: check base_url and the network", c.clean(dns.Name))
	}
	return e
}

// damaged explains a stream that came, but is not what the protocol says.
func (c *Client) damaged(err error) *Error {
	if errors.Is(err, errTooLarge) {
		return c.tooLarge(err)
	}
	message := c.clean(err.Error())
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		message = "an event is not whole JSON: " + message
	}
	return &Error{Kind: ErrMalformed, URL: c.url, Message: message, Cause: err,
		Remedy: "try again; if it happens each time, the endpoint or a proxy in between does not speak Chat Completions properly"}
}

func (c *Client) tooLarge(err error) *Error {
	return &Error{Kind: ErrTooLarge, URL: c.url, Message: c.clean(err.Error()), Cause: err,
		Remedy: "no model answers at such length; check what base_url points at"}
}

// cutShort is the error for an answer that the endpoint ended early, or nil.
func (c *Client) cutShort(resp *Response) error {
	switch resp.FinishReason {
	case "length":
		return &Error{Kind: ErrLength, URL: c.url, Message: "it reached the limit of tokens for one answer",
			Remedy: "raise the limit, or choose a model with a longer output"}
	case "content_filter":
		return &Error{Kind: ErrFiltered, URL: c.url, Message: "the endpoint's content filter stopped it",
			Remedy: "put the task differently"}
	}
	return nil
}
