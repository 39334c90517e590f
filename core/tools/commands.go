package tools

import (
	"errors"
	"fmt"

	"github.com/deep-sandbox/deep/core/backend"
)

// named calls run with an id for a command, and returns it. It is short, so that a
// model copies it without a slip, and counted, so that a recorded run meets the
// same again. Where another caller's command has it in this sandbox, nothing was
// run, and run is called once more with one that nobody has.
func (s *Set) named(run func(id string) error) (id string, err error) {
	s.mu.Lock()
	s.state.Commands++
	id = fmt.Sprintf("cmd-%d", s.state.Commands)
	s.mu.Unlock()
	if err = run(id); errors.Is(err, backend.ErrExists) {
		id += "-" + backend.NewID()
		err = run(id)
	}
	return id, err
}

// readUpTo remembers how far the model has read a command's output.
func (s *Set) readUpTo(id string, offset int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.Read[id] = max(s.state.Read[id], offset)
}

// unread returns the offset of the first byte of a command's output that the model
// has not read.
func (s *Set) unread(id string) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state.Read[id]
}

// noCommand answers an id that the sandbox does not know.
func noCommand(id string) Answer {
	return failed("There is no command %s in this sandbox. An id is what execute_background answered with; if it was right before the run was interrupted, the command ended with its sandbox: start it again.", backend.Printable(id))
}
