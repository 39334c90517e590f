package seccomp

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/net/bpf"
)

// Places in struct seccomp_data (seccomp(2)), which a program reads in words of 32
// bits.
const (
	word      = 4
	offNumber = 0
	offArch   = 4
	offArgs   = 16
)

var (
	allow = bpf.RetConstant{Val: answerAllow}
	deny  = bpf.RetConstant{Val: answerErrno | errnoDenied}
)

// assemble returns the answer to a call, which ends the program.
func (c call) assemble() ([]bpf.Instruction, error) {
	if len(c.allowed) == 0 {
		return []bpf.Instruction{bpf.RetConstant{Val: c.answer}}, nil
	}
	var program []bpf.Instruction
	for _, args := range c.allowed {
		tests, err := all(args)
		if err != nil {
			return nil, err
		}
		program = append(program, tests...)
	}
	program = append(program, deny)
	if len(program) > math.MaxUint8 {
		return nil, fmt.Errorf("a seccomp profile with %d rules for one call", len(c.allowed))
	}
	return program, nil
}

// all allows a call for which all of args hold, and goes on if they do not.
func all(args []specs.LinuxSeccompArg) ([]bpf.Instruction, error) {
	// From the end, since each test that fails jumps behind it.
	program := []bpf.Instruction{allow}
	for i := len(args) - 1; i >= 0; i-- {
		for _, half := range []struct {
			off   uint32
			value uint64
		}{{low, args[i].Value & math.MaxUint32}, {high, args[i].Value >> 32}} {
			test := bpf.JumpIf{Val: uint32(half.value), SkipFalse: uint8(len(program))}
			switch {
			case args[i].Index > 5:
				return nil, fmt.Errorf("a seccomp profile with the argument %d", args[i].Index)
			case args[i].Op == specs.OpEqualTo:
				test.Cond = bpf.JumpEqual
			case args[i].Op == specs.OpMaskedEqual && args[i].ValueTwo == 0 && half.value == 0:
				continue // none of no bits: it holds
			case args[i].Op == specs.OpMaskedEqual && args[i].ValueTwo == 0:
				test.Cond = bpf.JumpBitsNotSet
			default:
				return nil, fmt.Errorf("a seccomp profile with the comparison %s to %d", args[i].Op, args[i].ValueTwo)
			}
			load := bpf.LoadAbsolute{Off: offArgs + 2*word*uint32(args[i].Index) + half.off, Size: word}
			program = append([]bpf.Instruction{load, test}, program...)
		}
	}
	return program, nil
}

// low and high are where the halves of an argument are.
var low, high = func() (uint32, uint32) {
	if binary.NativeEndian.Uint16([]byte{1, 0}) == 1 {
		return 0, word
	}
	return word, 0
}()
