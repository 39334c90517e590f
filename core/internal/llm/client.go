package llm

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
)

// Client asks one endpoint. It is safe for several goroutines.
type Client struct {
	cfg       Config
	base, url string
	transport *http.Transport
	chat      openai.ChatCompletionService
	sanitizer
}

// New makes a client. Nothing is sent until the first Complete. Any error is an [*Error] of kind [ErrConfig].
func New(cfg Config) (*Client, error) {
	cfg, err := cfg.checked()
	if err != nil {
		return nil, err
	}
	// Not http.DefaultTransport: a program that embeds us may have put anything there. No timeout either, the watchdog of
	// each try covers dialling, handshake and header together.
	transport := &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		ForceAttemptHTTP2:      true,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: 1 << 20,
	}
	c := &Client{
		cfg:       cfg,
		base:      cfg.BaseURL,
		url:       cfg.BaseURL + "/chat/completions",
		transport: transport,
		sanitizer: sanitizer{secret: cfg.APIKey},
	}
	// The service alone, not openai.NewClient: that one reads base URL, organisation and headers from the environment.
	c.chat = openai.NewChatCompletionService(
		option.WithBaseURL(cfg.BaseURL),
		option.WithAPIKey(cfg.APIKey),
		option.WithHeader("User-Agent", cfg.UserAgent),
		option.WithMaxRetries(0), // ours know what was already passed on, and can be seen and cancelled
		option.WithHTTPClient(&http.Client{
			Transport:     transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}),
	)
	return c, nil
}

// Close lets go of idle connections. Calls in progress are ended by their contexts.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// Complete sends req and waits for the whole answer, passing each piece to onDelta, if given, as it comes. The calls are
// made one after another on this goroutine, and a slow one slows the stream.
//
// Rate limits, failures of the endpoint and of the connection are tried again up to Config.MaxTries times, but never
// after the first piece of an answer. By then the caller may have shown it, and a second answer would not continue the
// first but contradict it: models do not repeat themselves. It would also be paid for twice.
//
// The response is nil beside an error, except with [ErrLength] and [ErrFiltered], where it holds what came. Its tool
// calls may then be cut off and must not be run.
func (c *Client) Complete(ctx context.Context, req Request, onDelta func(Delta)) (*Response, error) {
	params, err := c.params(req)
	if err != nil {
		return nil, err
	}
	if onDelta == nil {
		onDelta = func(Delta) {}
	}
	for try := 1; ; try++ {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("model call stopped: %w", err)
		}
		resp, err := c.try(ctx, params, onDelta)
		var failure *Error
		if !errors.As(err, &failure) {
			return resp, err
		}
		failure.Tries = try
		if !failure.retryable || try >= c.cfg.MaxTries {
			return resp, failure
		}
		wait := c.cfg.delay(try, failure.retryAfter)
		if c.cfg.OnRetry != nil {
			c.cfg.OnRetry(Retry{Try: try, MaxTries: c.cfg.MaxTries, Wait: wait, Err: failure})
		}
		if err := sleep(ctx, wait); err != nil {
			return nil, fmt.Errorf("model call stopped: %w, while waiting to try again after: %w", err, failure)
		}
	}
}
