package guest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/deep-sandbox/deep/core/backend"
)

// Dialling needs nothing of a guest but its network namespace.
var dialler Sandbox

func listen(t *testing.T, address string) (*net.TCPListener, int) {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil && strings.HasPrefix(address, "[::1]") && unreachable(err) {
		t.Skip("there is no IPv6 here: ", err)
	}
	check(t, err)
	t.Cleanup(func() { _ = l.Close() })
	return l.(*net.TCPListener), l.Addr().(*net.TCPAddr).Port
}

// serveOne runs serve on the first connection, and reports what it says.
func serveOne(l *net.TCPListener, serve func(conn *net.TCPConn) error) <-chan error {
	done := make(chan error, 1)
	go func() {
		conn, err := l.AcceptTCP()
		if err != nil {
			done <- err
			return
		}
		done <- errors.Join(serve(conn), conn.Close())
	}()
	return done
}

func TestDialHalfClose(t *testing.T) {
	question := bytes.Repeat([]byte("question\x00\xff"), 100_000)
	answer := bytes.Repeat([]byte("answer\r\n"), 150_000)
	for _, address := range []string{"127.0.0.1:0", "[::1]:0", "0.0.0.0:0"} {
		t.Run(address, func(t *testing.T) {
			l, port := listen(t, address)
			// It answers when the question has ended, and not before.
			done := serveOne(l, func(conn *net.TCPConn) error {
				got, err := io.ReadAll(conn)
				if err == nil && !bytes.Equal(got, question) {
					err = errors.New("another question came")
				}
				_, writeErr := conn.Write(answer)
				return errors.Join(err, writeErr)
			})
			conn, err := dialler.Dial(t.Context(), &backend.DialRequest{Port: port})
			check(t, err)
			_, err = conn.Write(question)
			check(t, err)
			check(t, conn.CloseWrite())
			got, err := io.ReadAll(conn)
			check(t, err)
			if !bytes.Equal(got, answer) {
				t.Errorf("%d bytes came back", len(got))
			}
			check(t, <-done)
			check(t, conn.Close())
			check(t, conn.Close())

			// The other way round: its end comes first, and it still listens.
			done = serveOne(l, func(conn *net.TCPConn) error {
				if err := conn.CloseWrite(); err != nil {
					return err
				}
				got, err := io.ReadAll(conn)
				if err == nil && !bytes.Equal(got, question) {
					err = errors.New("another question came")
				}
				return err
			})
			conn, err = dialler.Dial(t.Context(), &backend.DialRequest{Port: port})
			check(t, err)
			if n, err := conn.Read(make([]byte, 1)); n != 0 || err != io.EOF {
				t.Errorf("%d, %v", n, err)
			}
			_, err = conn.Write(question)
			check(t, errors.Join(err, conn.CloseWrite()))
			check(t, <-done)
			check(t, conn.Close())
		})
	}
}

func TestDialRefused(t *testing.T) {
	for _, port := range []int{0, -1, 65536, 1 << 40} {
		_, err := dialler.Dial(t.Context(), &backend.DialRequest{Port: port})
		wantKind(t, err, backend.ErrInvalid)
	}
	l, port := listen(t, "127.0.0.1:0")
	check(t, l.Close())
	_, err := dialler.Dial(t.Context(), &backend.DialRequest{Port: port})
	e := wantKind(t, err, backend.ErrNotFound)
	if !strings.Contains(e.Message, "nothing listens on port") || e.Hint == "" {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = dialler.Dial(ctx, &backend.DialRequest{Port: port})
	wantKind(t, err, context.Canceled)
}

func TestDialEnds(t *testing.T) {
	l, port := listen(t, "127.0.0.1:0")
	dial := func(ctx context.Context) (backend.Conn, *net.TCPConn) {
		conn, err := dialler.Dial(ctx, &backend.DialRequest{Port: port})
		check(t, err)
		peer, err := l.AcceptTCP()
		check(t, err)
		t.Cleanup(func() { _ = peer.Close() })
		return conn, peer
	}
	// By its context, while all methods are in use.
	ctx, cancel := context.WithCancel(t.Context())
	conn, peer := dial(ctx)
	var wg sync.WaitGroup
	for _, use := range []func() error{
		func() error {
			_, err := conn.Read(make([]byte, 1))
			return err
		},
		func() error {
			for {
				if _, err := conn.Write(make([]byte, 64<<10)); err != nil {
					return err
				}
			}
		},
	} {
		wg.Go(func() {
			if err := use(); !errors.Is(err, context.Canceled) {
				t.Errorf("it ended by %v", err)
			}
		})
	}
	cancel()
	wg.Wait()
	check(t, conn.Close())
	if _, err := io.Copy(io.Discard, peer); err != nil && !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("the other side: %v", err)
	}

	// By a reset, which is not an end.
	conn, peer = dial(t.Context())
	check(t, errors.Join(peer.SetLinger(0), peer.Close()))
	_, err := conn.Read(make([]byte, 1))
	wantKind(t, err, backend.ErrUnavailable)
	check(t, conn.Close())

	// By Close, for those who read.
	conn, _ = dial(t.Context())
	read := make(chan error, 1)
	go func() {
		_, err := conn.Read(make([]byte, 1))
		read <- err
	}()
	check(t, conn.Close())
	if err := <-read; !errors.Is(err, net.ErrClosed) {
		t.Errorf("read ended by %v", err)
	}
}

func TestDialLeaksNothing(t *testing.T) {
	l, port := listen(t, "127.0.0.1:0")
	open := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		check(t, err)
		return len(entries)
	}
	before := open()
	for range 200 {
		conn, err := dialler.Dial(t.Context(), &backend.DialRequest{Port: port})
		check(t, err)
		peer, err := l.Accept()
		check(t, errors.Join(err, conn.Close(), peer.Close()))
	}
	if after := open(); after > before {
		t.Errorf("%d descriptors became %d", before, after)
	}
}
