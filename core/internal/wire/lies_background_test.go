package wire_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"google.golang.org/grpc"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/internal/wire"
	backendv1 "github.com/deep-sandbox/deep/core/proto/backend/v1"
)

// fibber is a liar about commands in the background, processes, tunnels and
// archives.
type fibber struct {
	backendv1.UnimplementedSandboxServer

	start     *backendv1.StartReply
	outcome   *backendv1.OutcomeReply
	output    []*backendv1.ReadOutputReply
	stdin     *backendv1.WriteStdinReply
	processes *backendv1.ProcessesReply
	stats     *backendv1.StatsReply
	dial      []*backendv1.DialReply
	put       *backendv1.PutArchiveReply
	early     bool // put is answered before the archive has ended
	get       []*backendv1.GetArchiveReply
	edit      *backendv1.EditReply
}

func (f *fibber) Start(context.Context, *backendv1.StartRequest) (*backendv1.StartReply, error) {
	return f.start, nil
}
func (f *fibber) Outcome(context.Context, *backendv1.OutcomeRequest) (*backendv1.OutcomeReply, error) {
	return f.outcome, nil
}
func (f *fibber) Kill(context.Context, *backendv1.KillRequest) (*backendv1.OutcomeReply, error) {
	return f.outcome, nil
}
func (f *fibber) ReadOutput(_ *backendv1.ReadOutputRequest, stream grpc.ServerStreamingServer[backendv1.ReadOutputReply]) error {
	return sendAll(stream, f.output)
}
func (f *fibber) WriteStdin(stream grpc.ClientStreamingServer[backendv1.WriteStdinRequest, backendv1.WriteStdinReply]) error {
	for {
		if _, err := stream.Recv(); err != nil {
			return stream.SendAndClose(f.stdin)
		}
	}
}
func (f *fibber) Processes(context.Context, *backendv1.ProcessesRequest) (*backendv1.ProcessesReply, error) {
	return f.processes, nil
}
func (f *fibber) Stats(context.Context, *backendv1.StatsRequest) (*backendv1.StatsReply, error) {
	return f.stats, nil
}
func (f *fibber) Dial(stream backendv1.Sandbox_DialServer) error { return sendAll(stream, f.dial) }
func (f *fibber) PutArchive(stream grpc.ClientStreamingServer[backendv1.PutArchiveRequest, backendv1.PutArchiveReply]) error {
	for !f.early {
		if _, err := stream.Recv(); err != nil {
			break
		}
	}
	return stream.SendAndClose(f.put)
}
func (f *fibber) GetArchive(_ *backendv1.GetArchiveRequest, stream grpc.ServerStreamingServer[backendv1.GetArchiveReply]) error {
	return sendAll(stream, f.get)
}
func (f *fibber) Edit(context.Context, *backendv1.EditRequest) (*backendv1.EditReply, error) {
	return f.edit, nil
}

func sendAll[M any](stream interface{ Send(*M) error }, all []*M) error {
	for _, m := range all {
		if err := stream.Send(m); err != nil {
			return err
		}
	}
	return nil
}

// endless is content that never ends.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// TestLyingAboutTheRest: as TestLyingPlugin, for what a sandbox does beyond
// commands and files.
func TestLyingAboutTheRest(t *testing.T) {
	t.Parallel()
	big := make([]byte, 300<<10)
	result := func(change func(*backendv1.ExecResult)) *backendv1.OutcomeReply {
		return &backendv1.OutcomeReply{Result: exit(change).GetExit()}
	}
	process := func(change func(*backendv1.Process)) *backendv1.ProcessesReply {
		p := &backendv1.Process{Pid: 2, Ppid: 1, State: "S"}
		change(p)
		return &backendv1.ProcessesReply{Processes: []*backendv1.Process{p}}
	}
	output := func(replies ...*backendv1.ReadOutputReply) *fibber { return &fibber{output: replies} }
	start := &backendv1.OutputStart{Offset: 5}
	dials := func(replies ...*backendv1.DialReply) *fibber { return &fibber{dial: replies} }
	connected := &backendv1.DialReply{Connected: true}

	callStart := func(ctx context.Context, sb backend.Sandbox) error {
		_, err := sb.Start(ctx, &backend.ExecRequest{ID: "exec", Argv: []string{"true"}})
		return err
	}
	callWait := func(ctx context.Context, sb backend.Sandbox) error {
		_, err := sb.Outcome(ctx, &backend.OutcomeRequest{ID: "exec", Wait: true})
		return err
	}
	callKill := func(ctx context.Context, sb backend.Sandbox) error {
		_, err := sb.Kill(ctx, &backend.KillRequest{ID: "exec"})
		return err
	}
	callOutput := func(ctx context.Context, sb backend.Sandbox) error {
		out, err := sb.ReadOutput(ctx, &backend.ReadOutputRequest{ID: "exec", Offset: 5})
		if err != nil {
			return err
		}
		defer out.Close()
		_, err = io.Copy(io.Discard, out)
		return err
	}
	callStdin := func(ctx context.Context, sb backend.Sandbox) error {
		_, err := sb.WriteStdin(ctx, &backend.WriteStdinRequest{ID: "exec", Content: strings.NewReader("12345")})
		return err
	}
	callProcesses := func(ctx context.Context, sb backend.Sandbox) error {
		_, err := sb.Processes(ctx, &backend.ProcessesRequest{})
		return err
	}
	callStats := func(ctx context.Context, sb backend.Sandbox) error {
		_, err := sb.Stats(ctx, &backend.StatsRequest{})
		return err
	}
	callDial := func(ctx context.Context, sb backend.Sandbox) error {
		conn, err := sb.Dial(ctx, &backend.DialRequest{Port: 80})
		if err != nil {
			return err
		}
		defer conn.Close()
		_, err = io.Copy(io.Discard, conn)
		return err
	}
	callPut := func(ctx context.Context, sb backend.Sandbox) error {
		_, err := sb.PutArchive(ctx, &backend.PutArchiveRequest{Content: strings.NewReader("12345")})
		return err
	}
	callPutEndless := func(ctx context.Context, sb backend.Sandbox) error {
		_, err := sb.PutArchive(ctx, &backend.PutArchiveRequest{Content: endless{}})
		return err
	}
	callGet := func(ctx context.Context, sb backend.Sandbox) error {
		r, err := sb.GetArchive(ctx, &backend.GetArchiveRequest{})
		if err != nil {
			return err
		}
		defer r.Close()
		_, err = io.Copy(io.Discard, r)
		return err
	}
	callBatch := func(ctx context.Context, sb backend.Sandbox) error {
		_, err := sb.Edit(ctx, &backend.EditRequest{Path: "f", Old: []byte("a"), New: []byte("b"), Then: []backend.Replacement{{Old: []byte("c")}}})
		return err
	}

	for _, c := range []struct {
		name string
		lie  *fibber
		call func(context.Context, backend.Sandbox) error
	}{
		{"start: another id", &fibber{start: &backendv1.StartReply{Id: "foreign"}}, callStart},
		{"start: no id", &fibber{start: &backendv1.StartReply{}}, callStart},
		{"wait: it runs", &fibber{outcome: result(func(r *backendv1.ExecResult) { r.Outcome = "running" })}, callWait},
		{"wait: another id", &fibber{outcome: result(func(r *backendv1.ExecResult) { r.Id = "foreign" })}, callWait},
		{"wait: no result", &fibber{outcome: &backendv1.OutcomeReply{}}, callWait},
		{"wait: out of memory by another signal", &fibber{outcome: result(func(r *backendv1.ExecResult) { r.Outcome, r.Signal, r.ExitCode = "oom", 15, 143 })}, callWait},
		{"kill: it runs", &fibber{outcome: result(func(r *backendv1.ExecResult) { r.Outcome = "running" })}, callKill},
		{"kill: a negative size", &fibber{outcome: result(func(r *backendv1.ExecResult) { r.StdoutBytes = -1 })}, callKill},

		{"output: nothing", output(), callOutput},
		{"output: no beginning", output(&backendv1.ReadOutputReply{Data: []byte("x")}), callOutput},
		{"output: two beginnings", output(&backendv1.ReadOutputReply{Start: start}, &backendv1.ReadOutputReply{Start: start, Data: []byte("x")}), callOutput},
		{"output: from before", output(&backendv1.ReadOutputReply{Start: &backendv1.OutputStart{Offset: 4}}), callOutput},
		{"output: from before time", output(&backendv1.ReadOutputReply{Start: &backendv1.OutputStart{Offset: -4}}), callOutput},
		{"output: a large piece", output(&backendv1.ReadOutputReply{Start: start, Data: big}), callOutput},
		{"output: a message without content", output(&backendv1.ReadOutputReply{Start: start}, &backendv1.ReadOutputReply{}), callOutput},
		{"stdin: more than was sent", &fibber{stdin: &backendv1.WriteStdinReply{Written: 6}}, callStdin},
		{"stdin: less than was sent", &fibber{stdin: &backendv1.WriteStdinReply{Written: -1}}, callStdin},

		{"processes: no pid", &fibber{processes: process(func(p *backendv1.Process) { p.Pid = 0 })}, callProcesses},
		{"processes: a command line without end", &fibber{processes: process(func(p *backendv1.Process) { p.Args = make([][]byte, 10_000) })}, callProcesses},
		{"processes: a state of no letter", &fibber{processes: process(func(p *backendv1.Process) { p.State = "asleep" })}, callProcesses},
		{"processes: a negative size", &fibber{processes: process(func(p *backendv1.Process) { p.Rss = -1 })}, callProcesses},
		{"processes: an exec that is none", &fibber{processes: process(func(p *backendv1.Process) { p.Exec = "../x" })}, callProcesses},
		{"processes: without end", &fibber{processes: &backendv1.ProcessesReply{Processes: make([]*backendv1.Process, 5000)}}, callProcesses},
		{"stats: a negative size", &fibber{stats: &backendv1.StatsReply{Memory: -2}}, callStats},

		{"dial: nothing", dials(), callDial},
		{"dial: data before the connection", dials(&backendv1.DialReply{Data: []byte("x")}), callDial},
		{"dial: two connections", dials(connected, connected), callDial},
		{"dial: a large piece", dials(connected, &backendv1.DialReply{Data: big}), callDial},
		{"dial: a message without content", dials(connected, &backendv1.DialReply{}), callDial},

		{"put: before it has ended", &fibber{put: &backendv1.PutArchiveReply{}, early: true}, callPutEndless},
		{"put: a negative size", &fibber{put: &backendv1.PutArchiveReply{Bytes: -1}}, callPut},
		{"put: a negative number", &fibber{put: &backendv1.PutArchiveReply{Entries: -1}}, callPut},
		{"get: nothing", &fibber{}, callGet},
		{"get: a large piece", &fibber{get: []*backendv1.GetArchiveReply{{Data: big}}}, callGet},
		{"get: a message without content", &fibber{get: []*backendv1.GetArchiveReply{{Data: []byte("x")}, {}}}, callGet},
		{"edit: fewer than asked for", &fibber{edit: &backendv1.EditReply{Replaced: 1, Sha256: sum}}, callBatch},
		{"edit: more than asked for", &fibber{edit: &backendv1.EditReply{Replaced: 3, Sha256: sum}}, callBatch},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cc, _ := serve(t, func(s *grpc.Server) { backendv1.RegisterSandboxServer(s, c.lie) })
			err := c.call(t.Context(), wire.NewSandbox(cc, backend.SandboxInfo{ID: "sandbox", Backend: "liar"}, nil))
			if !errors.Is(err, backend.ErrUnavailable) || !strings.Contains(err.Error(), "plugin liar is faulty: ") {
				t.Errorf("got %v", err)
			}
			if n := len(err.Error()); n > 1000 {
				t.Errorf("%d bytes of error", n)
			}
		})
	}
}

// TestLargeMessage: one above the bound is the plugin's fault, and the connection
// goes on.
func TestLargeMessage(t *testing.T) {
	t.Parallel()
	lie := &fibber{outcome: &backendv1.OutcomeReply{Result: &backendv1.ExecResult{Id: "exec", Outcome: "exit", StartError: strings.Repeat("x", 9<<20)}}}
	cc, _ := serve(t, func(s *grpc.Server) { backendv1.RegisterSandboxServer(s, lie) })
	sb := wire.NewSandbox(cc, backend.SandboxInfo{ID: "sandbox", Backend: "liar"}, nil)
	if _, err := sb.Outcome(t.Context(), &backend.OutcomeRequest{ID: "exec"}); err == nil || errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	lie.outcome = &backendv1.OutcomeReply{Result: exit(nil).GetExit()}
	if _, err := sb.Outcome(t.Context(), &backend.OutcomeRequest{ID: "exec"}); err != nil {
		t.Errorf("the next call: %v", err)
	}
}

// tunnelled is a sandbox in which something listens.
type tunnelled struct {
	backend.Sandbox
	conn backend.Conn
}

func (s tunnelled) Dial(context.Context, *backend.DialRequest) (backend.Conn, error) {
	return s.conn, nil
}

// dialOver returns both ends of a connection through the wire, and through a
// plugin that passes it on.
func dialOver(t *testing.T) (caller, inside backend.Conn) {
	t.Helper()
	mine, theirs := tcpPair(t)
	cc := forward(t, serveSandbox(t, tunnelled{conn: theirs}))
	conn, err := client(cc).Dial(t.Context(), &backend.DialRequest{Port: 80})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(); _ = mine.Close() })
	return conn, mine
}

// refusing is a sandbox in which nothing listens.
type refusing struct{ backend.Sandbox }

func (refusing) Dial(context.Context, *backend.DialRequest) (backend.Conn, error) {
	return nil, &backend.Error{Kind: backend.ErrNotFound, Op: "dial", Message: "nothing listens"}
}

// TestDialRefused: what was wrong is told, not that the call was given up for it.
func TestDialRefused(t *testing.T) {
	t.Parallel()
	_, err := client(forward(t, serveSandbox(t, refusing{}))).Dial(t.Context(), &backend.DialRequest{Port: 80})
	if !errors.Is(err, backend.ErrNotFound) || errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// TestDialHalfClose: each direction ends by itself, and nothing of it is lost.
func TestDialHalfClose(t *testing.T) {
	t.Parallel()
	caller, inside := dialOver(t)
	question := bytes.Repeat([]byte("question"), 100_000)
	go func() {
		_, _ = caller.Write(question)
		_ = caller.CloseWrite()
	}()
	got, err := io.ReadAll(inside)
	if err != nil || !bytes.Equal(got, question) {
		t.Fatalf("inside read %d bytes, %v", len(got), err)
	}
	answer := bytes.Repeat([]byte("answer"), 100_000)
	go func() {
		_, _ = inside.Write(answer)
		_ = inside.CloseWrite()
	}()
	if got, err = io.ReadAll(caller); err != nil || !bytes.Equal(got, answer) {
		t.Fatalf("the caller read %d bytes, %v", len(got), err)
	}
	if _, err := caller.Write([]byte("more")); err == nil {
		t.Error("a write after the end went through")
	}
}

// TestDialClose: what was written before a close arrives.
func TestDialClose(t *testing.T) {
	t.Parallel()
	caller, inside := dialOver(t)
	last := bytes.Repeat([]byte("last words"), 100_000)
	go func() {
		_, _ = caller.Write(last)
		_ = caller.Close()
	}()
	if got, err := io.ReadAll(inside); err != nil || !bytes.Equal(got, last) {
		t.Fatalf("inside read %d bytes, %v", len(got), err)
	}
	if _, err := caller.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("a read after the close: %v", err)
	}
}

// TestDialAnswersEarly: an answer that comes before the question has ended is read
// whole, though nobody takes the rest of the question.
func TestDialAnswersEarly(t *testing.T) {
	t.Parallel()
	caller, inside := dialOver(t)
	go func() {
		_, _ = io.ReadFull(inside, make([]byte, 10))
		_, _ = inside.Write([]byte("too large"))
		_ = inside.CloseWrite()
		_, _ = io.Copy(io.Discard, inside)
	}()
	go func() { _, _ = io.Copy(caller, io.LimitReader(endless{}, 8<<20)) }()
	if got, err := io.ReadAll(caller); err != nil || string(got) != "too large" {
		t.Fatalf("read %q, %v", got, err)
	}
}
