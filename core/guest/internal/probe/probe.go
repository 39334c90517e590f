// Package probe is a command that looks at what commands are under: it tries what
// must fail, reads what the kernel says of it, and writes what it found as one line
// of JSON on its standard output. It leaves nothing behind.
//
// A program that imports the package becomes that command when it is executed under
// the name [Name], before its own packages are initialised: so it is small and
// quick.
package probe

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"runtime"
)

// Name is the argv[0] that makes a program this one.
const Name = "deep-guest-probe"

// MaxLine is more than what is found can take, in bytes.
const MaxLine = 16 << 10

// Findings are what a command is under.
type Findings struct {
	Status
	// Passed are the system calls that deep's seccomp profile denies and that were
	// not.
	Passed []string
	// ReadOnlyRoot: the root file system refuses to be written, as such.
	ReadOnlyRoot bool
	// FirstSafe: process 1 cannot be signalled.
	FirstSafe bool
	// Interfaces that are up, but for loopback.
	Interfaces []string
	// Route: there is a way to an address elsewhere.
	Route bool
	// Nameserver: one is named.
	Nameserver bool
	// OpenFiles, FileSize and CoreSize are the hard limits, -1 for none.
	OpenFiles, FileSize, CoreSize int64
	// Landlock is the kernel's version, 0 if it has none; Domains how many domains
	// could be made within the one the command is in.
	Landlock, Domains int
}

func init() {
	if len(os.Args) > 0 && os.Args[0] == Name {
		os.Exit(run(os.Stdout))
	}
}

func run(out io.Writer) int {
	// Threads count against the sandbox's limit of processes.
	runtime.GOMAXPROCS(1)
	f, err := look()
	if err != nil {
		return 1
	}
	line, err := json.Marshal(f)
	if err != nil {
		return 1
	}
	if _, err := out.Write(append(line, '\n')); err != nil {
		return 1
	}
	return 0
}

func look() (f Findings, err error) {
	if f.Status, err = readStatus("/proc/self/status"); err != nil {
		return f, err
	}
	f.Passed = passed()
	f.ReadOnlyRoot = readOnlyRoot()
	f.FirstSafe = firstSafe()
	if f.Interfaces, err = interfaces(); err != nil {
		return f, err
	}
	f.Route, f.Nameserver = route(), nameserver()
	if err := f.limits(); err != nil {
		return f, err
	}
	// Last: what it does stays with the process.
	f.Landlock, f.Domains = Domains()
	return f, nil
}

// Parse reads what the command wrote, all of it.
func Parse(line []byte) (Findings, error) {
	var f Findings
	if len(line) == 0 || line[len(line)-1] != '\n' || bytes.IndexByte(line, '\n') != len(line)-1 {
		return f, errors.New("it is not one line")
	}
	in := json.NewDecoder(bytes.NewReader(line))
	in.DisallowUnknownFields()
	if err := in.Decode(&f); err != nil {
		return f, err
	}
	return f, f.check()
}

// check refuses what no kernel says.
func (f *Findings) check() error {
	const few, short = 64, 64
	for _, list := range [][]string{f.Passed, f.Interfaces} {
		if len(list) > few {
			return errors.New("it is too much")
		}
		for _, s := range list {
			if len(s) > short {
				return errors.New("a name is too long")
			}
		}
	}
	for _, n := range []int64{f.OpenFiles, f.FileSize, f.CoreSize} {
		if n < -1 {
			return errors.New("a limit is below none")
		}
	}
	if f.Landlock < 0 || f.Domains < 0 || f.Domains > maxDomains {
		return errors.New("so many Landlock domains there are not")
	}
	return nil
}
