package wire

import (
	"bytes"
	"context"
	"errors"
	"io"
	"reflect"
	"slices"
	"testing"
	"unicode/utf8"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	"github.com/deep-sandbox/deep/core/backend"
	backendv1 "github.com/deep-sandbox/deep/core/proto/backend/v1"
)

// answer is one kind of message a client is answered with: check says whether
// data, decoded, is accepted, and what it then means; again sends that and takes
// it in once more.
type answer func(data []byte) (accepted bool, value, again any)

// answers are the kinds there are. What a plugin says in them is a stranger's word.
var answers = []answer{
	answerOf(func(m *backendv1.SandboxInfo) string { return badInfo(m, "") }, infoFromWire, infoToWire),
	answerOf(func(m *backendv1.ExecResult) string { return badResult(m, m.GetId(), false) },
		func(m *backendv1.ExecResult) backend.ExecResult { return *resultFromWire(m) },
		func(r backend.ExecResult) *backendv1.ExecResult { return resultToWire(&r) }),
	answerOf(badFile, fileFromWire, fileToWire),
	answerOf(badEntry, fileFromWire, fileToWire),
	answerOf(badMatch, matchFromWire, matchToWire),
	answerOf(badProcess, processFromWire, processToWire),
	answerOf(badStats, func(m *backendv1.StatsReply) backend.Stats { return *statsFromWire(m) },
		func(s backend.Stats) *backendv1.StatsReply { return statsToWire(&s) }),
}

func answerOf[M any, P interface {
	*M
	proto.Message
}, V any](bad func(P) string, from func(P) V, to func(V) P) answer {
	return func(data []byte) (bool, any, any) {
		m := P(new(M))
		if proto.Unmarshal(data, m) != nil || bad(m) != "" {
			return false, nil, nil
		}
		v := from(m)
		return true, v, from(to(v))
	}
}

// isolation has every field set, each to another value where it can have one.
func isolation() *backendv1.Isolation {
	return &backendv1.Isolation{
		Runtime: "runc", Uid: 1, Gid: 2, UserSplit: true, Capabilities: 3, Bounding: 4, NoNewPrivileges: true, Seccomp: "digest", Landlock: 5,
		Network: "none", RootFileSystem: "read-only", Memory: 6, Swap: -1, Pids: 7, Cpus: 1.5, OpenFiles: 8, FileSize: 9, CoreSize: -2, Disk: "none",
	}
}

// TestIsolationIsWhole: nothing of it is lost on the way.
func TestIsolationIsWhole(t *testing.T) {
	t.Parallel()
	want := isolation()
	if got := isolationToWire(isolationFromWire(want)); !proto.Equal(got, want) {
		t.Errorf("%v became %v", want, got)
	}
	fields := want.ProtoReflect().Descriptor().Fields()
	for i := range fields.Len() {
		if !want.ProtoReflect().Has(fields.Get(i)) {
			t.Errorf("the test does not set %s", fields.Get(i).Name())
		}
	}
}

// FuzzAnswers: no answer makes a client panic, and one that is accepted means the
// same when it is passed on.
func FuzzAnswers(f *testing.F) {
	for i, m := range []proto.Message{
		&backendv1.SandboxInfo{Id: "abc", State: "running", CreatedNs: 5, Workspace: []byte("/w\xff"), Degraded: []string{"x"}, Owner: &backendv1.Owner{Pid: 4}},
		&backendv1.SandboxInfo{Id: "abc", State: "running", Isolation: isolation()},
		&backendv1.ExecResult{Id: "abc", Outcome: "signal", Signal: 9, ExitCode: 137, StdoutBytes: 3},
		&backendv1.FileInfo{Path: []byte("a\nb"), Type: "file", Size: 5, Mode: 0o644, MtimeNs: -1},
		&backendv1.FileInfo{Path: []byte("../x"), Type: "symlink", Target: []byte("y")},
		&backendv1.GrepMatch{Path: []byte("f"), Line: 3, Text: []byte("\xff"), Context: true},
		&backendv1.Process{Pid: 1, State: "R", Args: [][]byte{[]byte("sh"), nil}},
		&backendv1.StatsReply{Memory: 1, MemoryLimit: -1},
	} {
		data, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(byte(i), data)
	}
	f.Fuzz(func(t *testing.T, kind byte, data []byte) {
		accepted, value, again := answers[int(kind)%len(answers)](data)
		if accepted && !reflect.DeepEqual(value, again) {
			t.Errorf("%+v became %+v", value, again)
		}
	})
}

// FuzzRequests: no request makes a server panic, and what it means it means when
// it is passed on.
func FuzzRequests(f *testing.F) {
	exec := &backendv1.ExecStart{
		Id: "abc", Argv: [][]byte{[]byte("a\x00")}, Env: []*backendv1.EnvVar{{Key: []byte("K"), Value: []byte("v")}, {Key: []byte("K")}},
		GraceNs: new(int64(-1)), Tty: &backendv1.WindowSize{Rows: 70_000, Cols: 1},
	}
	for i, m := range []proto.Message{
		exec, &backendv1.GlobRequest{Pattern: []byte("**"), Limit: -1}, &backendv1.GrepRequest{Pattern: []byte("("), Include: [][]byte{nil}, Before: 21},
		&backendv1.Spec{Image: "x", Workspace: &backendv1.Workspace{Path: []byte("/w")}, Cpus: -1, Mounts: []*backendv1.Mount{nil, {}}},
	} {
		data, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(byte(i), data)
	}
	f.Fuzz(func(t *testing.T, kind byte, data []byte) {
		var value, again any
		switch kind % 4 {
		case 0:
			m := new(backendv1.ExecStart)
			if proto.Unmarshal(data, m) != nil {
				return
			}
			r := execFromWire(m)
			r.Merge = r.Merged() // a terminal does
			value, again = r, execFromWire(execToWire(r, r.ID))
		case 1:
			m := new(backendv1.GlobRequest)
			if proto.Unmarshal(data, m) != nil {
				return
			}
			r := globFromWire(m)
			value, again = r, globFromWire(globToWire(r))
		case 2:
			m := new(backendv1.GrepRequest)
			if proto.Unmarshal(data, m) != nil {
				return
			}
			r := grepFromWire(m)
			value, again = r, grepFromWire(grepToWire(r))
		default:
			m := new(backendv1.Spec)
			if proto.Unmarshal(data, m) != nil || m.GetCpus() != m.GetCpus() { // no NaN equals itself
				return
			}
			s := specFromWire(m)
			value, again = s, specFromWire(specToWire(&s))
		}
		if !reflect.DeepEqual(value, again) {
			t.Errorf("%+v became %+v", value, again)
		}
	})
}

// FuzzError: whatever a plugin calls an error is one of the contract, of bounded
// size and printable, and the same when it is passed on.
func FuzzError(f *testing.F) {
	for _, d := range []*backendv1.ErrorDetail{
		{Kind: backendv1.ErrorKind(3), Op: "read file", Path: []byte("a\xff\n"), Message: "no", Hint: "look", Count: 2}, {Kind: 999, Count: -5},
	} {
		data, err := proto.Marshal(d)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		d := new(backendv1.ErrorDetail)
		if proto.Unmarshal(data, d) != nil {
			return
		}
		e := fromDetail(d)
		switch {
		case !slices.Contains(backend.Kinds, e.Kind):
			t.Errorf("the kind %v", e.Kind)
		case e.Count < 0 || len(e.Path) > maxErrorField || len(e.Message) > maxErrorMessage || len(e.Hint) > maxErrorField || len(e.Op) > maxErrorField:
			t.Errorf("%+v", e)
		case e.Error() == "":
			t.Error("no words")
		}
		if again := FromStatus(Error(e)); !reflect.DeepEqual(again, error(e)) {
			t.Errorf("%#v became %#v", e, again)
		}
	})
}

// FuzzFrame: a message that is passed on undecoded is passed on as it was.
func FuzzFrame(f *testing.F) {
	f.Add([]byte("\x0a\x03abc"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		in := new(frame)
		if err := (codec{}).Unmarshal(mem.BufferSlice{mem.SliceBuffer(data)}, in); err != nil {
			t.Fatal(err)
		}
		out, err := codec{}.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		if got := out.Materialize(); !bytes.Equal(got, data) {
			t.Errorf("%q became %q", data, got)
		}
		_ = codec{}.Unmarshal(mem.BufferSlice{mem.SliceBuffer(data)}, new(backendv1.ExecStart))
	})
}

// FuzzPieces: a stream of messages is read as what they hold, however they are
// cut, and one that says nothing or too much is the plugin's fault.
func FuzzPieces(f *testing.F) {
	f.Add([]byte("some content"), []byte{3, 1, 200})
	f.Add([]byte("x"), []byte{0})
	f.Fuzz(func(t *testing.T, data, cuts []byte) {
		const most = 100
		rest, bad := data, false
		p := &pieces{peer: "stranger", ctx: t.Context(), cancel: func() {}, op: "read", most: most, recv: func() (mem.BufferSlice, string, error) {
			if len(cuts) == 0 {
				return nil, "", io.EOF
			}
			n := min(int(cuts[0]), len(rest))
			piece := rest[:n]
			rest, cuts = rest[n:], cuts[1:]
			bad = bad || n == 0 || n > most
			return mem.BufferSlice{mem.SliceBuffer(piece)}, "", nil
		}}
		got, err := io.ReadAll(p)
		if !bytes.HasPrefix(data, got) {
			t.Errorf("%q of %q", got, data)
		}
		if (err != nil) != bad || !bad && len(got) != len(data)-len(rest) {
			t.Errorf("%d bytes of %d, %v; a bad message %v", len(got), len(data)-len(rest), err, bad)
		}
		if err != nil && (!errors.Is(err, backend.ErrUnavailable) || context.Cause(t.Context()) != nil) {
			t.Errorf("%v", err)
		}
	})
}

// FuzzText: what goes into a proto string is UTF-8 and not above its limit.
func FuzzText(f *testing.F) {
	f.Add("plain", 100)
	f.Add("日本\xff", 20)
	f.Fuzz(func(t *testing.T, s string, limit int) {
		limit = 20 + max(0, limit%1000) // above the mark of what was cut
		got := text(s, limit)
		if !utf8.ValidString(got) || len(got) > limit {
			t.Errorf("%q, limit %d: %q", s, limit, got)
		}
	})
}
