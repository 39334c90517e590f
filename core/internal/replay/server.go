package replay

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// StatusMismatch is the HTTP status of a request that left the recording. A 4xx, so that no client tries it again.
const StatusMismatch = http.StatusUnprocessableEntity

const (
	basePath     = "/v1"
	endpointPath = basePath + "/chat/completions"
)

// Server is the endpoint that plays a recording. It is safe for several clients.
type Server struct {
	rec  *Recording
	key  string
	base string
	http *http.Server
	done chan struct{} // closed when Serve has returned

	mu       sync.Mutex
	mismatch *MismatchError
	failures map[int]int64 // times a step's failure was served
}

// Start opens an endpoint on a free loopback port. Only who knows its random key is answered: other users of the machine
// and web pages in a browser reach loopback too. Close it after use.
func Start(rec *Recording) (*Server, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("replay: cannot listen on loopback: %w", err)
	}
	s := &Server{
		rec:      rec,
		key:      "replay-" + rand.Text(),
		base:     "http://" + listener.Addr().String() + basePath,
		done:     make(chan struct{}),
		failures: make(map[int]int64),
	}
	s.http = &http.Server{
		Handler:           http.HandlerFunc(s.serve),
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          log.New(io.Discard, "", 0), // a client that hangs up is no news
	}
	go func() {
		defer close(s.done)
		_ = s.http.Serve(listener) // ends with ErrServerClosed
	}()
	return s, nil
}

// BaseURL is the address to give to a client.
func (s *Server) BaseURL() string { return s.base }

// APIKey is the bearer token to give to a client.
func (s *Server) APIKey() string { return s.key }

// Err is the first mismatch, a [*MismatchError], or nil.
func (s *Server) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mismatch == nil {
		return nil
	}
	return s.mismatch
}

// Close ends the endpoint. Answers being written get a second to finish.
func (s *Server) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = s.http.Close()
	}
	<-s.done
	return err
}

// serve answers a request as a Chat Completions endpoint would.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	if !s.authorized(r) {
		writeError(w, http.StatusUnauthorized, errorBody{Message: "wrong or missing API key", Type: "invalid_request_error", Code: "invalid_api_key"})
		return
	}
	if r.URL.Path != endpointPath {
		writeError(w, http.StatusNotFound, errorBody{Message: "no such path: " + r.URL.Path, Type: "invalid_request_error"})
		return
	}
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		writeError(w, http.StatusMethodNotAllowed, errorBody{Message: "use POST", Type: "invalid_request_error"})
		return
	}
	if media, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";"); strings.TrimSpace(media) != "application/json" {
		writeError(w, http.StatusBadRequest, errorBody{Message: "Content-Type must be application/json", Type: "invalid_request_error"})
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequestBytes))
	if err != nil {
		status := http.StatusBadRequest
		if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
			status = http.StatusRequestEntityTooLarge
		}
		writeError(w, status, errorBody{Message: "cannot read the request: " + err.Error(), Type: "invalid_request_error"})
		return
	}
	req, mistake := readRequest(body)
	if mistake != nil {
		writeError(w, http.StatusBadRequest, errorBody{Message: mistake.Error(), Type: "invalid_request_error", Param: mistake.path})
		return
	}
	s.answer(w, req)
}

func (s *Server) authorized(r *http.Request) bool {
	return subtle.ConstantTimeCompare([]byte(r.Header.Get("Authorization")), []byte("Bearer "+s.key)) == 1
}

// answer plays the step that req has come to.
func (s *Server) answer(w http.ResponseWriter, req *request) {
	index, mismatch := s.rec.match(req)
	if mismatch != nil {
		s.mu.Lock()
		if s.mismatch == nil {
			s.mismatch = mismatch
		}
		s.mu.Unlock()
		writeError(w, StatusMismatch, errorBody{Message: mismatch.Error() + "\n" + mismatch.Diff(), Type: "replay_mismatch", Code: "replay_mismatch"})
		return
	}
	step := s.rec.Steps[index]
	if s.failNow(index, step) {
		writeFailure(w, step.Failure)
		return
	}
	reply := newReply(index, req, step.Reply)
	if req.stream {
		reply.stream(w, req.includeUsage)
	} else {
		reply.whole(w)
	}
}

// failNow reports whether the step fails this time, and counts it.
func (s *Server) failNow(index int, step Step) bool {
	if step.Failure == nil || step.Reply == nil {
		return step.Failure != nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failures[index] == step.Failure.Times {
		return false
	}
	s.failures[index]++
	return true
}
