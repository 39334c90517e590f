//go:build linux

package main

import (
	"encoding/json"
	"maps"
	"slices"

	"github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// architecture is one that a sandbox can have, by Go's name and by that of the
// profiles.
type architecture struct {
	name string
	arch specs.Arch
}

var architectures = []architecture{{"amd64", specs.ArchX86_64}, {"arm64", specs.ArchAARCH64}}

// profile is Moby's with our denials, settled for one architecture and a
// container without capabilities. An engine then has nothing to decide, and all
// of them have the same.
func (a architecture) profile() ([]byte, error) {
	p := specs.LinuxSeccomp{
		DefaultAction: specs.ActErrno,
		// Without its 32-bit relatives: their calls have other numbers and arguments.
		Architectures: []specs.Arch{a.arch},
	}
	for _, call := range seccomp.DefaultProfile().Syscalls {
		if !a.applies(call) {
			continue
		}
		rule := call.LinuxSyscall
		rule.Names = slices.DeleteFunc(slices.Clone(rule.Names), func(name string) bool { return slices.Contains(ours, name) })
		slices.Sort(rule.Names)
		if len(rule.Names) > 0 {
			p.Syscalls = append(p.Syscalls, rule)
		}
	}
	p.Syscalls = append(p.Syscalls, rules()...)
	profile, err := json.MarshalIndent(p, "", " ")
	return append(profile, '\n'), err
}

// applies says whether one of Moby's rules holds without capabilities. It is for
// kernels later than any it names.
func (a architecture) applies(call *seccomp.Syscall) bool {
	if in := call.Includes; in != nil && (len(in.Caps) > 0 || len(in.Arches) > 0 && !slices.Contains(in.Arches, a.name)) {
		return false
	}
	out := call.Excludes
	return out == nil || out.MinKernel == nil && !slices.Contains(out.Arches, a.name)
}

// Bits of a mode that make a program another user's, and of open's flags that
// make its mode count (fcntl.h).
const (
	setID    = unix.S_ISUID | unix.S_ISGID
	creating = unix.O_CREAT | tmpfile
	tmpfile  = 0o20000000 // of O_TMPFILE, which holds O_DIRECTORY too
)

// modes are the calls that can set the mode of a file, with the number of that
// argument; opens those where it counts only with some flags.
var (
	modes = map[string]uint{
		"chmod": 1, "fchmod": 1, "fchmodat": 2, "fchmodat2": 2, "creat": 1,
		"mkdir": 1, "mkdirat": 2, "mknod": 1, "mknodat": 2,
	}
	opens = map[string]struct{ flags, mode uint }{"open": {1, 2}, "openat": {2, 3}, "mq_open": {1, 2}}
)

// families are those of sockets that a sandbox may have.
var families = []uint64{unix.AF_UNIX, unix.AF_INET, unix.AF_INET6}

// ours are the calls that the rules decide alone.
var ours = func() []string {
	names := []string{"socket", "socketcall", "socketpair", "prlimit64", "modify_ldt"}
	return slices.AppendSeq(slices.AppendSeq(names, maps.Keys(modes)), maps.Keys(opens))
}()

// rules allow what of our calls is allowed; the default denies the rest.
func rules() []specs.LinuxSyscall {
	nosys := uint(unix.ENOSYS)
	list := []specs.LinuxSyscall{{Names: []string{"io_uring_enter", "io_uring_register", "io_uring_setup"}, Action: specs.ActErrno, ErrnoRet: &nosys}}
	for _, name := range slices.Sorted(maps.Keys(modes)) {
		list = append(list, allow(name, none(modes[name], setID)))
	}
	for _, name := range slices.Sorted(maps.Keys(opens)) {
		o := opens[name]
		list = append(list, allow(name, none(o.flags, creating)), allow(name, none(o.mode, setID)))
	}
	for _, family := range families {
		list = append(list, allow("socket", equal(0, family)))
	}
	return append(list,
		// Routing tables and interfaces, which resolvers ask for.
		allow("socket", equal(0, unix.AF_NETLINK), equal(2, unix.NETLINK_ROUTE)),
		allow("socketpair", equal(0, unix.AF_UNIX)),
		// 0 is who calls.
		allow("prlimit64", equal(0, 0)),
	)
}

func allow(name string, args ...specs.LinuxSeccompArg) specs.LinuxSyscall {
	return specs.LinuxSyscall{Names: []string{name}, Action: specs.ActAllow, Args: args}
}

func equal(arg uint, value uint64) specs.LinuxSeccompArg {
	return specs.LinuxSeccompArg{Index: arg, Value: value, Op: specs.OpEqualTo}
}

// none of bits is set.
func none(arg uint, bits uint64) specs.LinuxSeccompArg {
	return specs.LinuxSeccompArg{Index: arg, Value: bits, Op: specs.OpMaskedEqual}
}
