package llm

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const testKey = "sk-test-0123456789abcdef"

// endpoint is a server on loopback whose answers a test writes by hand, one handler a request; the last one repeats.
type endpoint struct {
	*httptest.Server
	mu       sync.Mutex
	handlers []http.HandlerFunc
	requests []*http.Request
	bodies   []string
}

func newEndpoint(t *testing.T, handlers ...http.HandlerFunc) *endpoint {
	t.Helper()
	e := &endpoint{handlers: handlers}
	e.Server = httptest.NewServer(e)
	t.Cleanup(e.Close)
	return e
}

func (e *endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	e.mu.Lock()
	h := e.handlers[min(len(e.requests), len(e.handlers)-1)]
	e.requests = append(e.requests, r)
	e.bodies = append(e.bodies, string(body))
	e.mu.Unlock()
	h(w, r)
}

// count gives the number of requests so far.
func (e *endpoint) count() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.requests)
}

// client makes a client of the endpoint whose waits between tries are too short to notice.
func (e *endpoint) client(t *testing.T, change ...func(*Config)) *Client {
	t.Helper()
	cfg := Config{BaseURL: e.URL + "/v1", APIKey: testKey, BackOff: time.Microsecond, MaxRetryAfter: time.Microsecond}
	for _, f := range change {
		f(&cfg)
	}
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// events answers with a stream of the given data lines, as they stand.
func events(data ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for _, d := range data {
			fmt.Fprintf(w, "data: %s\n\n", d)
			w.(http.Flusher).Flush()
		}
	}
}

// status answers with a status and a body.
func status(code int, body string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(code)
		io.WriteString(w, body)
	}
}

// hangUp sends the start of a stream, if any, and breaks the connection without ending it.
func hangUp(data ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if len(data) > 0 {
			events(data...)(w, r)
		}
		panic(http.ErrAbortHandler)
	}
}

// hang says nothing, after the start of a stream if there is one, until the client gives up.
func hang(data ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if len(data) > 0 {
			events(data...)(w, r)
		}
		<-r.Context().Done()
	}
}

// The chunks of ordinary answers.
func contentChunk(text string) string {
	return fmt.Sprintf(`{"model":"m-1","choices":[{"index":0,"delta":{"content":%s},"finish_reason":null}]}`, quote(text))
}

func callChunk(index int, id, name, arguments string) string {
	return fmt.Sprintf(`{"choices":[{"index":0,"delta":{"tool_calls":[{"index":%d,"id":%s,"type":"function","function":{"name":%s,"arguments":%s}}]}}]}`,
		index, quote(id), quote(name), quote(arguments))
}

func finishChunk(reason string) string {
	return fmt.Sprintf(`{"choices":[{"index":0,"delta":{},"finish_reason":%s}]}`, quote(reason))
}

const done = "[DONE]"

func quote(s string) string {
	b, _ := json.Marshal(s)
	return string(b)
}

// hello is a request, and answer a stream that suits it.
var (
	hello  = Request{Model: "m", Messages: []Message{{Role: RoleUser, Content: "hello"}}}
	answer = events(contentChunk("hi"), finishChunk("stop"), done)
)

// wantIn fails unless text has each of the parts.
func wantIn(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			t.Errorf("%q is not in:\n%s", p, text)
		}
	}
}
