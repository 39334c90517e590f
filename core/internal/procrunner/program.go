package procrunner

import (
	"crypto/sha256"
	"debug/elf"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/deep-sandbox/deep/core/internal/trust"
)

// A Program is a plugin's file, opened once: what was looked at and summed is
// what runs, whatever its path names by then.
type Program struct {
	// Path it was opened by.
	Path string

	file *os.File
	// script has an interpreter, which opens the file once more.
	script bool
	sum    func() (string, error)
}

// Open opens the program at path and checks that it can be one, and that nobody
// else can have put it there. Whether it is the one that was installed, its sum
// says, which is checked where one is known.
func Open(path string) (*Program, error) {
	// Not O_NOFOLLOW: ~/bin is full of links. O_NONBLOCK: a FIFO must not hang us.
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, &ProgramError{Fault: FaultMissing, Path: path}
	case err != nil:
		return nil, &ProgramError{Fault: FaultUnreadable, Path: path, Detail: err.Error()}
	}
	// Above the three that a child gets, in any case.
	high, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 10)
	_ = unix.Close(fd)
	if err != nil {
		return nil, &ProgramError{Fault: FaultUnreadable, Path: path, Detail: err.Error()}
	}
	p := &Program{Path: path, file: os.NewFile(uintptr(high), path)}
	p.sum = sync.OnceValues(p.hash)
	if err := p.check(); err != nil {
		_ = p.Close()
		return nil, err
	}
	return p, nil
}

func (p *Program) check() error {
	info, err := p.file.Stat()
	if err != nil {
		return &ProgramError{Fault: FaultUnreadable, Path: p.Path, Detail: err.Error()}
	}
	mode := info.Mode()
	switch {
	case mode.IsDir():
		return &ProgramError{Fault: FaultDirectory, Path: p.Path}
	case !mode.IsRegular():
		return &ProgramError{Fault: FaultNotRegular, Path: p.Path, Detail: "it is a " + mode.Type().String()}
	case mode.Perm()&0o111 == 0:
		return &ProgramError{Fault: FaultNotExecutable, Path: p.Path, Detail: fmt.Sprintf("its mode is %04o", mode.Perm())}
	}
	if who := trust.Writer(info, trust.Owner()...); who != "" {
		return &ProgramError{Fault: FaultWritable, Path: p.Path, Detail: fmt.Sprintf("%s could have changed it, its mode is %04o", who, mode.Perm())}
	}
	dir, who, err := trust.Directory(p.Path, trust.Owner()...)
	switch {
	case err != nil:
		return &ProgramError{Fault: FaultUnreadable, Path: p.Path, Detail: err.Error()}
	case who != "":
		return &ProgramError{Fault: FaultDirectoryWritable, Path: p.Path, Detail: who + " could have replaced it: " + dir}
	}
	head := make([]byte, 2)
	if _, err := p.file.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return &ProgramError{Fault: FaultUnreadable, Path: p.Path, Detail: err.Error()}
	}
	p.script = string(head) == "#!"
	return nil
}

// SHA256 returns the sum of the program in lower-case hex.
func (p *Program) SHA256() (string, error) { return p.sum() }

func (p *Program) hash() (string, error) {
	h := sha256.New()
	// Through its own offset: the descriptor is shared with whoever starts it.
	if _, err := io.Copy(h, io.NewSectionReader(p.file, 0, 1<<62)); err != nil {
		return "", fmt.Errorf("sum of %s: %w", p.Path, err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// Close lets go of the file. What runs goes on.
func (p *Program) Close() error { return p.file.Close() }

// explain says why the kernel refused to run the program.
func (p *Program) explain(err error) error {
	switch {
	case errors.Is(err, unix.ENOEXEC):
		e := &ProgramError{Fault: FaultFormat, Path: p.Path, Detail: "it is neither a program nor a script"}
		if machine, ok := p.machine(); ok {
			e.Fault = FaultArchitecture
			e.Detail = fmt.Sprintf("it is for %s, this machine is %s", machine, runtime.GOARCH)
		}
		return e
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return &ProgramError{Fault: FaultNotExecutable, Path: p.Path, Detail: "the kernel refuses: " + err.Error()}
	case errors.Is(err, unix.ENOENT):
		return &ProgramError{Fault: FaultFormat, Path: p.Path, Detail: "the interpreter or loader it names does not exist"}
	}
	return &ProgramError{Fault: FaultStart, Path: p.Path, Detail: err.Error()}
}

// machine returns what an ELF header says the program is for.
func (p *Program) machine() (elf.Machine, bool) {
	head := make([]byte, 20)
	if _, err := p.file.ReadAt(head, 0); err != nil || string(head[:4]) != elf.ELFMAG {
		return 0, false
	}
	if elf.Data(head[elf.EI_DATA]) == elf.ELFDATA2MSB {
		return elf.Machine(binary.BigEndian.Uint16(head[18:])), true
	}
	return elf.Machine(binary.LittleEndian.Uint16(head[18:])), true
}

// Fault classes what is wrong with a program.
type Fault string

// Faults of a program.
const (
	FaultMissing       Fault = "missing"
	FaultUnreadable    Fault = "unreadable"
	FaultDirectory     Fault = "a directory"
	FaultNotRegular    Fault = "not a regular file"
	FaultNotExecutable Fault = "not executable"
	FaultWritable      Fault = "writable by others"
	// FaultDirectoryWritable: the file in its place can be replaced.
	FaultDirectoryWritable Fault = "in a directory writable by others"
	FaultArchitecture      Fault = "for another architecture"
	FaultFormat            Fault = "not a program"
	FaultStart             Fault = "not started"
)

// ProgramError says why a program cannot be run.
type ProgramError struct {
	Fault  Fault
	Path   string
	Detail string
}

func (e *ProgramError) Error() string {
	s := e.Path + " is " + string(e.Fault)
	if e.Detail != "" {
		s += ": " + e.Detail
	}
	return s
}
