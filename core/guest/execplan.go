package guest

import (
	"strings"
	"time"

	"github.com/deep-sandbox/deep/core/backend"
)

const (
	shell     = "/bin/sh"
	maxGrace  = time.Hour
	errSize   = "a terminal needs a row and a column at least"
	hintSize  = "give the size of the window, or 24 rows and 80 columns"
	errGrace  = "a grace must be between 0 and one hour"
	hintGrace = "leave it out for the default; 0 kills at once"
	hintID    = "leave it out when you start it, and use the one of the answer"
)

// plan is a request that means something, with every default filled in.
type plan struct {
	id      string
	argv    []string
	shell   bool
	env     []string
	path    string // PATH of the command
	dir     string
	timeout time.Duration
	grace   time.Duration
}

func (s *Sandbox) plan(op string, req *backend.ExecRequest) (*plan, error) {
	invalid := func(about, message, hint string) error {
		return &backend.Error{Kind: backend.ErrInvalid, Op: op, Path: about, Message: message, Hint: hint}
	}
	p := &plan{id: req.ID, argv: req.Argv, timeout: req.Timeout, grace: backend.DefaultGrace}
	if p.id == "" {
		p.id = backend.NewID()
	}
	if !backend.ValidID(p.id) {
		return nil, invalid(p.id, "no id of an exec", hintID)
	}
	switch {
	case len(req.Argv) > 0 && req.Shell != "":
		return nil, invalid("", "both argv and a shell command", "give one of them")
	case req.Shell != "":
		p.argv, p.shell = []string{shell, "-c", req.Shell}, true
	case len(req.Argv) == 0:
		return nil, invalid("", "neither argv nor a shell command", "give a program and its arguments as argv, or a line for the shell")
	case req.Argv[0] == "":
		return nil, invalid("", "the program's name is empty", "argv begins with the program")
	}
	for _, arg := range p.argv {
		if strings.IndexByte(arg, 0) >= 0 {
			return nil, invalid("", "an argument cannot hold a NUL", "give such bytes on its standard input or in a file")
		}
	}
	for k, v := range req.Env {
		if err := checkVariable(k, v); err != nil {
			return nil, failed(op, "", err)
		}
	}
	switch {
	case req.Timeout < 0:
		return nil, invalid("", "negative timeout", "leave it out, or give 0, for the sandbox's own")
	case req.Timeout == 0:
		p.timeout = s.timeout
	}
	if req.Grace != nil {
		if p.grace = *req.Grace; p.grace < 0 || p.grace > maxGrace {
			return nil, invalid("", errGrace, hintGrace)
		}
	}
	if req.OutputLimit < 0 {
		return nil, invalid("", "negative output limit", "leave it out, or give 0, for the default")
	}
	term := "dumb"
	if req.TTY != nil {
		if term = "xterm"; req.TTY.Rows == 0 || req.TTY.Cols == 0 {
			return nil, invalid("", errSize, hintSize)
		}
	}
	dir, err := s.absOrWorkspace(req.Dir)
	if err != nil {
		return nil, failed(op, req.Dir, err)
	}
	p.dir = dir
	p.env, p.path = withEnv(s.env, term, req.Env)
	return p, nil
}
