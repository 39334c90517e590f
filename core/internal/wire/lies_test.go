package wire_test

import (
	"context"
	"errors"
	"io"
	"math"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/internal/wire"
	backendv1 "github.com/deep-sandbox/deep/core/proto/backend/v1"
)

// liar is a plugin that answers whatever a test makes it answer.
type liar struct {
	backendv1.UnimplementedBackendServer
	backendv1.UnimplementedSandboxServer

	describe *backendv1.DescribeReply
	check    *backendv1.CheckReply
	create   func(start *backendv1.CreateStart, send func(*backendv1.CreateReply)) error
	open     *backendv1.OpenReply
	inspect  *backendv1.InspectReply
	list     *backendv1.ListReply

	exec    func(start *backendv1.ExecStart, send func(*backendv1.ExecReply)) error
	outcome *backendv1.OutcomeReply
	stat    *backendv1.StatReply
	read    []*backendv1.ReadFileReply
	write   func(stream grpc.ClientStreamingServer[backendv1.WriteFileRequest, backendv1.WriteFileReply]) error
	edit    *backendv1.EditReply
	listDir *backendv1.ListDirReply
	glob    func(send func(*backendv1.GlobReply))
	grep    func(send func(*backendv1.GrepReply))
	err     error // of every call, in its stead
}

func (l *liar) Describe(context.Context, *backendv1.DescribeRequest) (*backendv1.DescribeReply, error) {
	return l.describe, l.err
}
func (l *liar) Check(context.Context, *backendv1.CheckRequest) (*backendv1.CheckReply, error) {
	return l.check, l.err
}
func (l *liar) Create(stream backendv1.Backend_CreateServer) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	return l.create(first.GetStart(), func(r *backendv1.CreateReply) { _ = stream.Send(r) })
}
func (l *liar) Open(context.Context, *backendv1.OpenRequest) (*backendv1.OpenReply, error) {
	return l.open, l.err
}
func (l *liar) Inspect(context.Context, *backendv1.InspectRequest) (*backendv1.InspectReply, error) {
	return l.inspect, l.err
}
func (l *liar) Exec(stream backendv1.Sandbox_ExecServer) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	return l.exec(first.GetStart(), func(r *backendv1.ExecReply) { _ = stream.Send(r) })
}
func (l *liar) Outcome(context.Context, *backendv1.OutcomeRequest) (*backendv1.OutcomeReply, error) {
	return l.outcome, l.err
}
func (l *liar) Stat(context.Context, *backendv1.StatRequest) (*backendv1.StatReply, error) {
	return l.stat, l.err
}
func (l *liar) ReadFile(_ *backendv1.ReadFileRequest, stream grpc.ServerStreamingServer[backendv1.ReadFileReply]) error {
	for _, r := range l.read {
		if err := stream.Send(r); err != nil {
			return err
		}
	}
	return nil
}
func (l *liar) WriteFile(stream grpc.ClientStreamingServer[backendv1.WriteFileRequest, backendv1.WriteFileReply]) error {
	return l.write(stream)
}
func (l *liar) Edit(context.Context, *backendv1.EditRequest) (*backendv1.EditReply, error) {
	return l.edit, l.err
}
func (l *liar) Glob(_ *backendv1.GlobRequest, stream grpc.ServerStreamingServer[backendv1.GlobReply]) error {
	l.glob(func(r *backendv1.GlobReply) { _ = stream.Send(r) })
	return nil
}
func (l *liar) Grep(_ *backendv1.GrepRequest, stream grpc.ServerStreamingServer[backendv1.GrepReply]) error {
	l.grep(func(r *backendv1.GrepReply) { _ = stream.Send(r) })
	return nil
}

// sandboxLiar and backendLiar have the two methods the services call alike.
type (
	sandboxLiar struct{ *liar }
	backendLiar struct{ *liar }
)

func (l sandboxLiar) List(context.Context, *backendv1.ListDirRequest) (*backendv1.ListDirReply, error) {
	return l.listDir, l.err
}
func (l backendLiar) List(context.Context, *backendv1.ListRequest) (*backendv1.ListReply, error) {
	return l.list, l.err
}

var sum = strings.Repeat("a", 64)

// isolation is one that is accepted, but for a change.
func isolation(change func(*backendv1.Isolation)) *backendv1.Isolation {
	i := &backendv1.Isolation{Network: "none", RootFileSystem: "read-only", Memory: backend.NoLimit, Cpus: backend.NotKnown}
	change(i)
	return i
}

func info(change func(*backendv1.SandboxInfo)) *backendv1.SandboxInfo {
	i := &backendv1.SandboxInfo{Id: "sandbox", State: "running"}
	if change != nil {
		change(i)
	}
	return i
}

func file(change func(*backendv1.FileInfo)) *backendv1.FileInfo {
	f := &backendv1.FileInfo{Path: []byte("f"), Type: "file"}
	if change != nil {
		change(f)
	}
	return f
}

// The calls the lies are answers to.
var (
	callDescribe = func(t *testing.T, b backend.Backend, _ backend.Sandbox) error {
		_, err := b.Describe(t.Context())
		return err
	}
	callCheck = func(t *testing.T, b backend.Backend, _ backend.Sandbox) error {
		_, err := b.Check(t.Context())
		return err
	}
	callCreate = func(t *testing.T, b backend.Backend, _ backend.Sandbox) error {
		_, err := b.Create(t.Context(), &backend.CreateRequest{ID: "sandbox"})
		return err
	}
	callOpen = func(t *testing.T, b backend.Backend, _ backend.Sandbox) error {
		_, err := b.Open(t.Context(), &backend.OpenRequest{ID: "sandbox"})
		return err
	}
	callInspect = func(t *testing.T, b backend.Backend, _ backend.Sandbox) error {
		_, err := b.Inspect(t.Context(), &backend.InspectRequest{ID: "sandbox"})
		return err
	}
	callList = func(t *testing.T, b backend.Backend, _ backend.Sandbox) error {
		_, err := b.List(t.Context(), &backend.ListRequest{})
		return err
	}
	callExec = func(t *testing.T, _ backend.Backend, sb backend.Sandbox) error {
		_, err := sb.Exec(t.Context(), &backend.ExecRequest{ID: "exec", Argv: []string{"true"}, OutputLimit: 100_000})
		return err
	}
	callExecStdin = func(t *testing.T, _ backend.Backend, sb backend.Sandbox) error {
		_, err := sb.Exec(t.Context(), &backend.ExecRequest{ID: "exec", Argv: []string{"true"}, Stdin: strings.NewReader("12345")})
		return err
	}
	callOutcome = func(t *testing.T, _ backend.Backend, sb backend.Sandbox) error {
		_, err := sb.Outcome(t.Context(), &backend.OutcomeRequest{ID: "exec"})
		return err
	}
	callStat = func(t *testing.T, _ backend.Backend, sb backend.Sandbox) error {
		_, err := sb.Stat(t.Context(), &backend.StatRequest{Path: "f"})
		return err
	}
	callStatSum = func(t *testing.T, _ backend.Backend, sb backend.Sandbox) error {
		_, err := sb.Stat(t.Context(), &backend.StatRequest{Path: "f", SHA256: true})
		return err
	}
	callRead = func(t *testing.T, _ backend.Backend, sb backend.Sandbox) error {
		f, err := sb.ReadFile(t.Context(), &backend.ReadFileRequest{Path: "f", Length: 1 << 20})
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = io.Copy(io.Discard, f)
		return err
	}
	callReadTen = func(t *testing.T, _ backend.Backend, sb backend.Sandbox) error {
		f, err := sb.ReadFile(t.Context(), &backend.ReadFileRequest{Path: "f", Length: 10})
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = io.Copy(io.Discard, f)
		return err
	}
	callWrite = func(t *testing.T, _ backend.Backend, sb backend.Sandbox) error {
		_, err := sb.WriteFile(t.Context(), &backend.WriteFileRequest{Path: "f", Content: strings.NewReader("12345")})
		return err
	}
	callEdit = func(t *testing.T, _ backend.Backend, sb backend.Sandbox) error {
		_, err := sb.Edit(t.Context(), &backend.EditRequest{Path: "f", Old: []byte("a"), New: []byte("b")})
		return err
	}
	callListDir = func(t *testing.T, _ backend.Backend, sb backend.Sandbox) error {
		_, err := sb.List(t.Context(), &backend.ListDirRequest{Path: "d", Limit: 2})
		return err
	}
	callGlob = func(t *testing.T, _ backend.Backend, sb backend.Sandbox) error {
		_, err := sb.Glob(t.Context(), &backend.GlobRequest{Pattern: "*", Limit: 2})
		return err
	}
	callGrep = func(t *testing.T, _ backend.Backend, sb backend.Sandbox) error {
		_, err := sb.Grep(t.Context(), &backend.GrepRequest{Pattern: "x", Limit: 2})
		return err
	}
)

func exit(change func(*backendv1.ExecResult)) *backendv1.ExecReply {
	r := &backendv1.ExecResult{Id: "exec", Outcome: "exit"}
	if change != nil {
		change(r)
	}
	return &backendv1.ExecReply{Exit: r}
}

// sends is an exec that sends these messages and ends.
func sends(replies ...*backendv1.ExecReply) *liar {
	return &liar{exec: func(_ *backendv1.ExecStart, send func(*backendv1.ExecReply)) error {
		for _, r := range replies {
			send(r)
		}
		return nil
	}}
}

// progress and made are messages of Create.
func progress(p *backendv1.Progress) *backendv1.CreateReply {
	return &backendv1.CreateReply{Message: &backendv1.CreateReply_Progress{Progress: p}}
}
func made(i *backendv1.SandboxInfo) *backendv1.CreateReply {
	return &backendv1.CreateReply{Message: &backendv1.CreateReply_Sandbox{Sandbox: i}}
}
func creates(replies ...*backendv1.CreateReply) *liar {
	return &liar{create: func(_ *backendv1.CreateStart, send func(*backendv1.CreateReply)) error {
		for _, r := range replies {
			send(r)
		}
		return nil
	}}
}

func writes(reply *backendv1.WriteFileReply) *liar {
	return &liar{write: func(stream grpc.ClientStreamingServer[backendv1.WriteFileRequest, backendv1.WriteFileReply]) error {
		for {
			if _, err := stream.Recv(); err != nil {
				return stream.SendAndClose(reply)
			}
		}
	}}
}

func globs(replies ...*backendv1.GlobReply) *liar {
	return &liar{glob: func(send func(*backendv1.GlobReply)) {
		for _, r := range replies {
			send(r)
		}
	}}
}

func greps(replies ...*backendv1.GrepReply) *liar {
	return &liar{grep: func(send func(*backendv1.GrepReply)) {
		for _, r := range replies {
			send(r)
		}
	}}
}

func stats(change func(*backendv1.FileInfo)) *liar {
	return &liar{stat: &backendv1.StatReply{Info: file(change)}}
}

func lists(entries ...*backendv1.FileInfo) *liar {
	return &liar{listDir: &backendv1.ListDirReply{Entries: entries, Total: 100}}
}

func inspects(change func(*backendv1.SandboxInfo)) *liar {
	return &liar{inspect: &backendv1.InspectReply{Sandbox: info(change)}}
}

// TestLyingPlugin: whatever a plugin answers that it may not, the call fails, the
// error says whose fault it is, and nothing else happens.
func TestLyingPlugin(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 100_000)
	many := make([]string, 1000)
	frame := make([]byte, 32<<10)
	matches := func(n int) (list []*backendv1.FileInfo) {
		for range n {
			list = append(list, file(nil))
		}
		return list
	}
	for _, c := range []struct {
		name string
		lie  *liar
		call func(*testing.T, backend.Backend, backend.Sandbox) error
	}{
		{"describe: an option of no known type", &liar{describe: &backendv1.DescribeReply{Schema: []*backendv1.Attribute{{Name: "a", Type: "matrix"}}}}, callDescribe},
		{"describe: a summary without end", &liar{describe: &backendv1.DescribeReply{Summary: long}}, callDescribe},
		{"describe: capabilities without end", &liar{describe: &backendv1.DescribeReply{Capabilities: many}}, callDescribe},
		{"check: a state of no known kind", &liar{check: &backendv1.CheckReply{Layers: []*backendv1.Layer{{State: "so so"}}}}, callCheck},

		{"create: another id", creates(made(info(func(i *backendv1.SandboxInfo) { i.Id = "foreign" }))), callCreate},
		{"create: no sandbox", creates(progress(&backendv1.Progress{Phase: "start"})), callCreate},
		{"create: nothing", creates(), callCreate},
		{"create: two sandboxes", creates(made(info(nil)), made(info(nil))), callCreate},
		{"create: progress after the sandbox", creates(made(info(nil)), progress(&backendv1.Progress{})), callCreate},
		{"create: a negative size", creates(progress(&backendv1.Progress{Current: -1})), callCreate},
		{"create: an empty message", creates(&backendv1.CreateReply{}), callCreate},
		{"create: a long message", creates(progress(&backendv1.Progress{Message: long})), callCreate},
		{"create: progress without end", &liar{create: func(_ *backendv1.CreateStart, send func(*backendv1.CreateReply)) error {
			p := progress(&backendv1.Progress{Phase: "pull"})
			for range 100_002 {
				send(p)
			}
			return nil
		}}, callCreate},
		{"open: another id", &liar{open: &backendv1.OpenReply{Sandbox: info(func(i *backendv1.SandboxInfo) { i.Id = "foreign" })}}, callOpen},
		{"open: nothing", &liar{open: &backendv1.OpenReply{}}, callOpen},
		{"inspect: an id that is none", inspects(func(i *backendv1.SandboxInfo) { i.Id = "../x" }), callInspect},
		{"inspect: an unknown state", inspects(func(i *backendv1.SandboxInfo) { i.State = "dreaming" }), callInspect},
		{"inspect: a limit below all", inspects(func(i *backendv1.SandboxInfo) { i.Isolation = isolation(func(i *backendv1.Isolation) { i.Pids = -3 }) }), callInspect},
		{"inspect: no number of processors", inspects(func(i *backendv1.SandboxInfo) {
			i.Isolation = isolation(func(i *backendv1.Isolation) { i.Cpus = math.NaN() })
		}), callInspect},
		{"inspect: half a processor too few", inspects(func(i *backendv1.SandboxInfo) {
			i.Isolation = isolation(func(i *backendv1.Isolation) { i.Cpus = -0.5 })
		}), callInspect},
		{"inspect: an unknown network", inspects(func(i *backendv1.SandboxInfo) {
			i.Isolation = isolation(func(i *backendv1.Isolation) { i.Network = "?" })
		}), callInspect},
		{"inspect: an unknown root file system", inspects(func(i *backendv1.SandboxInfo) {
			i.Isolation = isolation(func(i *backendv1.Isolation) { i.RootFileSystem = "" })
		}), callInspect},
		{"inspect: a Landlock before the first", inspects(func(i *backendv1.SandboxInfo) {
			i.Isolation = isolation(func(i *backendv1.Isolation) { i.Landlock = -1 })
		}), callInspect},
		{"inspect: a long runtime", inspects(func(i *backendv1.SandboxInfo) {
			i.Isolation = isolation(func(i *backendv1.Isolation) { i.Runtime = long })
		}), callInspect},
		{"inspect: made before time", inspects(func(i *backendv1.SandboxInfo) { i.CreatedNs = -5 }), callInspect},
		{"inspect: a long image", inspects(func(i *backendv1.SandboxInfo) { i.Image = long }), callInspect},
		{"list: one twice", &liar{list: &backendv1.ListReply{Sandboxes: []*backendv1.SandboxInfo{info(nil), info(nil)}}}, callList},

		{"exec: no exit", sends(&backendv1.ExecReply{Stdout: []byte("x")}), callExec},
		{"exec: nothing", sends(), callExec},
		{"exec: another id", sends(exit(func(r *backendv1.ExecResult) { r.Id = "foreign" })), callExec},
		{"exec: an unknown outcome", sends(exit(func(r *backendv1.ExecResult) { r.Outcome = "fine" })), callExec},
		{"exec: ended and running", sends(exit(func(r *backendv1.ExecResult) { r.Outcome = "running" })), callExec},
		{"exec: a negative exit code", sends(exit(func(r *backendv1.ExecResult) { r.ExitCode = -1 })), callExec},
		{"exec: an exit code of 256", sends(exit(func(r *backendv1.ExecResult) { r.ExitCode = 256 })), callExec},
		{"exec: signal 1000", sends(exit(func(r *backendv1.ExecResult) { r.Signal = 1000 })), callExec},
		{"exec: a death by no signal", sends(exit(func(r *backendv1.ExecResult) { r.Outcome = "signal" })), callExec},
		{"exec: a negative duration", sends(exit(func(r *backendv1.ExecResult) { r.DurationNs = math.MinInt64 })), callExec},
		{"exec: a negative count", sends(exit(func(r *backendv1.ExecResult) { r.StdoutBytes = -1 })), callExec},
		{"exec: failed to start with success", sends(exit(func(r *backendv1.ExecResult) { r.Outcome = "start_failed" })), callExec},
		{"exec: more output than counted", sends(&backendv1.ExecReply{Stdout: []byte("12345")}, exit(func(r *backendv1.ExecResult) { r.StdoutBytes = 4 })), callExec},
		{"exec: exit twice", sends(exit(nil), exit(nil)), callExec},
		{"exec: output after the exit", sends(exit(nil), &backendv1.ExecReply{Stdout: []byte("x")}), callExec},
		{"exec: an empty message", sends(&backendv1.ExecReply{}, exit(nil)), callExec},
		{"exec: a large frame", sends(&backendv1.ExecReply{Stdout: append(frame, 0)}, exit(nil)), callExec},
		{"exec: output over the limit", sends(&backendv1.ExecReply{Stdout: frame}, &backendv1.ExecReply{Stdout: frame}, &backendv1.ExecReply{Stderr: frame}, &backendv1.ExecReply{Stdout: frame}), callExec},
		{"exec: input taken that there was not", sends(&backendv1.ExecReply{StdinTaken: 1}, exit(nil)), callExec},
		{"exec: more input taken than sent", sends(&backendv1.ExecReply{StdinTaken: 6}, exit(nil)), callExecStdin},
		{"exec: input given back", sends(&backendv1.ExecReply{StdinTaken: -1}, exit(nil)), callExecStdin},
		{"exec: a start error without end", sends(exit(func(r *backendv1.ExecResult) { r.StartError = long })), callExec},
		{"exec: degraded without end", sends(exit(func(r *backendv1.ExecResult) { r.Degraded = many })), callExec},
		{"outcome: another id", &liar{outcome: &backendv1.OutcomeReply{Result: &backendv1.ExecResult{Id: "foreign", Outcome: "exit"}}}, callOutcome},
		{"outcome: nothing", &liar{outcome: &backendv1.OutcomeReply{}}, callOutcome},

		{"stat: nothing", &liar{stat: &backendv1.StatReply{}}, callStat},
		{"stat: another path", stats(func(f *backendv1.FileInfo) { f.Path = []byte("/etc/passwd") }), callStat},
		{"stat: a negative size", stats(func(f *backendv1.FileInfo) { f.Size = -1 }), callStat},
		{"stat: an unknown type", stats(func(f *backendv1.FileInfo) { f.Type = "door" }), callStat},
		{"stat: a large mode", stats(func(f *backendv1.FileInfo) { f.Mode = 1 << 20 }), callStat},
		{"stat: a sum that is none", stats(func(f *backendv1.FileInfo) { f.Sha256 = strings.Repeat("A", 64) }), callStatSum},
		{"stat: no sum", stats(nil), callStatSum},
		{"read: no description", &liar{read: []*backendv1.ReadFileReply{{Data: []byte("x")}}}, callRead},
		{"read: nothing", &liar{}, callRead},
		{"read: a directory", &liar{read: []*backendv1.ReadFileReply{{Info: file(func(f *backendv1.FileInfo) { f.Type = "directory" })}}}, callRead},
		{"read: another file", &liar{read: []*backendv1.ReadFileReply{{Info: file(func(f *backendv1.FileInfo) { f.Path = []byte("g") })}}}, callRead},
		{"read: a negative size", &liar{read: []*backendv1.ReadFileReply{{Info: file(func(f *backendv1.FileInfo) { f.Size = -1 })}}}, callRead},
		{"read: more than asked for at once", &liar{read: []*backendv1.ReadFileReply{{Info: file(nil), Data: make([]byte, 11)}}}, callReadTen},
		{"read: more than asked for", &liar{read: []*backendv1.ReadFileReply{{Info: file(nil), Data: make([]byte, 10)}, {Data: []byte("x")}}}, callReadTen},
		{"read: a large frame", &liar{read: []*backendv1.ReadFileReply{{Info: file(nil), Data: make([]byte, 256<<10+1)}}}, callRead},
		{"read: two descriptions", &liar{read: []*backendv1.ReadFileReply{{Info: file(nil)}, {Info: file(nil)}}}, callRead},
		{"read: empty messages", &liar{read: []*backendv1.ReadFileReply{{Info: file(nil)}, {}}}, callRead},
		{"read: a message above 8 MiB", &liar{read: []*backendv1.ReadFileReply{{Info: file(nil)}, {Data: make([]byte, 9<<20)}}}, callRead},
		{"write: another size", writes(&backendv1.WriteFileReply{Size: 4, Sha256: sum}), callWrite},
		{"write: a sum that is none", writes(&backendv1.WriteFileReply{Size: 5, Sha256: "abc"}), callWrite},
		{"edit: nothing replaced", &liar{edit: &backendv1.EditReply{Sha256: sum}}, callEdit},
		{"edit: two replaced of one", &liar{edit: &backendv1.EditReply{Replaced: 2, Sha256: sum}}, callEdit},
		{"edit: a negative size", &liar{edit: &backendv1.EditReply{Replaced: 1, Size: -1, Sha256: sum}}, callEdit},
		{"edit: no sum", &liar{edit: &backendv1.EditReply{Replaced: 1}}, callEdit},
		{"list: more than asked for", lists(file(nil), file(nil), file(nil)), callListDir},
		{"list: fewer in all", &liar{listDir: &backendv1.ListDirReply{Entries: matches(2), Total: 1}}, callListDir},
		{"list: an entry that is a path", lists(file(func(f *backendv1.FileInfo) { f.Path = []byte("../../etc/passwd") })), callListDir},
		{"list: an entry named ..", lists(file(func(f *backendv1.FileInfo) { f.Path = []byte("..") })), callListDir},
		{"list: an entry without name", lists(file(func(f *backendv1.FileInfo) { f.Path = nil })), callListDir},
		{"list: an entry with a NUL", lists(file(func(f *backendv1.FileInfo) { f.Path = []byte("a\x00") })), callListDir},
		{"list: pages without end", &liar{listDir: &backendv1.ListDirReply{Next: []byte("x"), Total: 5}}, callListDir},
		{"glob: nothing", globs(), callGlob},
		{"glob: more than asked for", globs(&backendv1.GlobReply{Matches: matches(3), Total: 3}), callGlob},
		{"glob: matches without end", &liar{glob: func(send func(*backendv1.GlobReply)) {
			for range 1000 {
				send(&backendv1.GlobReply{Matches: matches(1)})
			}
		}}, callGlob},
		{"glob: empty messages without end", &liar{glob: func(send func(*backendv1.GlobReply)) {
			for range 1000 {
				send(&backendv1.GlobReply{})
			}
		}}, callGlob},
		{"glob: fewer in all", globs(&backendv1.GlobReply{Matches: matches(2), Total: 1}), callGlob},
		{"glob: an absolute match", globs(&backendv1.GlobReply{Matches: []*backendv1.FileInfo{file(func(f *backendv1.FileInfo) { f.Path = []byte("/etc/passwd") })}, Total: 1}), callGlob},
		{"glob: unreadable without end", globs(&backendv1.GlobReply{Unreadable: make([][]byte, 101)}), callGlob},
		{"grep: nothing", greps(), callGrep},
		{"grep: more than asked for", greps(&backendv1.GrepReply{Matches: []*backendv1.GrepMatch{{Path: []byte("f")}, {Path: []byte("f")}, {Path: []byte("f")}}}), callGrep},
		{"grep: a line without end", greps(&backendv1.GrepReply{Matches: []*backendv1.GrepMatch{{Path: []byte("f"), Text: []byte(long)}}}), callGrep},
		{"grep: a negative line", greps(&backendv1.GrepReply{Matches: []*backendv1.GrepMatch{{Path: []byte("f"), Line: -1}}}), callGrep},
		{"grep: a match without file", greps(&backendv1.GrepReply{Matches: []*backendv1.GrepMatch{{Line: 1}}}), callGrep},
		{"grep: a negative count of files", greps(&backendv1.GrepReply{Searched: -1}), callGrep},

		{"a failure without detail", &liar{err: status.Error(codes.Internal, "oops")}, callStat},
		{"a failure of an unknown code", &liar{err: status.Error(codes.Code(77), "oops")}, callStat},
		{"text that is no UTF-8", sends(exit(func(r *backendv1.ExecResult) { r.StartError = "\xff" })), callExec},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cc, _ := serve(t, func(s *grpc.Server) {
				backendv1.RegisterBackendServer(s, backendLiar{c.lie})
				backendv1.RegisterSandboxServer(s, sandboxLiar{c.lie})
			})
			sb := wire.NewSandbox(cc, backend.SandboxInfo{ID: "sandbox", Backend: "liar"}, nil)
			err := c.call(t, wire.NewBackend(cc, "liar"), sb)
			if !errors.Is(err, backend.ErrUnavailable) || !strings.Contains(err.Error(), "plugin liar is faulty: ") {
				t.Errorf("got %v", err)
			}
			if n := len(err.Error()); n > 1000 {
				t.Errorf("%d bytes of error", n)
			}
		})
	}
}

// TestOldPlugin: a call the plugin does not know is ErrUnsupported, not a fault.
func TestOldPlugin(t *testing.T) {
	t.Parallel()
	cc, _ := serve(t, func(*grpc.Server) {})
	err := callCheck(t, wire.NewBackend(cc, "old"), nil)
	if !errors.Is(err, backend.ErrUnsupported) || backend.HintOf(err) == "" {
		t.Errorf("got %v", err)
	}
}
