package nsinit

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Order asks for a signal, over the control pipe.
type Order struct {
	Signal unix.Signal
	// All that is in the namespace gets it, not the command alone.
	All bool
}

const (
	orderSize = 2
	orderAll  = 1
)

// Bytes is the order as it goes over the pipe, in one piece.
func (o Order) Bytes() []byte {
	b := []byte{byte(o.Signal), 0}
	if o.All {
		b[1] = orderAll
	}
	return b
}

// obey carries out what the control pipe asks for. pid is the command's, which has
// not been waited for.
func obey(pid int) {
	control := os.NewFile(controlFD, "control")
	command, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		command = -1
	}
	go func() {
		var b [orderSize]byte
		for {
			if _, err := io.ReadFull(control, b[:]); err != nil {
				return // the guest has gone, and takes all with it
			}
			// The error is ESRCH: there is nobody.
			switch sig := unix.Signal(b[0]); {
			case b[1] == orderAll:
				_ = unix.Kill(-1, sig)
			case command >= 0:
				_ = unix.PidfdSendSignal(command, sig, nil, 0)
			default:
				// A kernel before 5.3, or a seccomp profile that does not know it.
				_ = unix.Kill(pid, sig)
			}
		}
	}()
}
