package backendtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"

	"github.com/deep-sandbox/deep/core/backend"
)

// The listeners that a sandbox may have: each takes one connection, and runs a
// program with it as stdin and stdout.
const (
	pythonListener = `import socket, subprocess, sys
s = socket.socket(); s.bind(("127.0.0.1", int(sys.argv[1]))); s.listen(1)
c, _ = s.accept(); s.close()
subprocess.call(sys.argv[2:], stdin=c, stdout=c)`
	perlListener = `use IO::Socket::INET;
my $s = IO::Socket::INET->new(LocalAddr => "127.0.0.1", LocalPort => shift, Listen => 1) or die;
my $c = $s->accept; close $s;
open STDIN, "<&", $c; open STDOUT, ">&", $c; close $c; exec @ARGV`
)

// listener returns what makes a sandbox listen on a port, up to the program.
func (t *T) listener(sb backend.Sandbox, port string) []string {
	for _, nc := range [][]string{{"nc"}, {"busybox", "nc"}} {
		r := t.execIn(t.ctx, sb, &backend.ExecRequest{Argv: append(nc, "--help"), Merge: true})
		if r.err == nil && strings.Contains(r.stdout, "-e PROG") {
			return append(nc, "-l", "-p", port, "-e")
		}
	}
	for _, try := range [][]string{{"python3", "-c", pythonListener}, {"perl", "-e", perlListener}} {
		r := t.execIn(t.ctx, sb, &backend.ExecRequest{Argv: []string{try[0], "--version"}})
		if r.err == nil && r.Outcome == backend.OutcomeExit && r.ExitCode == 0 {
			return append(try, port)
		}
	}
	t.Fatalf("the sandbox has nothing to listen with: no nc -e, python3 or perl")
	panic("unreachable")
}

// serve makes a script listen, and returns a connection to it and its exec's id.
func (t *T) serve(ctx context.Context, sb backend.Sandbox, script string) (conn backend.Conn, id string) {
	port := 20_000 + rand.IntN(10_000)
	argv := append(t.listener(sb, strconv.Itoa(port)), "sh", "-c", script)
	id = t.start(sb, &backend.ExecRequest{Argv: argv, Timeout: backend.Unlimited})
	t.eventually("something listens", func() bool {
		var err error
		conn, err = sb.Dial(ctx, &backend.DialRequest{Port: port})
		if err != nil && !errors.Is(err, backend.ErrNotFound) {
			t.Fatalf("dial: %v", err)
		}
		return err == nil
	})
	if conn == nil {
		text, _ := t.kept(sb, &backend.ReadOutputRequest{ID: id, Stream: backend.StreamStderr})
		t.Fatalf("%q does not listen: %s", argv, short(text))
	}
	t.later(func() { t.must("close", conn.Close()) })
	return conn, id
}

var dialRules = []Rule{
	{
		Name:     "dial-exact",
		Sentence: "Dial is a byte tunnel to a port inside, exact both ways at once, and needs no network interface; the writing half is closed by itself.",
		Shell:    true, Needs: backend.CapDial,
		run: func(t *T) {
			const size = 3<<20 + 7
			conn, _ := t.serve(t.ctx, t.sandbox(), "cat")
			var wg sync.WaitGroup
			wg.Go(func() {
				n, err := io.Copy(conn, io.LimitReader(random(), size))
				if err := errors.Join(err, conn.CloseWrite()); err != nil {
					t.Errorf("write: %d bytes, %v", n, err)
				}
			})
			got := &compared{want: random()}
			_, err := io.Copy(got, conn)
			wg.Wait()
			if err != nil || got.n != size || got.differs {
				t.Errorf("%d bytes came back of %d, others than were sent: %v; %v", got.n, size, got.differs, err)
			}
		},
	},
	{
		Name:     "dial-server-ends",
		Sentence: "A connection's Read returns io.EOF once the other side has closed, behind all that it wrote.",
		Shell:    true, Needs: backend.CapDial,
		run: func(t *T) {
			conn, id := t.serve(t.ctx, t.sandbox(), `printf 'bye\000\377'`)
			data, err := io.ReadAll(conn)
			if string(data) != "bye\x00\xff" || err != nil {
				t.Errorf("%q, %v", data, err)
			}
			t.ended(t.sandbox(), id)
		},
	},
	{
		Name:     "dial-close",
		Sentence: "Closing a connection is an end of input to what listens, and wakes who reads from it.",
		Shell:    true, Needs: backend.CapDial,
		run: func(t *T) {
			conn, id := t.serve(t.ctx, t.sandbox(), "cat")
			_, err := io.WriteString(conn, "x")
			t.must("write", err)
			_, err = io.ReadFull(conn, make([]byte, 1))
			t.must("read", err)
			woken := make(chan error, 1)
			go func() {
				_, err := conn.Read(make([]byte, 1))
				woken <- err
			}()
			t.must("close", conn.Close())
			t.must("close again", conn.Close())
			if err := <-woken; err == nil || errors.Is(err, io.EOF) {
				t.Errorf("who read was told %v", err)
			}
			t.ended(t.sandbox(), id)
		},
	},
	{
		Name:     "dial-cancelled",
		Sentence: "The context governs a connection until it is closed; its end is no end of the stream.",
		Shell:    true, Needs: backend.CapDial,
		run: func(t *T) {
			ctx, cancel := context.WithCancel(t.ctx)
			defer cancel()
			conn, id := t.serve(ctx, t.sandbox(), "cat")
			_, err := io.WriteString(conn, "x")
			t.must("write", err)
			_, err = io.ReadFull(conn, make([]byte, 1))
			t.must("read", err)
			cancel()
			if _, err := io.ReadAll(conn); !errors.Is(err, context.Canceled) {
				t.Errorf("read: %v", err)
			}
			t.ended(t.sandbox(), id)
		},
	},
	{
		Name:     "dial-refused",
		Sentence: "A port nobody listens on is ErrNotFound, a number that is no port ErrInvalid.",
		Shell:    true, Needs: backend.CapDial,
		run: func(t *T) {
			for port, kind := range map[int]error{1: backend.ErrNotFound, 65535: backend.ErrNotFound, 0: backend.ErrInvalid, -1: backend.ErrInvalid, 65536: backend.ErrInvalid, 1<<32 + 80: backend.ErrInvalid} {
				conn, err := t.sandbox().Dial(t.ctx, &backend.DialRequest{Port: port})
				if err == nil {
					t.must("close", conn.Close())
				}
				t.wantKind(fmt.Sprintf("port %d", port), err, kind)
			}
		},
	},
	{
		Name:     "dial-many",
		Sentence: "Several connections at once are each its own.",
		Shell:    true, Needs: backend.CapDial,
		run: func(t *T) {
			sb := t.sandbox()
			var conns []backend.Conn
			for range 4 {
				conn, _ := t.serve(t.ctx, sb, "cat")
				conns = append(conns, conn)
			}
			var wg sync.WaitGroup
			for i, conn := range conns {
				wg.Go(func() {
					word := fmt.Sprintf("word-%d", i)
					_, werr := io.WriteString(conn, word)
					cerr := conn.CloseWrite()
					got, err := io.ReadAll(conn)
					if string(got) != word || errors.Join(werr, cerr, err) != nil {
						t.Errorf("%q came back of %q: %v", got, word, errors.Join(werr, cerr, err))
					}
				})
			}
			wg.Wait()
		},
	},
}
