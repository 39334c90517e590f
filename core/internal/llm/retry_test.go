package llm

import (
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"testing"
	"time"
)

var quietLog = log.New(io.Discard, "", 0)

func TestRetriesUntilItAnswers(t *testing.T) {
	t.Parallel()
	e := newEndpoint(t,
		status(429, `{"error":{"message":"slow down"}}`, "Retry-After", "3600"),
		status(503, ""),
		hangUp(), // before any response
		hangUp(`{"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}`), // before any content
		events(`{"error":{"message":"overloaded"}}`),
		answer)
	var told []Retry
	c := e.client(t, func(c *Config) { c.MaxTries, c.OnRetry = 6, func(r Retry) { told = append(told, r) } })
	resp, err := c.Complete(t.Context(), hello, nil)
	if err != nil || resp.Message.Content != "hi" {
		t.Fatalf("%+v, %v", resp, err)
	}
	kinds := []error{ErrRateLimited, ErrServer, ErrUnreachable, ErrMalformed, ErrServer}
	if len(told) != len(kinds) {
		t.Fatalf("told of %d retries: %+v", len(told), told)
	}
	for i, r := range told {
		if r.Try != i+1 || r.MaxTries != 6 || !errors.Is(r.Err, kinds[i]) {
			t.Errorf("retry %d: %+v", i+1, r)
		}
	}
	if told[0].Wait != time.Microsecond {
		t.Errorf("Retry-After of an hour is not capped: %v", told[0].Wait)
	}
	for _, body := range e.bodies[1:] {
		if body != e.bodies[0] {
			t.Errorf("a later try sent another body:\n%s\n%s", e.bodies[0], body)
		}
	}
}

func TestNoRetryOnceContentWasPassedOn(t *testing.T) {
	t.Parallel()
	for name, first := range map[string]http.HandlerFunc{
		"connection":  hangUp(contentChunk("The answer is ")),
		"error event": events(contentChunk("The answer is "), `{"error":{"message":"overloaded"}}`),
		"tool call":   hangUp(callChunk(0, "a", "ls", "")),
	} {
		e := newEndpoint(t, first, answer)
		deltas := 0
		_, err := e.client(t).Complete(t.Context(), hello, func(Delta) { deltas++ })
		if err == nil || e.count() != 1 || deltas != 1 {
			t.Errorf("%s: %v after %d requests and %d deltas", name, err, e.count(), deltas)
		}
	}
}

func TestCancelWhileWaiting(t *testing.T) {
	t.Parallel()
	e := newEndpoint(t, status(503, "", "Retry-After", "3600"))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c := e.client(t, func(c *Config) { c.MaxRetryAfter, c.OnRetry = time.Hour, func(Retry) { cancel() } })
	_, err := c.Complete(ctx, hello, nil) // an hour, if it does not heed ctx
	if !errors.Is(err, context.Canceled) || !errors.Is(err, ErrServer) || e.count() != 1 {
		t.Errorf("%v after %d requests", err, e.count())
	}
}

func TestDelay(t *testing.T) {
	t.Parallel()
	c := Config{BackOff: time.Second, MaxBackOff: 8 * time.Second, MaxRetryAfter: time.Minute}
	for try, full := range map[int]time.Duration{1: time.Second, 2: 2 * time.Second, 3: 4 * time.Second, 4: 8 * time.Second, 5: 8 * time.Second, 4000: 8 * time.Second} {
		seen := map[time.Duration]bool{}
		for range 50 {
			d := c.delay(try, 0)
			if d < full/2 || d > full {
				t.Errorf("try %d: %v, want %v to %v", try, d, full/2, full)
			}
			seen[d] = true
		}
		if len(seen) < 2 {
			t.Errorf("try %d: no jitter", try)
		}
	}
	if d := c.delay(1, 10*time.Second); d != 10*time.Second {
		t.Errorf("asked for 10 s, waits %v", d)
	}
	if d := c.delay(1, time.Hour); d != time.Minute {
		t.Errorf("asked for an hour, waits %v", d)
	}
}

func TestRetryAfterForms(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]time.Duration{
		"7": 7 * time.Second, "0.5": 500 * time.Millisecond, "": 0, "soon": 0, "-3": 0, "NaN": 0, "1e300": 24 * time.Hour,
		"Mon, 02 Jan 2006 15:04:05 GMT": 0,
	} {
		if got := retryAfter(http.Header{"Retry-After": {value}}); got != want {
			t.Errorf("%q: %v, want %v", value, got, want)
		}
	}
	if got := retryAfter(http.Header{"Retry-After-Ms": {"250"}, "Retry-After": {"9"}}); got != 250*time.Millisecond {
		t.Errorf("milliseconds: %v", got)
	}
	date := time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)
	if got := retryAfter(http.Header{"Retry-After": {date}}); got < 50*time.Minute || got > time.Hour {
		t.Errorf("date in an hour: %v", got)
	}
}
