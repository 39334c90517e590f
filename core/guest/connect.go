package guest

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// connectPatience is how long connect waits for a guest that was started a
// moment ago.
const connectPatience = 5 * time.Second

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
	ended := make(chan struct{}, 2)
	carry := func(to io.Writer, from io.Reader) {
		// Whatever ended it, the other side learns of it by the end of the stream.
		_, _ = io.Copy(to, from)
		ended <- struct{}{}
	}
	go carry(conn, stdin)
	go carry(stdout, conn)
	<-ended
	_ = conn.Close()
	return 0
}

func dial(socket string) (net.Conn, error) {
	for end := time.Now().Add(connectPatience); ; time.Sleep(2 * time.Millisecond) {
		conn, err := net.Dial("unix", socket)
		if err == nil {
			return conn, nil
		}
		soon := errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ECONNREFUSED)
		if !soon || time.Now().After(end) {
			return nil, err
		}
	}
}
