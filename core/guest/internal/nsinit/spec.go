package nsinit

import (
	"errors"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Spec says what to run. No string may hold a NUL.
type Spec struct {
	Program string
	Dir     string
	Argv    []string
	Env     []string
	// Terminal: descriptors 0, 1 and 2 are one, to be the controlling one.
	Terminal bool
	// Rules it is confined by, encoded.
	Rules string
}

// File returns a descriptor that holds s and stands at its beginning. It goes
// by memory and not by arguments and environment, whose limit belongs to the
// command, and whose GODEBUG would be obeyed.
func (s Spec) File() (*os.File, error) {
	var b strings.Builder
	put := func(v string) {
		b.WriteString(v)
		b.WriteByte(0)
	}
	put(s.Program)
	put(s.Dir)
	put(strconv.FormatBool(s.Terminal))
	put(s.Rules)
	put(strconv.Itoa(len(s.Argv)))
	for _, list := range [][]string{s.Argv, s.Env} {
		for _, v := range list {
			put(v)
		}
	}
	fd, err := unix.MemfdCreate("command", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "command")
	if _, err := f.WriteString(b.String()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func parseSpec(b []byte) (Spec, error) {
	malformed := errors.New("malformed command")
	fields := strings.Split(string(b), "\x00")
	if len(fields) < 6 {
		return Spec{}, malformed
	}
	terminal, err := strconv.ParseBool(fields[2])
	if err != nil {
		return Spec{}, malformed
	}
	argc, err := strconv.Atoi(fields[4])
	rest := fields[5 : len(fields)-1]
	if err != nil || argc < 0 || argc > len(rest) {
		return Spec{}, malformed
	}
	return Spec{Program: fields[0], Dir: fields[1], Argv: rest[:argc], Env: rest[argc:], Terminal: terminal, Rules: fields[3]}, nil
}
