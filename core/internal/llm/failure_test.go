package llm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestRefusals(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		status int
		body   string
		kind   error
		tries  int
		text   []string
	}{
		"wrong key": {401, `{"error":{"message":"bad key ` + testKey + `","code":"invalid_api_key"}}`, ErrAuth, 1,
			[]string{"HTTP 401", "bad key [API key]", "OPENAI_API_KEY"}},
		"no access":                {403, `{"error":{"message":"not yours"}}`, ErrForbidden, 1, []string{"not yours", `access to "m"`}},
		"model":                    {404, `{"error":{"message":"nope","code":"model_not_found"}}`, ErrModelNotFound, 1, []string{"nope", "/v1/models"}},
		"model, named only":        {404, `{"error":"'m' is unknown, pull it"}`, ErrModelNotFound, 1, []string{"pull it"}},
		"no such page":             {404, "<html><h1>Not Found</h1>", ErrNoEndpoint, 1, []string{"a web page", "/v1"}},
		"bad request":              {400, `{"error":{"message":"temperature is odd","type":"invalid_request_error","code":null}}`, ErrBadRequest, 1, []string{"temperature is odd"}},
		"too long":                 {400, `{"error":{"message":"8193 tokens","code":"context_length_exceeded"}}`, ErrBadRequest, 1, []string{"larger context"}},
		"unprocessable, FastAPI":   {422, `{"detail":[{"msg":"field required"}]}`, ErrBadRequest, 1, []string{"field required"}},
		"number as code, in array": {400, `[{"error":{"code":400,"message":"key expired"}}]`, ErrBadRequest, 1, []string{"key expired"}},
		"quota":                    {429, `{"error":{"message":"pay","code":"insufficient_quota"}}`, ErrQuota, 1, []string{"billing"}},
		"rate limit":               {429, `{"error":{"message":"slow down"}}`, ErrRateLimited, 3, []string{"slow down", "after 3 tries"}},
		"server":                   {500, `{"error":{"message":"oops"}}`, ErrServer, 3, []string{"oops", "after 3 tries"}},
		"overloaded":               {529, ``, ErrServer, 3, []string{"HTTP 529"}},
		"gateway":                  {502, `upstream <` + testKey + `> gone`, ErrServer, 3, []string{"upstream <[API key]> gone"}},
		"teapot":                   {418, `short and stout`, ErrBadRequest, 1, []string{"short and stout"}},
		"success of another kind":  {204, ``, ErrNoEndpoint, 1, []string{"HTTP 204"}},
		"terminal":                 {400, `{"error":{"message":"a\u001b[31mred\u202e\r\nb\u0000"}}`, ErrBadRequest, 1, []string{"a\uFFFD[31mred\uFFFD\nb"}},
		"endless": {400, `{"error":{"message":"` + strings.Repeat("é", 20000) + `"}}`, ErrBadRequest, 1,
			[]string{"… (cut)"}},
		"endless and not JSON": {400, strings.Repeat("x", 1<<20), ErrBadRequest, 1, []string{"… (cut)"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEndpoint(t, status(tc.status, tc.body))
			resp, err := e.client(t, func(c *Config) { c.MaxTries = 3 }).Complete(t.Context(), hello, nil)
			if !errors.Is(err, tc.kind) || resp != nil {
				t.Fatalf("%v, %v; want %v", resp, err, tc.kind)
			}
			if e.count() != tc.tries {
				t.Errorf("%d tries, want %d", e.count(), tc.tries)
			}
			var failure *Error
			if !errors.As(err, &failure) || failure.Status != tc.status || failure.Remedy == "" || failure.Tries != tc.tries {
				t.Errorf("%#v", failure)
			}
			text := err.Error()
			wantIn(t, text, append(tc.text, e.URL)...)
			if strings.Contains(text, testKey) {
				t.Errorf("the key is in the error: %s", text)
			}
			if len(text) > maxMessageBytes+1000 || strings.ContainsAny(text, "\x1b\x00\u202e") {
				t.Errorf("unclean text of %d bytes", len(text))
			}
		})
	}
}

func TestMissingKeyIsNotAWrongKey(t *testing.T) {
	t.Parallel()
	e := newEndpoint(t, status(401, ""))
	_, err := e.client(t, func(c *Config) { c.APIKey = "" }).Complete(t.Context(), hello, nil)
	wantIn(t, fmt.Sprint(err), "no API key was sent")
}

func TestRedirectIsNotFollowed(t *testing.T) {
	t.Parallel()
	thief := newEndpoint(t, answer)
	for _, code := range []int{301, 302, 303, 307, 308} {
		e := newEndpoint(t, status(code, "", "Location", thief.URL+"/v1/chat/completions?token=secret"))
		_, err := e.client(t).Complete(t.Context(), hello, nil)
		if !errors.Is(err, ErrRedirect) || e.count() != 1 {
			t.Errorf("%d: %v after %d requests", code, err, e.count())
		}
		wantIn(t, fmt.Sprint(err), thief.URL)
		if strings.Contains(fmt.Sprint(err), "secret") {
			t.Errorf("%v", err)
		}
	}
	if thief.count() != 0 {
		t.Errorf("followed %d times", thief.count())
	}
}

func TestDamagedStreams(t *testing.T) {
	t.Parallel()
	many := make([]string, 0, maxToolCalls+2)
	for i := range maxToolCalls + 1 {
		many = append(many, callChunk(i, fmt.Sprint("c", i), "ls", "{}"))
	}
	big := strings.Repeat("x", 1<<20)
	flood := []string{}
	for range 9 {
		flood = append(flood, contentChunk(big))
	}
	for name, tc := range map[string]struct {
		handler http.HandlerFunc
		kind    error
		text    string
	}{
		"half an event":       {events(contentChunk("a"), `{"choices":[{"index":0,`), ErrMalformed, "not whole JSON"},
		"not JSON":            {events(contentChunk("a"), `hello`), ErrMalformed, "not whole JSON"},
		"no finish_reason":    {events(contentChunk("a"), done), ErrMalformed, "finish_reason"},
		"end without a word":  {events(), ErrMalformed, "finish_reason"},
		"broken connection":   {hangUp(contentChunk("a")), ErrMalformed, "broke"},
		"error in the stream": {events(contentChunk("a"), `{"error":{"message":"overloaded `+testKey+`"}}`), ErrServer, "overloaded [API key]"},
		"choices of text":     {events(`{"choices":"none"}`), ErrMalformed, "wrong type"},
		"content of number":   {events(`{"choices":[{"index":0,"delta":{"content":{"a":1}}}]}`), ErrMalformed, "wrong type"},
		"second choice":       {events(`{"choices":[{"index":1,"delta":{"content":"a"}}]}`), ErrMalformed, "choice 1"},
		"call without name":   {events(callChunk(0, "a", "", "{}"), finishChunk("tool_calls"), done), ErrMalformed, "without a name"},
		"calls with one id":   {events(callChunk(0, "a", "ls", ""), callChunk(1, "a", "ls", ""), finishChunk("tool_calls"), done), ErrMalformed, "same id"},
		"negative index":      {events(callChunk(-1, "a", "ls", "")), ErrMalformed, "index"},
		"promised calls":      {events(contentChunk("a"), finishChunk("tool_calls"), done), ErrMalformed, "no tool call"},
		"legacy function":     {events(`{"choices":[{"index":0,"delta":{"function_call":{"name":"ls"}}}]}`), ErrMalformed, "function_call"},
		"web page":            {status(200, "<html>Sign in", "Content-Type", "text/html; charset=utf-8"), ErrNoEndpoint, "text/html"},
		"JSON, not a stream":  {status(200, `{"error":{"message":"no streaming"}}`, "Content-Type", "application/json"), ErrNoEndpoint, "no streaming"},
		"too many calls":      {events(many...), ErrTooLarge, "128 tool calls"},
		"too much content":    {events(flood...), ErrTooLarge, "8 MiB"},
		"too large an event":  {events(contentChunk(strings.Repeat("x", maxResponseBytes))), ErrTooLarge, "8 MiB"},
		"event that never ends": {func(w http.ResponseWriter, _ *http.Request) {
			for range 9 {
				fmt.Fprintf(w, "data: %s\n\r\r\n", big) // the middle line looks empty, and is not
			}
		}, ErrTooLarge, "8 MiB"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEndpoint(t, tc.handler)
			resp, err := e.client(t).Complete(t.Context(), hello, nil)
			if !errors.Is(err, tc.kind) || resp != nil {
				t.Fatalf("%v, %.300v; want %v", resp, err, tc.kind)
			}
			wantIn(t, err.Error(), tc.text)
			var failure *Error
			if errors.As(err, &failure); failure.Remedy == "" || e.count() != 1 {
				t.Errorf("%d requests, remedy %q", e.count(), failure.Remedy)
			}
			if len(err.Error()) > 2000 || strings.Contains(err.Error(), testKey) {
				t.Errorf("unfit to print: %.300s", err)
			}
		})
	}
}

func TestSilence(t *testing.T) {
	t.Parallel()
	keepAlive := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for r.Context().Err() == nil {
			io.WriteString(w, ": still here\n\n")
			w.(http.Flusher).Flush()
			time.Sleep(time.Millisecond)
		}
	}
	for name, tc := range map[string]struct {
		handler http.HandlerFunc
		text    string
	}{
		"before the header": {hang(), "header timeout"},
		"in the middle":     {hang(contentChunk("a")), "idle timeout"},
		"in an error body": {func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusInternalServerError)
			w.(http.Flusher).Flush()
			hang()(w, r)
		}, "header timeout"},
		"only comments": {keepAlive, "idle timeout"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEndpoint(t, tc.handler)
			c := e.client(t, func(c *Config) { c.HeaderTimeout, c.IdleTimeout = 200*time.Millisecond, 200*time.Millisecond })
			_, err := c.Complete(t.Context(), hello, nil)
			if !errors.Is(err, ErrStalled) || e.count() != 1 {
				t.Fatalf("%v after %d requests", err, e.count())
			}
			if errors.Is(err, context.Canceled) {
				t.Error("looks as if the caller had cancelled")
			}
			wantIn(t, err.Error(), tc.text)
		})
	}
}

func TestNobodyThere(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	url := "http://" + l.Addr().String() + "/v1"
	l.Close()
	retries := 0
	c, err := New(Config{BaseURL: url, APIKey: testKey, BackOff: time.Microsecond, MaxTries: 3, OnRetry: func(Retry) { retries++ }})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Complete(t.Context(), hello, nil)
	if !errors.Is(err, ErrUnreachable) || !errors.Is(err, syscall.ECONNREFUSED) || retries != 2 {
		t.Errorf("%v after %d retries", err, retries)
	}
	wantIn(t, fmt.Sprint(err), url, "base_url")

	wantIn(t, c.unreachable(&net.OpError{Err: &net.DNSError{Name: "model.example", IsNotFound: true}}).Error(), "model.example does not resolve")
}

func TestTransportSecurity(t *testing.T) {
	t.Parallel()
	secure := httptest.NewUnstartedServer(answer)
	secure.Config.ErrorLog = quietLog
	secure.StartTLS()
	t.Cleanup(secure.Close)
	plain := newEndpoint(t, answer)
	for url, text := range map[string]string{
		secure.URL: "certificate is not trusted",
		strings.Replace(plain.URL, "http://", "https://", 1): "use http://",
	} {
		retries := 0
		c, err := New(Config{BaseURL: url, OnRetry: func(Retry) { retries++ }})
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Complete(t.Context(), hello, nil)
		if !errors.Is(err, ErrUnreachable) || retries != 0 {
			t.Errorf("%v after %d retries", err, retries)
		}
		wantIn(t, fmt.Sprint(err), text)
	}
}
