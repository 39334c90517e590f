package seccomp

import (
	"encoding/binary"
	"testing"

	"github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/net/bpf"
)

// What a filter answers.
const (
	allowed = answerAllow
	refused = answerErrno | errnoDenied
	unknown = answerErrno | errnoUnknown
)

// ask runs the program of this machine on a call.
func ask(t *testing.T, vm *bpf.VM, audit arch.AuditArch, number uint32, args ...uint64) int {
	t.Helper()
	// struct seccomp_data (seccomp(2)) as the machine here reads it: words of 32
	// bits, the low one of an argument first.
	data := make([]byte, 64)
	binary.BigEndian.PutUint32(data[0:], number)
	binary.BigEndian.PutUint32(data[4:], uint32(audit))
	for i, arg := range args {
		binary.BigEndian.PutUint32(data[16+8*i:], uint32(arg))
		binary.BigEndian.PutUint32(data[20+8*i:], uint32(arg>>32))
	}
	answer, err := vm.Run(data)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

func TestProgram(t *testing.T) {
	for _, architecture := range []string{"amd64", "arm64"} {
		t.Run(architecture, func(t *testing.T) { testProgram(t, architecture) })
	}
	if raw, err := Program("riscv64"); err == nil {
		t.Errorf("a program of %d instructions for riscv64", len(raw))
	}
}

func testProgram(t *testing.T, architecture string) {
	raw, err := Program(architecture)
	if err != nil {
		t.Fatal(err)
	}
	instructions, ok := bpf.Disassemble(raw)
	const most = 4096 // BPF_MAXINSNS of the kernel
	if !ok || len(instructions) > most {
		t.Fatalf("%d instructions, understood: %t", len(instructions), ok)
	}
	vm, err := bpf.NewVM(instructions)
	if err != nil {
		t.Fatal(err)
	}
	native, err := arch.GetInfo(architecture)
	if err != nil {
		t.Fatal(err)
	}
	const (
		newUser = 0x10000000
		creat   = 0o100
		temp    = 0o20200000
		high    = 1 << 32
	)
	for _, c := range []struct {
		name string
		args []uint64
		want int
	}{
		{"read", nil, allowed}, {"execve", nil, allowed}, {"setgroups", nil, allowed}, {"kill", nil, allowed},
		{"ptrace", nil, allowed},
		{"mount", nil, refused}, {"umount2", nil, refused}, {"unshare", []uint64{newUser}, refused}, {"setns", nil, refused},
		{"pivot_root", nil, refused}, {"chroot", nil, refused}, {"bpf", nil, refused}, {"userfaultfd", nil, refused},
		{"keyctl", nil, refused}, {"add_key", nil, refused}, {"request_key", nil, refused}, {"perf_event_open", nil, refused},
		{"open_by_handle_at", nil, refused}, {"init_module", nil, refused}, {"kexec_load", nil, refused}, {"fsopen", nil, refused},
		{"clone", []uint64{17}, allowed}, {"clone", []uint64{newUser | 17}, refused}, {"clone", []uint64{0x20000000}, refused},
		{"clone3", nil, unknown}, {"openat2", nil, unknown},
		{"io_uring_setup", nil, unknown}, {"io_uring_enter", nil, unknown}, {"io_uring_register", nil, unknown},
		{"socket", []uint64{1, 1, 0}, allowed}, {"socket", []uint64{2, 1, 0}, allowed}, {"socket", []uint64{10, 2, 0}, allowed},
		{"socket", []uint64{16, 3, 0}, allowed}, {"socket", []uint64{16, 3, 15}, refused}, {"socket", []uint64{16, 3, 9}, refused},
		{"socket", []uint64{17, 3, 0}, refused}, {"socket", []uint64{38, 5, 0}, refused}, {"socket", []uint64{40, 1, 0}, refused},
		{"socket", []uint64{40 | high, 1, 0}, refused}, {"socket", []uint64{0, 1, 0}, refused},
		{"socketpair", []uint64{1, 1, 0}, allowed}, {"socketpair", []uint64{40, 1, 0}, refused},
		{"fchmod", []uint64{3, 0o1777}, allowed}, {"fchmod", []uint64{3, 0o4755}, refused}, {"fchmod", []uint64{3, 0o2000}, refused},
		{"fchmod", []uint64{3, 0o100644 | high}, allowed}, {"fchmod", []uint64{3, 0o104755 | high}, refused},
		{"fchmodat", []uint64{3, 0, 0o755}, allowed}, {"fchmodat", []uint64{3, 0, 0o6755}, refused},
		{"fchmodat2", []uint64{3, 0, 0o755, 0}, allowed}, {"fchmodat2", []uint64{3, 0, 0o4755, 0}, refused},
		{"mkdirat", []uint64{3, 0, 0o777}, allowed}, {"mkdirat", []uint64{3, 0, 0o2777}, refused},
		{"mknodat", []uint64{3, 0, 0o010644}, allowed}, {"mknodat", []uint64{3, 0, 0o104755}, refused},
		{"openat", []uint64{3, 0, creat, 0o644}, allowed}, {"openat", []uint64{3, 0, creat, 0o4755}, refused},
		{"openat", []uint64{3, 0, temp, 0o4755}, refused}, {"openat", []uint64{3, 0, temp, 0o755}, allowed},
		// Without O_CREAT a mode does not count, and may be anything.
		{"openat", []uint64{3, 0, 0, 0o177777}, allowed},
		{"mq_open", []uint64{0, creat, 0o4600}, refused}, {"mq_open", []uint64{0, creat, 0o600}, allowed},
		{"prlimit64", []uint64{0, 7}, allowed}, {"prlimit64", []uint64{1, 7}, refused}, {"prlimit64", []uint64{high, 7}, refused},
		{"personality", []uint64{0}, allowed}, {"personality", []uint64{0x0040000}, refused}, // ADDR_NO_RANDOMIZE
	} {
		number, there := native.SyscallNames[c.name]
		if !there {
			t.Errorf("there is no call %s", c.name)
			continue
		}
		if got := ask(t, vm, native.ID, uint32(number), c.args...); got != c.want {
			t.Errorf("%s%v: %#x, want %#x", c.name, c.args, got, c.want)
		}
	}
	read := uint32(native.SyscallNames["read"])
	for _, c := range []struct {
		what   string
		arch   arch.AuditArch
		number uint32
		want   int
	}{
		{"a call of another architecture", arch.I386.ID, read, refused},
		{"a call that there is not yet", native.ID, 900, unknown},
		{"a call by the numbers of x32", native.ID, 0x40000000 | read, unknown},
	} {
		if got := ask(t, vm, c.arch, c.number); got != c.want {
			t.Errorf("%s: %#x, want %#x", c.what, got, c.want)
		}
	}
}

// On amd64 there are older calls that do the same.
func TestProgramOldCalls(t *testing.T) {
	raw, err := Program("amd64")
	if err != nil {
		t.Fatal(err)
	}
	instructions, _ := bpf.Disassemble(raw)
	vm, err := bpf.NewVM(instructions)
	if err != nil {
		t.Fatal(err)
	}
	native, err := arch.GetInfo("amd64")
	if err != nil {
		t.Fatal(err)
	}
	const creat = 0o100
	for _, c := range []struct {
		name string
		args []uint64
		want int
	}{
		{"chmod", []uint64{0, 0o755}, allowed}, {"chmod", []uint64{0, 0o4755}, refused},
		{"creat", []uint64{0, 0o644}, allowed}, {"creat", []uint64{0, 0o4644}, refused},
		{"mkdir", []uint64{0, 0o1777}, allowed}, {"mkdir", []uint64{0, 0o2777}, refused},
		{"mknod", []uint64{0, 0o010644}, allowed}, {"mknod", []uint64{0, 0o104755}, refused},
		{"open", []uint64{0, creat, 0o644}, allowed}, {"open", []uint64{0, creat, 0o4755}, refused}, {"open", []uint64{0, 0, 0o4755}, allowed},
		{"modify_ldt", []uint64{1}, refused}, {"iopl", []uint64{3}, refused},
		{"fork", nil, allowed}, {"vfork", nil, allowed}, {"arch_prctl", nil, allowed},
	} {
		if got := ask(t, vm, native.ID, uint32(native.SyscallNames[c.name]), c.args...); got != c.want {
			t.Errorf("%s%v: %#x, want %#x", c.name, c.args, got, c.want)
		}
	}
}

func TestProgramRefuses(t *testing.T) {
	for _, profile := range []string{
		"", "{", `{"syscalls": [{"names": ["read"], "action": "SCMP_ACT_LOG"}]}`,
		`{"syscalls": [{"names": ["read"], "action": "SCMP_ACT_ERRNO"}]}`,
		`{"syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_GT"}]}]}`,
		`{"syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 1, "valueTwo": 1, "op": "SCMP_CMP_MASKED_EQ"}]}]}`,
		`{"syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW"}, {"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]}]}`,
		`{"syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 9, "value": 1, "op": "SCMP_CMP_EQ"}]}]}`,
	} {
		if _, err := compile([]byte(profile), "amd64"); err == nil {
			t.Errorf("%s is a program", profile)
		}
	}
}

func TestProfile(t *testing.T) {
	digests := map[string]bool{}
	for _, arch := range []string{"amd64", "arm64"} {
		profile, err := Profile(arch)
		if err != nil {
			t.Fatal(err)
		}
		digests[Digest(profile)] = true
	}
	if len(digests) != 2 {
		t.Errorf("%v", digests)
	}
	if _, err := Profile("../generate/main.go"); err == nil {
		t.Error("an architecture that is a path")
	}
	if _, err := Profile("riscv64"); err == nil {
		t.Error("a profile for riscv64")
	}
}
