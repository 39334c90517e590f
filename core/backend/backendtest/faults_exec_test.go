package backendtest_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/deep-sandbox/deep/core/backend"
)

// brokenCommands is a sandbox with a fault planted in what it does with commands.
type brokenCommands struct {
	backend.Sandbox
	exec      func(s backend.Sandbox, ctx context.Context, req *backend.ExecRequest) (*backend.ExecResult, error)
	start     func(s backend.Sandbox, ctx context.Context, req *backend.ExecRequest) (*backend.StartReply, error)
	outcome   func(s backend.Sandbox, ctx context.Context, req *backend.OutcomeRequest) (*backend.OutcomeReply, error)
	output    func(s backend.Sandbox, ctx context.Context, req *backend.ReadOutputRequest) (*backend.Output, error)
	stdin     func(s backend.Sandbox, ctx context.Context, req *backend.WriteStdinRequest) (*backend.WriteStdinReply, error)
	signal    func(s backend.Sandbox, ctx context.Context, req *backend.SignalRequest) error
	kill      func(s backend.Sandbox, ctx context.Context, req *backend.KillRequest) (*backend.OutcomeReply, error)
	resize    func(s backend.Sandbox, ctx context.Context, req *backend.ResizeRequest) error
	processes func(s backend.Sandbox, ctx context.Context, req *backend.ProcessesRequest) (*backend.ProcessesReply, error)
	stats     func(s backend.Sandbox, ctx context.Context, req *backend.StatsRequest) (*backend.Stats, error)
	dial      func(s backend.Sandbox, ctx context.Context, req *backend.DialRequest) (backend.Conn, error)
}

func (s *brokenCommands) Exec(ctx context.Context, req *backend.ExecRequest) (*backend.ExecResult, error) {
	if s.exec != nil {
		return s.exec(s.Sandbox, ctx, req)
	}
	return s.Sandbox.Exec(ctx, req)
}
func (s *brokenCommands) Start(ctx context.Context, req *backend.ExecRequest) (*backend.StartReply, error) {
	if s.start != nil {
		return s.start(s.Sandbox, ctx, req)
	}
	return s.Sandbox.Start(ctx, req)
}
func (s *brokenCommands) Outcome(ctx context.Context, req *backend.OutcomeRequest) (*backend.OutcomeReply, error) {
	if s.outcome != nil {
		return s.outcome(s.Sandbox, ctx, req)
	}
	return s.Sandbox.Outcome(ctx, req)
}
func (s *brokenCommands) ReadOutput(ctx context.Context, req *backend.ReadOutputRequest) (*backend.Output, error) {
	if s.output != nil {
		return s.output(s.Sandbox, ctx, req)
	}
	return s.Sandbox.ReadOutput(ctx, req)
}
func (s *brokenCommands) WriteStdin(ctx context.Context, req *backend.WriteStdinRequest) (*backend.WriteStdinReply, error) {
	if s.stdin != nil {
		return s.stdin(s.Sandbox, ctx, req)
	}
	return s.Sandbox.WriteStdin(ctx, req)
}
func (s *brokenCommands) Signal(ctx context.Context, req *backend.SignalRequest) error {
	if s.signal != nil {
		return s.signal(s.Sandbox, ctx, req)
	}
	return s.Sandbox.Signal(ctx, req)
}
func (s *brokenCommands) Kill(ctx context.Context, req *backend.KillRequest) (*backend.OutcomeReply, error) {
	if s.kill != nil {
		return s.kill(s.Sandbox, ctx, req)
	}
	return s.Sandbox.Kill(ctx, req)
}
func (s *brokenCommands) Resize(ctx context.Context, req *backend.ResizeRequest) error {
	if s.resize != nil {
		return s.resize(s.Sandbox, ctx, req)
	}
	return s.Sandbox.Resize(ctx, req)
}
func (s *brokenCommands) Processes(ctx context.Context, req *backend.ProcessesRequest) (*backend.ProcessesReply, error) {
	if s.processes != nil {
		return s.processes(s.Sandbox, ctx, req)
	}
	return s.Sandbox.Processes(ctx, req)
}
func (s *brokenCommands) Stats(ctx context.Context, req *backend.StatsRequest) (*backend.Stats, error) {
	if s.stats != nil {
		return s.stats(s.Sandbox, ctx, req)
	}
	return s.Sandbox.Stats(ctx, req)
}
func (s *brokenCommands) Dial(ctx context.Context, req *backend.DialRequest) (backend.Conn, error) {
	if s.dial != nil {
		return s.dial(s.Sandbox, ctx, req)
	}
	return s.Sandbox.Dial(ctx, req)
}

// commands is a backend whose sandboxes have that fault.
func commands(s brokenCommands) brokenBackend {
	wrap := func(sb backend.Sandbox, err error) (backend.Sandbox, error) {
		if err != nil {
			return nil, err
		}
		broken := s
		broken.Sandbox = sb
		return &broken, nil
	}
	return brokenBackend{
		create: func(b backend.Backend, ctx context.Context, req *backend.CreateRequest) (backend.Sandbox, error) {
			return wrap(b.Create(ctx, req))
		},
		open: func(b backend.Backend, ctx context.Context, req *backend.OpenRequest) (backend.Sandbox, error) {
			return wrap(b.Open(ctx, req))
		},
	}
}

func startIn(change func(*backend.ExecRequest)) brokenBackend {
	return commands(brokenCommands{start: func(s backend.Sandbox, ctx context.Context, req *backend.ExecRequest) (*backend.StartReply, error) {
		r := *req
		change(&r)
		return s.Start(ctx, &r)
	}})
}

func outcomeOut(change func(*backend.ExecResult)) brokenBackend {
	return commands(brokenCommands{outcome: func(s backend.Sandbox, ctx context.Context, req *backend.OutcomeRequest) (*backend.OutcomeReply, error) {
		r, err := s.Outcome(ctx, req)
		if err == nil {
			change(&r.Result)
		}
		return r, err
	}})
}

func killOut(change func(*backend.ExecResult)) brokenBackend {
	return commands(brokenCommands{kill: func(s backend.Sandbox, ctx context.Context, req *backend.KillRequest) (*backend.OutcomeReply, error) {
		r, err := s.Kill(ctx, req)
		if err == nil {
			change(&r.Result)
		}
		return r, err
	}})
}

// reading changes what ReadOutput is asked and answers.
func reading(in func(*backend.ReadOutputRequest), out func(*backend.Output)) brokenBackend {
	return commands(brokenCommands{output: func(s backend.Sandbox, ctx context.Context, req *backend.ReadOutputRequest) (*backend.Output, error) {
		r := *req
		in(&r)
		o, err := s.ReadOutput(ctx, &r)
		if err == nil {
			out(o)
		}
		return o, err
	}})
}

// unconflicted is an answer in which a conflict is passed over.
func unconflicted[T any](r T, err error) (T, error) {
	if errors.Is(err, backend.ErrConflict) {
		err = nil
	}
	return r, err
}

// endless reads with a conflict being the end.
type endless struct{ io.ReadCloser }

func (e endless) Read(p []byte) (int, error) {
	n, err := e.ReadCloser.Read(p)
	if err != nil {
		err = io.EOF
	}
	return n, err
}

// onTerminal changes commands that have a terminal.
func onTerminal(change func(*backend.ExecRequest)) brokenBackend {
	in := func(req *backend.ExecRequest) *backend.ExecRequest {
		r := *req
		if r.TTY != nil {
			change(&r)
		}
		return &r
	}
	return commands(brokenCommands{
		exec: func(s backend.Sandbox, ctx context.Context, req *backend.ExecRequest) (*backend.ExecResult, error) {
			return s.Exec(ctx, in(req))
		},
		start: func(s backend.Sandbox, ctx context.Context, req *backend.ExecRequest) (*backend.StartReply, error) {
			return s.Start(ctx, in(req))
		},
	})
}

// shortened is output with all behind n bytes left out.
func shortened(n int64) func(*backend.ExecRequest) {
	return func(r *backend.ExecRequest) {
		w, left := r.Stdout, n
		r.Stdout = writeFunc(func(p []byte) (int, error) {
			take := min(left, int64(len(p)))
			left -= take
			_, err := w.Write(p[:take])
			return len(p), err
		})
	}
}

// TestCommandFaultsAreFound plants faults in commands in the foreground.
func TestCommandFaultsAreFound(t *testing.T) {
	t.Parallel()
	areFound(t, []planted{
		{"exec-not-executable", "what is not executable is not there", resultOut(func(r *backend.ExecResult) {
			if r.ExitCode == 126 {
				r.ExitCode = 127
			}
		})},
		{"exec-script", "a script is no program", execIn(func(r *backend.ExecRequest) {
			if len(r.Argv) > 0 {
				r.Argv = append([]string{"cat"}, r.Argv...)
			}
		})},
		{"exec-one-writer-order", "stdout comes before stderr", execIn(func(r *backend.ExecRequest) {
			r.Stderr = writeFunc(r.Stderr.Write)
		})},
		{"exec-one-writer", "two write at once", brokenBackend{sandbox: brokenSandbox{exec: func(s backend.Sandbox, ctx context.Context, req *backend.ExecRequest) (*backend.ExecResult, error) {
			r := *req
			r.Stdout = writeFunc(func(p []byte) (int, error) {
				_, _ = req.Stdout.Write(p)
				return req.Stdout.Write(p)
			})
			return s.Exec(ctx, &r)
		}}}},
		{"exec-output-discarded", "what nobody wants is not counted", brokenBackend{sandbox: brokenSandbox{exec: func(s backend.Sandbox, ctx context.Context, req *backend.ExecRequest) (*backend.ExecResult, error) {
			r, err := s.Exec(ctx, req)
			if r != nil && req.Stdout == nil {
				r.StdoutBytes, r.StderrBytes = 0, 0
			}
			return r, err
		}}}},
		{"exec-env-of-host", "a variable of the host is visible", execIn(func(r *backend.ExecRequest) {
			r.Env = map[string]string{"DEEP_CONTRACT_CANARY": "of-the-host"}
		})},
		{"exec-stdin-empty", "stdin never ends", execIn(func(r *backend.ExecRequest) {
			if r.Stdin == nil {
				r.Stdin = strings.NewReader("x")
			}
		})},
		{"exec-stdin-unread", "unread input is an error", execOut(func(r *backend.ExecResult, err error) (*backend.ExecResult, error) {
			return r, errors.Join(err, &backend.Error{Kind: backend.ErrConflict, Op: "exec"})
		})},
		{"exec-writer-fails", "the writer's error is lost", execOut(func(r *backend.ExecResult, _ error) (*backend.ExecResult, error) { return r, nil })},
		{"exec-id-given", "ids are made anew", resultOut(func(r *backend.ExecResult) { r.ID = "always" })},
		{"exec-result-measures", "no CPU time is told", resultOut(func(r *backend.ExecResult) { r.UserTime, r.SystemTime = 0, 0 })},
		{"exec-many-at-once", "output of one goes to another", execIn(func(r *backend.ExecRequest) { r.Env = map[string]string{"W": "word-0"} })},
		{"exec-argv-long", "long arguments are cut", execIn(func(r *backend.ExecRequest) {
			for i, a := range r.Argv {
				r.Argv[i] = a[:min(len(a), 64<<10)]
			}
		})},
		{"exec-shell", "a shell string is split at spaces", execIn(func(r *backend.ExecRequest) {
			if r.Shell != "" {
				r.Argv, r.Shell = strings.Fields(r.Shell), ""
			}
		})},
		{"exec-core-limit", "a crash leaves a core file", execIn(func(r *backend.ExecRequest) {
			r.Shell = strings.Replace(r.Shell, "echo x > f;", "echo x > f; echo y > core;", 1)
		})},
		{"exec-flood", "output is capped in silence", execIn(shortened(50 << 20))},
		{"exec-slow-reader", "output is piled up", brokenBackend{sandbox: brokenSandbox{exec: func(s backend.Sandbox, ctx context.Context, req *backend.ExecRequest) (*backend.ExecResult, error) {
			r := *req
			var all bytes.Buffer
			r.Stdout = &all
			res, err := s.Exec(ctx, &r)
			_, _ = req.Stdout.Write(all.Bytes())
			return res, err
		}}}},
		{"outcome-unknown-id", "an unknown id is one that runs", commands(brokenCommands{outcome: func(_ backend.Sandbox, _ context.Context, req *backend.OutcomeRequest) (*backend.OutcomeReply, error) {
			return &backend.OutcomeReply{Result: backend.ExecResult{ID: req.ID, Outcome: backend.OutcomeRunning}}, nil
		}})},
		{"outcome-running", "what was cancelled has exited", outcomeOut(func(r *backend.ExecResult) {
			if r.Outcome == backend.OutcomeCancelled {
				r.Outcome = backend.OutcomeExit
			}
		})},
		{"timeout-not-reached", "every SIGKILL is a timeout", resultOut(func(r *backend.ExecResult) {
			if r.Signal == int(syscall.SIGKILL) {
				r.Outcome = backend.OutcomeTimeout
			}
		})},
		{"timeout-in-time", "the grace is not counted", resultOut(func(r *backend.ExecResult) { r.Duration = 0 })},
		{"timeout-terminates-first", "it is killed at once", execIn(func(r *backend.ExecRequest) { r.Grace = new(time.Duration) })},
		{"spec-timeout", "no timeout is the default", execIn(func(r *backend.ExecRequest) {
			if r.Timeout == backend.Unlimited {
				r.Timeout = 0
			}
		})},
		{"cancelled-before", "it is run all the same", brokenBackend{sandbox: brokenSandbox{exec: func(s backend.Sandbox, ctx context.Context, req *backend.ExecRequest) (*backend.ExecResult, error) {
			r, err := s.Exec(context.WithoutCancel(ctx), req)
			if ctx.Err() != nil {
				err = &backend.Error{Kind: ctx.Err(), Op: "exec"}
			}
			return r, err
		}}}},
		{"cancel-one", "a neighbour is told that it failed", resultOut(func(r *backend.ExecResult) {
			if r.Outcome == backend.OutcomeExit {
				r.Outcome, r.ExitCode, r.Signal = backend.OutcomeSignal, 143, 15
			}
		})},
		{"background-child", "the child is killed", execIn(func(r *backend.ExecRequest) {
			r.Shell = strings.Replace(r.Shell, "echo done", "echo done; kill -KILL $!", 1)
		})},
		{"output-below-limit", "the limit is reached too soon", execIn(func(r *backend.ExecRequest) { r.OutputLimit /= 3 })},
		{"oom", "it is not told for certain", resultOut(func(r *backend.ExecResult) {
			if r.Outcome == backend.OutcomeOOM {
				r.Outcome, r.OOMPossible = backend.OutcomeSignal, true
			}
		})},
		{"outcome-so-far", "bytes are counted at the end", soFar(func(r *backend.ExecResult) { r.StdoutBytes, r.StderrBytes = 0, 0 })},
		{"outcome-so-far", "time is told at the end", soFar(func(r *backend.ExecResult) { r.Duration = 0 })},
		{"oom", "the kernel's kill is a signal like any", resultOut(func(r *backend.ExecResult) {
			if r.Outcome == backend.OutcomeOOM {
				r.Outcome = backend.OutcomeSignal
			}
		})},
	})
}

// TestTerminalFaultsAreFound plants faults in terminals.
func TestTerminalFaultsAreFound(t *testing.T) {
	t.Parallel()
	noTerminal := func() brokenBackend { return onTerminal(func(r *backend.ExecRequest) { r.TTY = nil }) }
	areFound(t, []planted{
		{"tty-is-one", "the size is a default", onTerminal(func(r *backend.ExecRequest) { r.TTY = &backend.WindowSize{Rows: 24, Cols: 80} })},
		{"tty-controls", "it is a pair of pipes", noTerminal()},
		{"tty-merged", "stderr comes apart", commands(brokenCommands{exec: func(s backend.Sandbox, ctx context.Context, req *backend.ExecRequest) (*backend.ExecResult, error) {
			r, err := s.Exec(ctx, req)
			if r != nil {
				r.StdoutBytes, r.StderrBytes = r.StdoutBytes-3, 3
			}
			return r, err
		}})},
		{"tty-output-whole", "the last bytes are lost", onTerminal(shortened(1_000_000))},
		{"tty-echo", "it is a pair of pipes", noTerminal()},
		{"tty-interrupt", "an interrupt is an exit", resultOut(func(r *backend.ExecResult) {
			if r.Signal != 0 {
				r.Outcome, r.Signal = backend.OutcomeExit, 0
			}
		})},
		{"tty-resize", "resizing is not supported", commands(brokenCommands{resize: func(backend.Sandbox, context.Context, *backend.ResizeRequest) error {
			return &backend.Error{Kind: backend.ErrUnsupported, Op: "resize"}
		}})},
		{"tty-resize-refused", "resizing what cannot be is no error", commands(brokenCommands{resize: func(s backend.Sandbox, ctx context.Context, req *backend.ResizeRequest) error {
			_, err := unconflicted(0, s.Resize(ctx, req))
			return err
		}})},
		{"tty-background", "in the background there is none", commands(brokenCommands{start: func(s backend.Sandbox, ctx context.Context, req *backend.ExecRequest) (*backend.StartReply, error) {
			if req.TTY != nil {
				return nil, &backend.Error{Kind: backend.ErrUnsupported, Op: "start"}
			}
			return s.Start(ctx, req)
		}})},
		{"tty-background-child", "it is a pair of pipes", noTerminal()},
		{"tty-timeout", "one process gets away", escaping()},
	})
}

// soFar changes what is told of a command that runs.
func soFar(change func(*backend.ExecResult)) brokenBackend {
	return brokenBackend{sandbox: brokenSandbox{outcome: func(s backend.Sandbox, ctx context.Context, req *backend.OutcomeRequest) (*backend.OutcomeReply, error) {
		r, err := s.Outcome(ctx, req)
		if err == nil && r.Result.Outcome == backend.OutcomeRunning {
			change(&r.Result)
		}
		return r, err
	}}}
}
