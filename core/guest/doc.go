// Package guest is the program inside a sandbox: it runs commands, kills what
// they started, and reads and writes files, all with the rights of the sandbox's
// user. It serves backend.Sandbox over gRPC on one or more byte streams.
//
// # What it runs as
//
// It is process 1 of the sandbox's PID namespace, so that every orphan comes to
// it and everything ends with it. Preferably it is uid 0 with the capabilities
// SETUID, SETGID and KILL while commands run under another uid without any: they
// can then neither signal nor read nor limit it. Where one uid is all there is,
// it needs CAP_SYS_ADMIN in its user namespace instead.
//
// # Which processes belong to which command
//
// A domain answers that, and kills. In a groupDomain each command has a
// supplementary group of its own, which every descendant inherits and none can
// drop; a sweep over /proc finds them. In a pidnsDomain each command has a PID
// namespace of its own.
//
// # What commands wrote
//
// The spool keeps the newest output of all commands. A caller that waits for its
// command gets it too, as it comes; a command in the background has none.
//
// # Threads
//
// The kernel's limit of processes counts threads, and sandboxed code may use all
// of them up. So the guest starts its threads first (warmThreads), never blocks
// one per command, and touches files only on a fixed set of threads that have
// taken the sandbox user's rights for good (userThreads).
package guest
