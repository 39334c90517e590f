package llm

import (
	"context"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
)

// errStalled is the cause of a try's context when the endpoint kept silent for too long.
var errStalled = errors.New("stalled")

// try makes one request and reads its stream to the end.
func (c *Client) try(ctx context.Context, params openai.ChatCompletionNewParams, emit func(Delta)) (*Response, error) {
	tryCtx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watchdog := time.AfterFunc(c.cfg.HeaderTimeout, func() { cancel(errStalled) })
	defer watchdog.Stop()

	answered := false
	stream := c.chat.NewStreaming(tryCtx, params, option.WithMiddleware(
		func(req *http.Request, next option.MiddlewareNext) (*http.Response, error) {
			dropTelemetry(req.Header)
			resp, err := next(req)
			if err != nil {
				return nil, err
			}
			if !isEventStream(resp) {
				return nil, c.notAStream(resp, params.Model)
			}
			answered = true
			resp.Body = &boundedBody{ReadCloser: resp.Body}
			return resp, nil
		}))
	defer stream.Close()

	var acc accumulator
	for {
		if answered {
			watchdog.Reset(c.cfg.IdleTimeout)
		}
		if !stream.Next() {
			break
		}
		watchdog.Stop() // the time the caller takes is not the endpoint's silence
		if err := acc.add(stream.Current(), emit); err != nil {
			return nil, c.damaged(err)
		}
	}
	if err := stream.Err(); err != nil {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("model call stopped: %w", ctx.Err())
		}
		failure := c.streamError(err, answered, errors.Is(context.Cause(tryCtx), errStalled))
		failure.retryable = failure.retryable && !acc.started()
		return nil, failure
	}
	resp, err := acc.response()
	if err != nil {
		return nil, c.damaged(err)
	}
	return resp, c.cutShort(resp)
}

// dropTelemetry removes what the SDK tells about this machine: the endpoint may be anybody's.
func dropTelemetry(h http.Header) {
	for name := range h {
		if strings.HasPrefix(name, "X-Stainless-") {
			h.Del(name)
		}
	}
}

// isEventStream reports whether the response can be read as a stream. Servers are sloppy with the type, so only what is
// surely something else is turned away.
func isEventStream(resp *http.Response) bool {
	if resp.StatusCode != http.StatusOK {
		return false
	}
	media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	return media != "application/json" && media != "text/html"
}

// notAStream explains a response that is none.
func (c *Client) notAStream(resp *http.Response, model string) *Error {
	e := c.statusError(resp, model)
	if resp.StatusCode == http.StatusOK {
		e.Status = 0
		e.Message = c.clean(fmt.Sprintf("answered with %s instead of an event stream: %s", resp.Header.Get("Content-Type"), e.Message))
	}
	return e
}
