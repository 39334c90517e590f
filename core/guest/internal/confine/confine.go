// Package confine puts a thread, and all it starts, under a seccomp filter and a
// Landlock domain: the two layers that commands get from the guest.
package confine

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/deep-sandbox/deep/core/control"
)

// Rules are what a thread is put under. The zero value is nothing.
type Rules struct {
	// Filter is a seccomp program: instructions of eight bytes, as the kernel of
	// this machine takes them.
	Filter []byte `json:"filter,omitempty"`
	// Writable are the paths beneath which files may be changed; elsewhere they may
	// be read and executed. If it is empty there is no Landlock domain.
	Writable []string `json:"writable,omitempty"`
}

// Check tells what is wrong with rules, if anything.
func (r Rules) Check() error {
	if len(r.Filter)%instruction != 0 || len(r.Filter)/instruction > unix.BPF_MAXINSNS {
		return fmt.Errorf("a seccomp program of %d bytes", len(r.Filter))
	}
	for _, path := range r.Writable {
		if path == "" || path[0] != '/' {
			return fmt.Errorf("the path %q is not absolute", path)
		}
	}
	return nil
}

// Encode returns r as text without NUL.
func (r Rules) Encode() (string, error) {
	b, err := json.Marshal(r)
	return string(b), err
}

// Decode is the reverse of Encode.
func Decode(text string) (Rules, error) {
	var r Rules
	err := json.Unmarshal([]byte(text), &r)
	return r, err
}

// Apply puts this thread under r, for good. It must be locked and have
// no_new_privs set.
func (r Rules) Apply() error {
	if control.Opened(control.NoNewPrivileges) {
		return nil // without it the kernel takes neither
	}
	if len(r.Writable) > 0 {
		if err := landlock(r.Writable); err != nil {
			return fmt.Errorf("make a Landlock domain: %w", err)
		}
	}
	// Last: from here on the calls above are for the filter to decide.
	if len(r.Filter) > 0 {
		if err := filter(r.Filter); err != nil {
			return fmt.Errorf("set a seccomp filter: %w", err)
		}
	}
	return nil
}

const instruction = 8 // bytes of a sock_filter

func filter(program []byte) error {
	filters := make([]unix.SockFilter, len(program)/instruction)
	if n, err := binary.Decode(program, binary.NativeEndian, filters); err != nil || n != len(program) {
		return errors.Join(errors.New("it is no whole number of instructions"), err)
	}
	prog := unix.SockFprog{Len: uint16(len(filters)), Filter: &filters[0]}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&prog)))
	if errno != 0 {
		return errno
	}
	return nil
}
