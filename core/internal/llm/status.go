package llm

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// maxErrorBodyBytes is how much of an error's body is read at all.
const maxErrorBodyBytes = 64 << 10

// statusError turns a response that is no answer into an *Error. It reads and closes the body.
func (c *Client) statusError(resp *http.Response, model string) *Error {
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBodyBytes)) // half an explanation is still one
	resp.Body.Close()

	detail := parseErrorBody(body)
	e := &Error{
		URL:     c.url,
		Status:  resp.StatusCode,
		Code:    c.clean(detail.code),
		Message: c.clean(detail.message),
	}
	switch s := resp.StatusCode; {
	case s >= 300 && s < 400:
		e.Kind = ErrRedirect
		e.Message = "to " + c.clean(redirectTarget(resp))
		e.Remedy = "following it would send the API key and the conversation there; if that is right, set base_url to it"
	case s == http.StatusUnauthorized:
		e.Kind = ErrAuth
		e.Remedy = "check the API key (api_key in config.hcl, or OPENAI_API_KEY) and that it belongs to this endpoint"
		if c.secret == "" {
			e.Remedy = "no API key was sent; set api_key in config.hcl, or OPENAI_API_KEY"
		}
	case s == http.StatusForbidden:
		e.Kind = ErrForbidden
		e.Remedy = fmt.Sprintf("ask the endpoint's owner for access to %q, or choose another model", model)
	case s == http.StatusNotFound && (detail.code == "model_not_found" || strings.Contains(detail.message, model)):
		e.Kind = ErrModelNotFound
		e.Remedy = fmt.Sprintf("the endpoint has no model %q; list what it has with GET %s/models", model, c.base)
	case s == http.StatusNotFound, s == http.StatusMethodNotAllowed:
		e.Kind = ErrNoEndpoint
		e.Remedy = "check base_url, which usually ends in /v1, and the model's name"
	case s == http.StatusPaymentRequired, s == http.StatusTooManyRequests && detail.code == "insufficient_quota":
		e.Kind = ErrQuota
		e.Remedy = "check plan and billing at the endpoint; waiting does not help"
	case s == http.StatusTooManyRequests:
		e.Kind = ErrRateLimited
		e.Remedy = "try later, or raise the endpoint's limit"
		e.retryable, e.retryAfter = true, retryAfter(resp.Header)
	case s == http.StatusRequestTimeout, s >= 500:
		e.Kind = ErrServer
		e.Remedy = "nothing is wrong on this side; try later"
		e.retryable, e.retryAfter = true, retryAfter(resp.Header)
	case s >= 400:
		e.Kind = ErrBadRequest
		e.Remedy = "the endpoint's message says what it does not take"
		if detail.code == "context_length_exceeded" {
			e.Remedy = "the conversation is longer than the model can read: choose a model with a larger context, or a smaller task"
		}
	default:
		e.Kind = ErrNoEndpoint
		e.Remedy = "check base_url, which usually ends in /v1"
	}
	return e
}

// redirectTarget gives scheme, host and path; a query may hold anything.
func redirectTarget(resp *http.Response) string {
	target, err := resp.Location()
	if err != nil {
		return "an address it does not name"
	}
	return (&url.URL{Scheme: target.Scheme, Host: target.Host, Path: target.Path}).String()
}

type errorDetail struct{ message, code string }

// parseErrorBody finds the message in the shapes seen in the wild: {"error":{"message","code"}}, {"error":"text"},
// {"message":"text"}, {"detail":"text"}, any of them in an array, or plain text. A web page has no message.
func parseErrorBody(body []byte) errorDetail {
	text := strings.TrimSpace(string(body))
	var list []json.RawMessage
	if json.Unmarshal(body, &list) == nil && len(list) > 0 {
		body = list[0]
	}
	var outer struct {
		Error   json.RawMessage `json:"error"`
		Message string          `json:"message"`
		Detail  json.RawMessage `json:"detail"`
	}
	if json.Unmarshal(body, &outer) != nil {
		if strings.HasPrefix(text, "<") {
			return errorDetail{message: "a web page instead of an API answer"}
		}
		return errorDetail{message: cut(text, 512)}
	}

	var inner struct {
		Message string          `json:"message"`
		Code    json.RawMessage `json:"code"`
	}
	if json.Unmarshal(outer.Error, &inner) == nil && inner.Message != "" {
		return errorDetail{message: inner.Message, code: jsonText(inner.Code)}
	}
	for _, candidate := range []string{jsonText(outer.Error), outer.Message, jsonText(outer.Detail)} {
		if candidate != "" {
			return errorDetail{message: candidate}
		}
	}
	return errorDetail{message: cut(text, 512)}
}

// jsonText gives a JSON string's value, and any other value as it is written; null and nothing are "".
func jsonText(raw json.RawMessage) string {
	var s string
	if len(raw) == 0 || json.Unmarshal(raw, &s) == nil {
		return s
	}
	return string(raw)
}
