package backendtest_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/backend/backendtest"
)

// TestBackgroundFaultsAreFound plants faults in commands in the background.
func TestBackgroundFaultsAreFound(t *testing.T) {
	t.Parallel()
	anyway := func() brokenBackend {
		return commands(brokenCommands{stdin: func(s backend.Sandbox, ctx context.Context, req *backend.WriteStdinRequest) (*backend.WriteStdinReply, error) {
			return unconflicted(s.WriteStdin(ctx, req))
		}})
	}
	areFound(t, []planted{
		{"background-start", "a failure is exit code 1", outcomeOut(func(r *backend.ExecResult) { r.ExitCode = min(r.ExitCode, 1) })},
		{"background-runs-like-exec", "the environment is not passed", startIn(func(r *backend.ExecRequest) { r.Env = nil })},
		{"background-not-started", "it is an exit", outcomeOut(func(r *backend.ExecResult) {
			if r.Outcome == backend.OutcomeStartFailed {
				r.Outcome = backend.OutcomeExit
			}
		})},
		{"background-refused", "a writer is dropped in silence", startIn(func(r *backend.ExecRequest) { r.Stdout = nil })},
		{"background-id-twice", "an id may be used twice", commands(brokenCommands{start: func(s backend.Sandbox, ctx context.Context, req *backend.ExecRequest) (*backend.StartReply, error) {
			r, err := s.Start(ctx, req)
			if errors.Is(err, backend.ErrExists) {
				return &backend.StartReply{ID: req.ID}, nil
			}
			return r, err
		}})},
		{"background-outlives-call", "it is bound to its caller", commands(brokenCommands{start: func(s backend.Sandbox, ctx context.Context, req *backend.ExecRequest) (*backend.StartReply, error) {
			r, err := s.Start(ctx, req)
			if err == nil {
				context.AfterFunc(ctx, func() { _, _ = s.Kill(context.Background(), &backend.KillRequest{ID: r.ID, Grace: new(time.Duration)}) })
				if req.Timeout == backend.Unlimited {
					time.Sleep(50 * time.Millisecond) // no input before it is killed
				}
			}
			return r, err
		}, stdin: func(s backend.Sandbox, ctx context.Context, req *backend.WriteStdinRequest) (*backend.WriteStdinReply, error) {
			_, err := s.Outcome(ctx, &backend.OutcomeRequest{ID: req.ID, Wait: true})
			if err != nil {
				return nil, err
			}
			return s.WriteStdin(ctx, req)
		}})},
		{"background-by-later-handle", "a later handle knows no id", func() brokenBackend {
			b := brokenBackend{}
			b.open = func(inner backend.Backend, ctx context.Context, req *backend.OpenRequest) (backend.Sandbox, error) {
				sb, err := inner.Open(ctx, req)
				return &brokenCommands{Sandbox: sb, output: func(_ backend.Sandbox, _ context.Context, req *backend.ReadOutputRequest) (*backend.Output, error) {
					return nil, &backend.Error{Kind: backend.ErrNotFound, Op: "read output", Path: req.ID}
				}}, err
			}
			return b
		}()},
		{"background-timeout", "a timeout is a kill", outcomeOut(func(r *backend.ExecResult) {
			if r.Outcome == backend.OutcomeTimeout {
				r.Outcome = backend.OutcomeCancelled
			}
		})},
		{"background-output-limit", "a limit is a kill", outcomeOut(func(r *backend.ExecResult) {
			if r.Outcome == backend.OutcomeOutputLimited {
				r.Outcome = backend.OutcomeCancelled
			}
		})},
		{"wait-cancelled", "who stops waiting ends the exec", commands(brokenCommands{outcome: func(s backend.Sandbox, ctx context.Context, req *backend.OutcomeRequest) (*backend.OutcomeReply, error) {
			r, err := s.Outcome(ctx, req)
			if ctx.Err() != nil {
				_, _ = s.Kill(context.WithoutCancel(ctx), &backend.KillRequest{ID: req.ID, Grace: new(time.Duration)})
			}
			return r, err
		}})},
		{"stdin-in-pieces", "a piece ends the input", commands(brokenCommands{stdin: func(s backend.Sandbox, ctx context.Context, req *backend.WriteStdinRequest) (*backend.WriteStdinReply, error) {
			return s.WriteStdin(ctx, &backend.WriteStdinRequest{ID: req.ID, Content: req.Content, Close: true})
		}})},
		{"stdin-waits", "input that is not read is dropped", commands(brokenCommands{stdin: func(_ backend.Sandbox, _ context.Context, req *backend.WriteStdinRequest) (*backend.WriteStdinReply, error) {
			n, err := io.Copy(io.Discard, req.Content)
			return &backend.WriteStdinReply{Written: n}, err
		}})},
		{"stdin-refused", "input for nobody is no error", anyway()},
		{"stdin-content-fails", "a broken reader is the end of the input", commands(brokenCommands{stdin: func(s backend.Sandbox, ctx context.Context, req *backend.WriteStdinRequest) (*backend.WriteStdinReply, error) {
			r, err := s.WriteStdin(ctx, req)
			if err != nil {
				return s.WriteStdin(ctx, &backend.WriteStdinRequest{ID: req.ID, Close: true})
			}
			return r, err
		}})},

		{"output-by-offset", "the offset is not passed", reading(func(r *backend.ReadOutputRequest) { r.Offset = 0 }, nothing)},
		{"output-of-exec", "there is one stream", reading(func(r *backend.ReadOutputRequest) { r.Stream = backend.StreamStdout }, nothing)},
		{"output-while-running", "following is reading", reading(func(r *backend.ReadOutputRequest) { r.Follow = false }, nothing)},
		{"output-follow-cancelled", "the context's end is the output's", reading(nothing, func(o *backend.Output) { o.ReadCloser = endless{o.ReadCloser} })},
		{"output-refused", "an offset past the end is the end", reading(func(r *backend.ReadOutputRequest) { r.Offset = min(r.Offset, 2) }, nothing)},
		{"output-dropped", "what was dropped is not told", reading(nothing, func(o *backend.Output) { o.Offset = 0 })},
		{"output-budget-shared", "what was dropped is not told", reading(nothing, func(o *backend.Output) { o.Offset = 0 })},
		{"output-dropped-meanwhile", "what was dropped is the end", reading(nothing, func(o *backend.Output) { o.ReadCloser = endless{o.ReadCloser} })},
	})
}

// TestKillFaultsAreFound plants faults in signals and kills.
func TestKillFaultsAreFound(t *testing.T) {
	t.Parallel()
	areFound(t, []planted{
		{"kill-kills-all", "one process gets away", commands(brokenCommands{start: func(s backend.Sandbox, ctx context.Context, req *backend.ExecRequest) (*backend.StartReply, error) {
			if strings.Contains(req.Shell, "setsid") {
				_, err := s.Start(ctx, &backend.ExecRequest{Shell: "while :; do echo alive >> session; sleep 0.1; done", Dir: req.Dir, Timeout: backend.Unlimited})
				if err != nil {
					return nil, err
				}
			}
			return s.Start(ctx, req)
		}})},
		{"kill-grace", "there is no grace", commands(brokenCommands{kill: func(s backend.Sandbox, ctx context.Context, req *backend.KillRequest) (*backend.OutcomeReply, error) {
			return s.Kill(ctx, &backend.KillRequest{ID: req.ID, Grace: new(time.Duration)})
		}})},
		{"kill-foreground", "what was killed has exited", resultOut(func(r *backend.ExecResult) { r.Outcome = backend.OutcomeExit })},
		{"kill-ended", "what has ended was killed", killOut(func(r *backend.ExecResult) { r.Outcome = backend.OutcomeCancelled })},
		{"signal-one", "all have it", commands(brokenCommands{signal: func(s backend.Sandbox, ctx context.Context, req *backend.SignalRequest) error {
			return s.Signal(ctx, &backend.SignalRequest{ID: req.ID, Signal: req.Signal, All: true})
		}})},
		{"signal-all", "it is refused", commands(brokenCommands{signal: func(s backend.Sandbox, ctx context.Context, req *backend.SignalRequest) error {
			if req.All {
				return &backend.Error{Kind: backend.ErrUnsupported, Op: "signal"}
			}
			return s.Signal(ctx, req)
		}})},
		{"signal-ends", "every signal is SIGKILL", commands(brokenCommands{signal: func(s backend.Sandbox, ctx context.Context, req *backend.SignalRequest) error {
			return s.Signal(ctx, &backend.SignalRequest{ID: req.ID, Signal: 9})
		}})},
		{"signal-stop-continue", "a stopped one goes on when it is killed", commands(brokenCommands{kill: func(s backend.Sandbox, ctx context.Context, req *backend.KillRequest) (*backend.OutcomeReply, error) {
			_ = s.Signal(ctx, &backend.SignalRequest{ID: req.ID, Signal: 18})
			time.Sleep(100 * time.Millisecond)
			return s.Kill(ctx, req)
		}})},
		{"signal-refused", "a signal for nobody is no error", commands(brokenCommands{signal: func(s backend.Sandbox, ctx context.Context, req *backend.SignalRequest) error {
			_, err := unconflicted(0, s.Signal(ctx, req))
			return err
		}})},
	})
}

// listedWith is a process list with a change.
func listedWith(change func(*backend.ProcessesReply)) brokenBackend {
	return commands(brokenCommands{processes: func(s backend.Sandbox, ctx context.Context, req *backend.ProcessesRequest) (*backend.ProcessesReply, error) {
		r, err := s.Processes(ctx, req)
		if err == nil {
			change(r)
		}
		return r, err
	}})
}

// dialled is a connection with a change.
func dialled(change func(backend.Conn) backend.Conn) brokenBackend {
	return commands(brokenCommands{dial: func(s backend.Sandbox, ctx context.Context, req *backend.DialRequest) (backend.Conn, error) {
		c, err := s.Dial(ctx, req)
		if err == nil {
			c = change(c)
		}
		return c, err
	}})
}

type cutConn struct{ backend.Conn }

func (c cutConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err != nil && n == 0 {
		err = io.EOF
	}
	return n, err
}

type lossyConn struct{ backend.Conn }

func (c lossyConn) Write(p []byte) (int, error) {
	_, err := c.Conn.Write([]byte(strings.ToValidUTF8(string(p), "?")))
	return len(p), err
}

// TestInsideFaultsAreFound plants faults in processes and connections.
func TestInsideFaultsAreFound(t *testing.T) {
	t.Parallel()
	areFound(t, []planted{
		{"processes", "nobody knows who started it", listedWith(func(r *backend.ProcessesReply) {
			for i := range r.Processes {
				r.Processes[i].Exec = ""
			}
		})},
		{"processes-left-behind", "its parent is one that has ended", listedWith(func(r *backend.ProcessesReply) {
			for i := range r.Processes {
				r.Processes[i].PPID = 4242
			}
		})},
		{"stats", "it is the same all the time", commands(brokenCommands{stats: func(backend.Sandbox, context.Context, *backend.StatsRequest) (*backend.Stats, error) {
			return &backend.Stats{Uptime: time.Second, MemoryLimit: 256 << 20, PIDsLimit: 200, KeptOutput: 100_000, KeptOutputLimit: 32 << 20}, nil
		}})},
		{"stats-cpu-time", "what has ended has used nothing", commands(brokenCommands{stats: func(s backend.Sandbox, ctx context.Context, req *backend.StatsRequest) (*backend.Stats, error) {
			st, err := s.Stats(ctx, req)
			if err == nil && st.Execs == 0 {
				st.CPUTime = 0
			}
			return st, err
		}})},
		{"stats-cpu-time", "it is unknown for no reason", commands(brokenCommands{stats: func(s backend.Sandbox, ctx context.Context, req *backend.StatsRequest) (*backend.Stats, error) {
			st, err := s.Stats(ctx, req)
			if err == nil {
				st.CPUTime = -1
			}
			return st, err
		}})},
		{"dial-exact", "bytes are mended to be UTF-8", dialled(func(c backend.Conn) backend.Conn { return lossyConn{c} })},
		{"dial-server-ends", "bytes are lost", dialled(func(c backend.Conn) backend.Conn { _, _ = c.Read(make([]byte, 1)); return c })},
		{"dial-close", "a closed connection is one that has ended", dialled(func(c backend.Conn) backend.Conn { return cutConn{c} })},
		{"dial-cancelled", "a cancelled connection is one that has ended", dialled(func(c backend.Conn) backend.Conn { return cutConn{c} })},
		{"dial-refused", "nothing is a connection that ends", commands(brokenCommands{dial: func(s backend.Sandbox, ctx context.Context, req *backend.DialRequest) (backend.Conn, error) {
			c, err := s.Dial(ctx, req)
			if errors.Is(err, backend.ErrNotFound) {
				return nil, &backend.Error{Kind: backend.ErrUnavailable, Op: "dial"}
			}
			return c, err
		}})},
		{"dial-many", "all connections are one", func() brokenBackend {
			var first backend.Conn // they are all one
			return dialled(func(c backend.Conn) backend.Conn {
				if first == nil {
					first = c
				} else {
					_ = c.Close()
				}
				return first
			})
		}()},
	})
}

// TestLostConnectionFaultsAreFound plants faults in a second way to the backend.
func TestLostConnectionFaultsAreFound(t *testing.T) {
	t.Parallel()
	for rule, plant := range map[string]func(first, b backend.Backend) backend.Backend{
		"connection-lost-kills-all": func(first, b backend.Backend) backend.Backend {
			return &brokenBackend{Backend: b, sandbox: brokenSandbox{exec: func(s backend.Sandbox, ctx context.Context, req *backend.ExecRequest) (*backend.ExecResult, error) {
				another, err := first.Open(ctx, &backend.OpenRequest{ID: s.Info().ID})
				if err != nil {
					return nil, err
				}
				_, err = another.Start(ctx, &backend.ExecRequest{Shell: "while :; do echo alive >> session; sleep 0.1; done", Dir: req.Dir, Timeout: backend.Unlimited})
				if err != nil {
					return nil, err
				}
				return s.Exec(ctx, req)
			}}}
		},
		"background-outlives-connection": func(_, b backend.Backend) backend.Backend { return &binding{Backend: b} },
	} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			fake := backendtest.NewFake()
			err := backendtest.Test(t.Context(), fake, backendtest.Opts{Shell: true, Only: []string{rule}, Another: func(ctx context.Context) (backend.Backend, error) {
				b, err := fake.Another(ctx)
				return plant(fake, b), err
			}})
			var finding *backendtest.Finding
			if !errors.As(err, &finding) {
				t.Errorf("not found; the rule says %v", err)
			}
		})
	}
}

// binding is a backend that ends what was started over it.
type binding struct {
	backend.Backend
	end []func()
}

func (b *binding) Open(ctx context.Context, req *backend.OpenRequest) (backend.Sandbox, error) {
	sb, err := b.Backend.Open(ctx, req)
	return &brokenCommands{Sandbox: sb, start: func(s backend.Sandbox, ctx context.Context, req *backend.ExecRequest) (*backend.StartReply, error) {
		r, err := s.Start(ctx, req)
		b.end = append(b.end, func() {
			_, _ = s.Kill(context.Background(), &backend.KillRequest{ID: req.ID, Grace: new(time.Duration)})
		})
		return r, err
	}}, err
}

func (b *binding) Shutdown(ctx context.Context) error {
	for _, end := range b.end {
		end()
	}
	return b.Backend.Shutdown(ctx)
}
