package seccomp

import (
	"encoding/json"
	"fmt"

	"github.com/elastic/go-seccomp-bpf/arch"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/net/bpf"
)

// Answers of a filter, see seccomp(2).
const (
	answerAllow  = 0x7fff0000
	answerErrno  = 0x00050000
	errnoDenied  = 1  // EPERM
	errnoUnknown = 38 // ENOSYS
)

// Program returns the filter that commands are put under, by the guest, on every
// backend: the profile as a program for a kernel of that architecture, without
// what the guest alone may do.
//
// The program goes up through the numbers of calls. What they answer without
// looking at arguments, the kernel finds out once and never runs it again for.
func Program(architecture string) ([]bpf.RawInstruction, error) {
	profile, err := Profile(architecture)
	if err != nil {
		return nil, err
	}
	return compile(profile, architecture)
}

// guests are calls that the guest alone may make. A filter cannot see the mode that
// openat2 gives a file; programs do without it on older kernels, and so do here.
var guests = []string{"openat2"}

func compile(profile []byte, architecture string) ([]bpf.RawInstruction, error) {
	var p specs.LinuxSeccomp
	if err := json.Unmarshal(profile, &p); err != nil {
		return nil, fmt.Errorf("read a seccomp profile: %w", err)
	}
	// The tables only: the programs that package makes take an argument for the
	// number of a call where one rule follows another (v1.6.0).
	native, err := arch.GetInfo(architecture)
	if err != nil {
		return nil, err
	}
	calls, err := decide(p, native)
	if err != nil {
		return nil, err
	}
	program := []bpf.Instruction{
		bpf.LoadAbsolute{Off: offArch, Size: word},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(native.ID), SkipTrue: 1},
		deny,
		bpf.LoadAbsolute{Off: offNumber, Size: word},
	}
	for first := 0; first < len(calls); {
		last := first
		for last+1 < len(calls) && calls[last+1].sameAs(calls[first]) {
			last++
		}
		answer, err := calls[first].assemble()
		if err != nil {
			return nil, err
		}
		program = append(program, bpf.JumpIf{Cond: bpf.JumpGreaterThan, Val: uint32(last), SkipTrue: uint8(len(answer))})
		program = append(program, answer...)
		first = last + 1
	}
	// Later than any we know of, as x32's all are: answered as a kernel without
	// them does, so that programs take what they took before.
	return bpf.Assemble(append(program, bpf.RetConstant{Val: answerErrno | errnoUnknown}))
}

// call is what is answered to one.
type call struct {
	// answer, unless it depends on arguments.
	answer uint32
	// allowed if all of one of these hold, else denied.
	allowed [][]specs.LinuxSeccompArg
}

func (c call) sameAs(other call) bool {
	return c.answer == other.answer && len(c.allowed) == 0 && len(other.allowed) == 0
}

// decide returns the calls by their numbers, up to the last there is.
func decide(p specs.LinuxSeccomp, native *arch.Info) ([]call, error) {
	last := 0
	for number := range native.SyscallNumbers {
		last = max(last, number)
	}
	calls := make([]call, last+1)
	for i := range calls {
		calls[i].answer = answerErrno | errnoDenied
	}
	for _, rule := range p.Syscalls {
		for _, name := range rule.Names {
			number, there := native.SyscallNames[name]
			if !there {
				continue
			}
			c := &calls[number]
			switch {
			case rule.Action == specs.ActAllow && len(rule.Args) > 0:
				c.allowed = append(c.allowed, rule.Args)
			case rule.Action == specs.ActAllow:
				c.answer = answerAllow
			case rule.Action == specs.ActErrno && rule.ErrnoRet != nil && len(rule.Args) == 0:
				c.answer = answerErrno | uint32(*rule.ErrnoRet)
			default:
				return nil, fmt.Errorf("a seccomp profile with a rule for %s that is not understood", name)
			}
			if len(c.allowed) > 0 && c.answer != answerErrno|errnoDenied {
				return nil, fmt.Errorf("a seccomp profile with two answers for %s", name)
			}
		}
	}
	for _, name := range guests {
		if number, there := native.SyscallNames[name]; there {
			calls[number] = call{answer: answerErrno | errnoUnknown}
		}
	}
	return calls, nil
}
