// Package backend is the contract between deep and the places its sandboxes live in.
//
// # Vocabulary
//
// A backend makes sandboxes. A sandbox is an isolated machine of sorts: a file
// system, a workspace in it (/workspace unless the specification says
// otherwise), and processes. An exec is one run of one command in a sandbox. A
// guest is the program inside that does all this for most backends; callers
// never see it.
//
// [Backend] is what a plugin serves: it creates sandboxes, finds them again and
// removes them. [Sandbox] is what happens inside one. Both interfaces mean the
// same on every backend; core/backend/backendtest holds the rules.
//
// # Life of a sandbox
//
//	sb, err := b.Create(ctx, &backend.CreateRequest{ID: backend.NewID(), Spec: spec})
//	if err != nil {
//		return err // nothing was left behind
//	}
//	defer sb.Close()
//
//	res, err := sb.Exec(ctx, &backend.ExecRequest{
//		Argv:   []string{"python3", "fibonacci.py"},
//		Stdout: os.Stdout,
//		Stderr: os.Stderr,
//	})
//
// The caller makes the id. Engine names derive from it, a second Create with it
// answers [ErrExists], and the caller opens the sandbox instead: so a request
// that is sent twice never makes two sandboxes.
//
// An ephemeral sandbox ([Spec].Ephemeral) ends with the connection of the
// process that asked for it: at [Sandbox].Close, when that process ends however
// it ends, or at the latest when nobody has been connected for Spec.Lease. Any
// other sandbox stays until it is destroyed, has been idle for
// Spec.IdleTimeout, or is older than Spec.MaxLifetime.
//
// # Bytes
//
// Paths, arguments, environment, patterns, link targets and output are bytes
// in Go strings: they need not be UTF-8, and nothing on the way changes them.
// A path is absolute or relative to the workspace; ".." resolves as the kernel
// would. An empty path, one with a NUL, a component above 255 bytes or a path
// above 4095 is [ErrInvalid].
// A sandbox may show processes as files, in /proc. The one that serves the sandbox
// is not among what a file operation reaches, nor is what any link there that is
// not plain text leads to: a command can use those of its own.
//
// # Errors
//
// Every error a Backend or Sandbox returns satisfies [errors.Is] for exactly
// one of the sentinels in this package, or for [context.Canceled] or
// [context.DeadlineExceeded], whichever process it was raised in. It is an
// [*Error], which also tells backend, operation, path and what to do next.
//
// Two kinds of error are not of a Backend or Sandbox, and are no *Error: what a
// reader or writer of the caller's own failed with is returned as it is, and a
// [Conn] that was closed answers [net.ErrClosed].
//
// # Concurrency
//
// All methods of all types here are safe for concurrent use. Cancelling a
// context cancels that call and no other.
package backend
