// Package seccomp is the profile of system calls that sandboxes of every backend
// have: what the engines' own profiles differ in, or lag behind with, is decided
// here. It begins with that of Moby for a container without capabilities, and
// denies more:
//
//   - io_uring and clone3, and to commands openat2, whose arguments a filter cannot
//     see: with ENOSYS, so that programs take what they took before there were these;
//   - setuid and setgid bits, by every call that can set one;
//   - sockets but of local, internet and routing families: so no AF_VSOCK, AF_ALG
//     or AF_PACKET, which reach around the network a sandbox has;
//   - limits of other processes (prlimit64), by which the guest could be stopped;
//   - modify_ldt, and entry with the calls of another architecture.
//
// Moby's own denials hold too, among them mount, namespaces, keyrings, bpf,
// userfaultfd, perf_event_open, and open_by_handle_at.
//
// The profiles are generated, one for each architecture a sandbox can have, so
// that a plugin can hand them to an engine on another system than its own.
package seccomp

//go:generate go run ./generate .
