package pluginsdk

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/deep-sandbox/deep/core/backend"
)

// EngineAddress is where an engine was looked for, for an error that helps.
type EngineAddress struct {
	// Engine is its name for people.
	Engine string
	// Address as configured.
	Address string
	// Socket is the path when Address is a unix socket of this host.
	Socket string
	// Start is the command that starts the engine, Join the one that gives this
	// user access to the socket.
	Start, Join string
}

// Unreachable says what was found in the engine's place. cause is why it could
// not be used.
func (a EngineAddress) Unreachable(cause error) error {
	e := &backend.Error{Kind: backend.ErrUnavailable, Path: a.Address, Err: cause}
	if a.Socket == "" {
		e.Message = a.Engine + " does not answer there"
		e.Hint = "see that it runs, and that this host may reach it"
	} else {
		e.Message, e.Hint = a.found()
		if e.Message != "" {
			e.Err = nil // it says the same in other words
		} else {
			e.Message = "something answers there, but not as " + a.Engine + " does"
			e.Hint = "see which program listens there: ss -xlp | grep " + a.Socket
		}
	}
	return e
}

// found looks at the socket; "" means that it takes connections.
func (a EngineAddress) found() (message, hint string) {
	info, err := os.Stat(a.Socket)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "no " + a.Engine + " here: there is no such socket", a.Start
	case errors.Is(err, fs.ErrPermission):
		return "this user may not look where the socket of " + a.Engine + " is", a.Join
	case err != nil:
		return "cannot look at the socket of " + a.Engine + ": " + err.Error(), a.Start
	case info.Mode().Type() != fs.ModeSocket:
		return "no " + a.Engine + " here: this is " + kindOfFile(info.Mode()) + ", not a socket", a.Start
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", a.Socket)
	switch {
	case err == nil:
		_ = conn.Close()
		return "", ""
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		return "this user may not use the socket of " + a.Engine, a.Join
	case errors.Is(err, syscall.ECONNREFUSED):
		return "no " + a.Engine + " runs: nobody listens on the socket", a.Start
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return a.Engine + " takes no connection: it hangs, or is overwhelmed", "see its log"
	}
	return "cannot connect to the socket of " + a.Engine + ": " + err.Error(), a.Start
}

func kindOfFile(mode fs.FileMode) string {
	switch {
	case mode.IsRegular():
		return "a regular file"
	case mode.IsDir():
		return "a directory"
	case mode&fs.ModeNamedPipe != 0:
		return "a FIFO"
	}
	return "a device"
}
