package guest

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// connectPatience is how long connect waits for a guest that was started a
// moment ago.
const connectPatience = 5 * time.Second

// carryBuffer is how much is carried at once, in bytes. With 64 KiB connect takes
// a third more of a processor for the same.
const carryBuffer = 256 << 10

// connect carries bytes between stdin and stdout and the guest's socket until
// either side ends.
func connect(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("connect", flag.ContinueOnError)
	flags.SetOutput(stderr)
	socket := flags.String("socket", "", "connect to the unix socket `PATH`")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if flags.NArg() > 0 || *socket == "" {
		_, _ = fmt.Fprintln(stderr, "deep-guest: connect takes --socket PATH")
		return 2
	}
	conn, err := dial(*socket)
	if err != nil {
		_, _ = fmt.Fprintf(stderr, "deep-guest: %v\n", err)
		return 1
	}
	defer conn.Close()
	in, inOK := stdin.(*os.File)
	out, outOK := stdout.(*os.File)
	socketFile, err := conn.File()
	if err != nil || !inOK || !outOK {
		_, _ = fmt.Fprintf(stderr, "deep-guest: connect needs files: %v\n", err)
		return 1
	}
	// It has to outlive the reads below, which know its number only.
	defer socketFile.Close()
	ended := make(chan struct{}, 2)
	for _, pipe := range []*os.File{in, out} {
		// The fewer turns the engine and this take, the fewer switches; not every
		// pipe may be as large.
		_, _ = unix.FcntlInt(pipe.Fd(), unix.F_SETPIPE_SZ, 1<<20)
	}
	for _, way := range [][2]*os.File{{socketFile, in}, {out, socketFile}} {
		go func() {
			// Whatever ended it, the other side learns of it by the end of the stream.
			carry(int(way[0].Fd()), int(way[1].Fd()))
			ended <- struct{}{}
		}()
	}
	<-ended
	return 0
}

// carry copies from one descriptor to another until either ends. Both block in
// the kernel: by the runtime's poller each byte would wake a thread more.
func carry(to, from int) {
	buf := make([]byte, carryBuffer)
	for {
		n, err := unix.Read(from, buf)
		if err == unix.EINTR {
			continue
		}
		if n <= 0 || err != nil {
			return
		}
		for p := buf[:n]; len(p) > 0; {
			n, err := unix.Write(to, p)
			if err != nil && err != unix.EINTR {
				return
			}
			p = p[max(n, 0):]
		}
	}
}

func dial(socket string) (*net.UnixConn, error) {
	for end := time.Now().Add(connectPatience); ; time.Sleep(2 * time.Millisecond) {
		conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: socket, Net: "unix"})
		if err == nil {
			return conn, nil
		}
		soon := errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ECONNREFUSED)
		if !soon || time.Now().After(end) {
			return nil, err
		}
	}
}
