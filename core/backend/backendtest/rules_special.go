package backendtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/deep-sandbox/deep/core/backend"
)

// wantSparse reads here and there in a large file that begins with a line, and
// holds nothing else.
func (t *T) wantSparse(sb backend.Sandbox, path string, size int64) {
	for offset, want := range map[int64]string{0: "begin\n" + strings.Repeat("\x00", 14), size / 2: strings.Repeat("\x00", 20), size - 5: strings.Repeat("\x00", 5), size: ""} {
		got, err := readAll(t.ctx, sb, &backend.ReadFileRequest{Path: path, Offset: offset, Length: 20})
		if err != nil || got != want {
			t.Errorf("at %d: %s, %v; want %s", offset, short(got), err, short(want))
		}
	}
	// Closed half way, nobody reads the rest.
	f, err := sb.ReadFile(t.ctx, &backend.ReadFileRequest{Path: path})
	t.must("open", err)
	begin := make([]byte, 6)
	if _, err := io.ReadFull(f, begin); err != nil || string(begin) != "begin\n" || f.Info.Size != size {
		t.Errorf("%q, %v, size %d", begin, err, f.Info.Size)
	}
	t.must("close", f.Close())
}

var specialRules = []Rule{
	{
		Name:     "read-sparse",
		Sentence: "20 bytes of a huge file cost 20 bytes.",
		Shell:    true,
		run: func(t *T) {
			const size = 1<<31 - 1 // no command may make one of 2 GiB
			t.sh(fmt.Sprintf("echo begin > f; truncate -s %d f", size))
			t.wantSparse(t.sandbox(), t.path("f"), size)
			// A search passes over it without reading it whole.
			t.write("text", "begin\n")
			t.wantGrep(backend.GrepRequest{Pattern: "begin"}, "text:1:begin")
		},
	},
	{
		Name:     "bound-sparse-file",
		Sentence: "20 bytes of a 10 GiB file cost 20 bytes.",
		Needs:    backend.CapBind,
		run: func(t *T) {
			const size = 10 << 30
			dir, err := os.MkdirTemp("", "deep-sparse-")
			t.must("make a directory", err)
			t.cleanups = append(t.cleanups, func() { t.must("remove it", os.RemoveAll(dir)) })
			name := dir + "/f"
			t.must("make a file", errors.Join(os.WriteFile(name, []byte("begin\n"), 0o644), os.Truncate(name, size)))
			if os.Getuid() == 0 { // whose directories no sandbox gets
				t.must("give it away", os.Chown(dir, backend.DefaultUID, backend.DefaultUID))
				t.must("give it away", os.Chown(name, backend.DefaultUID, backend.DefaultUID))
			}
			t.wantSparse(t.newSandbox(func(s *backend.Spec) { s.Workspace.Source = dir }), "f", size)
		},
	},
	{
		Name:     "write-special",
		Sentence: "A FIFO or device is not written: ErrInvalid, without blocking.",
		Shell:    true,
		run: func(t *T) {
			t.sh("mkfifo pipe; ln -s pipe link")
			for _, p := range []string{t.path("pipe"), t.path("link"), "/dev/null"} {
				t.wantKind(p, t.writeErr(p, 0, strings.NewReader("x")), backend.ErrInvalid)
			}
			if i := t.stat("pipe"); i.Type != backend.TypeFIFO {
				t.Errorf("it is a %s now", i.Type)
			}
		},
	},
	{
		Name:     "write-hard-link",
		Sentence: "A file of several names is replaced under the one written; the others keep the old content.",
		Shell:    true,
		run: func(t *T) {
			t.write("f", "old")
			t.sh("ln f other")
			t.write("f", "new")
			t.wantContent("f", "new")
			t.wantContent("other", "old")
		},
	},
	{
		Name:     "write-under-command",
		Sentence: "A command that reads a file over and over while it is replaced sees the old content or the new, never half of one and never none.",
		Shell:    true,
		run: func(t *T) {
			const size = 200_000
			t.write("f", strings.Repeat("0", size))
			ctx, cancel := context.WithCancel(t.ctx)
			defer cancel()
			polled := make(chan ran, 1)
			polling := &announced{first: make(chan struct{})}
			sb, dir := t.sandbox(), t.dir()
			go func() {
				polled <- t.execIn(ctx, sb, &backend.ExecRequest{Shell: "while [ ! -e stop ]; do wc -c < f; done", Dir: dir, Stdout: polling})
			}()
			select {
			case <-polling.first:
			case r := <-polled:
				t.Fatalf("the command ended at once: %+v, %v", r.ExecResult, r.err)
			case <-ctx.Done():
				t.Fatalf("the command wrote nothing")
			}
			for i := range 20 {
				t.write("f", strings.Repeat(string(rune('a'+i)), size))
			}
			t.write("stop", "")
			r := <-polled
			t.wantExit("the reader", r, 0)
			for line := range strings.Lines(polling.String()) {
				if strings.TrimSpace(line) != fmt.Sprint(size) {
					t.Errorf("a reader saw %q bytes of %d", strings.TrimSpace(line), size)
					break
				}
			}
			if r.stderr != "" {
				t.Errorf("a reader failed: %s", short(r.stderr))
			}
		},
	},
	{
		Name:     "write-full-disk",
		Sentence: "A full disk is ErrNoSpace with a hint; the file holds the old content and nothing is left behind.",
		Shell:    true,
		run: func(t *T) {
			// $HOME is in memory, and of that there is less than is written.
			const memory = 32 << 20
			sb := t.newSandbox(func(s *backend.Spec) { s.Memory = memory })
			r := t.execIn(t.ctx, sb, &backend.ExecRequest{Shell: "printf %s \"$HOME\""})
			t.wantExit("printf", r, 0)
			dir := r.stdout + "/full"
			path := dir + "/f"
			_, err := sb.WriteFile(t.ctx, &backend.WriteFileRequest{Path: path, Content: strings.NewReader("old")})
			t.must("write", err)
			endless := func() io.Reader {
				return io.LimitReader(readFunc(func(p []byte) (int, error) { return len(p), nil }), memory)
			}
			for what, change := range map[string]func(*backend.WriteFileRequest){"replace": func(*backend.WriteFileRequest) {}, "append": appending} {
				req := &backend.WriteFileRequest{Path: path, Content: endless()}
				change(req)
				_, err := sb.WriteFile(t.ctx, req)
				t.wantKind(what, err, backend.ErrNoSpace)
				if backend.HintOf(err) == "" {
					t.Errorf("%s: no hint: %v", what, err)
				}
				got, err := readAll(t.ctx, sb, &backend.ReadFileRequest{Path: path})
				if err != nil || got != "old" {
					t.Errorf("%s: it holds %s, %v", what, short(got), err)
				}
				list, err := sb.List(t.ctx, &backend.ListDirRequest{Path: dir})
				t.must("list", err)
				if len(list.Entries) != 1 {
					t.Errorf("%s: left behind: %+v", what, list.Entries)
				}
			}
			_, err = sb.WriteFile(t.ctx, &backend.WriteFileRequest{Path: path, Content: strings.NewReader("new")})
			t.must("write once there is room", err)
		},
	},
}
