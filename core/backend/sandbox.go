package backend

import (
	"context"
	"io"
)

// A Sandbox runs commands and keeps files. It is a handle: several may be open
// on one sandbox, from several processes.
//
// Each method answers ErrGone once the sandbox has ended, and ErrUnavailable
// (often a *CrashError) when it cannot be reached to find out.
type Sandbox interface {
	// Info tells what was settled when the sandbox was made. No I/O.
	Info() SandboxInfo

	// Exec runs a command and returns when it has ended and its output was
	// written to req.Stdout and req.Stderr. Whatever ended the command, a
	// non-nil result says so; the error is for what kept deep from running it or
	// from telling how it ended:
	//
	//   - ErrInvalid: a request that means nothing; ErrNotFound: no such
	//     directory, or no shell for a Shell request; ErrExists: an exec of this
	//     id was started before, nothing was run twice.
	//   - the error of ctx, when it ended: the command was cancelled, the result
	//     says what it was until then and everything it had started is dead.
	//   - the error of a Stdout or Stderr writer: the command was cancelled.
	//   - ErrGone, ErrUnavailable: the result, if not nil, holds what is known;
	//     ask Outcome for the truth when the sandbox can be reached again.
	//
	// A program that is missing or not executable is no error: exit code 127 or
	// 126, as a shell has it, and ExecResult.StartError names the reason.
	Exec(ctx context.Context, req *ExecRequest) (*ExecResult, error)

	// Outcome tells what became of an exec, also for another caller than the one
	// that started it. ErrNotFound if the guest knows no such id: it was never
	// started, or ended so long ago that it was forgotten (the last 1024 are
	// kept).
	Outcome(ctx context.Context, req *OutcomeRequest) (*OutcomeReply, error)

	// Stat describes what is at a path, not following a last symbolic link
	// unless asked to.
	Stat(ctx context.Context, req *StatRequest) (*FileInfo, error)

	// ReadFile opens a byte range of a regular file for reading. The reader
	// returns io.EOF only at the range's end or the file's, never because
	// something broke. ErrIsDirectory, ErrNotFound, ErrPermission; ErrInvalid for
	// a FIFO, socket or device (without blocking) and a negative offset. The
	// caller closes it; ctx governs it until then.
	ReadFile(ctx context.Context, req *ReadFileRequest) (*File, error)

	// WriteFile replaces or makes a file, its parents too, atomically: a reader
	// sees the old content or the new, also if everything is killed half way.
	// It keeps the mode of a file it replaces and writes through a symbolic
	// link. If content fails, or ctx ends, the file is untouched.
	WriteFile(ctx context.Context, req *WriteFileRequest) (*WriteFileReply, error)

	// Edit replaces exact bytes, atomically. ErrNotFound (Path set) if there is
	// no such file or no match, ErrConflict with Error.Count if there are
	// several and not All, ErrInvalid if Old is empty or equals New.
	Edit(ctx context.Context, req *EditRequest) (*EditReply, error)

	// List reads a directory: directories first, then by name.
	List(ctx context.Context, req *ListDirRequest) (*ListDirReply, error)

	// Glob finds files by pattern.
	Glob(ctx context.Context, req *GlobRequest) (*GlobReply, error)

	// Grep finds lines by RE2 expression or literal.
	Grep(ctx context.Context, req *GrepRequest) (*GrepReply, error)

	// Mkdir makes a directory and its parents. One that is there is no error;
	// another kind of file in its place is ErrExists.
	Mkdir(ctx context.Context, req *MkdirRequest) error

	// Remove removes a file, an empty directory, or a tree if asked. It never
	// follows links. "/" and the workspace itself are ErrInvalid, a directory
	// that is not empty ErrConflict.
	Remove(ctx context.Context, req *RemoveRequest) error

	// Rename moves a file, replacing what is there as rename(2) does, or not:
	// ErrExists if NoReplace.
	Rename(ctx context.Context, req *RenameRequest) error

	// Close lets go of the sandbox, and destroys it if it is ephemeral and was
	// created, not opened, through this handle. Idempotent.
	io.Closer
}
